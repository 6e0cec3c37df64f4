//! Transactions that are new in the pool and not announced yet.

use std::time::{Duration, Instant};

use primitives::B256;

/// Transactions that wait, at most: as many as one announcement holds.
const FRESH_MAX: usize = 4_096;
/// How long one waits for others that came with it.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// From one announcement to the next. The first after a while goes out at once; when they come in
/// crowds, each costs no message of its own.
const PERIOD: Duration = Duration::from_millis(2);

/// What came together is announced together: while the pool is still taking in a peer's message,
/// the part of it that is in waits for the rest.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    hashes: Vec<B256>,
    since: Option<Instant>,
    next_at: Option<Instant>,
}

impl Fresh {
    /// Adds one.
    pub(super) fn add(&mut self, hash: B256, now: Instant) {
        self.hashes.push(hash);
        self.since.get_or_insert(now);
    }

    /// When the pool should be asked again; nothing is at once.
    pub(super) const fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// What is to be announced now.
    pub(super) fn take(&mut self, more_is_coming: bool, now: Instant) -> Option<Vec<B256>> {
        let since = self.since?;
        let waits =
            more_is_coming && self.hashes.len() < FRESH_MAX && now.duration_since(since) < WAIT_MAX;
        if waits {
            return None;
        }
        self.since = None;
        self.next_at = Some(now + PERIOD);
        Some(std::mem::take(&mut self.hashes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_together_is_announced_together() {
        let (mut fresh, now) = (Fresh::default(), Instant::now());
        let [one, two] = [1, 2].map(B256::repeat_byte);
        assert_eq!(fresh.take(false, now), None);
        fresh.add(one, now);
        assert_eq!(fresh.take(true, now), None);
        fresh.add(two, now);
        assert_eq!(fresh.next_at(), None);
        assert_eq!(fresh.take(false, now), Some(vec![one, two]));
        assert_eq!(fresh.next_at(), Some(now + PERIOD));
        assert_eq!(fresh.take(false, now), None);
    }

    #[test]
    fn nothing_waits_for_long_nor_in_great_numbers() {
        let (mut fresh, now) = (Fresh::default(), Instant::now());
        fresh.add(B256::ZERO, now);
        assert_eq!(fresh.take(true, now + WAIT_MAX), Some(vec![B256::ZERO]));
        for _ in 0..FRESH_MAX {
            assert_eq!(fresh.take(true, now), None);
            fresh.add(B256::ZERO, now);
        }
        assert_eq!(fresh.take(true, now).map(|hashes| hashes.len()), Some(FRESH_MAX));
    }
}
