//! The messages of snap/1
//! ([devp2p/caps/snap](https://github.com/ethereum/devp2p/blob/master/caps/snap.md)). This node
//! answers and never asks, so it reads questions and writes answers.

use alloy_rlp::{Encodable, Header};
use primitives::{B256, Bytes, EMPTY_ROOT_HASH, KECCAK256_EMPTY, U256};
use state::Account;

use super::{
    MESSAGE_BYTES_MAX, RequestId,
    items::{Items, WireError, encode_list, list_length},
};

/// How many codes the protocol takes up.
pub const SNAP_MESSAGE_CODES: u8 = 8;
/// The most accounts whose slots are asked for at once. geth asks for 512.
pub const SLOT_ACCOUNTS_MAX: usize = 1_024;
/// The most codes that are asked for at once.
pub const CODES_MAX: usize = 1_024;
/// The most trie nodes that are asked for at once, accounts on the way counted.
pub const TRIE_PATHS_MAX: usize = 2_048;
/// The longest path of a trie node: its nibbles in hex-prefix encoding, or a hash.
const PATH_BYTES_MAX: usize = 33;

const GET_ACCOUNT_RANGE: u8 = 0x00;
const ACCOUNT_RANGE: u8 = 0x01;
const GET_STORAGE_RANGES: u8 = 0x02;
const STORAGE_RANGES: u8 = 0x03;
const GET_BYTE_CODES: u8 = 0x04;
const BYTE_CODES: u8 = 0x05;
const GET_TRIE_NODES: u8 = 0x06;
const TRIE_NODES: u8 = 0x07;

/// What a peer wants to know about a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapQuestion {
    /// Accounts, in the order of their hashes.
    AccountRange {
        /// What the answer will carry.
        request: RequestId,
        /// The root of the state that is meant.
        root: B256,
        /// The first hash of interest.
        origin: B256,
        /// The last hash of interest.
        limit: B256,
        /// How long the answer should be, in bytes.
        bytes: u64,
    },
    /// Slots of some accounts, in the order of their hashes.
    StorageRanges {
        /// What the answer will carry.
        request: RequestId,
        /// The root of the state that is meant.
        root: B256,
        /// The hashes of the accounts' addresses.
        accounts: Vec<B256>,
        /// The first slot of interest of the first account.
        origin: B256,
        /// The last slot of interest of the first account.
        limit: B256,
        /// How long the answer should be, in bytes.
        bytes: u64,
    },
    /// Code by its hash.
    ByteCodes {
        /// What the answer will carry.
        request: RequestId,
        /// The hashes.
        hashes: Vec<B256>,
        /// How long the answer should be, in bytes.
        bytes: u64,
    },
    /// Trie nodes by their paths.
    TrieNodes {
        /// What the answer will carry.
        request: RequestId,
        /// The root of the state that is meant.
        root: B256,
        /// One path of the account trie; or the hash of an account, and paths of its storage trie.
        /// Paths are in hex-prefix encoding.
        paths: Vec<Vec<Bytes>>,
        /// How long the answer should be, in bytes.
        bytes: u64,
    },
}

/// What a peer is told about a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapAnswer {
    /// Accounts, as asked.
    AccountRange {
        /// The question's.
        request: RequestId,
        /// Hashes and accounts, in order.
        accounts: Vec<(B256, Account)>,
        /// Nodes that show that none is missing.
        proof: Vec<Bytes>,
    },
    /// Slots, as asked.
    StorageRanges {
        /// The question's.
        request: RequestId,
        /// Hashes and values of each account, in order.
        slots: Vec<Vec<(B256, U256)>>,
        /// Nodes that show that none is missing of the last account; none if it is here whole.
        proof: Vec<Bytes>,
    },
    /// Code, as asked.
    ByteCodes {
        /// The question's.
        request: RequestId,
        /// In the order asked for; what the sender does not have is left out.
        codes: Vec<Bytes>,
    },
    /// Trie nodes, as asked.
    TrieNodes {
        /// The question's.
        request: RequestId,
        /// In the order asked for; empty where there is no node.
        nodes: Vec<Bytes>,
    },
}

impl SnapQuestion {
    /// Reads a question; `code` is relative to the protocol's first.
    ///
    /// # Errors
    ///
    /// If the code is none of a question, or the payload is not its one canonical form within the
    /// limits. The peer should be dropped then.
    pub fn decode(code: u8, payload: &[u8]) -> Result<Self, WireError> {
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(WireError::Oversized { bytes: payload.len() });
        }
        if !matches!(code, GET_ACCOUNT_RANGE | GET_STORAGE_RANGES | GET_BYTE_CODES | GET_TRIE_NODES)
        {
            return Err(WireError::NoSnapQuestion { code });
        }
        let mut items = Items::of_payload(payload)?;
        let request = RequestId(items.value()?);
        let question = match code {
            GET_ACCOUNT_RANGE => {
                let (root, origin, limit) = (items.value()?, items.value()?, items.value()?);
                Self::AccountRange { request, root, origin, limit, bytes: items.value()? }
            }
            GET_STORAGE_RANGES => {
                let root = items.value()?;
                let accounts = items.list()?.each(SLOT_ACCOUNTS_MAX, Items::value)?;
                let origin = bound(&mut items)?.unwrap_or(B256::ZERO);
                let limit = bound(&mut items)?.unwrap_or(B256::repeat_byte(0xff));
                let bytes = items.value()?;
                Self::StorageRanges { request, root, accounts, origin, limit, bytes }
            }
            GET_BYTE_CODES => {
                let hashes = items.list()?.each(CODES_MAX, Items::value)?;
                Self::ByteCodes { request, hashes, bytes: items.value()? }
            }
            _ => {
                let root = items.value()?;
                let mut left = TRIE_PATHS_MAX;
                let paths = items.list()?.each(TRIE_PATHS_MAX, |sets| {
                    let set = sets.list()?.each(left, path)?;
                    left -= set.len();
                    if set.is_empty() { Err(WireError::NoPath) } else { Ok(set) }
                })?;
                Self::TrieNodes { request, root, paths, bytes: items.value()? }
            }
        };
        items.end()?;
        Ok(question)
    }
}

impl SnapAnswer {
    /// The message's code, relative to the protocol's first, and its payload.
    #[must_use]
    pub fn encode(&self) -> (u8, Vec<u8>) {
        let mut content = Vec::new();
        let code = match self {
            Self::AccountRange { request, accounts, proof } => {
                request.0.encode(&mut content);
                let accounts: Vec<_> = accounts.iter().map(encode_account).collect();
                encode_list(&accounts, &mut content);
                proof.encode(&mut content);
                ACCOUNT_RANGE
            }
            Self::StorageRanges { request, slots, proof } => {
                request.0.encode(&mut content);
                let accounts: Vec<_> = slots.iter().map(|slots| encode_slots(slots)).collect();
                encode_list(&accounts, &mut content);
                proof.encode(&mut content);
                STORAGE_RANGES
            }
            Self::ByteCodes { request, codes } => {
                request.0.encode(&mut content);
                codes.encode(&mut content);
                BYTE_CODES
            }
            Self::TrieNodes { request, nodes } => {
                request.0.encode(&mut content);
                nodes.encode(&mut content);
                TRIE_NODES
            }
        };
        let mut out = Vec::with_capacity(list_length(content.len()));
        encode_list(&[content], &mut out);
        (code, out)
    }
}

/// The account as snap has it, in RLP: empty instead of the root and the hash of nothing.
#[must_use]
pub fn slim(account: &Account) -> Vec<u8> {
    let Account { nonce, balance, storage_root, code_hash, incarnation: _ } = account;
    let unless = |word: &B256, nothing: B256| match *word == nothing {
        true => Bytes::new(),
        false => Bytes::copy_from_slice(word.as_slice()),
    };
    let root = unless(storage_root, EMPTY_ROOT_HASH);
    let code_hash = unless(code_hash, KECCAK256_EMPTY);
    let payload_length = nonce.length() + balance.length() + root.length() + code_hash.length();
    let mut out = Vec::with_capacity(list_length(payload_length));
    Header { list: true, payload_length }.encode(&mut out);
    nonce.encode(&mut out);
    balance.encode(&mut out);
    root.encode(&mut out);
    code_hash.encode(&mut out);
    out
}

fn encode_account((hash, account): &(B256, Account)) -> Vec<u8> {
    let mut out = Vec::new();
    encode_list(&[alloy_rlp::encode(hash), slim(account)], &mut out);
    out
}

/// A value stands as a string that is its RLP, as in the trie.
fn encode_slots(slots: &[(B256, U256)]) -> Vec<u8> {
    let slot = |(hash, value): &(B256, U256)| {
        let value = alloy_rlp::encode(alloy_rlp::encode(value).as_slice());
        let mut out = Vec::new();
        encode_list(&[alloy_rlp::encode(hash), value], &mut out);
        out
    };
    let slots: Vec<_> = slots.iter().map(slot).collect();
    let mut out = Vec::new();
    encode_list(&slots, &mut out);
    out
}

/// The first or last slot of interest, if the peer has an interest.
fn bound(items: &mut Items<'_>) -> Result<Option<B256>, WireError> {
    let bytes = items.bytes()?;
    if bytes.len() > 32 {
        return Err(WireError::PathTooLong { bytes: bytes.len() });
    }
    Ok((!bytes.is_empty()).then(|| B256::left_padding_from(bytes)))
}

fn path(items: &mut Items<'_>) -> Result<Bytes, WireError> {
    let bytes = items.bytes()?;
    if bytes.len() > PATH_BYTES_MAX {
        return Err(WireError::PathTooLong { bytes: bytes.len() });
    }
    Ok(Bytes::copy_from_slice(bytes))
}

#[cfg(test)]
mod tests;
