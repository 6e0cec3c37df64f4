//! How often who may be wrong.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Wrong secrets of one address in a second; then it is told to wait.
pub const TRIES_PER_SECOND_MAX: u32 = 10;
/// Addresses that are remembered, a second each. All others are taken for one.
pub const TRIED_ADDRESSES_MAX: usize = 4_096;

/// How long a wrong secret counts.
const MEMORY: Duration = Duration::from_secs(1);
/// Leading bits of an IPv6 address that are somebody's; the others are what they like.
const NETWORK_BITS: u32 = 64;

/// Who was wrong within the last second.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<HashMap<IpAddr, Wrong>>);

#[derive(Debug)]
struct Wrong {
    since: Instant,
    count: u32,
}

impl Tries {
    /// Whether one more secret of this address is looked at.
    pub(super) fn may(&self, from: IpAddr, now: Instant) -> bool {
        let tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network(from);
        let known = tries.get(&from).or_else(|| {
            let is_full = tries.len() > TRIED_ADDRESSES_MAX;
            is_full.then(|| tries.get(&OTHERS)).flatten()
        });
        known.is_none_or(|wrong| wrong.is_old(now) || wrong.count < TRIES_PER_SECOND_MAX)
    }

    /// A secret was wrong; false if that was one too many.
    pub(super) fn failed(&self, from: IpAddr, now: Instant) -> bool {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = network(from);
        if !tries.contains_key(&from) && tries.len() >= TRIED_ADDRESSES_MAX {
            tries.retain(|_, wrong| !wrong.is_old(now));
            if tries.len() >= TRIED_ADDRESSES_MAX {
                from = OTHERS;
            }
        }
        let wrong = tries.entry(from).or_insert(Wrong { since: now, count: 0 });
        if wrong.is_old(now) {
            *wrong = Wrong { since: now, count: 0 };
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.count <= TRIES_PER_SECOND_MAX
    }
}

impl Wrong {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= MEMORY
    }
}

/// No connection comes from there.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Whose address it is.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - NETWORK_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn ten_wrong_secrets_a_second_and_no_more() {
        let (tries, now) = (Tries::default(), Instant::now());
        for number in 0..TRIES_PER_SECOND_MAX {
            assert!(tries.may(address(1), now) && tries.failed(address(1), now), "{number}");
        }
        assert!(!tries.may(address(1), now));
        assert!(!tries.failed(address(1), now));
        // It is one of them who has to wait, and not for long.
        assert!(tries.may(address(2), now) && tries.failed(address(2), now));
        let later = now + MEMORY;
        assert!(tries.may(address(1), later) && tries.failed(address(1), later));
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let (tries, now) = (Tries::default(), Instant::now());
        let neighbour = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, last]);
        for last in 0..10 {
            assert!(tries.failed(neighbour(last), now));
        }
        assert!(!tries.may(neighbour(99), now));
        assert!(tries.may(IpAddr::from([0x2001, 0xdb8, 0, 8, 0, 0, 0, 1]), now));
        let mapped = IpAddr::V6("::ffff:10.0.0.1".parse().unwrap());
        for _ in 0..TRIES_PER_SECOND_MAX {
            assert!(tries.failed(mapped, now));
        }
        assert!(!tries.may(address(1), now));
    }

    #[test]
    fn the_table_does_not_grow_with_the_addresses() {
        let (tries, now) = (Tries::default(), Instant::now());
        let count = u32::try_from(TRIED_ADDRESSES_MAX).unwrap();
        for number in 0..3 * count {
            tries.failed(address(number), now);
        }
        assert_eq!(tries.0.lock().unwrap().len(), TRIED_ADDRESSES_MAX + 1);
        // Those that are not remembered share what one may do.
        assert!(!tries.may(address(3 * count), now));
        assert!(tries.may(address(1), now));
        let later = now + MEMORY;
        assert!(tries.may(address(3 * count), later) && tries.failed(address(3 * count), later));
        assert_eq!(tries.0.lock().unwrap().len(), 1);
    }
}
