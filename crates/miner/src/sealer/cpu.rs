//! Searches nonces on this machine's processor.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ethash::Dataset;
use tokio::sync::{mpsc, oneshot};

use super::{Datasets, Slot, slot::Task};
use crate::{Solution, WorkPackage, handle::Submission};

/// How many threads can be asked for.
pub(crate) const THREADS_MAX: usize = 256;
/// How many nonces a thread tries between two looks at the package: a few milliseconds' worth.
const CHUNK_NONCES: u64 = 2_048;
/// A capped thread tries at most this much of a second's worth of nonces at a time.
const CHUNKS_A_SECOND_MIN: u64 = 20;
/// Each thread begins this far from the next, so that ranges never meet.
const RANGE_NONCES: u64 = 1 << 48;

/// What all threads share.
pub(crate) struct Search {
    pub(crate) slot: Arc<Slot>,
    pub(crate) datasets: Arc<Datasets>,
    pub(crate) submissions: mpsc::Sender<Submission>,
    pub(crate) hashes: Arc<AtomicU64>,
    pub(crate) hashrate_max: Option<u64>,
    /// The version of the newest package that is solved: its other searchers stop.
    solved: AtomicU64,
}

impl Search {
    pub(crate) fn new(
        slot: Arc<Slot>,
        datasets: Arc<Datasets>,
        submissions: mpsc::Sender<Submission>,
        hashrate_max: Option<u64>,
    ) -> Self {
        Self {
            slot,
            datasets,
            submissions,
            hashes: Arc::default(),
            hashrate_max,
            solved: AtomicU64::new(0),
        }
    }

    /// One thread's life.
    fn run(&self, index: usize, start: u64) {
        lower_priority();
        let mut nonce = start.wrapping_add((index as u64).wrapping_mul(RANGE_NONCES));
        let mut done = 0;
        while let Task::Search { version, package } = self.slot.wait(index, done) {
            let Some(dataset) = self.datasets.get(package.epoch) else { continue };
            self.datasets.look_ahead(package.header.number);
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
pub(crate) fn lower_priority() {
    const NICEST: i32 = 19;
    // Linux applies it to the calling thread. Refusal costs fairness, not correctness.
    if let Err(error) = rustix::process::setpriority_process(None, NICEST) {
        tracing::debug!(%error, "Sealer keeps its priority");
    }
}
