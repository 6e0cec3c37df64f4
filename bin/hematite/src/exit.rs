//! What the process says when it ends.

use std::{error::Error, io};

use accounts::KeystoreError;
use chain::{ImportError, OpenError};
use primitives::GenesisError;
use storage::StorageError;

use crate::args::Personality;

/// How the process ended. The numbers are a contract with scripts and with Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything was done; also after SIGTERM and SIGINT.
    Done,
    /// Something failed, and none of the others says what.
    Failed,
    /// The command line, the configuration or a key file is wrong: starting again will not help.
    Usage,
    /// The data on disk is damaged.
    Corrupt,
    /// Reading or writing failed, or the disk is full.
    Io,
    /// The data directory belongs to another genesis, or to another version of the schema.
    Mismatch,
    /// Another process uses the data directory.
    InUse,
}

/// A mistake in what was typed or configured.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl ExitCode {
    /// What the chain of causes amounts to for whoever started the process.
    #[must_use]
    pub fn of(error: &eyre::Report) -> Self {
        error.chain().find_map(Self::of_cause).unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn Error + 'static)) -> Option<Self> {
        if cause.is::<UsageError>() || cause.is::<GenesisError>() {
            return Some(Self::Usage);
        }
        // It says what the system said, but no disk is at fault.
        if cause.is::<ethash::MemoryError>() {
            return Some(Self::Failed);
        }
        if let Some(KeystoreError::KeyFile { .. } | KeystoreError::Mismatch { .. }) =
            cause.downcast_ref()
        {
            return Some(Self::Usage);
        }
        if let Some(error) = cause.downcast_ref::<OpenError>() {
            return match error {
                OpenError::Storage(error) => Some(Self::of_storage(error)),
                OpenError::WrongGenesis { .. } | OpenError::Incompatible(_) => Some(Self::Mismatch),
                OpenError::NoGenesis => Some(Self::Usage),
                OpenError::Config(_) | OpenError::State(_) => Some(Self::Corrupt),
            };
        }
        if let Some(ImportError::Storage { source, .. }) = cause.downcast_ref() {
            return Some(Self::of_storage(source));
        }
        if let Some(error) = cause.downcast_ref() {
            return Some(Self::of_storage(error));
        }
        let error: &io::Error = cause.downcast_ref()?;
        Some(match error.kind() {
            // Something that was named is not there, or taken: the disk is not at fault.
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::AddrInUse => {
                Self::Failed
            }
            _ => Self::Io,
        })
    }

    const fn of_storage(error: &StorageError) -> Self {
        match error {
            StorageError::Corrupt { .. } | StorageError::Read(_) | StorageError::Empty => {
                Self::Corrupt
            }
            StorageError::Io(_) | StorageError::Full(_) | StorageError::Failed => Self::Io,
            StorageError::WrongGenesis { .. }
            | StorageError::WrongSchema { .. }
            | StorageError::Foreign { .. } => Self::Mismatch,
            StorageError::InUse { .. } => Self::InUse,
            StorageError::UnknownBlock(_) | StorageError::NoState(_) => Self::Failed,
        }
    }

    /// The number, as a program called by this name reports it: geth and bootnode know only 0
    /// and 1.
    #[must_use]
    pub const fn under(self, personality: Personality) -> u8 {
        match (self, personality) {
            (Self::Done, _) => 0,
            (_, Personality::Geth | Personality::Bootnode) | (Self::Failed, _) => 1,
            (Self::Usage, Personality::Hematite) => 2,
            (Self::Corrupt, Personality::Hematite) => 3,
            (Self::Io, Personality::Hematite) => 4,
            (Self::Mismatch, Personality::Hematite) => 5,
            (Self::InUse, Personality::Hematite) => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_whose_fault_an_error_is() {
        let source = accounts::KeyFileError::Json;
        let damaged = KeystoreError::KeyFile { path: "key".into(), source };
        assert_eq!(ExitCode::of(&eyre::eyre!(damaged).wrap_err("outer")), ExitCode::Usage);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(ExitCode::of(&eyre::eyre!(full).wrap_err("outer")), ExitCode::Io);
        assert_eq!(ExitCode::of(&eyre::eyre!("anything else")), ExitCode::Failed);
        assert_eq!(ExitCode::of(&eyre::eyre!(KeystoreError::Password)), ExitCode::Failed);
    }

    #[test]
    fn keeps_its_numbers() {
        use ExitCode::{Corrupt, Done, Failed, InUse, Io, Mismatch, Usage};
        let codes = [Done, Failed, Usage, Corrupt, Io, Mismatch, InUse];
        let numbers = |personality| codes.map(|code| code.under(personality));
        assert_eq!(numbers(Personality::Hematite), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(numbers(Personality::Geth), [0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(numbers(Personality::Bootnode), [0, 1, 1, 1, 1, 1, 1]);
    }
}
