//! The dataset of the epoch that is searched, and the file of the next.

use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use consensus::Engine;
use ethash::{
    Dataset, Effort, Epoch, FileError, Growth, LightCache, Notice, Origin, Progress, Residence,
    Store, Unsaved,
};

use super::{Generation, Slot, cpu::lower_priority};
use crate::metrics::DatasetMetrics;

/// What must stay free beside a dataset in private memory, in bytes: the node itself.
const MEMORY_LEFT_MIN: u64 = 512 << 20;
/// When no dataset can be had, how long until the next try.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// The last blocks of an epoch, in which the next dataset is prepared.
const PREPARE_BLOCKS: u64 = Epoch::BLOCKS / 5;
/// How much of a sealer's time preparing may take, for each sealer.
const PREPARE_SHARE: f64 = 0.04;
/// And how much of one core at most.
const PREPARE_SHARE_MAX: f64 = 0.5;
/// Items prepared at a time: a few milliseconds' worth.
const PREPARE_ITEMS: usize = 4_096;
/// Bytes of one item of a dataset.
const ITEM_BYTES: u64 = 64;

/// Where datasets come from and stay.
#[derive(Clone, Default)]
pub struct DatasetConfig {
    /// Keeps files of them; `None` makes each anew, in memory.
    pub store: Option<Arc<Store>>,
    /// How many files are kept; the next epoch's is prepared if that is more than one.
    pub files_max: usize,
    /// How many datasets stay in memory, but never less than the one in use.
    pub in_memory_max: usize,
    /// How many bytes of memory are free, asked whenever a dataset is needed; `None` is enough.
    pub memory_free: Option<fn() -> Option<u64>>,
}

impl fmt::Debug for DatasetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatasetConfig").field("files_max", &self.files_max).finish_non_exhaustive()
    }
}

impl DatasetConfig {
    /// Private memory is faster; the file's pages can be taken back by the system.
    fn residence(&self, dataset_bytes: u64) -> Residence {
        let free = self.memory_free.and_then(|free| free());
        if free.is_none_or(|free| free >= dataset_bytes + MEMORY_LEFT_MIN) {
            Residence::Private
        } else {
            Residence::Mapped
        }
    }
}

/// Makes datasets, one at a time, for all sealer threads.
pub(crate) struct Datasets {
    slot: Arc<Slot>,
    engine: Arc<Engine>,
    config: DatasetConfig,
    /// How far the one in the making is.
    pub(crate) generation: Arc<Mutex<Option<Generation>>>,
    /// Why there is none, since the last try.
    pub(crate) failure: Arc<Mutex<Option<String>>>,
    /// Whether there was one.
    pub(crate) is_there: Arc<AtomicBool>,
    current: Mutex<Current>,
    changed: Condvar,
    background: Mutex<Background>,
    pub(crate) metrics: DatasetMetrics,
}

#[derive(Default)]
struct Current {
    /// The most recently used last.
    datasets: Vec<Arc<Dataset>>,
    making: bool,
}

impl Current {
    /// The dataset of an epoch if it is here, now the most recently used.
    fn used(&mut self, epoch: Epoch) -> Option<Arc<Dataset>> {
        let place = self.datasets.iter().position(|dataset| dataset.epoch() == epoch)?;
        let dataset = self.datasets.remove(place);
        self.datasets.push(dataset.clone());
        Some(dataset)
    }
}

/// Threads that write files.
#[derive(Default)]
struct Background {
    threads: Vec<JoinHandle<()>>,
    /// The newest epoch that was prepared, or is being.
    prepared: Option<Epoch>,
}

/// Held by the thread that makes a dataset. Whatever becomes of that thread, others may go on.
struct Making<'a>(&'a Datasets);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        locked(&self.0.current).making = false;
        *locked(&self.0.generation) = None;
        self.0.changed.notify_all();
    }
}

impl Datasets {
    pub(crate) fn new(slot: Arc<Slot>, engine: Arc<Engine>, config: DatasetConfig) -> Self {
        Self {
            slot,
            engine,
            config,
            generation: Arc::default(),
            failure: Arc::default(),
            is_there: Arc::default(),
            current: Mutex::default(),
            changed: Condvar::new(),
            background: Mutex::default(),
            metrics: DatasetMetrics::default(),
        }
    }

    /// The dataset of an epoch. The first thread that asks gets it with as many threads as may
    /// search, the others wait. `None` when told to stop, or when there is none to be had yet.
    /// If it must be made, its threads begin with what is to be done meanwhile.
    pub(crate) fn get(
        self: &Arc<Self>,
        epoch: Epoch,
        meanwhile: &(dyn Fn(&Growth<'_>) + Sync),
    ) -> Option<Arc<Dataset>> {
        let cache = self.engine.cache(epoch)?;
        let mut current = locked(&self.current);
        loop {
            if let Some(dataset) = current.used(cache.epoch()) {
                return Some(dataset);
            }
            if !current.making {
                break;
            }
            current = self.changed.wait(current).unwrap_or_else(PoisonError::into_inner);
        }
        // An old dataset goes before the new one comes: both may not fit.
        while current.datasets.len() >= self.config.in_memory_max.max(1) {
            current.datasets.remove(0);
        }
        current.making = true;
        drop(current);
        let making = Making(self);
        let dataset = self.obtain(&cache, meanwhile);
        match &dataset {
            Some(dataset) => locked(&self.current).datasets.push(dataset.clone()),
            None => drop(self.slot.rest(RETRY_INTERVAL)),
        }
        drop(making);
        dataset
    }

    fn obtain(
        self: &Arc<Self>,
        cache: &LightCache,
        meanwhile: &(dyn Fn(&Growth<'_>) + Sync),
    ) -> Option<Arc<Dataset>> {
        let (epoch, started) = (cache.epoch(), Instant::now());
        let threads = self.slot.threads().max(1);
        let bytes = cache.dataset_bytes();
        let residence = self.config.residence(bytes);
        let expected = dataset_time(cache, threads);
        let generation_time = format_args!("{:.1?}", expected);
        tracing::info!(
            epoch = epoch.get(),
            bytes,
            threads,
            ?residence,
            %generation_time,
            "Preparing DAG"
        );
        let progress = Arc::new(Progress::new(bytes / ITEM_BYTES));
        *locked(&self.generation) =
            Some(Generation { epoch, progress: progress.clone(), started, expected });
        let stop = self.slot.interrupt();
        let effort = Effort { meanwhile, ..Effort::new(threads, &progress, stop) };
        let made = match &self.config.store {
            Some(store) => {
                let notice = &mut |notice| {
                    if matches!(notice, Notice::Damaged { .. }) {
                        self.metrics.corrupt_total.increment(1);
                    }
                    tracing::warn!(epoch = epoch.get(), "{notice}");
                };
                store.obtain(cache, residence, effort, notice).map(|obtained| {
                    obtained.map(|it| (Arc::new(it.dataset), it.origin, it.unsaved))
                })
            }
            None => Dataset::generate(cache, effort)
                .map(|dataset| dataset.map(|dataset| (Arc::new(dataset), Origin::Made, None)))
                .map_err(FileError::from),
        };
        let elapsed = started.elapsed();
        self.is_there.fetch_or(matches!(made, Ok(Some(_))), Ordering::Relaxed);
        *locked(&self.failure) = made.as_ref().err().map(|error| cannot(bytes, error));
        match made {
            Ok(Some((dataset, origin, unsaved))) => {
                let (epoch, pages) = (epoch.get(), dataset.pages());
                match origin {
                    Origin::Made => tracing::info!(epoch, pages, ?elapsed, "Generated DAG"),
                    Origin::Own(path) | Origin::Geth(path) => {
                        let path = path.display();
                        tracing::info!(epoch, pages, %path, ?elapsed, "Loaded DAG");
                    }
                }
                self.keep(&dataset, unsaved);
                Some(dataset)
            }
            Ok(None) => {
                tracing::info!(epoch = epoch.get(), ?elapsed, "Stopped preparing DAG");
                None
            }
            Err(error) => {
                let retry = RETRY_INTERVAL;
                tracing::error!(epoch = epoch.get(), %error, ?retry, "Cannot mine without a DAG");
                None
            }
        }
    }

    /// Writes what was made in memory, while it is already used, and removes what is too old.
    fn keep(self: &Arc<Self>, dataset: &Arc<Dataset>, unsaved: Option<Unsaved>) {
        let Some(store) = self.config.store.clone() else { return };
        let (this, dataset) = (self.clone(), dataset.clone());
        self.in_background("dag-file", move || {
            let epoch = dataset.epoch();
            if let Some(unsaved) = unsaved {
                match unsaved.save(&dataset, this.slot.interrupt()) {
                    Ok(Some(path)) => {
                        tracing::info!(epoch = epoch.get(), path = %path.display(), "Saved DAG");
                    }
                    Ok(None) => return,
                    Err(error) => tracing::warn!(epoch = epoch.get(), %error, "Could not save DAG"),
                }
            }
            this.prune(&store, epoch);
        });
    }

    fn prune(&self, store: &Store, epoch: Epoch) {
        if let Err(error) = store.prune(epoch, self.config.files_max) {
            tracing::warn!(%error, "Could not remove old DAGs");
        }
    }

    /// Prepares the file of the next epoch if this block is one of the last of its own.
    pub(crate) fn look_ahead(self: &Arc<Self>, number: u64) {
        let next = Epoch::of_block(number.saturating_add(PREPARE_BLOCKS));
        if next == Epoch::of_block(number) || self.config.files_max < 2 {
            return;
        }
        let Some(store) = self.config.store.clone() else { return };
        if locked(&self.background).prepared.replace(next) == Some(next) {
            return;
        }
        let this = self.clone();
        self.in_background("dag-next", move || match this.prepare(&store, next) {
            Ok(()) => {}
            Err(error) => tracing::warn!(epoch = next.get(), %error, "Could not prepare next DAG"),
        });
    }

    /// Makes the file a little at a time, with long pauses, so that the search hardly notices.
    fn prepare(&self, store: &Store, epoch: Epoch) -> Result<(), FileError> {
        let Some(cache) = self.engine.cache(epoch) else { return Ok(()) };
        let Some(mut preparation) = store.prepare(&cache)? else { return Ok(()) };
        let begun = Instant::now();
        tracing::info!(epoch = epoch.get(), "Preparing DAG of next epoch");
        loop {
            let started = Instant::now();
            if preparation.step(PREPARE_ITEMS)? {
                let elapsed = begun.elapsed();
                tracing::info!(epoch = epoch.get(), ?elapsed, "Prepared DAG of next epoch");
                return Ok(());
            }
            let share = (PREPARE_SHARE * self.slot.threads() as f64).clamp(0.01, PREPARE_SHARE_MAX);
            if !self.slot.rest(started.elapsed().mul_f64(1.0 / share - 1.0)) {
                return Ok(());
            }
        }
    }

    /// Tells the metrics how far a dataset in the making is.
    pub(crate) fn measure(&self) {
        let progress = locked(&self.generation).as_ref().map(Generation::progress);
        let ratio = progress.map_or(1.0, |it| it.done as f64 / it.total.max(1) as f64);
        let eta = progress.and_then(|progress| progress.eta()).unwrap_or_default();
        self.metrics.made_ratio.set(ratio);
        self.metrics.eta_seconds.set(eta.as_secs_f64());
    }

    fn in_background(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(|| {
            lower_priority();
            work();
        });
        let mut background = locked(&self.background);
        background.threads.retain(|thread| !thread.is_finished());
        match spawned {
            Ok(thread) => background.threads.push(thread),
            Err(error) => tracing::warn!(%error, "Could not start a thread for DAG files"),
        }
    }

    /// Waits for the threads that write files; they end soon after the slot is closed.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut locked(&self.background).threads);
        for thread in threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Why there is no dataset, with the way out.
fn cannot(bytes: u64, error: &FileError) -> String {
    let mib = bytes >> 20;
    format!(
        "cannot be had: {error}; it takes {mib} MiB of memory, or of a disk: raise the memory limit, \
         or make room in the folder of DAGs (--ethash.dagdir)"
    )
}

/// How long making a dataset takes on this many threads, judged by a sample made now on this one.
#[must_use]
pub fn dataset_time(cache: &LightCache, threads: usize) -> Duration {
    // The first sample is made while the cache's rows are still far from the processor.
    let _ = cache.make_sample();
    let started = Instant::now();
    let share = cache.make_sample();
    started.elapsed().div_f64(share * threads.max(1) as f64)
}

/// Locks, also after a panic elsewhere: whatever is kept is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use consensus::EthashSeal;

    use super::*;

    fn datasets(folder: &std::path::Path, files_max: usize) -> Arc<Datasets> {
        let store = Some(Arc::new(Store::new(folder.to_owned(), Vec::new())));
        let config = DatasetConfig { store, files_max, in_memory_max: 1, memory_free: None };
        let engine = Arc::new(Engine::Ethash(EthashSeal::tiny()));
        Arc::new(Datasets::new(Arc::new(Slot::new(1)), engine, config))
    }

    fn files(folder: &std::path::Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn more_threads_are_expected_to_need_less_time() {
        let cache = LightCache::tiny();
        let (one, many) = (dataset_time(&cache, 1), dataset_time(&cache, 1_000));
        assert!(!one.is_zero() && many < one, "{one:?} and {many:?}");
    }

    #[test]
    fn prepares_the_next_file_in_the_last_blocks_of_an_epoch_only() {
        let folder = tempfile::tempdir().unwrap();
        let one = datasets(folder.path(), 1);
        one.look_ahead(29_999);
        one.join();
        let two = datasets(folder.path(), 2);
        two.look_ahead(Epoch::BLOCKS - PREPARE_BLOCKS - 1);
        two.join();
        assert_eq!(files(folder.path()), 0);
        two.look_ahead(Epoch::BLOCKS - PREPARE_BLOCKS);
        two.join();
        assert_eq!(files(folder.path()), 1);
    }

    #[test]
    fn a_dataset_is_made_once_and_its_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let datasets = datasets(folder.path(), 2);
        let first = datasets.get(Epoch::new(0), &|_| {}).unwrap();
        assert!(Arc::ptr_eq(&first, &datasets.get(Epoch::new(0), &|_| {}).unwrap()));
        datasets.join();
        assert_eq!(files(folder.path()), 1);
    }
}
