//! The file of the next epoch, made piece by piece.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::FileError;
use super::format::Layout;
use super::load::{Rejected, open_own};
use super::lock::{Attempt, Lock};
use super::write::{Output, Source, Stream, Temporary, WriteError};
use crate::{Effort, Epoch, LightCache, Progress};

/// A dataset file in the making. Whoever holds it decides how fast it goes.
///
/// Nobody waits for it: a process that needs the dataset before it is done makes it at once, and
/// whichever file is complete last stays. Dropping it removes what was written.
pub struct Preparation<'a> {
    cache: &'a LightCache,
    layout: Layout,
    path: PathBuf,
    stream: Stream,
    checksums: Vec<u64>,
    done: u64,
    /// `None` once it is kept.
    temporary: Option<Temporary>,
    lock: Option<Lock>,
}

impl std::fmt::Debug for Preparation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preparation")
            .field("path", &self.path)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl<'a> Preparation<'a> {
    pub(super) fn begin(folder: &Path, cache: &'a LightCache) -> Result<Option<Self>, FileError> {
        let layout = Layout::of_dataset(cache);
        let path = folder.join(layout.name());
        match open_own(&path, &layout) {
            Ok(_) => return Ok(None),
            Err(
                Rejected::Missing | Rejected::Damaged(_) | Rejected::Memory(_) | Rejected::Stopped,
            ) => {}
        }
        std::fs::create_dir_all(folder).map_err(FileError::disk(folder))?;
        let lock_path = folder.join(format!("{}.next.lock", layout.name()));
        let lock = match Lock::ask(lock_path.clone()).map_err(FileError::disk(&lock_path))? {
            Attempt::Locked(lock) => Some(lock),
            Attempt::Held => return Ok(None),
            Attempt::Unsupported(_) => None,
        };
        let temporary =
            Temporary::create(folder, &layout.name()).map_err(FileError::disk(folder))?;
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        let effort = Effort::new(1, &progress, &stop);
        temporary.reserve(layout.file_bytes(), effort).map_err(FileError::disk(&path))?;
        Ok(Some(Self {
            cache,
            layout,
            path,
            stream: Stream::new(0),
            checksums: Vec::new(),
            done: 0,
            temporary: Some(temporary),
            lock,
        }))
    }

    /// Makes at most this many more items, on the calling thread: some hundred thousand a second.
    /// Returns whether the file is complete, synced and in its place; nothing is left to do then.
    ///
    /// # Errors
    ///
    /// If the disk refuses. Trying again will not help.
    pub fn step(&mut self, items: usize) -> Result<bool, FileError> {
        let Some(temporary) = &self.temporary else { return Ok(true) };
        let disk = |source| FileError::Disk { path: self.path.clone(), source };
        let output = Output {
            file: &temporary.file,
            layout: &self.layout,
            data_start: self.layout.data_start(),
        };
        let mut left = items;
        while left > 0 && self.stream.block() < self.layout.blocks() {
            let (made, checksum) = match self.stream.step(&output, Source::Cache(self.cache), left)
            {
                Ok(step) => step,
                Err(WriteError::Io(source)) => return Err(disk(source)),
                Err(WriteError::Source(_) | WriteError::Stopped) => {
                    unreachable!("a cache is never damaged, and nobody says stop")
                }
            };
            left -= made;
            self.done += made as u64;
            if let Some(checksum) = checksum {
                self.checksums.push(checksum);
                // So that the disk has little to do at the end, when it would take long.
                temporary.file.sync_data().map_err(disk)?;
            }
        }
        if self.stream.block() < self.layout.blocks() {
            return Ok(false);
        }
        let temporary = self.temporary.take().expect("it was there above");
        let kept = temporary.keep(&self.layout.encode(&self.checksums));
        self.lock = None;
        kept.map(|_| true).map_err(|source| FileError::Disk { path: self.path.clone(), source })
    }

    /// The epoch of the dataset.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.layout.epoch
    }

    /// Items of 64 bytes that are written.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// Items of 64 bytes that the file will have.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.layout.items()
    }
}
