//! The dataset ("DAG"): 1 GiB and more that make a search fast.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;

use alloy_primitives::B256;

use crate::kernel::{Full, Instructions, Memory, MemoryError, Modulo, RandomReads, Row};
use crate::{Epoch, Growth, LightCache, Pow};

/// Items that a thread makes before it looks at the stop flag: about a millisecond, and a few times
/// that where the processor has no vectors. Under a quota every millisecond takes several.
pub(crate) const CHUNK_ITEMS: usize = 2_048;
/// Items by which the time for all is judged.
const SAMPLE_ITEMS: usize = 4_096;
/// Items in flight while the cache is close.
const ITEMS_IN_FLIGHT_CLOSE: usize = 64;
/// Items in flight when rows come from main memory.
const ITEMS_IN_FLIGHT_FAR: usize = 128;

/// What the memory of a dataset is for, in errors.
pub(crate) const MEMORY_PURPOSE: &str = "the dataset";

/// How far the generation of a dataset has come, or the check of its file. To be shared while it
/// runs.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

/// What is being done about a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its items are made.
    Generating,
    /// Its file is read and checked.
    Checking,
    /// Another process makes its file.
    Waiting,
}

impl Progress {
    /// A generation that makes this many items; [`Dataset::generate`] corrects the number.
    #[must_use]
    pub const fn new(total: u64) -> Self {
        Self { phase: AtomicU8::new(0), done: AtomicU64::new(0), total: AtomicU64::new(total) }
    }

    /// What is being done.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            1 => Phase::Checking,
            2 => Phase::Waiting,
            _ => Phase::Generating,
        }
    }

    /// Items of 64 bytes that are made or checked.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Items of 64 bytes that the dataset will have; 0 if nothing has begun.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Begins anew with another phase.
    pub(crate) fn begin(&self, phase: Phase, total: u64) {
        let number = match phase {
            Phase::Generating => 0,
            Phase::Checking => 1,
            Phase::Waiting => 2,
        };
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.phase.store(number, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, items: u64) {
        self.done.fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.done() == self.total()
    }
}

/// How the work on a dataset is to be done, and whom to listen and talk to.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// On how many threads, at least one.
    pub threads: usize,
    /// Where to tell how far it is.
    pub progress: &'a Progress,
    /// Looked at every few milliseconds.
    pub stop: &'a AtomicBool,
    /// What each thread does first if the dataset must be made in private memory. It may search
    /// what there is of it.
    pub meanwhile: &'a (dyn Fn(&Growth<'_>) + Sync),
}

impl fmt::Debug for Effort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effort").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl<'a> Effort<'a> {
    /// Work on this many threads, which have nothing else to do.
    #[must_use]
    pub fn new(threads: usize, progress: &'a Progress, stop: &'a AtomicBool) -> Self {
        Self { threads, progress, stop, meanwhile: &|_| {} }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The dataset of one epoch: what a search reads.
pub struct Dataset {
    epoch: Epoch,
    memory: Memory,
    page_of: Modulo,
    instructions: Instructions,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Dataset {
    /// Makes the dataset of a cache, or `None` if it was told to stop. It stops within 100 ms.
    ///
    /// It needs [`LightCache::dataset_bytes`] of memory.
    ///
    /// # Errors
    ///
    /// If the system refuses the memory.
    pub fn generate(cache: &LightCache, effort: Effort<'_>) -> Result<Option<Self>, MemoryError> {
        let Effort { threads, progress, stop, meanwhile } = effort;
        let memory = Self::memory(cache)?;
        progress.begin(Phase::Generating, memory.rows().len() as u64);
        let growth = Growth::new(cache, memory, progress);
        on_threads(threads, &|| {
            meanwhile(&growth);
            while !stop.load(Ordering::Relaxed) && growth.grow() {}
        });
        Ok(progress.is_complete().then(|| Self::new(cache, growth.into_memory())))
    }

    /// Private memory for the dataset of a cache.
    pub(crate) fn memory(cache: &LightCache) -> Result<Memory, MemoryError> {
        Memory::zeroed(cache.dataset_bytes() as usize, MEMORY_PURPOSE)
    }

    /// The dataset of a cache, which is in this memory.
    pub(crate) fn new(cache: &LightCache, memory: Memory) -> Self {
        assert_eq!(size_of_val(memory.rows()) as u64, cache.dataset_bytes(), "it fits");
        Self {
            epoch: cache.epoch(),
            memory,
            page_of: cache.page_of(),
            instructions: cache.instructions(),
        }
    }

    /// What its memory is made of: `huge-explicit`, `huge-transparent` (asked for; how many the
    /// system found is not known), `small` or `file`.
    #[must_use]
    pub const fn pages(&self) -> &'static str {
        self.memory.kind().name()
    }

    /// The epoch it belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn items(&self) -> &[Row] {
        self.memory.rows()
    }

    /// The proof of work of a seal hash and a nonce.
    #[must_use]
    pub fn hashimoto(&self, seal_hash: &B256, nonce: u64) -> Pow {
        self.instructions.full_one(&self.full(), seal_hash, nonce)
    }

    /// Random reads of its pages, to measure the memory.
    #[must_use]
    pub fn random_reads(&self) -> RandomReads<'_> {
        RandomReads::new(self.memory.pages())
    }

    pub(crate) const fn instructions(&self) -> Instructions {
        self.instructions
    }

    pub(crate) fn full(&self) -> Full<'_> {
        Full { pages: self.memory.pages(), page_of: self.page_of }
    }
}

impl LightCache {
    /// Makes some thousand items and throws them away, for whoever wants to know how long all of
    /// them take: a hundredth of a second or so. Returns which share of the dataset they are.
    #[must_use]
    pub fn make_sample(&self) -> f64 {
        let mut items = vec![[0; 16]; SAMPLE_ITEMS];
        fill(self, 0, &mut items);
        size_of_val(&*items) as f64 / self.dataset_bytes() as f64
    }
}

/// Makes the items of a dataset from number `first` on.
pub(crate) fn fill(cache: &LightCache, first: usize, items: &mut [Row]) {
    cache.instructions().fill_items(&cache.light(), first as u32, items_in_flight(cache), items);
}

/// How many items of a cache are made at once.
pub(crate) fn items_in_flight(cache: &LightCache) -> usize {
    if cache.is_close() { ITEMS_IN_FLIGHT_CLOSE } else { ITEMS_IN_FLIGHT_FAR }
}

/// Does the same work on this many threads at once, or on as many as the system gives.
pub(crate) fn on_threads(threads: usize, work: &(dyn Fn() + Sync)) {
    thread::scope(|scope| {
        for _ in 1..threads {
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    impl LightCache {
        /// The whole dataset of a small cache.
        pub(crate) fn dataset(&self) -> Dataset {
            let stop = AtomicBool::new(false);
            Dataset::generate(self, Effort::new(2, &Progress::default(), &stop)).unwrap().unwrap()
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
        let stop = AtomicBool::new(false);
        let made = Dataset::generate(&LightCache::tiny(), Effort::new(1, &progress, &stop))
            .unwrap()
            .unwrap();
        assert_eq!((progress.done(), progress.total()), (512, 512));
        assert_eq!(made.full().pages.len(), 256);
    }

    #[test]
    fn a_sample_is_a_small_share_of_a_dataset() {
        let share = LightCache::generate(Epoch::new(0)).make_sample();
        assert!((0.0001..0.001).contains(&share), "{share}");
    }

    #[test]
    fn makes_nothing_when_told_to_stop() {
        let progress = Progress::default();
        let cache = LightCache::tiny();
        let stop = AtomicBool::new(true);
        assert!(Dataset::generate(&cache, Effort::new(2, &progress, &stop)).unwrap().is_none());
        assert_eq!((progress.done(), progress.total()), (0, 512));
    }

    #[test]
    fn stops_soon_in_the_middle() {
        let cache = LightCache::generate(Epoch::new(0));
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            let generation =
                scope.spawn(|| Dataset::generate(&cache, Effort::new(2, &progress, &stop)));
            while progress.done() == 0 {
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            assert!(generation.join().unwrap().unwrap().is_none());
        });
        assert!(progress.done() < progress.total());
    }
}
