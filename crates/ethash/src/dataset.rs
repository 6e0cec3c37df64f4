//! The dataset ("DAG"): 1 GiB and more that make a search fast.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use alloy_primitives::B256;

use crate::kernel::{Full, Instructions, Memory, Modulo, Page};
use crate::{Epoch, LightCache, Pow};

/// Items that a thread makes before it looks at the stop flag: a few milliseconds.
const CHUNK_ITEMS: usize = 8_192;
/// Items in flight while the cache is close.
const ITEMS_IN_FLIGHT_CLOSE: usize = 64;
/// Items in flight when rows come from main memory.
const ITEMS_IN_FLIGHT_FAR: usize = 128;

/// How many pages [`Dataset::write_to`] hands out at once.
const PIECE_PAGES: usize = 512;

/// How far the generation of a dataset has come. To be shared while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// A generation that makes this many items; [`Dataset::generate`] corrects the number.
    #[must_use]
    pub const fn new(total: u64) -> Self {
        Self { done: AtomicU64::new(0), total: AtomicU64::new(total) }
    }

    /// Items of 64 bytes that are made.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Items of 64 bytes that the dataset will have; 0 if the generation has not begun.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// The dataset of one epoch: what a search reads.
pub struct Dataset {
    epoch: Epoch,
    memory: Memory,
    page_of: Modulo,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Dataset {
    /// Makes the dataset of a cache on this many threads (at least one), or `None` if it was told
    /// to stop. It stops within 100 ms.
    ///
    /// It needs [`LightCache::dataset_bytes`] of memory; like any allocation, it aborts the
    /// process if the system refuses.
    pub fn generate(
        cache: &LightCache,
        threads: usize,
        progress: &Progress,
        stop: &AtomicBool,
    ) -> Option<Self> {
        let mut memory = Memory::zeroed(cache.dataset_bytes() as usize);
        let items = memory.rows_mut();
        progress.done.store(0, Ordering::Relaxed);
        progress.total.store(items.len() as u64, Ordering::Relaxed);

        let in_flight = if cache.is_close() { ITEMS_IN_FLIGHT_CLOSE } else { ITEMS_IN_FLIGHT_FAR };
        let chunks = Mutex::new(items.chunks_mut(CHUNK_ITEMS).enumerate());
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let next = chunks.lock().expect("no thread panics with the lock held").next();
                let Some((at, chunk)) = next else { return };
                Instructions::best().fill_items(
                    &cache.light(),
                    (at * CHUNK_ITEMS) as u32,
                    in_flight,
                    chunk,
                );
                progress.done.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        let complete = progress.done() == progress.total();
        complete.then(|| Self { epoch: cache.epoch(), memory, page_of: cache.page_of() })
    }

    /// The epoch it belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Hands out the dataset in order, as little-endian words, in pieces of some KiB.
    ///
    /// # Errors
    ///
    /// The first that `out` returns.
    pub fn write_to<E>(&self, out: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut piece = Vec::with_capacity(PIECE_PAGES * size_of::<Page>());
        for pages in self.memory.pages().chunks(PIECE_PAGES) {
            piece.clear();
            piece.extend(pages.iter().flatten().flat_map(|word| word.to_le_bytes()));
            out(&piece)?;
        }
        Ok(())
    }

    /// The proof of work of a seal hash and a nonce.
    #[must_use]
    pub fn hashimoto(&self, seal_hash: &B256, nonce: u64) -> Pow {
        Instructions::best().full_one(&self.full(), seal_hash, nonce)
    }

    pub(crate) fn full(&self) -> Full<'_> {
        Full { pages: self.memory.pages(), page_of: self.page_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl LightCache {
        /// The whole dataset of a small cache.
        pub(crate) fn dataset(&self) -> Dataset {
            Dataset::generate(self, 2, &Progress::default(), &AtomicBool::new(false)).unwrap()
        }
    }

    #[test]
    fn proofs_from_a_dataset_are_those_from_its_cache() {
        let cache = LightCache::tiny();
        let dataset = cache.dataset();
        assert_eq!(dataset.epoch(), cache.epoch());
        for nonce in 0..100 {
            let seal_hash = B256::repeat_byte(nonce as u8);
            assert_eq!(dataset.hashimoto(&seal_hash, nonce), cache.hashimoto(&seal_hash, nonce));
        }
    }

    #[test]
    fn progress_ends_at_its_total() {
        let progress = Progress::new(1);
        let made =
            Dataset::generate(&LightCache::tiny(), 1, &progress, &AtomicBool::new(false)).unwrap();
        assert_eq!((progress.done(), progress.total()), (512, 512));
        assert_eq!(made.full().pages.len(), 256);
    }

    #[test]
    fn makes_nothing_when_told_to_stop() {
        let progress = Progress::default();
        let cache = LightCache::tiny();
        assert!(Dataset::generate(&cache, 2, &progress, &AtomicBool::new(true)).is_none());
        assert_eq!((progress.done(), progress.total()), (0, 512));
    }

    #[test]
    fn stops_soon_in_the_middle() {
        let cache = LightCache::generate(Epoch::new(0));
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            let generation = scope.spawn(|| Dataset::generate(&cache, 2, &progress, &stop));
            while progress.done() == 0 {
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            assert!(generation.join().unwrap().is_none());
        });
        assert!(progress.done() < progress.total());
    }
}
