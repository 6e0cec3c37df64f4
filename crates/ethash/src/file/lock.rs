//! Locks between processes: a file that is locked, and removed when it is not needed any more.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A lock that is held. Dropping it frees it; so does the end of the process.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Closing it frees the lock.
    _file: File,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is ours.
    Locked(Lock),
    /// Somebody else has it.
    Held,
    /// The file system has no locks.
    Unsupported(io::Error),
}

impl Lock {
    /// Asks for a lock, without waiting.
    pub(super) fn ask(path: PathBuf) -> io::Result<Attempt> {
        loop {
            let file = File::options().write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Attempt::Held),
                Err(TryLockError::Error(error)) => return Ok(Attempt::Unsupported(error)),
            }
            // Whoever had it may have removed the file meanwhile: a lock on that is worth nothing.
            if is_at(&file, &path)? {
                return Ok(Attempt::Locked(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is held. If it cannot be removed it stays, and does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a file is still the one at this path.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
