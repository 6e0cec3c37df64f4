//! How often a transaction may take another's place and be passed on.
//!
//! Each replacement pays only a tenth more than the one before, and all but the last are never
//! mined: passed on at once, a hundred of them cost the network a hundred times what the sender pays
//! for.

use std::time::{Duration, Instant};

use primitives::{Address, B256, map::HashMap};

/// How many transactions of one nonce are passed on at once.
const BURST: u32 = 4;
/// After those, one is in such a period: the newest.
const PERIOD: Duration = Duration::from_secs(30);
/// How many nonces are looked after. The pool holds fewer transactions; beyond, all is passed on.
const SLOTS_MAX: usize = 32_768;

/// A nonce of a sender.
pub type Slot = (Address, u64);

/// What was passed on for which nonce.
#[derive(Debug, Default)]
pub struct Replacements {
    slots: HashMap<Slot, Passed>,
}

#[derive(Debug)]
struct Passed {
    last: B256,
    /// Waits until it may be passed on.
    kept: Option<B256>,
    /// When as many as [`BURST`] may be passed on again.
    rested: Instant,
}

impl Passed {
    fn may_follow(&self, now: Instant) -> bool {
        self.rested.saturating_duration_since(now) <= PERIOD * (BURST - 1)
    }
}

impl Replacements {
    /// Whether a transaction may be passed on now. If not, it is kept for [`Self::due`].
    pub fn admits(&mut self, slot: Slot, hash: B256, now: Instant) -> bool {
        let Some(passed) = self.slots.get_mut(&slot) else {
            if self.slots.len() < SLOTS_MAX {
                let first = Passed { last: hash, kept: None, rested: now + PERIOD };
                self.slots.insert(slot, first);
            }
            return true;
        };
        if passed.last == hash {
            return true;
        }
        if !passed.may_follow(now) {
            passed.kept = Some(hash);
            return false;
        }
        *passed = Passed { last: hash, kept: None, rested: passed.rested.max(now) + PERIOD };
        true
    }

    /// What was kept and may be passed on now.
    pub fn due(&mut self, now: Instant) -> Vec<B256> {
        let ready = self.slots.values_mut().filter(|passed| passed.may_follow(now));
        let due = ready.filter_map(|passed| passed.kept.take()).collect();
        self.slots.retain(|_, passed| passed.rested > now || passed.kept.is_some());
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = (Address::repeat_byte(1), 7);

    fn hash(n: u8) -> B256 {
        B256::repeat_byte(n)
    }

    #[test]
    fn a_few_replacements_are_passed_on_at_once_and_then_the_newest_in_each_period() {
        let (mut replacements, start) = (Replacements::default(), Instant::now());
        let admitted = (1..=100).filter(|n| replacements.admits(SLOT, hash(*n), start)).count();
        assert_eq!(admitted, 4);
        assert!(replacements.admits((SLOT.0, 8), hash(1), start), "another nonce is its own");
        assert!(replacements.due(start + PERIOD - Duration::from_millis(1)).is_empty());
        let then = start + PERIOD;
        assert_eq!(replacements.due(then), [hash(100)]);
        assert!(replacements.admits(SLOT, hash(100), then));
        assert!(replacements.admits(SLOT, hash(100), then), "it may come back after a reorg");
        assert!(!replacements.admits(SLOT, hash(101), then));
    }

    #[test]
    fn a_hundred_in_as_many_seconds_are_passed_on_seven_times() {
        let (mut replacements, start) = (Replacements::default(), Instant::now());
        let mut passed = 0;
        for n in 0..100 {
            let now = start + Duration::from_secs(n.into());
            for hash in replacements.due(now).into_iter().chain([hash(n)]) {
                passed += u32::from(replacements.admits(SLOT, hash, now));
            }
        }
        assert_eq!(passed, 7);
    }

    #[test]
    fn who_rests_is_forgotten_and_the_memory_is_bounded() {
        let (mut replacements, start) = (Replacements::default(), Instant::now());
        for nonce in 0..2 * u64::try_from(SLOTS_MAX).unwrap() {
            assert!(replacements.admits((SLOT.0, nonce), hash(1), start));
        }
        assert_eq!(replacements.slots.len(), SLOTS_MAX);
        assert!(replacements.due(start + PERIOD).is_empty());
        assert!(replacements.slots.is_empty());
    }
}
