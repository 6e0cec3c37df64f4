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

use ethash::{Dataset, Growth, Pow};
use tokio::sync::{mpsc, oneshot};

use super::{Datasets, Slot, slot::Task};
use crate::{Solution, WorkPackage, handle::Submission};

/// How many threads can be asked for.
pub(crate) const THREADS_MAX: usize = 256;
/// How many nonces a thread tries between two looks at the package: a few milliseconds' worth.
const CHUNK_NONCES: u64 = 2_048;
/// A capped thread tries at most this much of a second's worth of nonces at a time.
const CHUNKS_A_SECOND_MIN: u64 = 20;
/// Nonces that a thread looks for at a time while there is no whole dataset: a fraction of a second.
const GROWTH_CHUNK_NONCES: u64 = 65_536;
/// Beyond this part a dataset is only made, no longer searched: little is missing, and what is
/// must be made in any case.
const GROWTH_SEARCHED_MAX: f64 = 0.95;
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
    /// Where the next search of a dataset in the making begins.
    growth_nonce: AtomicU64,
}

impl Search {
    pub(crate) fn new(
        slot: Arc<Slot>,
        datasets: Arc<Datasets>,
        submissions: mpsc::Sender<Submission>,
        hashrate_max: Option<u64>,
        start: u64,
    ) -> Self {
        Self {
            slot,
            datasets,
            submissions,
            hashes: Arc::default(),
            hashrate_max,
            solved: AtomicU64::new(0),
            growth_nonce: AtomicU64::new(start.wrapping_sub(RANGE_NONCES)),
        }
    }

    /// One thread's life.
    fn run(&self, index: usize, start: u64) {
        lower_priority();
        let mut nonce = start.wrapping_add((index as u64).wrapping_mul(RANGE_NONCES));
        let mut done = 0;
        while let Task::Search { version, package } = self.slot.wait(index, done) {
            let meanwhile = &|growth: &Growth<'_>| self.search_growth(growth);
            let Some(dataset) = self.datasets.get(package.epoch, meanwhile) else { continue };
            self.datasets.look_ahead(package.header.number);
            if let Some(found) = self.search(&package, &dataset, version, &mut nonce) {
                self.hand_in(&package, version, found);
            }
            done = version;
        }
    }

    /// Searches a dataset while it is made, until little of it is missing.
    ///
    /// On a young chain the first blocks are so easy that the cache alone finds them long before a
    /// dataset is complete.
    fn search_growth(&self, growth: &Growth<'_>) {
        while growth.made() < GROWTH_SEARCHED_MAX {
            let package = self.slot.newest().filter(|(version, package)| {
                package.epoch == growth.epoch() && !self.is_over(*version)
            });
            let Some((version, package)) = package else {
                // A solution is on its way to the chain, or somebody must give the next package.
                if self.slot.is_closed() || !growth.grow() {
                    return;
                }
                continue;
            };
            if let Some(found) = self.search_growth_for(&package, growth, version) {
                self.hand_in(&package, version, found);
            }
        }
    }

    fn search_growth_for(
        &self,
        package: &WorkPackage,
        growth: &Growth<'_>,
        version: u64,
    ) -> Option<(u64, Pow)> {
        let is_over = &|| self.is_over(version) || growth.made() >= GROWTH_SEARCHED_MAX;
        while !is_over() {
            let started = Instant::now();
            let share = self.share();
            let count = chunk(GROWTH_CHUNK_NONCES, share);
            let first = self.growth_nonce.fetch_sub(count, Ordering::Relaxed);
            let nonces = first..first.saturating_add(count);
            let (hash, target) = (&package.seal_hash, &package.target);
            let found = growth.search(hash, target, nonces, is_over, &self.hashes);
            if found.is_some() {
                return found;
            }
            let due = share.map_or(Duration::ZERO, |share| time_of(count, share));
            while started.elapsed() < due && !is_over() && growth.grow() {}
        }
        None
    }

    /// Whether a package is solved or replaced.
    fn is_over(&self, version: u64) -> bool {
        self.slot.version() != version || self.solved.load(Ordering::Acquire) >= version
    }

    /// How many hashes per second a thread may make, if there is a limit.
    fn share(&self) -> Option<u64> {
        let threads = self.slot.threads().max(1) as u64;
        self.hashrate_max.map(|all| (all / threads).max(1))
    }

    fn search(
        &self,
        package: &WorkPackage,
        dataset: &Dataset,
        version: u64,
        nonce: &mut u64,
    ) -> Option<(u64, Pow)> {
        let stop = self.slot.interrupt();
        while !self.is_over(version) {
            let started = Instant::now();
            let share = self.share();
            let count = chunk(CHUNK_NONCES, share);
            let range = *nonce..nonce.saturating_add(count);
            *nonce = nonce.wrapping_add(count);
            let found =
                dataset.search(&package.seal_hash, &package.target, range, stop, &self.hashes);
            if found.is_some() {
                return found;
            }
            if let Some(share) = share {
                let due = time_of(count, share);
                self.slot.pause(version, due.saturating_sub(started.elapsed()));
            }
        }
        None
    }

    /// A full queue means that the worker has solutions enough.
    fn hand_in(&self, package: &WorkPackage, version: u64, (nonce, pow): (u64, Pow)) {
        self.solved.fetch_max(version, Ordering::AcqRel);
        let seal_hash = package.seal_hash;
        let solution = Solution { seal_hash, nonce, mix_hash: pow.mix_hash };
        let (accepted, _) = oneshot::channel();
        let _ = self.submissions.try_send(Submission { solution, accepted });
    }
}

/// How many nonces a thread tries at a time, under a limit of hashes per second or without.
fn chunk(nonces_max: u64, share: Option<u64>) -> u64 {
    share.map_or(nonces_max, |share| (share / CHUNKS_A_SECOND_MIN).clamp(1, nonces_max))
}

/// How long this many hashes take at this many a second.
fn time_of(count: u64, share: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / share as f64)
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
