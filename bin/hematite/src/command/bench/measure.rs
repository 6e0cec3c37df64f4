//! The measurements themselves: so many threads at work, somebody who counts, and a clock.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ethash::{Dataset, Effort, LightCache, RandomReads, Scratch, Seal, Target};
use eyre::{Result, WrapErr, eyre};
use primitives::{B256, U256};

use super::{
    machine::pages_of,
    report::{Generation, Rate, Verification, median, percentile, thinned},
};
use crate::progress::Progress;

/// Rounds of each measurement; the ceiling and the search take turns.
const ROUNDS: u32 = 5;
/// How often the count is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// How long threads may take to begin.
const SETTLE_TIME: Duration = Duration::from_millis(50);
/// Work that is not counted: memory and clocks of the processor settle.
const WARM_UP: Duration = Duration::from_millis(300);
/// How far ahead reads are tried, to find how the memory does best.
const AHEAD: [usize; 5] = [32, 64, 96, 128, 256];
/// Pages that a hash reads.
const PAGES_PER_HASH: f64 = 64.0;
/// Most generations of a dataset for one figure.
const GENERATIONS_MAX: usize = 5;
/// Headers checked together.
pub(super) const BATCHES: [usize; 6] = [1, 4, 16, 32, 64, 128];
/// How often a task that cannot be told to stop is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How often progress is shown.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// What counts, in whatever unit it works; told when to halt.
type Work<'a> = dyn Fn(usize, &AtomicBool, &AtomicU64) + Sync + 'a;

/// One measurement in progress: shows how far it is, and listens.
pub(super) struct Meter<'a> {
    stop: &'a AtomicBool,
    progress: Progress,
    done: Duration,
}

/// One stretch of work.
struct Stretch {
    /// Per second.
    rate: f64,
    /// Per second, over [`SAMPLE_INTERVAL`].
    samples: Vec<f64>,
}

/// Stretches of the same work.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    samples: Vec<f64>,
}

impl<'a> Meter<'a> {
    /// Measurements that take about so long.
    pub(super) fn new(what: &'static str, total: Duration, stop: &'a AtomicBool) -> Self {
        tracing::info!(takes = %format!("{}s", total.as_secs_f64().ceil()), "{what}");
        let progress = Progress::new(what, total.as_millis() as u64);
        Self { stop, progress, done: Duration::ZERO }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Has so many threads work for so long. `None` if told to stop before its end.
    fn stretch(
        &mut self,
        threads: usize,
        length: Duration,
        work: &Work<'_>,
    ) -> Result<Option<Stretch>> {
        let (halt, counter) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let (halt, counter) = (&halt, &counter);
            for number in 0..threads {
                let worker = move || work(number, halt, counter);
                if let Err(error) = thread::Builder::new().spawn_scoped(scope, worker) {
                    halt.store(true, Ordering::Relaxed);
                    return Err(eyre!(error)).wrap_err_with(|| {
                        format!("cannot start thread {} of {threads}", number + 1)
                    });
                }
            }
            let stretch = self.count(length, counter);
            halt.store(true, Ordering::Relaxed);
            self.done += length;
            Ok(stretch)
        })
    }

    fn count(&mut self, length: Duration, counter: &AtomicU64) -> Option<Stretch> {
        let begun = Instant::now();
        while counter.load(Ordering::Relaxed) == 0 && begun.elapsed() < SETTLE_TIME {
            thread::sleep(Duration::from_millis(1));
        }
        let read = || (Instant::now(), counter.load(Ordering::Relaxed));
        let per_second = |from: (Instant, u64), to: (Instant, u64)| {
            (to.1 - from.1) as f64 / (to.0 - from.0).as_secs_f64().max(1e-9)
        };
        let start = read();
        let (mut last, mut samples) = (start, Vec::new());
        while last.0 - start.0 < length {
            thread::sleep(
                SAMPLE_INTERVAL.min((start.0 + length).saturating_duration_since(last.0)),
            );
            if self.is_stopped() {
                return None;
            }
            let now = read();
            // A rest of a few milliseconds would say more about when counts are told than about
            // the rate.
            if now.0 - last.0 > SAMPLE_INTERVAL / 2 {
                samples.push(per_second(last, now));
            }
            last = now;
            self.progress.set((self.done + (now.0 - start.0)).as_millis() as u64);
        }
        Some(Stretch { rate: per_second(start, last), samples })
    }
}

impl Rounds {
    fn add(&mut self, stretch: Stretch, unit: f64) {
        self.rates.push(stretch.rate / unit);
        self.samples.extend(stretch.samples.into_iter().map(|sample| sample / unit));
    }

    fn rate(&self, threads: usize, pages: &str, kernel: &str) -> Rate {
        // Stretches shorter than a sample leave none.
        let over_time = if self.samples.is_empty() { &self.rates } else { &self.samples };
        Rate {
            threads,
            hashes_per_second: median(&self.rates),
            pages: pages.to_owned(),
            kernel: kernel.to_owned(),
            min: percentile(&self.rates, 0.0),
            max: percentile(&self.rates, 100.0),
            p5: percentile(over_time, 5.0),
            p50: percentile(over_time, 50.0),
            p95: percentile(over_time, 95.0),
            percent_of_ceiling: None,
            ahead: None,
            rounds: self.rates.clone(),
            samples: thinned(&self.samples),
        }
    }
}

/// How long [`hashrate`] takes for one number of threads.
pub(super) fn hashrate_time(length: Duration) -> Duration {
    memory_time(length) + length
}

/// How long [`memory`] takes for one number of threads.
pub(super) fn memory_time(length: Duration) -> Duration {
    WARM_UP + AHEAD.len() as u32 * calibration(length) + length
}

fn calibration(length: Duration) -> Duration {
    (length / 25).clamp(Duration::from_millis(40), Duration::from_millis(300))
}

/// The search and the ceiling of its memory in turns, each for `length` in all. `None` if told to
/// stop before the first round was complete.
pub(super) fn hashrate(
    meter: &mut Meter<'_>,
    dataset: &Dataset,
    cache: &LightCache,
    threads: usize,
    length: Duration,
) -> Result<Option<(Rate, Rate)>> {
    // No result is as small as 1, so that every nonce is tried.
    let target = Target::from_difficulty(U256::MAX).expect("it is not zero");
    let search = |number: usize, halt: &AtomicBool, hashes: &AtomicU64| {
        let nonces = u64::MAX / threads as u64 * number as u64..u64::MAX;
        let _ = dataset.search(&B256::repeat_byte(0x42), &target, nonces, halt, hashes);
    };
    let reads = dataset.random_reads();
    if meter.stretch(threads, WARM_UP, &search)?.is_none() {
        return Ok(None);
    }
    let Some(ahead) = best_ahead(meter, reads, threads, length)? else { return Ok(None) };
    let read = reader(reads, ahead);
    let (mut searched, mut ceiling, mut shares) =
        (Rounds::default(), Rounds::default(), Vec::new());
    for round in 0..ROUNDS {
        // Whoever goes second finds what the first left: so they take turns in that too.
        let first = if round % 2 == 0 { &read as &Work<'_> } else { &search };
        let second = if round % 2 == 0 { &search as &Work<'_> } else { &read };
        let first = meter.stretch(threads, length / ROUNDS, first)?;
        let second = meter.stretch(threads, length / ROUNDS, second)?;
        let (Some(first), Some(second)) = (first, second) else { break };
        let (reads, hashes) = if round % 2 == 0 { (first, second) } else { (second, first) };
        shares.push(100.0 * hashes.rate / (reads.rate / PAGES_PER_HASH).max(1e-9));
        searched.add(hashes, 1.0);
        ceiling.add(reads, PAGES_PER_HASH);
    }
    if shares.is_empty() {
        return Ok(None);
    }
    let pages = pages_of(cache.dataset_bytes()).unwrap_or_else(|| dataset.pages());
    let kernel = cache.kernel().name();
    let percent_of_ceiling = Some(median(&shares));
    let searched = Rate { percent_of_ceiling, ..searched.rate(threads, pages, kernel) };
    let ceiling = Rate { ahead: Some(ahead), ..ceiling.rate(threads, pages, kernel) };
    Ok(Some((searched, ceiling)))
}

/// The ceiling alone, over memory of a dataset's size. `None` if told to stop before a round.
pub(super) fn memory(
    meter: &mut Meter<'_>,
    scratch: &Scratch,
    bytes: u64,
    threads: usize,
    length: Duration,
) -> Result<Option<Rate>> {
    let reads = scratch.random_reads();
    let read = reader(reads, AHEAD[AHEAD.len() / 2]);
    if meter.stretch(threads, WARM_UP, &read)?.is_none() {
        return Ok(None);
    }
    let Some(ahead) = best_ahead(meter, reads, threads, length)? else { return Ok(None) };
    let read = reader(reads, ahead);
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let Some(stretch) = meter.stretch(threads, length / ROUNDS, &read)? else { break };
        rounds.add(stretch, PAGES_PER_HASH);
    }
    let pages = pages_of(bytes).unwrap_or("unknown");
    let rate = rounds.rate(threads, pages, ethash::Kernel::best().name());
    Ok((!rounds.rates.is_empty()).then_some(Rate { ahead: Some(ahead), ..rate }))
}

/// Work that reads random pages, each thread its own.
fn reader(reads: RandomReads<'_>, ahead: usize) -> impl Fn(usize, &AtomicBool, &AtomicU64) + Sync {
    move |number, halt, counter| {
        std::hint::black_box(reads.run(number as u64 + 1, ahead, halt, counter));
    }
}

fn best_ahead(
    meter: &mut Meter<'_>,
    reads: RandomReads<'_>,
    threads: usize,
    length: Duration,
) -> Result<Option<usize>> {
    let mut best = (0.0, None);
    for ahead in AHEAD {
        let read = reader(reads, ahead);
        let Some(stretch) = meter.stretch(threads, calibration(length), &read)? else {
            return Ok(None);
        };
        if stretch.rate > best.0 || best.1.is_none() {
            best = (stretch.rate, Some(ahead));
        }
    }
    Ok(best.1)
}

/// Generates the dataset in fresh memory until `length` is over, at least once. Returns the figure
/// and the last dataset; `None` if told to stop.
pub(super) fn dag(
    cache: &LightCache,
    threads: usize,
    length: Duration,
    stop: &AtomicBool,
) -> Result<Option<(Generation, Dataset)>> {
    let begun = Instant::now();
    let mut seconds = Vec::new();
    loop {
        let items = cache.dataset_bytes() / 64;
        let counter = ethash::Progress::new(items);
        let started = Instant::now();
        let dataset = watched("Generating DAG", &counter, items, || {
            Dataset::generate(cache, Effort::new(threads, &counter, stop))
        });
        let Some(dataset) = dataset? else { return Ok(None) };
        seconds.push(started.elapsed().as_secs_f64());
        let enough = begun.elapsed() >= length || seconds.len() == GENERATIONS_MAX;
        if enough || stop.load(Ordering::Relaxed) {
            let median = median(&seconds);
            let generation = Generation {
                threads,
                seconds: median,
                epoch: cache.epoch().get(),
                items_per_second: items as f64 / median.max(1e-9),
                kernel: cache.kernel().name().to_owned(),
                runs: seconds.len(),
            };
            return Ok(Some((generation, dataset)));
        }
    }
}

/// Checks new headers in batches for `length`. `None` if told to stop.
pub(super) fn verify(
    meter: &mut Meter<'_>,
    cache: &LightCache,
    threads: usize,
    batch: usize,
    length: Duration,
) -> Result<Option<Verification>> {
    // Every claim meets difficulty 1, so that each is checked to its end; and none is right, for
    // its mix hash is made up.
    let target = Target::from_difficulty(U256::ONE).expect("it is not zero");
    let rates = Mutex::new(Vec::with_capacity(threads));
    let work = |number: usize, halt: &AtomicBool, counter: &AtomicU64| {
        let first = (number as u64) << 48;
        let mut nonce = first;
        let started = Instant::now();
        // Only whole batches, to their own end: with long ones the clock of others would cut off
        // a good part.
        while !halt.load(Ordering::Relaxed) {
            let seals: Vec<Seal> = (1..=batch as u64)
                .map(|at| {
                    let (seal_hash, nonce) = (B256::from(U256::from(nonce + at)), nonce + at);
                    Seal { seal_hash, nonce, mix_hash: B256::ZERO, target }
                })
                .collect();
            match &seals[..] {
                [seal] => drop(std::hint::black_box(cache.verify(seal))),
                seals => drop(std::hint::black_box(cache.verify_many(seals))),
            }
            nonce += batch as u64;
            counter.fetch_add(batch as u64, Ordering::Relaxed);
        }
        let rate = (nonce - first) as f64 / started.elapsed().as_secs_f64().max(1e-9);
        rates.lock().expect("nobody panics with the lock held").push(rate);
    };
    let complete = meter.stretch(threads, length, &work)?.is_some();
    let rates = rates.into_inner().expect("nobody panics with the lock held");
    Ok(complete.then(|| Verification {
        threads,
        batch,
        headers_per_second: rates.iter().sum(),
        kernel: cache.kernel().name().to_owned(),
    }))
}

/// Does something that counts items, while somebody else shows how far it is.
pub(super) fn watched<T>(
    what: &'static str,
    counter: &ethash::Progress,
    items: u64,
    work: impl FnOnce() -> T,
) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut progress = Progress::new(what, items);
            while !done.load(Ordering::Relaxed) {
                thread::park_timeout(SHOW_INTERVAL);
                progress.set(counter.done());
            }
            progress.finish();
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        result
    })
}

/// Does something that does not listen, on a thread that is left behind if told to stop: then the
/// process ends soon.
pub(super) fn abandonable<T: Send + 'static>(
    stop: &AtomicBool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>> {
    let worker = thread::Builder::new().spawn(work).wrap_err("cannot start a thread")?;
    while !worker.is_finished() {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        thread::sleep(LOOK_INTERVAL);
    }
    worker.join().map(Some).map_err(|_| eyre!("a thread panicked"))
}
