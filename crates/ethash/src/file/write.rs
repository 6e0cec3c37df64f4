//! Writing files: under a temporary name, synced, and renamed when everything is in.

use std::fs::{self, File, TryLockError};
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use xxhash_rust::xxh3::Xxh3;

use super::format::{Damage, ITEM_BYTES, Layout};
use super::load::check_written;
use super::lock::is_at;
use crate::dataset::{CHUNK_ITEMS, fill, on_threads};
use crate::kernel::{HUGE_PAGE_BYTES, Row, row_bytes, row_bytes_mut};
use crate::{Effort, LightCache, Phase};

/// What follows a file's name while it is written.
const TEMPORARY: &str = ".tmp-";
/// Room that is taken at once.
const RESERVED_BYTES: u64 = 256 << 20;

/// Rows that are written to a file at once.
const BUFFER_ROWS: usize = HUGE_PAGE_BYTES / size_of::<Row>();

/// A file that is written. Unless it is kept, dropping it removes it.
///
/// It is locked while it is open: so a file that nobody has locked is left over from a process
/// that ended too soon.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    /// Where it is, and where it will be.
    paths: Option<(PathBuf, PathBuf)>,
}

impl Temporary {
    /// Creates the folder if need be, removes what others left over, and creates the file.
    pub(super) fn create(folder: &Path, name: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        remove_leftovers(folder, name)?;
        // Processes on several machines may share the folder and have the same number.
        let process = std::process::id();
        for number in 0_u64.. {
            let path = folder.join(format!("{name}{TEMPORARY}{process}-{number}"));
            let file = match File::options().read(true).write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // Somebody may take it for left over before it is locked: then the next name is tried.
            // Without locks nobody does, and the file is written all the same.
            let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            if !is_taken && is_at(&file, &path)? {
                return Ok(Self { file, paths: Some((path, folder.join(name))) });
            }
        }
        unreachable!("numbers do not end")
    }

    /// Takes the room for this many bytes, so that a full disk shows before minutes of work.
    /// Where that is not possible, it shows when it is full.
    pub(super) fn reserve(&self, bytes: u64, effort: Effort<'_>) -> io::Result<()> {
        for start in (0..bytes).step_by(RESERVED_BYTES as usize) {
            if !effort.is_stopped() {
                reserve(&self.file, start, RESERVED_BYTES.min(bytes - start))?;
            }
        }
        Ok(())
    }

    /// Writes what comes before the data, waits until the disk has everything, and gives the file
    /// its name. Returns that.
    ///
    /// If this fails, the file has gone; what was mapped of it stays.
    pub(super) fn keep(mut self, before_data: &[u8]) -> io::Result<PathBuf> {
        self.file.write_all_at(before_data, 0)?;
        self.file.sync_all()?;
        let (temporary, path) = self.paths.as_ref().expect("it is kept once");
        fs::rename(temporary, path)?;
        let path = path.clone();
        self.paths = None;
        // The name, too, must be on the disk.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
        Ok(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.paths {
            // If that fails, the next process does it.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Removes the temporary files of a name that nobody writes to.
fn remove_leftovers(folder: &Path, name: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_temporary = entry.file_name().to_str().is_some_and(|found| {
            found.strip_prefix(name).is_some_and(|rest| rest.starts_with(TEMPORARY))
        });
        if is_temporary {
            remove_unlocked(&entry.path());
        }
    }
    Ok(())
}

/// Removes a file unless somebody has it locked. That is tidiness: an error does no harm.
pub(super) fn remove_unlocked(path: &Path) {
    if path.is_file()
        && let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        let _ = fs::remove_file(path);
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, start: u64, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::{Errno, retry_on_intr};

    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), start, bytes)) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64, _: u64) -> io::Result<()> {
    Ok(())
}

/// Where the data of a file comes from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// It is made.
    Cache(&'a LightCache),
    /// It is in memory.
    Rows(&'a [Row]),
    /// It is in a file of geth's, from this byte on.
    Geth(&'a File, u64),
}

/// Why a file was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The disk refuses.
    Io(io::Error),
    /// The file of geth's that it is a copy of is damaged.
    Source(Damage),
    /// Told to stop.
    Stopped,
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Source<'_> {
    /// The rows from number `first` on.
    fn read(&self, first: u64, rows: &mut [Row]) -> Result<(), Damage> {
        match self {
            Self::Cache(cache) => fill(cache, first as usize, rows),
            Self::Rows(all) => rows.copy_from_slice(&all[first as usize..][..rows.len()]),
            Self::Geth(file, start) => {
                let bytes = row_bytes_mut(rows);
                file.read_exact_at(bytes, start + first * ITEM_BYTES)
                    .map_err(Damage::Unreadable)?;
                check_written(rows, first)?;
            }
        }
        Ok(())
    }

    const fn phase(&self) -> Phase {
        match self {
            Self::Cache(_) | Self::Rows(_) => Phase::Generating,
            Self::Geth(..) => Phase::Checking,
        }
    }
}

/// A file whose data is written.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) file: &'a File,
    pub(super) layout: &'a Layout,
    pub(super) data_start: u64,
}

impl Output<'_> {
    /// Writes all data, on several threads. Returns the checksums of the blocks.
    pub(super) fn write(
        &self,
        source: Source<'_>,
        effort: Effort<'_>,
    ) -> Result<Vec<u64>, WriteError> {
        effort.progress.begin(source.phase(), self.layout.items());
        let blocks = Mutex::new(0..self.layout.blocks());
        let checksums = Mutex::new(vec![0; self.layout.blocks()]);
        let failure = Mutex::new(None);
        on_threads(effort.threads, &|| {
            loop {
                let next = blocks.lock().expect("no thread panics with the lock held").next();
                let Some(block) = next else { return };
                match self.write_block(block, source, effort) {
                    Ok(checksum) => {
                        checksums.lock().expect("no thread panics with the lock held")[block] =
                            checksum;
                    }
                    Err(error) => {
                        // The others find no more blocks.
                        let mut blocks =
                            blocks.lock().expect("no thread panics with the lock held");
                        blocks.start = blocks.end;
                        *failure.lock().expect("no thread panics with the lock held") = Some(error);
                    }
                }
            }
        });
        match failure.into_inner().expect("no thread panics with the lock held") {
            Some(error) => Err(error),
            None => Ok(checksums.into_inner().expect("no thread panics with the lock held")),
        }
    }

    fn write_block(
        &self,
        block: usize,
        source: Source<'_>,
        effort: Effort<'_>,
    ) -> Result<u64, WriteError> {
        let mut stream = Stream::new(block);
        loop {
            if effort.is_stopped() {
                return Err(WriteError::Stopped);
            }
            let (items, checksum) = stream.step(self, source, CHUNK_ITEMS)?;
            effort.progress.add(items as u64);
            if let Some(checksum) = checksum {
                return Ok(checksum);
            }
        }
    }
}

/// A block that is written piece by piece.
pub(super) struct Stream {
    block: usize,
    /// Items of it that are written or in the buffer.
    done: usize,
    hasher: Xxh3,
    /// What goes to the file at once: whole huge pages, so that the system keeps it in such.
    buffer: Vec<Row>,
}

impl Stream {
    pub(super) fn new(block: usize) -> Self {
        Self { block, done: 0, hasher: Xxh3::new(), buffer: Vec::new() }
    }

    pub(super) const fn block(&self) -> usize {
        self.block
    }

    /// Writes at most this many items, and no more than some thousand. Returns how many it were,
    /// and the block's checksum once it is complete; the next block follows then.
    pub(super) fn step(
        &mut self,
        output: &Output<'_>,
        source: Source<'_>,
        items_max: usize,
    ) -> Result<(usize, Option<u64>), WriteError> {
        let (start, length) = output.layout.block(self.block);
        let items = length / ITEM_BYTES as usize;
        let first = start / ITEM_BYTES;
        let room = BUFFER_ROWS - self.buffer.len();
        let count = items_max.min(CHUNK_ITEMS).min(room).min(items - self.done);
        let held = self.buffer.len();
        self.buffer.resize(held + count, [0; 16]);
        let made = &mut self.buffer[held..];
        source.read(first + self.done as u64, made).map_err(WriteError::Source)?;
        self.hasher.update(row_bytes(made));
        self.done += count;
        let is_complete = self.done == items;
        if is_complete || self.buffer.len() == BUFFER_ROWS {
            let at = start + (self.done - self.buffer.len()) as u64 * ITEM_BYTES;
            output.file.write_all_at(row_bytes(&self.buffer), output.data_start + at)?;
            self.buffer.clear();
        }
        if !is_complete {
            return Ok((count, None));
        }
        self.block += 1;
        self.done = 0;
        Ok((count, Some(mem::take(&mut self.hasher).digest())))
    }
}
