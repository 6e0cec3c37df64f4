//! Where ethash keeps its files, and how much memory it may take.

use std::{fs, path::PathBuf, sync::Arc};

use consensus::CacheSource;
use ethash::{Kernel, LightCache, Store};
use miner::DatasetConfig;

use crate::{
    config::{Config, Paths},
    machine,
};

/// The kernel that was asked for, or the best.
fn kernel(config: &Config) -> Kernel {
    config.ethash.kernel.unwrap_or_else(Kernel::best)
}

/// Where light caches come from: files if they are kept, else made.
#[must_use]
pub fn cache_source(config: &Config) -> Box<CacheSource> {
    let kernel = kernel(config);
    if config.ethash.caches_on_disk == 0 {
        return Box::new(move |epoch| {
            LightCache::generate_with(epoch, kernel).expect("the configuration was checked")
        });
    }
    let store = Store::new(config.paths.ethash_caches.clone(), Vec::new());
    let kept = config.ethash.caches_on_disk;
    Box::new(move |epoch| {
        let notice = &mut |notice| tracing::warn!(epoch = epoch.get(), "{notice}");
        let cache = store.cache(epoch, kernel, notice).expect("the configuration was checked");
        if let Err(error) = store.prune_caches(epoch, kept) {
            tracing::debug!(%error, "Could not remove old light caches");
        }
        cache
    })
}

/// Where the miner's datasets come from and stay.
#[must_use]
pub fn config(config: &Config) -> DatasetConfig {
    let files_max = config.ethash.datasets_on_disk;
    let store = (files_max > 0).then(|| {
        Arc::new(Store::new(config.paths.ethash_dags.clone(), geth_folders(&config.paths)))
    });
    let in_memory_max = config.ethash.datasets_in_memory;
    let memory_free = if config.ethash.datasets_mapped { no_memory } else { memory_free };
    DatasetConfig { store, files_max, in_memory_max, memory_free: Some(memory_free) }
}

/// Where geth leaves its DAGs unless something else is said.
fn geth_folders(paths: &Paths) -> Vec<PathBuf> {
    let home = std::env::home_dir().map(|home| home.join(".ethash"));
    home.into_iter().chain([paths.datadir.join("geth").join("ethash")]).collect()
}

/// What leaves a dataset in its file.
const fn no_memory() -> Option<u64> {
    Some(0)
}

/// How much memory is free for a dataset, in bytes: what the machine has available, and what the
/// limit of the control group leaves. `None` if the system does not say.
fn memory_free() -> Option<u64> {
    let status = |path: &str, key: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib << 10)
    };
    let available = status("/proc/meminfo", "MemAvailable:");
    // What this process has counts against the limit; caches of files give way.
    let resident = status("/proc/self/status", "RssAnon:").unwrap_or(0);
    let left = machine::memory_limit().map(|limit| limit.saturating_sub(resident));
    [available, left].into_iter().flatten().min()
}
