use std::path::PathBuf;

/// Room for blocks of data, indexes and filters read from the disk, in bytes.
const CACHE_BYTES: usize = 32 << 20;

/// Where the database is and how much memory it may take.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// The directory that holds `db/` and `ledger`. Created if it is not there.
    pub path: PathBuf,
    /// Keeps everything in memory and touches no file: for tests.
    pub in_memory: bool,
    /// Room for what is read from the disk, in bytes. What is being written takes up to 32 MiB more.
    pub cache_bytes: usize,
}

impl StorageConfig {
    /// A database in this directory.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path, in_memory: false, cache_bytes: CACHE_BYTES }
    }

    /// A database that is gone when its last view is dropped.
    #[must_use]
    pub const fn memory() -> Self {
        Self { path: PathBuf::new(), in_memory: true, cache_bytes: CACHE_BYTES }
    }
}
