//! Where others see us: geth's endpoint prediction.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::is_lan;

/// Statements that must agree. geth wants ten, which a small network of pods never has.
pub const STATEMENTS_MIN: usize = 3;
/// How long a statement counts.
pub const STATEMENT_PERIOD: Duration = Duration::from_mins(5);
/// Statements kept.
pub const STATEMENTS_MAX: usize = 512;

/// Who saw us where, and when.
#[derive(Debug, Default)]
pub(super) struct Statements(HashMap<SocketAddr, (SocketAddr, Instant)>);

impl Statements {
    /// Notes that a node that answered us sees us at `seen`. Outside of the LAN an address has one
    /// vote, however many nodes it has.
    pub(super) fn add(&mut self, by: SocketAddr, seen: SocketAddr, now: Instant) {
        let by = if is_lan(by.ip()) { by } else { SocketAddr::new(by.ip(), 0) };
        let is_fresh = |time: Instant| now.saturating_duration_since(time) < STATEMENT_PERIOD;
        self.0.retain(|_, (_, time)| is_fresh(*time));
        if self.0.len() < STATEMENTS_MAX || self.0.contains_key(&by) {
            self.0.insert(by, (seen, now));
        }
    }

    /// The endpoint with the most statements, if they are enough.
    pub(super) fn majority(&self) -> Option<SocketAddr> {
        let mut counts: HashMap<SocketAddr, usize> = HashMap::new();
        for (seen, _) in self.0.values() {
            *counts.entry(*seen).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(seen, count)| (*count, *seen));
        most.filter(|(_, count)| *count >= STATEMENTS_MIN).map(|(seen, _)| seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nodes_that_agree_are_believed_for_five_minutes() {
        let now = Instant::now();
        let mut statements = Statements::default();
        let (here, there) = (address("10.0.0.9:30303"), address("10.0.0.8:1"));
        for port in 1..3 {
            statements.add(SocketAddr::new(address("10.0.0.1:0").ip(), port), here, now);
            statements.add(SocketAddr::new(address("10.0.0.2:0").ip(), port), there, now);
        }
        assert_eq!(statements.majority(), None);
        statements.add(address("10.0.0.1:10"), here, now);
        assert_eq!(statements.majority(), Some(here));
        statements.add(address("10.0.0.1:11"), here, now + STATEMENT_PERIOD);
        assert_eq!(statements.majority(), None);
    }

    #[test]
    fn an_address_outside_of_the_lan_has_one_vote() {
        let now = Instant::now();
        let mut statements = Statements::default();
        for port in 1..1_000 {
            let by = SocketAddr::new(address("8.8.8.8:0").ip(), port);
            statements.add(by, address("9.9.9.9:30303"), now);
        }
        assert_eq!(statements.0.len(), 1);
        assert_eq!(statements.majority(), None);
    }

    #[test]
    fn statements_are_bounded() {
        let now = Instant::now();
        let mut statements = Statements::default();
        for port in 1..1_000 {
            let by = SocketAddr::new(address("10.0.0.1:0").ip(), port);
            statements.add(by, address("9.9.9.9:30303"), now);
        }
        assert_eq!(statements.0.len(), STATEMENTS_MAX);
    }
}
