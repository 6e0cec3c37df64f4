//! Who has proven to be where.

use std::{
    collections::HashMap,
    hash::Hash,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::PeerId;

/// How long a proof holds.
pub const BOND_PERIOD: Duration = Duration::from_hours(24);
/// Endpoints remembered in each of the two generations of each of the two lists.
pub const BONDS_MAX: usize = 8_192;

/// Endpoint proofs, ours of others and theirs of us.
///
/// The lists are apart: anyone can make us remember a ping, and must not push out proofs by that.
#[derive(Debug, Default)]
pub(super) struct Bonds {
    /// When they answered our ping: they are there.
    pongs: Generations<(PeerId, SocketAddr)>,
    /// When they pinged us, and so had our answer: they know that we are here.
    pings: Generations<(PeerId, SocketAddr)>,
}

/// Times by key. When the young generation is full, the old one is forgotten.
#[derive(Debug)]
struct Generations<K> {
    young: HashMap<K, Instant>,
    old: HashMap<K, Instant>,
}

impl Bonds {
    /// Notes that an endpoint answered our ping.
    pub(super) fn answered(&mut self, id: PeerId, at: SocketAddr, now: Instant) {
        self.pongs.insert((id, at), now);
    }

    /// Notes that an endpoint pinged us.
    pub(super) fn pinged(&mut self, id: PeerId, at: SocketAddr, now: Instant) {
        self.pings.insert((id, at), now);
    }

    /// Forgets that an endpoint pinged us: it may not know us any more.
    pub(super) fn forget_ping(&mut self, id: PeerId, at: SocketAddr) {
        self.pings.remove(&(id, at));
    }

    /// Whether an endpoint has proven to be there.
    pub(super) fn is_proven(&self, id: PeerId, at: SocketAddr, now: Instant) -> bool {
        self.pongs.is_fresh(&(id, at), now)
    }

    /// Whether an endpoint should answer our questions.
    pub(super) fn trusts_us(&self, id: PeerId, at: SocketAddr, now: Instant) -> bool {
        self.pings.is_fresh(&(id, at), now)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let len = |list: &Generations<_>| list.young.len() + list.old.len();
        len(&self.pongs) + len(&self.pings)
    }
}

impl<K: Eq + Hash> Generations<K> {
    fn insert(&mut self, key: K, now: Instant) {
        if self.young.len() >= BONDS_MAX && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, now);
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn is_fresh(&self, key: &K, now: Instant) -> bool {
        let time = self.young.get(key).or_else(|| self.old.get(key));
        time.is_some_and(|time| now.saturating_duration_since(*time) < BOND_PERIOD)
    }
}

impl<K> Default for Generations<K> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_the_oldest_forgotten() {
        let now = Instant::now();
        let mut generations = Generations::default();
        for number in 0..3 * BONDS_MAX {
            generations.insert(number, now);
        }
        assert_eq!(generations.young.len() + generations.old.len(), 2 * BONDS_MAX);
        assert!(generations.is_fresh(&(3 * BONDS_MAX - 1), now));
        assert!(generations.is_fresh(&BONDS_MAX, now));
        assert!(!generations.is_fresh(&(BONDS_MAX - 1), now));
    }

    #[test]
    fn a_time_is_fresh_for_a_day() {
        let now = Instant::now();
        let mut generations = Generations::default();
        generations.insert(1, now);
        assert!(generations.is_fresh(&1, now + BOND_PERIOD - Duration::from_millis(1)));
        assert!(!generations.is_fresh(&1, now + BOND_PERIOD));
        generations.insert(1, now + BOND_PERIOD);
        assert!(generations.is_fresh(&1, now + BOND_PERIOD));
        generations.remove(&1);
        assert!(!generations.is_fresh(&1, now + BOND_PERIOD));
    }
}
