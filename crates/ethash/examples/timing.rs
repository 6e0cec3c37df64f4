//! Times the kernel on this machine: `cargo run --release -p ethash --features testing --example
//! timing [EPOCH]`.
#![allow(clippy::print_stdout)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use ethash::{Dataset, Epoch, LightCache, Progress, Target, instructions};

fn main() {
    let epoch = std::env::args().nth(1).map_or(0, |epoch| epoch.parse().expect("a number"));
    println!("epoch {epoch}, {}", instructions());
    let start = Instant::now();
    let cache = LightCache::generate(Epoch::new(epoch));
    println!("cache generation      {:>10.0} ms", start.elapsed().as_secs_f64() * 1e3);
    light(&cache);
    for threads in [1, 2] {
        let progress = Progress::default();
        let start = Instant::now();
        let dataset = Dataset::generate(&cache, threads, &progress, &AtomicBool::new(false))
            .expect("nobody stops it");
        let seconds = start.elapsed().as_secs_f64();
        let rate = progress.total() as f64 / seconds;
        println!("dataset, {threads} threads    {rate:>10.0} items/s  {seconds:.2} s");
        if threads == 2 {
            search(&dataset, 1);
            search(&dataset, 2);
        }
    }
}

/// Every header is a new one: the rows of a few headers alone would soon be close.
fn light(cache: &LightCache) {
    let mut nonces = 0..;
    for width in [1, 2, 4, 8, 16, 32, 64, 128, 1024] {
        let start = Instant::now();
        let mut hashes = 0;
        while start.elapsed() < Duration::from_millis(500) {
            let seals: Vec<_> =
                nonces.by_ref().take(width).map(|nonce| (B256::ZERO, nonce)).collect();
            hashes += cache.hashimoto_many(&seals).len();
        }
        let rate = hashes as f64 / start.elapsed().as_secs_f64();
        println!("light, {width:>4} at once    {rate:>10.0} hashes/s");
    }
}

fn search(dataset: &Dataset, threads: u64) {
    let target = Target::from_difficulty(U256::MAX).expect("it is not zero");
    let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (target, stop, hashes) = (&target, &stop, &hashes);
            scope.spawn(move || {
                let nonces = thread << 40..(thread + 1) << 40;
                dataset.search(&B256::ZERO, target, nonces, stop, hashes)
            });
        }
        std::thread::sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
    });
    let rate = hashes.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    println!("search, {threads} threads     {rate:>10.0} hashes/s");
}
