//! `makedag BLOCK DIR`: the dataset of a block's epoch in geth's file format.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use ethash::{Dataset, Epoch, LightCache};
use eyre::{Result, WrapErr, eyre};
use primitives::hex;

use crate::progress::Progress;

/// What geth's ethash files begin with, as two little-endian words.
const MAGIC: [u32; 2] = [0xbadd_cafe, 0xfee1_dead];
const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// Generates the dataset and writes it below the directory; an existing file is replaced whole.
///
/// # Errors
///
/// When the file cannot be written.
pub fn make(block: u64, directory: &Path) -> Result<PathBuf> {
    let epoch = Epoch::of_block(block);
    let path = directory.join(format!("full-R23-{}", hex::encode(&epoch.seed()[..8])));
    let failed = || format!("cannot write {}", path.display());
    fs::create_dir_all(directory).wrap_err_with(failed)?;
    let temporary = path.with_extension("tmp");
    // The room is taken first: a full disk shows before minutes of work.
    let file = File::create(&temporary).wrap_err_with(failed)?;
    let bytes = epoch.dataset_bytes() + 8;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)
        .map_err(|error| eyre!(std::io::Error::from(error)))
        .wrap_err_with(failed)?;
    let dataset = generate(epoch)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    for word in MAGIC {
        out.write_all(&word.to_le_bytes()).wrap_err_with(failed)?;
    }
    dataset.write_to(&mut |bytes: &[u8]| out.write_all(bytes)).wrap_err_with(failed)?;
    let file = out.into_inner().map_err(|error| eyre!(error.into_error())).wrap_err_with(failed)?;
    file.sync_all().wrap_err_with(failed)?;
    fs::rename(&temporary, &path).wrap_err_with(failed)?;
    File::open(directory).and_then(|folder| folder.sync_all()).wrap_err_with(failed)?;
    Ok(path)
}

fn generate(epoch: Epoch) -> Result<Dataset> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let cache = LightCache::generate(epoch);
    let counter = ethash::Progress::new(epoch.dataset_bytes() / 64);
    let stop = AtomicBool::new(false);
    let mut progress = Progress::items("Generating DAG", epoch.dataset_bytes() / 64);
    let dataset = thread::scope(|scope| {
        let work = scope.spawn(|| Dataset::generate(&cache, threads, &counter, &stop));
        while !work.is_finished() {
            thread::park_timeout(REPORT_INTERVAL);
            progress.set(counter.done());
        }
        work.join()
    });
    progress.finish();
    let dataset = dataset.map_err(|_| eyre!("generating the DAG panicked"))?;
    dataset.ok_or_else(|| eyre!("generating the DAG was stopped"))
}
