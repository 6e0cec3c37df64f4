//! geth's own files: written for real geth, which then starts at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::FileError;
use super::format::{GETH_MAGIC, Layout};
use super::load::{self, Rejected};
use super::write::{Output, Source, Temporary, WriteError};
use crate::kernel::row_bytes;
use crate::{Effort, LightCache, Progress};

/// A file in geth's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GethFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was written; otherwise a valid one was there.
    pub is_new: bool,
}

impl GethFile {
    /// Writes the dataset of a cache below a folder as `full-R23-…`, on this many threads, unless
    /// a valid one is there. `None` when told to stop, within 100 ms. It needs no memory to speak
    /// of: what is made goes to the disk.
    ///
    /// # Errors
    ///
    /// If the disk refuses or is full.
    pub fn write_dataset(
        folder: &Path,
        cache: &LightCache,
        threads: usize,
        progress: &Progress,
        stop: &AtomicBool,
    ) -> Result<Option<Self>, FileError> {
        let layout = Layout::of_dataset(cache);
        let effort = Effort::new(threads, progress, stop);
        let path = folder.join(layout.geth_name());
        match load::check_geth(&path, &layout, cache, effort) {
            Ok(()) => return Ok(Some(Self { path, is_new: false })),
            Err(Rejected::Stopped) => return Ok(None),
            Err(Rejected::Missing | Rejected::Damaged(_) | Rejected::Memory(_)) => {}
        }
        write(folder, &layout, Source::Cache(cache), effort)
    }

    /// Writes a cache below a folder as `cache-R23-…`, unless the same is there.
    ///
    /// # Errors
    ///
    /// If the disk refuses or is full.
    pub fn write_cache(folder: &Path, cache: &LightCache) -> Result<Self, FileError> {
        let rows = cache.rows();
        let layout = Layout::of_cache(cache.epoch(), size_of_val(rows) as u64);
        let path = folder.join(layout.geth_name());
        let is_there = fs::read(&path).is_ok_and(|found| {
            found.strip_prefix(&GETH_MAGIC).is_some_and(|found| found == row_bytes(rows))
        });
        if is_there {
            return Ok(Self { path, is_new: false });
        }
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        let effort = Effort::new(1, &progress, &stop);
        let written = write(folder, &layout, Source::Rows(rows), effort)?;
        Ok(written.expect("nobody says stop"))
    }
}

fn write(
    folder: &Path,
    layout: &Layout,
    source: Source<'_>,
    effort: Effort<'_>,
) -> Result<Option<GethFile>, FileError> {
    let name = layout.geth_name();
    let start = GETH_MAGIC.len() as u64;
    let written = || -> Result<PathBuf, WriteError> {
        let temporary = Temporary::create(folder, &name)?;
        temporary.reserve(start + layout.data_bytes, effort)?;
        Output { file: &temporary.file, layout, data_start: start }.write(source, effort)?;
        Ok(temporary.keep(&GETH_MAGIC)?)
    };
    match written() {
        Ok(path) => Ok(Some(GethFile { path, is_new: true })),
        Err(WriteError::Stopped) => Ok(None),
        Err(WriteError::Source(_)) => unreachable!("what is made is not damaged"),
        Err(WriteError::Io(source)) => Err(FileError::Disk { path: folder.join(&name), source }),
    }
}
