//! The whole disk on one page: every column, every key, every value.
//!
//! Numbers are big-endian, so that order on disk is order in time. Blocks are keyed by number and
//! hash, so that side blocks live beside canonical ones. The state columns hold the state of one
//! canonical block, the *base*; the blocks above it are in `layers`, the blocks below it can be
//! reached through `history`.

use primitives::{B256, BlockNumHash};
use state::{Nibbles, StorageOwner};

/// Version of everything on this page. A later version is refused.
pub(crate) const SCHEMA_VERSION: u64 = 2;
/// The oldest version that can be read as this one: its bodies have no senders. The first commit makes
/// it this version, which older programs refuse.
pub(crate) const SCHEMA_VERSION_OLDEST: u64 = 1;

/// A column of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// [`block_key`] → RLP of the header.
    Headers,
    /// [`block_key`] → RLP of transactions and ommers ‖ 20 bytes for each transaction, its sender.
    /// Bodies of version 1 end with the RLP.
    Bodies,
    /// [`block_key`] → RLP of the list of receipts; executed blocks only.
    Receipts,
    /// [`block_key`] → total difficulty, without leading zeros.
    Td,
    /// Block hash → number.
    Numbers,
    /// Number → hash of the canonical block.
    Canonical,
    /// Transaction hash → [`place_value`]; canonical blocks only.
    TxIndex,
    /// Keccak of the address → RLP of the account, at the base.
    Accounts,
    /// [`slot_key`] → value without leading zeros, at the base. Slots of ended lives of an account
    /// stay: the past is read through them.
    Slots,
    /// [`path_key`] → RLP of the node of the account trie, at the base.
    AccountNodes,
    /// [`slot_node_key`] → RLP of the node of a storage trie, at the base or at the end of that
    /// life.
    SlotNodes,
    /// Code hash → code.
    Codes,
    /// Flat key (see [`FlatKey`]) ‖ number → the value before that block; empty if there was none.
    /// Canonical blocks up to the base.
    History,
    /// Number → RLP list of the flat keys that block changed. Canonical blocks up to the base.
    Changes,
    /// Block hash → RLP of the layer of an executed block above the base.
    Layers,
    /// [`block_key`] → size of the block's body in bytes. Marks a side block whose state is not here:
    /// it must be executed before its branch can become canonical.
    Unexecuted,
    /// Keccak of an address or of a slot → the address or slot.
    Preimages,
    /// [`row_key`] → which blocks of the section have this bit in their blooms, lowest first; bits
    /// that no block has are left out. Canonical blocks.
    LogIndex,
    /// The keys of [`meta`].
    Meta,
}

impl Column {
    /// All columns, in the order of their declaration.
    pub(crate) const ALL: [Self; 19] = [
        Self::Headers,
        Self::Bodies,
        Self::Receipts,
        Self::Td,
        Self::Numbers,
        Self::Canonical,
        Self::TxIndex,
        Self::Accounts,
        Self::Slots,
        Self::AccountNodes,
        Self::SlotNodes,
        Self::Codes,
        Self::History,
        Self::Changes,
        Self::Layers,
        Self::Unexecuted,
        Self::Preimages,
        Self::LogIndex,
        Self::Meta,
    ];

    /// The column's name on disk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Bodies => "bodies",
            Self::Receipts => "receipts",
            Self::Td => "td",
            Self::Numbers => "numbers",
            Self::Canonical => "canonical",
            Self::TxIndex => "tx_index",
            Self::Accounts => "accounts",
            Self::Slots => "slots",
            Self::AccountNodes => "account_nodes",
            Self::SlotNodes => "slot_nodes",
            Self::Codes => "codes",
            Self::History => "history",
            Self::Changes => "changes",
            Self::Layers => "layers",
            Self::Unexecuted => "unexecuted",
            Self::Preimages => "preimages",
            Self::LogIndex => "log_index",
            Self::Meta => "meta",
        }
    }
}

/// Keys of the column `meta`.
pub(crate) mod meta {
    /// [`super::SCHEMA_VERSION`] as a number.
    pub(crate) const SCHEMA: &[u8] = b"schema";
    /// Hash of the genesis block.
    pub(crate) const GENESIS: &[u8] = b"genesis";
    /// The chain configuration as geth's JSON.
    pub(crate) const CONFIG: &[u8] = b"config";
    /// [`super::block_key`] of the newest canonical block.
    pub(crate) const HEAD: &[u8] = b"head";
    /// [`super::block_key`] of the block whose state the state columns hold.
    pub(crate) const BASE: &[u8] = b"base";
    /// How many sections of blocks are in `log_index`, as a number.
    pub(crate) const LOG_SECTIONS: &[u8] = b"log_sections";
    /// How many commits there have been, as a number; the ledger counts along.
    pub(crate) const COMMITS: &[u8] = b"commits";
    /// [`super::block_key`] of a head that the ledger knew and the database lost.
    pub(crate) const MISSING: &[u8] = b"missing";
}

/// Length of [`block_key`], in bytes.
pub(crate) const BLOCK_KEY_BYTES: usize = 40;
/// Length of the part of slot keys and slot node keys that names the owner, in bytes.
pub(crate) const OWNER_KEY_BYTES: usize = 40;
/// Length of [`slot_key`], in bytes.
pub(crate) const SLOT_KEY_BYTES: usize = 72;

const ACCOUNT_TAG: u8 = 0;
const SLOT_TAG: u8 = 1;

/// Number ‖ hash.
pub(crate) fn block_key(id: BlockNumHash) -> [u8; BLOCK_KEY_BYTES] {
    let mut key = [0; BLOCK_KEY_BYTES];
    key[..8].copy_from_slice(&id.number.to_be_bytes());
    key[8..].copy_from_slice(id.hash.as_slice());
    key
}

/// The inverse of [`block_key`]; `None` if the length is wrong.
pub(crate) fn parse_block_key(key: &[u8]) -> Option<BlockNumHash> {
    let (number, hash) = key.split_first_chunk::<8>()?;
    Some(BlockNumHash { number: u64::from_be_bytes(*number), hash: B256::try_from(hash).ok()? })
}

/// Keccak of the address ‖ incarnation.
pub(crate) fn owner_key(owner: StorageOwner) -> [u8; OWNER_KEY_BYTES] {
    let mut key = [0; OWNER_KEY_BYTES];
    key[..32].copy_from_slice(owner.address_hash.as_slice());
    key[32..].copy_from_slice(&owner.incarnation.to_be_bytes());
    key
}

/// The owner in the first bytes of a key; `None` if it is too short.
pub(crate) fn parse_owner(key: &[u8]) -> Option<(StorageOwner, &[u8])> {
    let (address, rest) = key.split_first_chunk::<32>()?;
    let (incarnation, rest) = rest.split_first_chunk::<8>()?;
    let incarnation = u64::from_be_bytes(*incarnation);
    Some((StorageOwner { address_hash: B256::from(*address), incarnation }, rest))
}

/// Owner ‖ keccak of the slot.
pub(crate) fn slot_key(owner: StorageOwner, slot_hash: B256) -> [u8; SLOT_KEY_BYTES] {
    let mut key = [0; SLOT_KEY_BYTES];
    key[..OWNER_KEY_BYTES].copy_from_slice(&owner_key(owner));
    key[OWNER_KEY_BYTES..].copy_from_slice(slot_hash.as_slice());
    key
}

/// A path in a trie: its nibbles two to a byte, then how many they are.
///
/// The count tells a path of odd length from the one that goes on with a zero.
pub(crate) fn path_key(path: &Nibbles) -> Vec<u8> {
    let mut key = path.pack().to_vec();
    key.push(u8::try_from(path.len()).expect("a path has at most 64 nibbles"));
    key
}

/// Owner ‖ [`path_key`].
pub(crate) fn slot_node_key(owner: StorageOwner, path: &Nibbles) -> Vec<u8> {
    let mut key = owner_key(owner).to_vec();
    key.extend_from_slice(&path_key(path));
    key
}

/// Bit of the bloom (2 bytes) ‖ number of the section: the rows that a query reads lie side by side.
pub(crate) fn row_key(bit: u16, section: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&bit.to_be_bytes());
    key[2..].copy_from_slice(&section.to_be_bytes());
    key
}

/// The inverse of [`row_key`]; `None` if the length is wrong.
pub(crate) fn parse_row_key(key: &[u8]) -> Option<(u16, u64)> {
    let (bit, section) = key.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*bit), u64::from_be_bytes(section.try_into().ok()?)))
}

/// Number ‖ index in the block (4 bytes).
pub(crate) fn place_value(number: u64, index: u32) -> [u8; 12] {
    let mut value = [0; 12];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value[8..].copy_from_slice(&index.to_be_bytes());
    value
}

/// The inverse of [`place_value`]; `None` if the length is wrong.
pub(crate) fn parse_place(value: &[u8]) -> Option<(u64, u32)> {
    let (number, index) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u32::from_be_bytes(index.try_into().ok()?)))
}

/// What a record of `accounts` or `slots` is known by in `history` and `changes`: a tag, then its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FlatKey {
    /// By keccak of the address.
    Account(B256),
    /// By owner and keccak of the slot.
    Slot(StorageOwner, B256),
}

impl FlatKey {
    /// Tag 0 ‖ keccak of the address, or tag 1 ‖ [`slot_key`].
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + SLOT_KEY_BYTES + 8);
        match self {
            Self::Account(address_hash) => {
                key.push(ACCOUNT_TAG);
                key.extend_from_slice(address_hash.as_slice());
            }
            Self::Slot(owner, slot_hash) => {
                key.push(SLOT_TAG);
                key.extend_from_slice(&slot_key(*owner, *slot_hash));
            }
        }
        key
    }

    /// The inverse of [`Self::encode`]; `None` if it is neither.
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let (&tag, key) = key.split_first()?;
        match tag {
            ACCOUNT_TAG => Some(Self::Account(B256::try_from(key).ok()?)),
            SLOT_TAG => {
                let (owner, slot) = parse_owner(key)?;
                Some(Self::Slot(owner, B256::try_from(slot).ok()?))
            }
            _ => None,
        }
    }

    /// The key in `history` of what was before block `number`.
    pub(crate) fn at(&self, number: u64) -> Vec<u8> {
        let mut key = self.encode();
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The inverse of [`Self::at`].
    pub(crate) fn parse_at(key: &[u8]) -> Option<(Self, u64)> {
        let (flat, number) = key.split_last_chunk::<8>()?;
        Some((Self::decode(flat)?, u64::from_be_bytes(*number)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_two_paths_share_a_key() {
        let mut keys = HashSet::new();
        let mut paths = vec![Nibbles::new()];
        for length in 0..3 {
            for path in paths.clone() {
                if path.len() == length {
                    paths.extend((0..16).map(|nibble| {
                        let mut longer = path;
                        longer.push(nibble);
                        longer
                    }));
                }
            }
        }
        for path in &paths {
            assert!(keys.insert(path_key(path)), "{path:?}");
        }
    }

    #[test]
    fn every_column_is_listed_where_it_is_declared() {
        for (index, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column as usize, index, "{column:?}");
        }
        assert_eq!(Column::Meta as usize + 1, Column::ALL.len());
    }

    #[test]
    fn every_column_has_its_own_name() {
        let names: HashSet<_> = Column::ALL.iter().map(|column| column.name()).collect();
        assert_eq!(names.len(), Column::ALL.len());
    }

    proptest! {
        #[test]
        fn keys_decode_to_what_was_encoded(
            address: [u8; 32], slot: [u8; 32], incarnation: u64, number: u64, index: u32,
        ) {
            let owner = StorageOwner { address_hash: B256::from(address), incarnation };
            let id = BlockNumHash { number, hash: B256::from(slot) };
            prop_assert_eq!(parse_block_key(&block_key(id)), Some(id));
            prop_assert_eq!(parse_place(&place_value(number, index)), Some((number, index)));
            let bit = (index % 2_048) as u16;
            prop_assert_eq!(parse_row_key(&row_key(bit, number)), Some((bit, number)));
            for key in [FlatKey::Account(owner.address_hash), FlatKey::Slot(owner, B256::from(slot))] {
                prop_assert_eq!(FlatKey::decode(&key.encode()), Some(key));
                prop_assert_eq!(FlatKey::parse_at(&key.at(number)), Some((key, number)));
            }
        }

        #[test]
        fn blocks_are_ordered_by_number(a: u64, b: u64, hash_a: [u8; 32], hash_b: [u8; 32]) {
            let key = |number, hash: [u8; 32]| block_key(BlockNumHash { number, hash: B256::from(hash) });
            if a < b {
                prop_assert!(key(a, hash_a) < key(b, hash_b));
            }
        }
    }
}
