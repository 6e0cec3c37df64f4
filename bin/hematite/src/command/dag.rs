//! `makedag BLOCK DIR`: the dataset and the cache of a block's epoch in geth's file format.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use ethash::{Epoch, GethFile, LightCache, Phase};
use eyre::{Result, eyre};
use miner::{DatasetProgress, dataset_time};

use crate::{exit::UsageError, progress::Progress};

const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// Writes both files below the directory, unless valid ones are there. Returns where the dataset
/// is.
///
/// # Errors
///
/// When the epoch is out of range, or a file cannot be written.
pub fn make(block: u64, directory: &Path) -> Result<PathBuf> {
    let epoch = Epoch::of_block(block);
    if epoch > Epoch::MAX {
        let last = Epoch::MAX.get() * Epoch::BLOCKS + (Epoch::BLOCKS - 1);
        let message = format!("block {block} has no DAG, the last that has one is {last}");
        return Err(UsageError(message).into());
    }
    let cache = LightCache::generate(epoch);
    GethFile::write_cache(directory, &cache)?;
    let GethFile { path, is_new } = write_dataset(directory, &cache)?;
    if !is_new {
        tracing::info!(path = %path.display(), "Found a valid DAG");
    }
    Ok(path)
}

/// Writes the dataset's file on every core, and says how far it is.
fn write_dataset(directory: &Path, cache: &LightCache) -> Result<GethFile> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let items = cache.dataset_bytes() / 64;
    let counter = ethash::Progress::new(items);
    let stop = AtomicBool::new(false);
    let (mut phase, expected, started) =
        (Phase::Generating, dataset_time(cache, threads), Instant::now());
    let mut progress = Progress::new("Generating DAG", items);
    let file = thread::scope(|scope| {
        let work =
            scope.spawn(|| GethFile::write_dataset(directory, cache, threads, &counter, &stop));
        while !work.is_finished() {
            thread::park_timeout(REPORT_INTERVAL);
            if counter.phase() != phase {
                phase = counter.phase();
                progress.finish();
                progress = Progress::new(name(phase), items);
            }
            let eta = DatasetProgress {
                epoch: cache.epoch(),
                phase,
                done: counter.done(),
                total: counter.total(),
                elapsed: started.elapsed(),
                expected,
            }
            .eta();
            progress.set_with_eta(counter.done(), eta);
        }
        work.join()
    });
    progress.finish();
    let file = file.map_err(|_| eyre!("generating the DAG panicked"))??;
    file.ok_or_else(|| eyre!("generating the DAG was stopped"))
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Generating => "Generating DAG",
        Phase::Checking => "Checking DAG",
        Phase::Waiting => "Waiting for DAG",
    }
}
