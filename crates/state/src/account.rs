use alloy_rlp::{RlpDecodable, RlpEncodable};
use primitives::{B256, EMPTY_ROOT_HASH, KECCAK256_EMPTY, U256};

/// An account as the flat state keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Account {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// Root of the account's storage trie.
    pub storage_root: B256,
    /// Hash of the account's code; the hash of nothing for none.
    pub code_hash: B256,
    /// Number of the block in which this life of the account began.
    ///
    /// Slots are keyed under it, so that destroying a contract and creating it again needs no
    /// deletion of its slots. Not part of the trie.
    pub incarnation: u64,
}

/// One life of an account: whose slots and storage nodes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageOwner {
    /// Keccak of the address.
    pub address_hash: B256,
    /// See [`Account::incarnation`].
    pub incarnation: u64,
}

impl Account {
    /// An account that has nothing, in the block that first mentions it.
    #[must_use]
    pub const fn new(incarnation: u64) -> Self {
        Self {
            nonce: 0,
            balance: U256::ZERO,
            storage_root: EMPTY_ROOT_HASH,
            code_hash: KECCAK256_EMPTY,
            incarnation,
        }
    }

    /// No nonce, no balance, no code (EIP-161).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code_hash == KECCAK256_EMPTY
    }

    /// The owner of this account's slots.
    #[must_use]
    pub const fn owner(&self, address_hash: B256) -> StorageOwner {
        StorageOwner { address_hash, incarnation: self.incarnation }
    }
}
