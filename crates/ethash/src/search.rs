//! The search for a nonce.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64};

use alloy_primitives::B256;

use crate::kernel::Search;
use crate::{Dataset, Pow, Target};

impl Dataset {
    /// Looks for the lowest nonce of a range whose result meets the target, or `None` if there is
    /// none or it was told to stop.
    ///
    /// It looks at `stop` at least every 10 ms, and adds the nonces tried to `hashes` as it goes.
    #[must_use]
    pub fn search(
        &self,
        seal_hash: &B256,
        target: &Target,
        nonces: Range<u64>,
        stop: &AtomicBool,
        hashes: &AtomicU64,
    ) -> Option<(u64, Pow)> {
        let search = Search { seal_hash, target, nonces, stop, hashes };
        self.instructions().search(&self.full(), &search)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use alloy_primitives::U256;

    use super::*;
    use crate::LightCache;

    fn target(difficulty: u64) -> Target {
        Target::from_difficulty(U256::from(difficulty)).unwrap()
    }

    #[test]
    fn finds_nothing_where_nothing_is_and_counts_every_nonce() {
        let dataset = LightCache::tiny().dataset();
        for count in [0, 1, 7, 8, 9, 95, 96, 97, 1_000] {
            let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
            let nonces = u64::MAX - count..u64::MAX;
            let found = dataset.search(&B256::ZERO, &target(u64::MAX), nonces, &stop, &hashes);
            assert_eq!((found, hashes.into_inner()), (None, count));
        }
    }

    #[test]
    fn does_not_look_beyond_the_range() {
        let dataset = LightCache::tiny().dataset();
        let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
        let all = |nonces| dataset.search(&B256::ZERO, &target(100), nonces, &stop, &hashes);
        let (nonce, pow) = all(0..10_000).unwrap();
        assert_eq!(all(0..nonce), None);
        assert_eq!(all(nonce..nonce + 1), Some((nonce, pow)));
        assert_ne!(all(nonce + 1..10_000), Some((nonce, pow)));
    }

    #[test]
    fn stops_when_told() {
        let dataset = LightCache::tiny().dataset();
        let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let search = scope.spawn(|| {
                dataset.search(&B256::ZERO, &target(u64::MAX), 0..u64::MAX, &stop, &hashes)
            });
            while hashes.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            assert_eq!(search.join().unwrap(), None);
        });
    }
}
