use std::{
    io,
    path::{Path, PathBuf},
};

use primitives::B256;
use rocksdb::ErrorKind;
use state::ReadError;

/// Why the database could not do what was asked. Always ours to answer for, never a peer's.
///
/// The variants are what the operator has to do about it, and so what the process exits with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// Something on the disk is not what was written there.
    #[error("corrupt {what}: {detail}")]
    Corrupt {
        /// The column or file.
        what: &'static str,
        /// Which record, or what the database said.
        detail: String,
    },
    /// The disk failed.
    #[error("disk failed: {0}")]
    Io(String),
    /// The disk is full.
    #[error("disk is full: {0}")]
    Full(String),
    /// The directory holds the chain of another genesis block.
    #[error(
        "database contains incompatible genesis (have {have}, new {new}); \
         another chain needs another --datadir"
    )]
    WrongGenesis {
        /// Hash of the genesis block in the database.
        have: B256,
        /// Hash of the one that was asked for.
        new: B256,
    },
    /// The directory was written by another version whose records this one cannot read.
    #[error("database has schema {have}, this version reads schema {expected}")]
    WrongSchema {
        /// The version in the database; zero if it does not say.
        have: u64,
        /// The version this program writes.
        expected: u64,
    },
    /// The directory holds files that are not ours.
    #[error("{} is not a database of this program: {detail}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process works on the directory.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There is no genesis block yet.
    #[error("the database is empty")]
    Empty,
    /// The block is not in the database.
    #[error("unknown block {0}")]
    UnknownBlock(B256),
    /// The block is here and its state is not: it has not been executed, or it left the canonical
    /// chain before the base.
    #[error("the state of block {0} is not available")]
    NoState(B256),
    /// An earlier write failed, so nothing more is written: what is on the disk is unknown until it
    /// is opened again.
    #[error("an earlier write failed")]
    Failed,
    /// A value of the state could not be read.
    #[error(transparent)]
    Read(ReadError),
}

impl StorageError {
    /// A record that is there and is not what it should be, or is missing where it must be.
    #[must_use]
    pub const fn corrupt(what: &'static str, detail: String) -> Self {
        Self::Corrupt { what, detail }
    }

    /// A failure at a file or directory of ours.
    pub(crate) fn at(path: &Path, error: &io::Error) -> Self {
        let message = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(message),
            _ => Self::Io(message),
        }
    }

    /// Whether the answer depends on the question alone and the database is sound.
    #[must_use]
    pub const fn is_about_the_question(&self) -> bool {
        match self {
            Self::UnknownBlock(_) | Self::NoState(_) => true,
            Self::Read(error) => matches!(error, ReadError::NodesPruned { .. }),
            Self::Corrupt { .. }
            | Self::Io(_)
            | Self::Full(_)
            | Self::WrongGenesis { .. }
            | Self::WrongSchema { .. }
            | Self::Foreign { .. }
            | Self::InUse { .. }
            | Self::Empty
            | Self::Failed => false,
        }
    }
}

impl From<rocksdb::Error> for StorageError {
    fn from(error: rocksdb::Error) -> Self {
        let kind = error.kind();
        let message = error.into_string();
        if is_full(&message) {
            return Self::Full(message);
        }
        match kind {
            ErrorKind::Corruption
            | ErrorKind::NotFound
            | ErrorKind::InvalidArgument
            | ErrorKind::NotSupported => Self::Corrupt { what: "database", detail: message },
            // RocksDB says "IO error" for a missing table file too; the message names the file.
            ErrorKind::IOError if message.contains("No such file or directory") => {
                Self::Corrupt { what: "database", detail: message }
            }
            _ => Self::Io(message),
        }
    }
}

impl From<ReadError> for StorageError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Read(error) => error,
            StorageError::Corrupt { what, detail } => Self::Corrupt { what, key: detail },
            other => Self::Database(other.to_string()),
        }
    }
}

fn is_full(message: &str) -> bool {
    message.contains("No space left on device") || message.contains("Disk quota exceeded")
}

/// Whether RocksDB refused because somebody else holds the directory's lock.
pub(crate) fn is_lock_held(error: &rocksdb::Error) -> bool {
    let message: &str = error.as_ref();
    let elsewhere =
        message.contains("While lock file") && message.contains("Resource temporarily unavailable");
    elsewhere || message.contains("lock hold by current process")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let path = Path::new("/d/ledger");
        assert!(matches!(StorageError::at(path, &full), StorageError::Full(_)));
        let broken = StorageError::at(path, &io::Error::other("Input/output error"));
        assert!(
            matches!(&broken, StorageError::Io(text) if text == "/d/ledger: Input/output error")
        );
        assert!(is_full(
            "IO error: No space left on device: While appending to file: /d/000004.log"
        ));
        assert!(!is_full("IO error: While appending to file: /d/000004.log: Input/output error"));
    }
}
