//! Times the kernel on this machine, and compares it with what its memory can do:
//! `cargo run --release -p ethash --example timing [search|light|dataset|growth] [EPOCH] [KERNEL]`.
#![allow(clippy::print_stdout)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use ethash::{Dataset, Effort, Epoch, Growth, Kernel, LightCache, Progress, Target};

/// Repetitions of each measurement, of which the median counts.
const ROUNDS: usize = 9;
/// How long each takes.
const DURATION: Duration = Duration::from_millis(400);
/// Reads in flight that the ceiling is measured with.
const AHEADS: [usize; 5] = [32, 64, 96, 128, 256];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "search".into());
    let epoch = arguments.next().map_or(0, |epoch| epoch.parse().expect("a number"));
    let kernel = arguments.next().map_or(Kernel::best(), |name| name.parse().expect("a kernel"));
    let start = Instant::now();
    let cache = LightCache::generate_with(Epoch::new(epoch), kernel).expect("an available kernel");
    println!("epoch {epoch}, {kernel}, cache in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    match what.as_str() {
        "light" => light(&cache),
        "growth" => growth(&cache),
        "dataset" => {
            for threads in [1, 2] {
                dataset(&cache, threads);
            }
        }
        _ => {
            let dataset = dataset(&cache, 2);
            for threads in [1, 2] {
                search(&dataset, threads);
            }
        }
    }
}

fn dataset(cache: &LightCache, threads: usize) -> Dataset {
    let progress = Progress::default();
    let (start, idle) = (Instant::now(), running());
    let dataset =
        Dataset::generate(cache, Effort::new(threads, &progress, &AtomicBool::new(false)))
            .expect("the system has the memory")
            .expect("nobody stops it");
    let elapsed = start.elapsed().as_secs_f64();
    let here = running().zip(idle).map_or(elapsed, |(end, start)| (end - start).as_secs_f64());
    let rate = progress.total() as f64 / elapsed / 1e6;
    println!(
        "dataset, {threads} threads: {rate:.2} M items/s, {elapsed:.2} s, first thread ran {here:.2} s"
    );
    dataset
}

/// How many hashes a thread makes while it makes the dataset, and what that costs.
fn growth(cache: &LightCache) {
    let (progress, stop, hashes) = (Progress::default(), AtomicBool::new(false), AtomicU64::new(0));
    let target = Target::from_difficulty(U256::MAX).expect("it is not zero");
    let start = running();
    let ran = || running().zip(start).map_or(0.0, |(now, start)| (now - start).as_secs_f64());
    let meanwhile = &|growth: &Growth<'_>| {
        for tenth in 1..=9_u32 {
            let is_over = &|| growth.made() >= f64::from(tenth) / 10.0;
            let first = u64::from(tenth) << 40;
            let _ = growth.search(&B256::ZERO, &target, first..first << 1, is_over, &hashes);
            let hashes = hashes.load(Ordering::Relaxed);
            println!("growth, {:>3} %: {hashes:>8} hashes after {:.2} s", 10 * tenth, ran());
        }
    };
    let effort = Effort { meanwhile, ..Effort::new(1, &progress, &stop) };
    Dataset::generate(cache, effort).expect("the system has the memory").expect("nobody stops it");
    println!("growth, 100 %: {:.2} s", ran());
}

/// Every header is a new one: the rows of a few headers alone would soon be close.
fn light(cache: &LightCache) {
    let mut nonces = 0..;
    for width in [1, 2, 4, 8, 16, 32, 64, 128, 1024] {
        let start = Instant::now();
        let mut hashes = 0;
        while start.elapsed() < DURATION {
            let seals: Vec<_> =
                nonces.by_ref().take(width).map(|nonce| (B256::ZERO, nonce)).collect();
            hashes += cache.hashimoto_many(&seals).len();
        }
        let rate = hashes as f64 / start.elapsed().as_secs_f64();
        println!("light, {width:>4} at once: {rate:>8.0} hashes/s");
    }
}

/// Measures search and ceiling in turns, so that what else the machine does hits both.
fn search(dataset: &Dataset, threads: u64) {
    let (mut found, mut ceilings) = (Vec::new(), AHEADS.map(|_| Vec::new()));
    let target = Target::from_difficulty(U256::MAX).expect("it is not zero");
    for _ in 0..ROUNDS {
        found.push(rate(threads, |thread, stop, hashes| {
            let nonces = thread << 40..(thread + 1) << 40;
            let _ = dataset.search(&B256::ZERO, &target, nonces, stop, hashes);
        }));
        for (ahead, rates) in AHEADS.iter().zip(&mut ceilings) {
            let reads = rate(threads, |thread, stop, reads| {
                std::hint::black_box(dataset.random_reads().run(thread, *ahead, stop, reads));
            });
            rates.push(reads / 64.0);
        }
    }
    let one_by_one = rate(threads, |thread, stop, hashes| {
        for nonce in thread << 40.. {
            std::hint::black_box(dataset.hashimoto(&B256::ZERO, nonce));
            hashes.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    let found = median(&mut found);
    println!("one nonce at a time: {one_by_one:.4} MH/s, {:.1} times less", found / one_by_one);
    let ceilings = ceilings.map(|mut rates| median(&mut rates));
    let ceiling = ceilings.iter().copied().fold(0.0, f64::max);
    println!(
        "search, {threads} threads: {found:.3} MH/s, {:.1} % of {ceiling:.3}, ceilings {ceilings:.3?}",
        100.0 * found / ceiling
    );
}

/// Millions per second that all threads together count, while they run: what the system gives to
/// others meanwhile is left out where it says how much that is.
fn rate(threads: u64, work: impl Fn(u64, &AtomicBool, &AtomicU64) + Sync) -> f64 {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let running = std::thread::scope(|scope| {
        let threads = (0..threads).map(|thread| {
            let (work, stop, count) = (&work, &stop, &count);
            scope.spawn(move || {
                let (start, idle) = (Instant::now(), running());
                work(thread, stop, count);
                running().zip(idle).map_or(start.elapsed(), |(end, start)| end - start)
            })
        });
        let threads: Vec<_> = threads.collect();
        std::thread::sleep(DURATION);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<Duration>()
    });
    count.load(Ordering::Relaxed) as f64 / running.as_secs_f64() * threads as f64 / 1e6
}

/// How long this thread ran until now.
fn running() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
