//! Whose clock is off: what the ends of packets say.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{PeerId, is_lan};

/// Nodes whose clock is remembered; the oldest gives way.
pub const CLOCKS_MAX: usize = 512;
/// How long a reading of a clock counts.
pub const CLOCK_PERIOD: Duration = Duration::from_mins(10);
/// Nodes that must agree that our own clock is off, and be the most of all.
pub const CLOCK_WITNESSES_MIN: usize = 3;
/// A clock that is behind by more makes its packets end before they arrive.
pub const BEHIND_SECONDS_MAX: i64 = 20;
/// Where a clock seems to be ahead by less, the packets may just hold for longer than geth's 20 s:
/// Besu's hold 60.
pub const AHEAD_SECONDS_MAX: i64 = 45;

/// Who asks for a clock makes pings that hold for longer than any other (`clock_of`): a clock that
/// seems to be ahead by more is none.
const READABLE_SECONDS_MAX: i64 = 15 * 60;
/// What is further off is no clock.
const SECONDS_MAX: i64 = 100 * 366 * 24 * 60 * 60;

/// A node whose clock is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// The node.
    pub id: PeerId,
    /// Where it is.
    pub at: SocketAddr,
    /// By how many seconds its clock is ahead of ours; behind, if negative.
    pub seconds: i64,
    /// Whether it is one of the nodes to begin with.
    pub is_bootnode: bool,
}

/// The clocks of others.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    readings: HashMap<SocketAddr, Reading>,
    is_told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    id: PeerId,
    at: SocketAddr,
    seconds: i64,
    time: Instant,
}

/// How far a clock is ahead of ours if a packet that it made now ends at `expiration`; `None` if
/// that is the time of no clock. `wall` is the Unix time in seconds.
pub(crate) fn seconds_ahead(expiration: u64, wall: u64) -> Option<i64> {
    let own_end = wall.checked_add(super::EXPIRATION_SECONDS)?;
    let seconds = i64::try_from(i128::from(expiration) - i128::from(own_end)).ok()?;
    (seconds.abs() <= SECONDS_MAX).then_some(seconds)
}

/// Whether a clock that is ahead by so many seconds is so far off that packets are lost by it.
#[must_use]
pub fn is_off(seconds: i64) -> bool {
    !(-BEHIND_SECONDS_MAX..=AHEAD_SECONDS_MAX).contains(&seconds)
}

impl Clocks {
    /// Notes a reading of a node's clock. Outside of the LAN an address has one, however many nodes
    /// it has. If it makes most of the nodes say that our own clock is off: by how many seconds it
    /// is ahead. That is said once, until they say something else.
    pub(super) fn note(
        &mut self,
        id: PeerId,
        at: SocketAddr,
        seconds: i64,
        now: Instant,
    ) -> Option<i64> {
        if seconds > READABLE_SECONDS_MAX {
            return None;
        }
        let source = if is_lan(at.ip()) { at } else { SocketAddr::new(at.ip(), 0) };
        if self.readings.len() >= CLOCKS_MAX && !self.readings.contains_key(&source) {
            let oldest = self.readings.iter().min_by_key(|(_, reading)| reading.time);
            let oldest = oldest.map(|(source, _)| *source);
            oldest.and_then(|oldest| self.readings.remove(&oldest));
        }
        self.readings.insert(source, Reading { id, at, seconds, time: now });
        let own = self.own_seconds(now);
        let is_new = own.is_some() && !self.is_told;
        self.is_told = own.is_some();
        own.filter(|_| is_new)
    }

    /// The nodes whose clock is off.
    pub(super) fn skews(&self, now: Instant) -> Vec<Skew> {
        let off = self.fresh(now).filter(|reading| is_off(reading.seconds));
        let skew = |&Reading { id, at, seconds, .. }: &Reading| Skew {
            id,
            at,
            seconds,
            is_bootnode: false,
        };
        off.map(skew).collect()
    }

    /// By how many seconds our own clock is ahead, if the most say so.
    pub(super) fn own_seconds(&self, now: Instant) -> Option<i64> {
        let all = self.fresh(now).count();
        let off = |is_ahead: bool| {
            let off = self.fresh(now).map(|reading| reading.seconds).filter(|s| is_off(*s));
            let mut seconds: Vec<i64> = off.filter(|s| (*s > 0) == is_ahead).collect();
            seconds.sort_unstable();
            seconds
        };
        let agree = |off: &Vec<i64>| off.len() >= CLOCK_WITNESSES_MIN && 2 * off.len() > all;
        let agreed = [true, false].into_iter().map(off).find(agree)?;
        Some(-agreed[agreed.len() / 2])
    }

    fn fresh(&self, now: Instant) -> impl Iterator<Item = &Reading> {
        let age = move |reading: &Reading| now.saturating_duration_since(reading.time);
        self.readings.values().filter(move |reading| age(reading) < CLOCK_PERIOD)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.readings.len()
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;

    fn id() -> PeerId {
        PeerId::of(&SecretKey::from_slice(&[1; 32]).unwrap())
    }

    fn at(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    #[test]
    fn the_end_of_a_packet_tells_the_clock_it_was_made_by() {
        let wall = 1_700_000_000;
        for (expiration, seconds) in [
            (wall + 20, Some(0)),
            (wall + 82, Some(62)),
            (wall - 42, Some(-62)),
            // A machine without a battery is in 1970.
            (20, Some(-1_700_000_000)),
            (u64::MAX, None),
            (wall + 4_000_000_000, None),
        ] {
            assert_eq!(seconds_ahead(expiration, wall), seconds, "{expiration}");
        }
        assert_eq!(seconds_ahead(20, u64::MAX), None);
        for (seconds, off) in [(0, false), (-20, false), (-21, true), (45, false), (46, true)] {
            assert_eq!(is_off(seconds), off, "{seconds}");
        }
    }

    #[test]
    fn our_own_clock_is_doubted_once_when_most_disagree_in_one_direction() {
        let (mut clocks, now) = (Clocks::default(), Instant::now());
        for port in 1..=2 {
            assert_eq!(clocks.note(id(), at("10.0.0.1", port), 0, now), None);
        }
        for (port, seconds) in [(3, 58), (4, 61), (5, -70)] {
            assert_eq!(clocks.note(id(), at("10.0.0.1", port), seconds, now), None);
        }
        assert_eq!(clocks.note(id(), at("10.0.0.1", 6), 60, now), None, "three of six");
        assert_eq!(clocks.note(id(), at("10.0.0.1", 7), 60, now), Some(-60));
        assert_eq!(clocks.note(id(), at("10.0.0.1", 8), 60, now), None, "it was said");
        for port in 3..=8 {
            assert_eq!(clocks.note(id(), at("10.0.0.1", port), 1, now), None);
        }
        assert_eq!(clocks.skews(now), []);
        let later = now + CLOCK_PERIOD;
        let said: Vec<_> =
            (1..=3).map(|port| clocks.note(id(), at("10.0.0.2", port), -90, later)).collect();
        assert_eq!(said, [None, None, Some(90)], "old readings do not count");
    }

    #[test]
    fn a_ping_that_asks_for_the_clock_says_nothing_about_one() {
        let (mut clocks, now) = (Clocks::default(), Instant::now());
        for port in 1..=5 {
            assert_eq!(clocks.note(id(), at("10.0.0.1", port), 30 * 60 - 20, now), None);
        }
        assert_eq!(clocks.len(), 0);
    }

    #[test]
    fn an_address_outside_of_the_lan_has_one_clock() {
        let (mut clocks, now) = (Clocks::default(), Instant::now());
        for port in 1..1_000 {
            assert_eq!(clocks.note(id(), at("8.8.8.8", port), 90, now), None);
        }
        assert_eq!(clocks.len(), 1);
    }

    #[test]
    fn clocks_are_bounded_and_the_oldest_is_forgotten() {
        let (mut clocks, now) = (Clocks::default(), Instant::now());
        let most = u16::try_from(CLOCKS_MAX).unwrap();
        for port in 1..=most + 1 {
            let time = now + Duration::from_millis(port.into());
            clocks.note(id(), at("10.0.0.1", port), 90, time);
        }
        assert_eq!(clocks.len(), CLOCKS_MAX);
        let skews = clocks.skews(now);
        assert!(!skews.iter().any(|skew| skew.at.port() == 1));
        assert!(skews.iter().any(|skew| skew.at.port() == most + 1));
    }
}
