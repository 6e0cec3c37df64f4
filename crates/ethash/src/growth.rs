//! A dataset in the making, which can already be searched.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use alloy_primitives::B256;

use crate::dataset::{CHUNK_ITEMS, items_in_flight};
use crate::kernel::{Growing, GrowingSearch, Memory};
use crate::{Epoch, LightCache, Pow, Progress, Target};

/// Items in a page.
const PAGE_ITEMS: usize = 2;
/// Pages that a thread makes at a time.
const CHUNK_PAGES: usize = CHUNK_ITEMS / PAGE_ITEMS;

/// A dataset in the making.
///
/// A search of it makes the pages that it misses, so it begins at the speed of the cache and ends
/// at that of the dataset; and none of its work is lost for the dataset.
pub struct Growth<'a> {
    cache: &'a LightCache,
    growing: Growing,
    /// The pages before this one are made, or being made.
    cursor: AtomicUsize,
    progress: &'a Progress,
}

impl fmt::Debug for Growth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growth").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl<'a> Growth<'a> {
    pub(crate) fn new(cache: &'a LightCache, memory: Memory, progress: &'a Progress) -> Self {
        Self { cache, growing: Growing::new(memory), cursor: AtomicUsize::new(0), progress }
    }

    pub(crate) fn into_memory(self) -> Memory {
        self.growing.into_memory()
    }

    /// The epoch it belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.cache.epoch()
    }

    /// Which part of it is made, from 0 to 1.
    #[must_use]
    pub fn made(&self) -> f64 {
        self.progress.done() as f64 / (self.growing.len() * PAGE_ITEMS) as f64
    }

    /// Makes the next pages that nobody asked for yet: about a millisecond's work. Returns whether
    /// there were any left.
    pub fn grow(&self) -> bool {
        let first = self.cursor.fetch_add(CHUNK_PAGES, Ordering::Relaxed);
        let until = self.growing.len().min(first.saturating_add(CHUNK_PAGES));
        if first >= until {
            return false;
        }
        let claims: Vec<_> =
            (first..until).filter_map(|page| self.growing.claim(page as u32)).collect();
        let in_flight = items_in_flight(self.cache);
        self.cache.instructions().fill_pages(&self.cache.light(), in_flight, &claims);
        self.progress.add((claims.len() * PAGE_ITEMS) as u64);
        true
    }

    /// Looks for a nonce of a range whose result meets the target, not always the lowest; or `None`
    /// if there is none or it is over, which is asked every few milliseconds. Adds the nonces tried
    /// to `hashes` as it goes.
    #[must_use]
    pub fn search(
        &self,
        seal_hash: &B256,
        target: &Target,
        nonces: Range<u64>,
        is_over: &dyn Fn() -> bool,
        hashes: &AtomicU64,
    ) -> Option<(u64, Pow)> {
        let search = GrowingSearch { seal_hash, target, nonces, is_over, hashes };
        let (light, in_flight) = (self.cache.light(), items_in_flight(self.cache));
        let made = &|pages: usize| self.progress.add((pages * PAGE_ITEMS) as u64);
        let instructions = self.cache.instructions();
        instructions.search_growing(&self.growing, &light, in_flight, &search, made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use alloy_primitives::U256;

    use super::*;
    use crate::dataset::fill;
    use crate::{Dataset, Effort};

    fn target(difficulty: u64) -> Target {
        Target::from_difficulty(U256::from(difficulty)).unwrap()
    }

    /// What a search of a growing dataset finds, and the dataset that it becomes.
    fn grown(
        cache: &LightCache,
        threads: usize,
        meanwhile: &(dyn Fn(&Growth<'_>) + Sync),
    ) -> Dataset {
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        let effort = Effort { meanwhile, ..Effort::new(threads, &progress, &stop) };
        let dataset = Dataset::generate(cache, effort).unwrap().unwrap();
        assert_eq!(progress.done(), progress.total());
        dataset
    }

    #[test]
    fn what_is_found_meanwhile_is_a_proof() {
        let cache = LightCache::tiny();
        for difficulty in [1, 2, 100, 1_000] {
            grown(&cache, 2, &|growth| {
                let hashes = AtomicU64::new(0);
                let seal_hash = B256::repeat_byte(difficulty as u8);
                let target = target(difficulty);
                let (nonce, pow) =
                    growth.search(&seal_hash, &target, 7..u64::MAX, &|| false, &hashes).unwrap();
                assert_eq!(pow, cache.hashimoto(&seal_hash, nonce));
                assert!(nonce >= 7 && target.is_met_by(&pow.result));
                assert!(hashes.into_inner() > 0);
            });
        }
    }

    #[test]
    fn every_nonce_is_tried_once() {
        let cache = LightCache::tiny();
        for count in [0, 1, 7, 8, 255, 256, 257, 1_000] {
            grown(&cache, 1, &|growth| {
                let hashes = AtomicU64::new(0);
                let nonces = u64::MAX - count..u64::MAX;
                let hardest = target(u64::MAX);
                let found = growth.search(&B256::ZERO, &hardest, nonces, &|| false, &hashes);
                assert_eq!((found, hashes.into_inner()), (None, count));
            });
        }
    }

    #[test]
    fn a_dataset_that_was_searched_meanwhile_is_the_same() {
        let cache = LightCache::tiny();
        let mut expected = vec![[0; 16]; 512];
        fill(&cache, 0, &mut expected);
        for count in [1, 2, 3, 10_000] {
            let dataset = grown(&cache, 3, &|growth| {
                let hardest = target(u64::MAX);
                let hashes = AtomicU64::new(0);
                assert!(
                    growth.search(&B256::ZERO, &hardest, 0..count, &|| false, &hashes).is_none()
                );
                assert!(growth.made() > 0.0);
            });
            assert_eq!(dataset.items(), expected);
        }
    }

    #[test]
    fn a_search_that_is_over_ends_and_the_dataset_goes_on() {
        let cache = LightCache::tiny();
        let dataset = grown(&cache, 2, &|growth| {
            let hashes = AtomicU64::new(0);
            let found =
                growth.search(&B256::ZERO, &target(u64::MAX), 0..u64::MAX, &|| true, &hashes);
            assert_eq!(found, None);
        });
        assert_eq!(dataset.hashimoto(&B256::ZERO, 1), cache.hashimoto(&B256::ZERO, 1));
    }
}
