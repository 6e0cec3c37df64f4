//! What a node's process takes and how fast it answers, and the clause that holds for every attack:
//! alive, no panic, memory back, the honest peer still there, RPC quick.

use std::{
    fmt, fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    honest::Honest,
    random::{is_long, say},
    rpc::Rpc,
};

/// How much memory an attack may take, unless its row says less.
pub const RSS_DELTA_MAX: u64 = 64 * MIB;
/// How much of it may stay.
pub const RSS_LEFT_MAX: u64 = 32 * MIB;
/// How long memory may take to come back.
pub const RECOVERY_PERIOD_MAX: Duration = Duration::from_secs(60);
/// How long RPC may take during an attack, but for one call in a hundred.
pub const RPC_P99_MAX: Duration = Duration::from_millis(250);
/// Bytes in a mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// The unit of times in `/proc`, which Linux promises to be the same everywhere.
const TICKS_PER_SECOND: u64 = 100;
/// How often memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Calls that are counted.
const CALLS_MAX: usize = 100_000;

/// A process.
#[derive(Debug, Clone, Copy)]
pub struct Process(u32);

impl Process {
    /// The process with this number.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Bytes of memory; 0 if it has ended.
    #[must_use]
    pub fn rss(&self) -> u64 {
        self.status("VmRSS:").unwrap_or(0) * 1024
    }

    /// Open descriptors; 0 if it has ended.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).map_or(0, Iterator::count)
    }

    /// Time on processors so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        // The name before may hold anything, but no parenthesis after its own.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

/// Measures a node from before an attack until after it.
#[derive(Debug)]
pub struct Gauge {
    process: Process,
    rss: u64,
    cpu: Duration,
    began: Instant,
    peak: Arc<AtomicU64>,
    calls: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What an attack cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Memory at its highest, above that before.
    pub rss_peak: u64,
    /// Memory at the end, above that before.
    pub rss_left: u64,
    /// Time on processors.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
    /// All but one call in a hundred took at most this.
    pub rpc_p99: Duration,
    /// How many calls.
    pub calls: usize,
}

/// For reports.
impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rss_peak, rss_left, cpu, wall, rpc_p99, calls } = self;
        write!(
            formatter,
            "rss +{} KiB, left +{} KiB, cpu {cpu:.2?} in {wall:.2?}, rpc p99 {rpc_p99:.2?} of {calls}",
            rss_peak / 1024,
            rss_left / 1024
        )
    }
}

impl Gauge {
    /// Begins. A thread of its own calls the node all the time.
    #[must_use]
    pub fn start(process: u32, rpc: &Rpc) -> Self {
        let process = Process::new(process);
        let (peak, calls) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let stop = Arc::new(AtomicBool::new(false));
        let watched = (Arc::clone(&peak), Arc::clone(&stop));
        // An attack may be over before a thread has begun: each looks once at least.
        let watcher = thread::spawn(move || {
            loop {
                watched.0.fetch_max(process.rss(), Ordering::Relaxed);
                if watched.1.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(LOOK_INTERVAL);
            }
        });
        let (mut rpc, sampled) = (rpc.again(), (Arc::clone(&calls), Arc::clone(&stop)));
        let caller = thread::spawn(move || {
            loop {
                let called = Instant::now();
                let answer = rpc.try_call("eth_blockNumber", &json!([]));
                let took = answer.map_or(Duration::MAX, |_| called.elapsed());
                let mut calls = sampled.0.lock().unwrap_or_else(PoisonError::into_inner);
                if calls.len() < CALLS_MAX {
                    calls.push(took);
                }
                drop(calls);
                if sampled.1.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(LOOK_INTERVAL);
            }
        });
        Self {
            process,
            rss: process.rss(),
            cpu: process.cpu(),
            began: Instant::now(),
            peak,
            calls,
            stop,
            threads: vec![watcher, caller],
        }
    }

    /// The process that is measured.
    #[must_use]
    pub const fn process(&self) -> Process {
        self.process
    }

    /// Ends: the attack is over. Waits, up to a limit, until memory has come back.
    #[must_use]
    pub fn end(mut self) -> Cost {
        let (wall, cpu) = (self.began.elapsed(), self.process.cpu().saturating_sub(self.cpu));
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("nothing in it panics");
        }
        let deadline = Instant::now() + RECOVERY_PERIOD_MAX;
        while self.left() > RSS_LEFT_MAX && Instant::now() < deadline {
            thread::sleep(LOOK_INTERVAL);
        }
        let mut calls =
            std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        calls.sort();
        let p99 = calls.get((calls.len() * 99).div_ceil(100).saturating_sub(1));
        Cost {
            rss_peak: self.peak.load(Ordering::Relaxed).saturating_sub(self.rss),
            rss_left: self.left(),
            cpu,
            wall,
            rpc_p99: p99.copied().unwrap_or_default(),
            calls: calls.len(),
        }
    }

    /// Ends, and asserts the clause that holds for every attack. `log` is everything that the node
    /// has said, and the row may allow less memory than all attacks may take.
    ///
    /// # Panics
    ///
    /// If the node did not bear it.
    pub async fn judge(self, row: &str, rss_max: u64, honest: &mut Honest, log: &str) -> Cost {
        let is_connected = honest.is_connected().await;
        let process = self.process;
        let cost = self.end();
        say(&format!("{row}: {cost}"));
        assert!(process.rss() > 0, "{row}: the node has ended: {log}");
        assert!(is_connected, "{row}: the honest peer was dropped: {log}");
        check_log(row, log);
        assert!(cost.rss_peak <= rss_max, "{row}: {cost}, allowed were {rss_max} bytes");
        assert!(cost.rss_left <= RSS_LEFT_MAX, "{row}: {cost}");
        assert!(cost.calls > 0, "{row}: nobody has called");
        // A machine with other work to do says nothing about latency.
        if is_long() {
            assert!(cost.rpc_p99 <= RPC_P99_MAX, "{row}: {cost}");
        }
        cost
    }

    fn left(&self) -> u64 {
        self.process.rss().saturating_sub(self.rss)
    }
}

/// Threads must not outlive a test that failed.
impl Drop for Gauge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A log must hold no panic, and nothing that a terminal obeys.
///
/// # Panics
///
/// If it does.
pub fn check_log(row: &str, log: &str) {
    let panicked = log.lines().find(|line| line.contains("panicked"));
    assert!(panicked.is_none(), "{row}: {panicked:?} in {log}");
    let is_control = |character: char| character.is_control() && character != '\n';
    let controlled = log.lines().find(|line| line.contains(is_control));
    assert!(controlled.is_none(), "{row}: {controlled:?}");
}
