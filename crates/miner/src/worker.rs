//! Builds packages, takes solutions, brings blocks home.

mod build;
mod confirm;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use chain::{ChainEvent, ChainHandle, ImportError, Imported, Origin};
use consensus::Engine;
use primitives::{B256, BlockNumHash};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use txpool::Pool;

use self::{
    build::{BuildError, build},
    confirm::Unconfirmed,
};
use crate::{
    MinerConfig, MinerHandle, SealerKind, SettingsError, Solution, WorkPackage,
    handle::{SOLUTION_QUEUE_MAX, Submission},
    metrics::{DatasetMetrics, MinerMetrics},
    sealer::{Datasets, Slot, cpu},
    settings::Settings,
};

/// How many packages are remembered for late solutions.
const RECENT_WORK_MAX: usize = 7;
/// How long sealers may go on with work that is no use any more while the next is filled: then they get
/// some without transactions.
const IDLE_TIME_MAX: Duration = Duration::from_millis(100);
/// Filling work takes at most one part in so many of the time between two of them.
const BUILD_PARTS: u32 = 20;
/// Nothing new waits longer than this, as in geth.
const RECOMMIT_MAX: Duration = Duration::from_secs(15);
/// How often the hashrate is measured.
const METER_INTERVAL: Duration = Duration::from_secs(1);

/// Why the miner ended.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// The system refused a thread.
    #[error("cannot start sealer threads")]
    Threads(#[source] io::Error),
    /// A setting is out of bounds.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The chain stopped or failed.
    #[error("the chain failed")]
    Chain(#[source] ImportError),
    /// The state could not be read.
    #[error("the state could not be read")]
    State(#[source] state::ReadError),
    /// A task of ours panicked.
    #[error("building a block panicked")]
    Panicked,
}

/// Owns the recent packages and decides when to build the next one.
pub struct Worker {
    chain: ChainHandle,
    pool: Pool,
    engine: Arc<Engine>,
    sealer: SealerKind,
    settings: watch::Receiver<Settings>,
    publish: watch::Sender<Option<Arc<WorkPackage>>>,
    submissions: mpsc::Receiver<Submission>,
    recent: VecDeque<Arc<WorkPackage>>,
    unconfirmed: Unconfirmed,
    slot: Arc<Slot>,
    threads: Vec<JoinHandle<()>>,
    datasets: Arc<Datasets>,
    hashes: Arc<AtomicU64>,
    hashrate: Arc<AtomicU64>,
    metered: (Instant, u64),
    metrics: MinerMetrics,
    /// Something changed that a rebuild would pick up.
    stale: bool,
    /// How long the newest package took.
    build_time: Duration,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("sealer", &self.sealer).finish_non_exhaustive()
    }
}

impl Worker {
    /// Makes a worker and starts its sealer threads, which sleep until there is work.
    ///
    /// # Errors
    ///
    /// See [`MinerError`].
    pub fn new(
        config: &MinerConfig,
        chain: ChainHandle,
        pool: Pool,
        engine: Arc<Engine>,
    ) -> Result<(Self, MinerHandle), MinerError> {
        let (settings, settings_seen) = watch::channel(Settings::new(config)?);
        let (publish, work) = watch::channel(None);
        let (submit, submissions) = mpsc::channel(SOLUTION_QUEUE_MAX);
        let (wanted, hashrate_max) = match config.sealer {
            SealerKind::Cpu { threads, hashrate_max } => (threads, hashrate_max),
            SealerKind::Remote | SealerKind::Instant { .. } => (0, None),
        };
        let slot = Arc::new(Slot::new(wanted));
        let datasets = Datasets::new(slot.clone(), engine.clone(), config.datasets.clone());
        let datasets = Arc::new(datasets);
        let start = random_nonce(&chain);
        let search =
            cpu::Search::new(slot.clone(), datasets.clone(), submit.clone(), hashrate_max, start);
        let search = Arc::new(search);
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let spawned = match config.sealer {
            SealerKind::Instant { .. } => 0,
            SealerKind::Cpu { .. } | SealerKind::Remote => {
                wanted.max(available).min(cpu::THREADS_MAX)
            }
        };
        let threads = cpu::start(&search, spawned, start).map_err(MinerError::Threads)?;
        let hashrate = Arc::new(AtomicU64::new(0));
        MinerMetrics::describe();
        DatasetMetrics::describe();
        let handle = MinerHandle {
            settings,
            work,
            submissions: submit,
            slot: slot.clone(),
            hashrate: hashrate.clone(),
            generation: datasets.generation.clone(),
            failure: datasets.failure.clone(),
            is_there: datasets.is_there.clone(),
        };
        let worker = Self {
            chain,
            pool,
            engine,
            sealer: config.sealer,
            settings: settings_seen,
            publish,
            submissions,
            recent: VecDeque::new(),
            unconfirmed: Unconfirmed::default(),
            slot,
            threads,
            datasets,
            hashes: search.hashes.clone(),
            hashrate,
            metered: (Instant::now(), 0),
            metrics: MinerMetrics::default(),
            stale: false,
            build_time: Duration::ZERO,
        };
        Ok((worker, handle))
    }

    /// Builds a package on the newest head and hands it out. Waits when the header's time would be
    /// more than a second ahead of the clock.
    async fn renew(&mut self) -> Result<(), MinerError> {
        self.stale = false;
        let settings = self.settings.borrow_and_update().clone();
        let Some(beneficiary) = settings.beneficiary.filter(|_| settings.mining) else {
            self.hand_out(None);
            return Ok(());
        };
        let (view, started) = (self.chain.view(), Instant::now());
        let is_idle = self.publish.borrow().as_ref().is_none_or(|old| old.parent != view.head_id());
        let build = |pool: Option<Pool>| {
            let (view, settings) = (view.clone(), settings.clone());
            tokio::task::spawn_blocking(move || {
                build(&view, pool.as_ref(), &settings, beneficiary, unix_now())
            })
        };
        let mut full = build(Some(self.pool.clone()));
        let soon = tokio::time::timeout(IDLE_TIME_MAX, &mut full).await;
        let built = match soon {
            Ok(built) => built,
            Err(_) => {
                if is_idle && let Ok(empty) = build(None).await.map_err(|_| MinerError::Panicked)? {
                    self.commit(empty, started);
                }
                full.await
            }
        };
        self.build_time = started.elapsed();
        match built.map_err(|_| MinerError::Panicked)? {
            Ok(package) => {
                self.commit(package, started);
                Ok(())
            }
            Err(BuildError::Early) => {
                // The parent carries a time ahead of our clock: the meter's tick tries again.
                self.stale = true;
                self.hand_out(None);
                Ok(())
            }
            Err(BuildError::Read(error)) => Err(MinerError::State(error)),
        }
    }

    fn commit(&mut self, package: WorkPackage, started: Instant) {
        tracing::info!(
            number = package.header.number,
            sealhash = %package.seal_hash,
            uncles = package.body.ommers.len(),
            txs = package.body.transactions.len(),
            gas = package.header.gas_used,
            fees = %package.fees_in_ether(),
            elapsed = ?started.elapsed(),
            "Commit new mining work"
        );
        self.hand_out(Some(Arc::new(package)));
    }

    fn hand_out(&mut self, package: Option<Arc<WorkPackage>>) {
        if let Some(package) = &package {
            self.recent.push_front(package.clone());
            self.recent.truncate(RECENT_WORK_MAX);
        }
        self.publish.send_replace(package.clone());
        self.slot.put(package);
    }

    /// Seals, verifies with the light cache, imports. Whether the block held.
    async fn bring_home(&mut self, solution: Solution) -> Result<bool, MinerError> {
        let known = self.recent.iter().find(|package| package.seal_hash == solution.seal_hash);
        let Some(package) = known.cloned() else {
            self.metrics.stale_solutions_total.increment(1);
            tracing::warn!(sealhash = %solution.seal_hash, "Block found but no relative pending task");
            return Ok(false);
        };
        let block = package.seal(solution);
        let (engine, spec) = (self.engine.clone(), self.chain.view().spec.clone());
        let id = block.num_hash();
        let verified = tokio::task::spawn_blocking(move || engine.verify(&spec, block));
        let verified = match verified.await.map_err(|_| MinerError::Panicked)? {
            Ok(verified) => verified,
            Err(error) => {
                self.metrics.invalid_solutions_total.increment(1);
                tracing::error!(number = id.number, %error, "Refused an own seal that does not hold");
                return Ok(false);
            }
        };
        self.import(&package, id, verified).await?;
        Ok(true)
    }

    /// A block that was found before the end is not lost.
    async fn bring_home_the_rest(&mut self) -> Result<(), MinerError> {
        for _ in 0..SOLUTION_QUEUE_MAX {
            let Ok(submission) = self.submissions.try_recv() else { break };
            let held = self.bring_home(submission.solution).await?;
            // Nobody may be waiting: our own sealers do not.
            submission.accepted.send(held).ok();
        }
        Ok(())
    }

    async fn import(
        &mut self,
        package: &WorkPackage,
        id: BlockNumHash,
        verified: consensus::VerifiedBlock,
    ) -> Result<(), MinerError> {
        let elapsed = package.built.elapsed();
        match self.chain.import(verified, Origin::Own).await {
            Ok(Imported::Known) => {}
            Ok(Imported::Head | Imported::Side) => {
                self.metrics.sealed_blocks_total.increment(1);
                tracing::info!(
                    number = id.number,
                    sealhash = %package.seal_hash,
                    hash = %id.hash,
                    ?elapsed,
                    txs = package.body.transactions.len(),
                    "Successfully sealed new block"
                );
                tracing::info!(number = id.number, hash = %id.hash, "🔨 mined potential block");
                self.unconfirmed.insert(id);
            }
            Err(error @ (ImportError::Storage { .. } | ImportError::Stopped)) => {
                return Err(MinerError::Chain(error));
            }
            Err(error) => {
                tracing::error!(number = id.number, hash = %id.hash, %error, "Own block was refused");
            }
        }
        Ok(())
    }

    /// A seal that proves nothing, for chains that do not ask for one.
    async fn seal_at_once(&mut self) -> Result<(), MinerError> {
        let Some(package) = self.publish.borrow().clone() else { return Ok(()) };
        let seal_hash = package.seal_hash;
        let solution = Solution { seal_hash, nonce: 0, mix_hash: B256::ZERO };
        self.bring_home(solution).await.map(|_| ())
    }

    /// How long new transactions wait. Longer if they take long to execute, so that a pool full of them
    /// costs little of the hashrate.
    fn recommit(&self) -> Duration {
        let asked = self.settings.borrow().recommit;
        asked.max((self.build_time * BUILD_PARTS).min(RECOMMIT_MAX))
    }

    fn meter(&mut self) {
        let (at, before) = self.metered;
        let now = self.hashes.load(Ordering::Relaxed);
        let seconds = at.elapsed().as_secs_f64();
        let rate = (now - before) as f64 / seconds.max(f64::EPSILON);
        // A moving average, so that the figure is readable; half of it is the last second.
        let old = self.hashrate.load(Ordering::Relaxed) as f64;
        let average = (old + rate) / 2.0;
        self.hashrate.store(average as u64, Ordering::Relaxed);
        self.metrics.hashrate_hashes_per_second.set(average);
        self.metrics.hashes_total.increment(now - before);
        self.metered = (Instant::now(), now);
        self.datasets.measure();
    }

    /// Whether an event changes what should be mined.
    fn on_event(&mut self, event: &ChainEvent) -> bool {
        // An operator may have set the head back, and then nothing is adopted.
        if event.adopted.is_empty() && event.retired.is_empty() {
            // A side block may become an ommer, at the next rebuild.
            self.stale |= event.side.is_some();
            return false;
        }
        self.unconfirmed.confirm(&event.view);
        true
    }
}

/// Drives the worker until told to stop.
///
/// # Errors
///
/// See [`MinerError`]; the sealer threads have ended by then.
pub async fn run(mut worker: Worker, shutdown: CancellationToken) -> Result<(), MinerError> {
    let result = work(&mut worker, &shutdown).await;
    worker.slot.close();
    for thread in worker.threads.drain(..) {
        // A sealer that panicked has said so; there is nothing to add at the end.
        let _ = thread.join();
    }
    worker.datasets.join();
    result
}

async fn work(worker: &mut Worker, shutdown: &CancellationToken) -> Result<(), MinerError> {
    let mut events = worker.chain.events();
    let mut changes = worker.pool.changes();
    let mut meter = tokio::time::interval(METER_INTERVAL);
    meter.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    if !matches!(worker.sealer, SealerKind::Instant { .. }) {
        worker.renew().await?;
    }
    loop {
        let mut renew = false;
        tokio::select! {
            () = shutdown.cancelled() => return worker.bring_home_the_rest().await,
            event = events.recv() => match event {
                Ok(event) => renew = worker.on_event(&event),
                Err(broadcast::error::RecvError::Lagged(_)) => renew = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            change = changes.recv() => match change {
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => worker.stale = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            Some(submission) = worker.submissions.recv() => {
                let held = worker.bring_home(submission.solution).await?;
                // Nobody may be waiting: our own sealers do not.
                let _ = submission.accepted.send(held);
                // A seal that did not hold would otherwise leave its searchers idle.
                renew = !held && worker.recent.iter().any(|p| p.seal_hash == submission.solution.seal_hash);
            }
            Ok(()) = worker.settings.changed() => renew = true,
            _ = meter.tick() => worker.meter(),
        }
        if let SealerKind::Instant { period } = worker.sealer {
            seal_instantly(worker, period, &mut renewed).await?;
            continue;
        }
        let recommit = worker.recommit();
        if renew || (worker.stale && renewed.elapsed() >= recommit) {
            worker.renew().await?;
            renewed = Instant::now();
        }
    }
}

/// Seals what waits in the pool, or an empty block when the period is over.
async fn seal_instantly(
    worker: &mut Worker,
    period: Option<Duration>,
    sealed: &mut Instant,
) -> Result<(), MinerError> {
    let due = period.is_some_and(|period| sealed.elapsed() >= period);
    let (pending, _) = worker.pool.status();
    if !due && (pending == 0 || period.is_some()) {
        return Ok(());
    }
    worker.renew().await?;
    let empty = worker.publish.borrow().as_ref().is_none_or(|p| p.body.transactions.is_empty());
    if due || !empty {
        worker.seal_at_once().await?;
        *sealed = Instant::now();
    }
    Ok(())
}

/// Seconds since 1970; a clock before that is 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Where the search begins: different in each run and each node, so that they do not repeat each
/// other's work.
fn random_nonce(chain: &ChainHandle) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(chain.view().head.hash())
}
