//! Answers of snap/1, as geth 1.10.26 gives them: what is asked for, until the answer is long enough.

use std::time::{Duration, Instant};

use primitives::{B256, Bytes, KECCAK256_EMPTY, U256};
use state::{Account, Nibbles, StateReader, prove_keys};
use storage::{StateAt, StorageError};

use super::{ANSWER_BYTES, window::Window};
use crate::wire::{SnapAnswer, SnapQuestion, slim};

/// How many nodes and accounts are looked up for one answer.
const LOOKUPS_MAX: usize = 1_024;
/// How long nodes are looked up for one answer.
const LOOKUP_PERIOD_MAX: Duration = Duration::from_secs(5);
/// The bytes of a hash.
const HASH_BYTES: usize = 32;

/// The answer to a question; empty where the state that is meant is not here any more.
pub(super) fn answer(
    window: &mut Window<'_>,
    question: SnapQuestion,
) -> Result<SnapAnswer, StorageError> {
    Ok(match question {
        SnapQuestion::AccountRange { request, root, origin, limit, bytes } => {
            let (accounts, proof) = match window.state(root)? {
                Some(state) => account_range(state, root, origin, limit, wanted(bytes))?,
                None => Default::default(),
            };
            SnapAnswer::AccountRange { request, accounts, proof }
        }
        SnapQuestion::StorageRanges { request, root, accounts, origin, limit, bytes } => {
            let (slots, proof) = match window.state(root)? {
                Some(state) => storage_ranges(state, &accounts, (origin, limit), wanted(bytes))?,
                None => Default::default(),
            };
            SnapAnswer::StorageRanges { request, slots, proof }
        }
        SnapQuestion::ByteCodes { request, hashes, bytes } => {
            let codes = byte_codes(window, &hashes, wanted(bytes))?;
            SnapAnswer::ByteCodes { request, codes }
        }
        SnapQuestion::TrieNodes { request, root, paths, bytes } => {
            let nodes = match window.state(root)? {
                Some(state) => trie_nodes(state, &paths, wanted(bytes))?,
                None => Vec::new(),
            };
            SnapAnswer::TrieNodes { request, nodes }
        }
    })
}

/// How long an answer may become.
fn wanted(bytes: u64) -> usize {
    usize::try_from(bytes).map_or(ANSWER_BYTES, |bytes| bytes.min(ANSWER_BYTES))
}

type Range<V> = (Vec<V>, Vec<Bytes>);

/// Accounts up to and including the first that is not before the limit.
fn account_range(
    state: &StateAt,
    root: B256,
    origin: B256,
    limit: B256,
    bytes_max: usize,
) -> Result<Range<(B256, Account)>, StorageError> {
    let (mut accounts, mut bytes) = (Vec::new(), 0);
    for item in state.accounts_from(origin) {
        let (hash, account) = item?;
        bytes += HASH_BYTES + slim(&account).len();
        accounts.push((hash, account));
        if hash >= limit || bytes > bytes_max {
            break;
        }
    }
    let last = accounts.last().map(|(hash, _)| *hash);
    let edges: Vec<B256> = [origin].into_iter().chain(last).collect();
    let proof = prove_keys(state, None, root, &edges)?;
    Ok((accounts, proof))
}

/// Slots of one account after the other. A proof ends the answer: there is none as long as every
/// account is here whole.
fn storage_ranges(
    state: &StateAt,
    accounts: &[B256],
    (mut origin, mut limit): (B256, B256),
    bytes_max: usize,
) -> Result<Range<Vec<(B256, U256)>>, StorageError> {
    // An account of which little is left is told to its end, for that needs no proof.
    let hard_bytes_max = bytes_max + bytes_max / 10;
    let (mut ranges, mut bytes) = (Vec::new(), 0);
    for address_hash in accounts {
        if bytes >= bytes_max {
            break;
        }
        let Some(account) = state.account(*address_hash)? else {
            if origin != B256::ZERO {
                return Ok((Vec::new(), Vec::new()));
            }
            (origin, limit) = (B256::ZERO, B256::repeat_byte(0xff));
            continue;
        };
        let owner = account.owner(*address_hash);
        let (mut slots, mut is_cut) = (Vec::new(), false);
        for item in state.slots_from(owner, origin) {
            if bytes >= hard_bytes_max {
                is_cut = true;
                break;
            }
            let (hash, value) = item?;
            bytes += HASH_BYTES + alloy_rlp::Encodable::length(&value);
            slots.push((hash, value));
            if hash >= limit {
                break;
            }
        }
        let last = slots.last().map(|(hash, _): &(B256, U256)| *hash);
        ranges.extend((!slots.is_empty()).then_some(slots));
        if origin != B256::ZERO || (is_cut && last.is_some()) {
            let edges: Vec<B256> = [origin].into_iter().chain(last).collect();
            let proof = prove_keys(state, Some(owner), account.storage_root, &edges)?;
            return Ok((ranges, proof));
        }
        (origin, limit) = (B256::ZERO, B256::repeat_byte(0xff));
    }
    Ok((ranges, Vec::new()))
}

fn byte_codes(
    window: &Window<'_>,
    hashes: &[B256],
    bytes_max: usize,
) -> Result<Vec<Bytes>, StorageError> {
    let (mut codes, mut bytes) = (Vec::new(), 0);
    for hash in hashes {
        if *hash == KECCAK256_EMPTY {
            codes.push(Bytes::new());
        } else if let Some(code) = window.view.db.code(*hash)? {
            bytes += code.len();
            codes.push(code);
        }
        if bytes > bytes_max {
            break;
        }
    }
    Ok(codes)
}

/// Nodes at their paths; empty where there is none.
fn trie_nodes(
    state: &StateAt,
    paths: &[Vec<Bytes>],
    bytes_max: usize,
) -> Result<Vec<Bytes>, StorageError> {
    let (mut nodes, mut bytes, mut lookups) = (Vec::new(), 0, 0);
    let start = Instant::now();
    for set in paths {
        let (owner, paths) = match &set[..] {
            [path] => (None, std::slice::from_ref(path)),
            [account, paths @ ..] => {
                lookups += 1;
                let address_hash =
                    B256::left_padding_from(&account[account.len().saturating_sub(32)..]);
                let Some(account) = state.account(address_hash)? else { continue };
                (Some(account.owner(address_hash)), paths)
            }
            [] => continue,
        };
        for path in paths {
            lookups += 1;
            let node = match path_of(path) {
                Some(path) => state.node(owner, &path)?,
                None => None,
            };
            let node = node.unwrap_or_default();
            bytes += node.len();
            nodes.push(node);
            let is_late = start.elapsed() > LOOKUP_PERIOD_MAX;
            if bytes > bytes_max || lookups > LOOKUPS_MAX || is_late {
                return Ok(nodes);
            }
        }
    }
    Ok(nodes)
}

/// The path of a node in hex-prefix encoding; `None` if it is none, or that of a value.
fn path_of(encoded: &[u8]) -> Option<Nibbles> {
    let Some((first, rest)) = encoded.split_first() else { return Some(Nibbles::new()) };
    let odd = match first >> 4 {
        0 => None,
        1 => Some(first & 0x0f),
        _ => return None,
    };
    if rest.len() * 2 + odd.iter().len() > 2 * HASH_BYTES {
        return None;
    }
    Some(Nibbles::from_nibbles(odd.as_slice()).join(&Nibbles::unpack(rest)))
}
