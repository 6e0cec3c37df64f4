//! Searches nonces on this machine's processor.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use consensus::Engine;
use ethash::{Dataset, Epoch, LightCache, Progress};
use tokio::sync::{mpsc, oneshot};

use super::{Generation, Slot, slot::Task};
use crate::{Solution, WorkPackage, handle::Submission};

/// How many threads can be asked for.
pub(crate) const THREADS_MAX: usize = 256;
/// How many nonces a thread tries between two looks at the package: a few milliseconds' worth.
const CHUNK_NONCES: u64 = 2_048;
/// A capped thread tries at most this much of a second's worth of nonces at a time.
const CHUNKS_A_SECOND_MIN: u64 = 20;
/// Bytes of one item of a dataset.
const ITEM_BYTES: u64 = 64;
/// Each thread begins this far from the next, so that ranges never meet.
const RANGE_NONCES: u64 = 1 << 48;

/// What all threads share.
pub(crate) struct Search {
    pub(crate) slot: Arc<Slot>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) submissions: mpsc::Sender<Submission>,
    pub(crate) hashes: Arc<AtomicU64>,
    pub(crate) generation: Arc<Mutex<Option<Generation>>>,
    pub(crate) hashrate_max: Option<u64>,
    /// The version of the newest package that is solved: its other searchers stop.
    solved: AtomicU64,
    dataset: Mutex<Option<Arc<Dataset>>>,
}

impl Search {
    pub(crate) fn new(
        slot: Arc<Slot>,
        engine: Arc<Engine>,
        submissions: mpsc::Sender<Submission>,
        hashrate_max: Option<u64>,
    ) -> Self {
        Self {
            slot,
            engine,
            submissions,
            hashes: Arc::default(),
            generation: Arc::default(),
            hashrate_max,
            solved: AtomicU64::new(0),
            dataset: Mutex::new(None),
        }
    }

    fn dataset_lock(&self) -> MutexGuard<'_, Option<Arc<Dataset>>> {
        self.dataset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dataset of an epoch; the first thread that asks generates it with as many threads as
    /// may search, the others wait for it. `None` when told to stop.
    fn dataset(&self, epoch: Epoch) -> Option<Arc<Dataset>> {
        let cache = self.engine.cache(epoch)?;
        let mut kept = self.dataset_lock();
        if let Some(dataset) = kept.as_ref()
            && dataset.epoch() == cache.epoch()
        {
            return Some(dataset.clone());
        }
        // The old dataset goes before the new one comes: both may not fit.
        *kept = None;
        let dataset = Arc::new(self.generate(&cache)?);
        *kept = Some(dataset.clone());
        Some(dataset)
    }

    fn generate(&self, cache: &LightCache) -> Option<Dataset> {
        let epoch = cache.epoch();
        let started = Instant::now();
        let threads = self.slot.threads().clamp(1, THREADS_MAX);
        tracing::info!(
            epoch = epoch.get(),
            bytes = cache.dataset_bytes(),
            threads,
            "Generating DAG"
        );
        let progress = Arc::new(Progress::new(cache.dataset_bytes() / ITEM_BYTES));
        let generation = Generation { epoch, progress: progress.clone(), started };
        *self.generation_lock() = Some(generation);
        let stop: &AtomicBool = self.slot.interrupt();
        let dataset = Dataset::generate(cache, threads, &progress, stop);
        *self.generation_lock() = None;
        let elapsed = started.elapsed();
        match &dataset {
            Some(_) => tracing::info!(epoch = epoch.get(), ?elapsed, "Generated DAG"),
            None => tracing::info!(epoch = epoch.get(), ?elapsed, "Stopped generating DAG"),
        }
        dataset
    }

    fn generation_lock(&self) -> MutexGuard<'_, Option<Generation>> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's life.
    fn run(&self, index: usize, start: u64) {
        lower_priority();
        let mut nonce = start.wrapping_add((index as u64).wrapping_mul(RANGE_NONCES));
        let mut done = 0;
        while let Task::Search { version, package } = self.slot.wait(index, done) {
            let Some(dataset) = self.dataset(package.epoch) else { continue };
            if let Some(solution) = self.search(&package, &dataset, version, &mut nonce) {
                self.solved.fetch_max(version, Ordering::AcqRel);
                self.hand_in(solution);
            }
            done = version;
        }
    }

    fn search(
        &self,
        package: &WorkPackage,
        dataset: &Dataset,
        version: u64,
        nonce: &mut u64,
    ) -> Option<Solution> {
        let stop = self.slot.interrupt();
        while self.slot.version() == version && self.solved.load(Ordering::Acquire) < version {
            let started = Instant::now();
            let threads = self.slot.threads().max(1) as u64;
            let share = self.hashrate_max.map(|all| (all / threads).max(1));
            let count = share
                .map_or(CHUNK_NONCES, |share| (share / CHUNKS_A_SECOND_MIN).clamp(1, CHUNK_NONCES));
            let range = *nonce..nonce.saturating_add(count);
            *nonce = nonce.wrapping_add(count);
            let found =
                dataset.search(&package.seal_hash, &package.target, range, stop, &self.hashes);
            if let Some((nonce, pow)) = found {
                return Some(Solution {
                    seal_hash: package.seal_hash,
                    nonce,
                    mix_hash: pow.mix_hash,
                });
            }
            if let Some(share) = share {
                let due = Duration::from_secs_f64(count as f64 / share as f64);
                self.slot.pause(version, due.saturating_sub(started.elapsed()));
            }
        }
        None
    }

    /// A full queue means that the worker has solutions enough.
    fn hand_in(&self, solution: Solution) {
        let (accepted, _) = oneshot::channel();
        let _ = self.submissions.try_send(Submission { solution, accepted });
    }
}

/// Starts the threads. They end when the slot is closed.
///
/// # Errors
///
/// When the system refuses a thread.
pub(crate) fn start(
    search: &Arc<Search>,
    threads: usize,
    start: u64,
) -> io::Result<Vec<JoinHandle<()>>> {
    (0..threads)
        .map(|index| {
            let search = search.clone();
            thread::Builder::new()
                .name(format!("sealer-{index}"))
                .spawn(move || search.run(index, start))
        })
        .collect()
}

/// Sealing takes what is left of the processor: everything else in the node comes first.
fn lower_priority() {
    const NICEST: i32 = 19;
    // Linux applies it to the calling thread. Refusal costs fairness, not correctness.
    if let Err(error) = rustix::process::setpriority_process(None, NICEST) {
        tracing::debug!(%error, "Sealer keeps its priority");
    }
}
