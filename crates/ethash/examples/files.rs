//! Times the files of datasets on this machine: `cargo run --release -p ethash --features testing
//! --example files FOLDER [EPOCH]`. Leaves a folder `timing` with a file of a GiB or more; what is
//! there already is not made again.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use ethash::{Dataset, Effort, Epoch, Kernel, Obtained, Progress, Residence, Store, Target};

/// How often the two residences are compared.
const ROUNDS: usize = 7;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder")).join("timing");
    let epoch = arguments.next().map_or(0, |epoch| epoch.parse().expect("a number"));
    let store = Store::new(folder, vec![]);
    let mut notice = |notice| println!("{notice}");
    let mut cache = None;
    for what in ["made and saved", "loaded"] {
        let (seconds, it) =
            timed(|| store.cache(Epoch::new(epoch), Kernel::best(), &mut notice).expect("it is"));
        println!("cache, {what:<28} {seconds:.3} s");
        cache = Some(it);
    }
    let cache = cache.expect("it was loaded");
    let stop = AtomicBool::new(false);
    let mut obtain = |residence, threads, what| {
        let progress = Progress::default();
        let (seconds, obtained) = timed(|| {
            store
                .obtain(&cache, residence, Effort::new(threads, &progress, &stop), &mut notice)
                .expect("memory")
        });
        let Obtained { dataset, origin, unsaved } = obtained.expect("nobody stops it");
        println!("{residence:?}, {threads} threads, {what:<12} {seconds:.2} s  {origin:?}");
        if let Some(unsaved) = unsaved {
            let (seconds, _) = timed(|| unsaved.save(&dataset, &stop).expect("room"));
            println!("saved {seconds:.2} s");
        }
        dataset
    };
    drop(obtain(Residence::Mapped, 2, "obtained"));
    for residence in [Residence::Mapped, Residence::Private] {
        drop(obtain(residence, 1, "loaded"));
        drop(obtain(residence, 2, "loaded"));
    }
    // By turns, because what else the machine does changes from second to second.
    let datasets = [Residence::Mapped, Residence::Private].map(|it| obtain(it, 2, "loaded"));
    for threads in [1, 2] {
        for _ in 0..ROUNDS {
            let [mapped, private] = [0, 1].map(|at| search(&datasets[at], threads));
            println!(
                "search, {threads} threads: {mapped:.3} MH/s {}, {private:.3} MH/s {}, {:.2} of it",
                datasets[0].pages(),
                datasets[1].pages(),
                mapped / private
            );
        }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let made = work();
    (start.elapsed().as_secs_f64(), made)
}

/// Millions of hashes a second.
fn search(dataset: &Dataset, threads: u64) -> f64 {
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
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
    });
    hashes.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64() / 1e6
}
