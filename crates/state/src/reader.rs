use std::sync::Arc;

use alloy_trie::Nibbles;
use primitives::{B256, Bytes, U256};

use crate::{Account, StorageOwner};

/// Reads flat values, trie nodes and code of one state. The one seam between the state and a
/// database.
pub trait StateReader {
    /// The account behind this hash of an address.
    ///
    /// # Errors
    ///
    /// When the database fails or holds something that does not decode.
    fn account(&self, address_hash: B256) -> Result<Option<Account>, ReadError>;

    /// The value of a slot, zero if there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::account`].
    fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Result<U256, ReadError>;

    /// The RLP of the trie node at a path; `None` means the account trie.
    ///
    /// # Errors
    ///
    /// As [`Self::account`], and [`ReadError::NodesPruned`] for states below the base.
    fn node(&self, owner: Option<StorageOwner>, path: &Nibbles)
    -> Result<Option<Bytes>, ReadError>;

    /// The code behind this hash.
    ///
    /// # Errors
    ///
    /// As [`Self::account`].
    fn code(&self, code_hash: B256) -> Result<Option<Bytes>, ReadError>;
}

/// Why a value of the state could not be read. Ours to answer for, never a peer's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("database: {0}")]
    Database(String),
    /// A record is there and is not what it should be.
    #[error("corrupt {what} {key}")]
    Corrupt {
        /// What kind of record.
        what: &'static str,
        /// Its key, in hex.
        key: String,
    },
    /// A trie node that the trie refers to is not there.
    #[error("missing trie node {hash} (path {path:?})")]
    MissingNode {
        /// The hash by which its parent knows it.
        hash: B256,
        /// Where it should be.
        path: Nibbles,
    },
    /// Code that an account refers to is not there.
    #[error("missing code {0}")]
    MissingCode(B256),
    /// The state is older than the base: its values can be read, its trie is gone.
    #[error("trie nodes are kept for the newest {kept} blocks only")]
    NodesPruned {
        /// How many blocks back the trie reaches.
        kept: u64,
    },
}

impl<R: StateReader + ?Sized> StateReader for &R {
    fn account(&self, address_hash: B256) -> Result<Option<Account>, ReadError> {
        (**self).account(address_hash)
    }

    fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Result<U256, ReadError> {
        (**self).slot(owner, slot_hash)
    }

    fn node(
        &self,
        owner: Option<StorageOwner>,
        path: &Nibbles,
    ) -> Result<Option<Bytes>, ReadError> {
        (**self).node(owner, path)
    }

    fn code(&self, code_hash: B256) -> Result<Option<Bytes>, ReadError> {
        (**self).code(code_hash)
    }
}

impl<R: StateReader + ?Sized> StateReader for Arc<R> {
    fn account(&self, address_hash: B256) -> Result<Option<Account>, ReadError> {
        (**self).account(address_hash)
    }

    fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Result<U256, ReadError> {
        (**self).slot(owner, slot_hash)
    }

    fn node(
        &self,
        owner: Option<StorageOwner>,
        path: &Nibbles,
    ) -> Result<Option<Bytes>, ReadError> {
        (**self).node(owner, path)
    }

    fn code(&self, code_hash: B256) -> Result<Option<Bytes>, ReadError> {
        (**self).code(code_hash)
    }
}
