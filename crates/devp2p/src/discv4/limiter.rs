//! How much strangers may make us work.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::is_lan;

/// Signatures looked at in a second, and at once after a pause.
pub const VERIFIES_PER_SECOND_MAX: u32 = 500;
/// Requests in a minute from one address outside of the LAN.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 60;
/// Addresses counted apart. The rest share what the whole is limited to.
pub const SOURCES_MAX: usize = 8_192;

const WINDOW: Duration = Duration::from_mins(1);

/// Counts requests by address, and signatures altogether.
#[derive(Debug)]
pub(super) struct Limiter {
    /// Signatures that may be looked at now.
    tokens: u32,
    refilled: Instant,
    sources: HashMap<IpAddr, u32>,
    window_began: Instant,
}

impl Limiter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: VERIFIES_PER_SECOND_MAX,
            refilled: now,
            sources: HashMap::new(),
            window_began: now,
        }
    }

    /// Counts a request; false if its address had enough of them.
    pub(super) fn allows_request(&mut self, from: IpAddr, now: Instant) -> bool {
        if is_lan(from) {
            return true;
        }
        if now.saturating_duration_since(self.window_began) >= WINDOW {
            self.sources.clear();
            self.window_began = now;
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&from) {
            return true;
        }
        let count = self.sources.entry(from).or_default();
        let allows = *count < REQUESTS_PER_MINUTE_MAX;
        *count += u32::from(allows);
        allows
    }

    /// Takes leave to look at a signature.
    pub(super) fn allows_verify(&mut self, now: Instant) -> bool {
        let allows = self.may_verify(now);
        self.tokens = self.tokens.saturating_sub(1);
        allows
    }

    /// Whether a signature may be looked at.
    pub(super) fn may_verify(&mut self, now: Instant) -> bool {
        let millis = now.saturating_duration_since(self.refilled).as_millis();
        let gained = millis * u128::from(VERIFIES_PER_SECOND_MAX) / 1_000;
        if gained > 0 {
            let tokens = u128::from(self.tokens) + gained;
            self.tokens = u32::try_from(tokens.min(u128::from(VERIFIES_PER_SECOND_MAX)))
                .expect("the limit is one");
            self.refilled = now;
        }
        self.tokens > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_outside_of_the_lan_has_sixty_requests_a_minute() {
        let now = Instant::now();
        let mut limiter = Limiter::new(now);
        let ip: IpAddr = "8.8.8.8".parse().unwrap();
        assert!((0..REQUESTS_PER_MINUTE_MAX).all(|_| limiter.allows_request(ip, now)));
        assert!(!limiter.allows_request(ip, now));
        assert!(limiter.allows_request("8.8.8.9".parse().unwrap(), now));
        assert!((0..1_000).all(|_| limiter.allows_request("10.0.0.1".parse().unwrap(), now)));
        assert!(!limiter.allows_request(ip, now + WINDOW - Duration::from_millis(1)));
        assert!(limiter.allows_request(ip, now + WINDOW));
    }

    #[test]
    fn only_so_many_addresses_are_counted() {
        let now = Instant::now();
        let mut limiter = Limiter::new(now);
        for number in 0..2 * u32::try_from(SOURCES_MAX).unwrap() {
            let ip = IpAddr::from((0x0800_0000 + number).to_be_bytes());
            assert!(limiter.allows_request(ip, now));
        }
        assert_eq!(limiter.sources.len(), SOURCES_MAX);
    }

    #[test]
    fn five_hundred_signatures_are_looked_at_in_a_second() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        assert!((0..VERIFIES_PER_SECOND_MAX).all(|_| limiter.allows_verify(start)));
        assert!(!limiter.allows_verify(start));
        let mut allowed = 0;
        for tenth in 1..=30_000 {
            allowed += u32::from(limiter.allows_verify(start + Duration::from_micros(100 * tenth)));
        }
        assert_eq!(allowed, 3 * VERIFIES_PER_SECOND_MAX);
        let later = start + Duration::from_hours(1);
        assert!((0..VERIFIES_PER_SECOND_MAX).all(|_| limiter.allows_verify(later)));
        assert!(!limiter.allows_verify(later));
    }
}
