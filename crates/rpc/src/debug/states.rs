//! Whole states: accounts and slots in the order of their hashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chain::ChainView;
use evm::BlockExecutor;
use primitives::{
    Address, B256, BlockNumHash, Bytes, KECCAK256_EMPTY, RecoveredBlock, SealedHeader, U256, hex,
    keccak256,
};
use serde::Serialize;
use serde_json::value::RawValue;
use state::{Account, StateReader, WorldState};

use super::{block, blocks};
use crate::{
    error::RpcError,
    methods::Table,
    node::Api,
    pace::breathe,
    params::Params,
    parse::{self, BlockId},
};

/// Accounts of one answer, as in geth.
const ACCOUNTS_MAX: usize = 256;
/// Slots of one answer.
const SLOTS_MAX: usize = 1_024;
/// Slots of all accounts of one answer.
const DUMPED_SLOTS_MAX: usize = 100_000;
/// How long blocks are executed again for one answer.
const REPLAY_SECONDS_MAX: u64 = 25;

pub(crate) fn register(table: &mut Table) {
    table.heavy("debug_dumpBlock", dump_block);
    table.heavy("debug_accountRange", account_range);
    table.heavy("debug_storageRangeAt", storage_range_at);
    table.heavy("debug_getModifiedAccountsByNumber", modified_by_number);
    table.heavy("debug_getModifiedAccountsByHash", modified_by_hash);
}

/// An account as geth dumps it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dumped {
    balance: String,
    nonce: u64,
    root: B256,
    code_hash: B256,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Bytes>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    storage: BTreeMap<B256, String>,
    address: Address,
    key: B256,
}

/// Accounts by address.
#[derive(Debug, Serialize)]
struct Dump {
    root: String,
    accounts: BTreeMap<Address, Dumped>,
    /// The hash of the next account's address, in base 64; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What to tell, and where to begin.
struct Wanted {
    start: B256,
    accounts: usize,
    code: bool,
    storage: bool,
}

fn dump(view: &ChainView, header: &SealedHeader, wanted: &Wanted) -> Result<Dump, RpcError> {
    let state = view.state_at(header.hash())?;
    let mut dump =
        Dump { root: hex::encode(header.state_root), accounts: BTreeMap::new(), next: None };
    let mut slots_left = DUMPED_SLOTS_MAX;
    for item in state.accounts_from(wanted.start) {
        let (key, account): (B256, Account) = item.map_err(RpcError::storage)?;
        if dump.accounts.len() == wanted.accounts {
            dump.next = Some(base64(key.as_slice()));
            break;
        }
        let preimage = view.db.preimage(key).map_err(RpcError::storage)?;
        let Some(address) = preimage.filter(|address| address.len() == 20) else { continue };
        let address = Address::from_slice(&address);
        let mut storage = BTreeMap::new();
        if wanted.storage {
            for slot in state.slots_of(account.owner(key)) {
                let (slot_hash, value) = slot.map_err(RpcError::storage)?;
                slots_left = slots_left
                    .checked_sub(1)
                    .ok_or(RpcError::TooMuch { what: "slots", max: DUMPED_SLOTS_MAX })?;
                let slot = view.db.preimage(slot_hash).map_err(RpcError::storage)?;
                let slot = slot.and_then(|slot| B256::try_from(&slot[..]).ok());
                storage.insert(slot.unwrap_or(slot_hash), trimmed(value));
            }
        }
        let code = if wanted.code && account.code_hash != KECCAK256_EMPTY {
            state.code(account.code_hash)?
        } else {
            None
        };
        let dumped = Dumped {
            balance: account.balance.to_string(),
            nonce: account.nonce,
            root: account.storage_root,
            code_hash: account.code_hash,
            code,
            storage,
            address,
            key,
        };
        dump.accounts.insert(address, dumped);
    }
    Ok(dump)
}

/// Hex without leading zero bytes, as geth prints slots.
fn trimmed(value: U256) -> String {
    hex::encode(value.to_be_bytes_trimmed_vec())
}

/// As Go writes bytes into JSON.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let digit = usize::try_from(word >> (18 - 6 * place) & 63).expect("six bits");
            let is_there = place <= chunk.len();
            text.push(if is_there { char::from(ALPHABET[digit]) } else { '=' });
        }
    }
    text
}

fn dump_block(api: &Api, params: &mut Params<'_>) -> Result<Dump, RpcError> {
    let view = api.node.chain.view();
    let tag = params.required(blocks::height)?;
    params.end()?;
    let header = blocks::sealed(api, &view, BlockId::Tag(tag))?;
    let (accounts, start) = (ACCOUNTS_MAX, B256::ZERO);
    dump(&view, &header, &Wanted { start, accounts, code: true, storage: true })
}

/// The hash at which to begin, which may be written short; as hex, or in base 64 as `next` is.
fn start_key(raw: &RawValue) -> Result<B256, String> {
    let text = parse::string(raw)?;
    let bytes = if text.starts_with("0x") || text.is_empty() {
        parse::bytes_text(if text.is_empty() { "0x" } else { &text }).map_err(str::to_owned)?
    } else {
        from_base64(&text).ok_or("neither hex nor base 64")?
    };
    if bytes.len() > 32 {
        return Err("longer than a hash".into());
    }
    Ok(B256::right_padding_from(&bytes))
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| -> Option<u32> {
        Some(match byte {
            b'A'..=b'Z' => u32::from(byte - b'A'),
            b'a'..=b'z' => u32::from(byte - b'a') + 26,
            b'0'..=b'9' => u32::from(byte - b'0') + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let mut bytes = Vec::new();
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut word = 0;
        for place in 0..4 {
            word = word << 6 | chunk.get(place).map_or(Some(0), |byte| digit(*byte))?;
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

fn account_range(api: &Api, params: &mut Params<'_>) -> Result<Dump, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(parse::block_id)?;
    let start = params.optional(start_key)?.unwrap_or_default();
    let accounts = params.optional(parse::count)?.unwrap_or(0);
    let no_code = params.optional(parse::boolean)?.unwrap_or(false);
    let no_storage = params.optional(parse::boolean)?.unwrap_or(false);
    params.optional(parse::boolean)?;
    params.end()?;
    let header = blocks::sealed(api, &view, id)?;
    let accounts = match usize::try_from(accounts) {
        Ok(0) | Err(_) => ACCOUNTS_MAX,
        Ok(accounts) => accounts.min(ACCOUNTS_MAX),
    };
    dump(&view, &header, &Wanted { start, accounts, code: !no_code, storage: !no_storage })
}

/// Slots by the hashes of their keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SlotRange {
    storage: BTreeMap<B256, Slot>,
    next_key: Option<B256>,
}

#[derive(Debug, Serialize)]
struct Slot {
    key: Option<B256>,
    value: B256,
}

/// Slots of an account just before a transaction of a block.
fn storage_range_at(api: &Api, params: &mut Params<'_>) -> Result<SlotRange, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(parse::block_id)?;
    let index = params.required(parse::count)?;
    let address = params.required(parse::address)?;
    let start = params.required(start_key)?;
    let slots_max = params.required(parse::count)?;
    params.end()?;
    let slots_max = usize::try_from(slots_max).unwrap_or(SLOTS_MAX).min(SLOTS_MAX);
    let block = block(&view, blocks::sealed(api, &view, id)?.hash())?;
    let number = block.header().number;
    let transactions = &block.body().transactions;
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if number == 0 {
        return Err(RpcError::refused("no transaction in genesis"));
    }
    if index > transactions.len() || transactions.is_empty() {
        let hash = block.hash();
        let text = format!("transaction index {index} out of range for block {hash}");
        return Err(RpcError::Refused(text));
    }
    let parent = BlockNumHash { number: number - 1, hash: block.header().parent_hash };
    let header = view.db.header(parent.hash).map_err(RpcError::storage)?;
    let header = header.ok_or_else(|| RpcError::refused("header not found"))?;
    let mut world = view.world_at(&header)?;
    chain::begin_block(&view.spec, block.header(), &mut world)?;
    replay(&view, &block, parent, index, &mut world)?;
    let Some(account) = world.account(address)? else {
        return Err(RpcError::Refused(format!("account {address} doesn't exist")));
    };
    // What the transactions before changed, where values need no trie to be read.
    let touched = world.known_slots(address);
    let owner = account.owner(keccak256(address));
    let mut range = SlotRange { storage: BTreeMap::new(), next_key: None };
    let changed: BTreeMap<B256, (B256, U256)> = touched
        .into_iter()
        .map(|(slot, value)| (keccak256(B256::from(slot)), (B256::from(slot), value)))
        .filter(|(hash, _)| *hash >= start)
        .collect();
    let mut found: BTreeMap<B256, (Option<B256>, U256)> = BTreeMap::new();
    let state = view.state_at(parent.hash)?;
    for item in state.slots_from(owner, start).take(slots_max + 1 + changed.len()) {
        let (hash, value) = item.map_err(RpcError::storage)?;
        let key = view.db.preimage(hash).map_err(RpcError::storage)?;
        found.insert(hash, (key.and_then(|key| B256::try_from(&key[..]).ok()), value));
    }
    for (hash, (slot, value)) in changed {
        found.insert(hash, (Some(slot), value));
    }
    for (hash, (key, value)) in found.into_iter().filter(|(_, (_, value))| !value.is_zero()) {
        if range.storage.len() == slots_max {
            range.next_key = Some(hash);
            break;
        }
        range.storage.insert(hash, Slot { key, value: value.into() });
    }
    Ok(range)
}

/// Executes the first transactions of a block again.
fn replay<R: StateReader>(
    view: &ChainView,
    block: &RecoveredBlock,
    parent: BlockNumHash,
    count: usize,
    world: &mut WorldState<R>,
) -> Result<(), RpcError> {
    let clock = Instant::now();
    let is_late = || {
        breathe();
        clock.elapsed() > Duration::from_secs(REPLAY_SECONDS_MAX)
    };
    let ancestors = |number| view.ancestor_hash(parent, number);
    let executor = BlockExecutor::new(&view.spec, block.header(), world, &ancestors);
    let mut executor = executor.looking_back(&is_late);
    let signed = block.body().transactions.iter().zip(block.senders());
    for (tx, sender) in signed.take(count) {
        let executed = executor.execute(tx, *sender).map(drop);
        if executor.has_stopped() {
            return Err(RpcError::refused("execution timeout"));
        }
        executed?;
    }
    Ok(())
}

/// The accounts that blocks above `start` changed, up to and including `end`.
fn modified(view: &ChainView, start: u64, end: u64) -> Result<Vec<Address>, RpcError> {
    let clock = Instant::now();
    let mut accounts = BTreeSet::new();
    for number in start + 1..=end {
        if clock.elapsed() > Duration::from_secs(REPLAY_SECONDS_MAX) {
            let text = format!("executing blocks again takes too long; ask up to {number} first");
            return Err(RpcError::Refused(text));
        }
        let missing = || RpcError::Refused(format!("block {number} not found"));
        let hash = view.db.canonical_hash(number).map_err(RpcError::storage)?;
        let block = block(view, hash.ok_or_else(missing)?)?;
        let parent = BlockNumHash { number: number - 1, hash: block.header().parent_hash };
        let header = view.db.header(parent.hash).map_err(RpcError::storage)?;
        let mut world = view.world_at(&header.ok_or_else(missing)?)?;
        chain::begin_block(&view.spec, block.header(), &mut world)?;
        replay(view, &block, parent, usize::MAX, &mut world)?;
        for (address, amount) in
            consensus::rewards(&view.spec, block.header(), &block.body().ommers)
        {
            world.add_balance(address, amount)?;
        }
        accounts.extend(world.changed_accounts());
    }
    Ok(accounts.into_iter().collect())
}

fn number_of(view: &ChainView, number: u64) -> Result<u64, RpcError> {
    if number > view.head.number {
        return Err(RpcError::Refused(format!("start block {number:#x} not found")));
    }
    Ok(number)
}

fn modified_by_number(api: &Api, params: &mut Params<'_>) -> Result<Vec<Address>, RpcError> {
    let view = api.node.chain.view();
    let start = number_of(&view, params.required(parse::count)?)?;
    let end = params.optional(parse::count)?;
    params.end()?;
    between(&view, start, end)
}

/// Without an end the start alone is meant.
fn between(view: &ChainView, start: u64, end: Option<u64>) -> Result<Vec<Address>, RpcError> {
    let Some(end) = end else {
        return match start.checked_sub(1) {
            Some(before) => modified(view, before, start),
            None => Err(RpcError::refused("block 0 has no parent")),
        };
    };
    let end = number_of(view, end)?;
    if start >= end {
        let text =
            format!("start block height ({start}) must be less than end block height ({end})");
        return Err(RpcError::Refused(text));
    }
    modified(view, start, end)
}

fn modified_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Vec<Address>, RpcError> {
    let view = api.node.chain.view();
    let start = params.required(parse::hash)?;
    let end = params.optional(parse::hash)?;
    params.end()?;
    let number = |hash: B256, what: &str| {
        let missing = || RpcError::Refused(format!("{what} block {hash} not found"));
        let number = view.db.number_of(hash).map_err(RpcError::storage)?.ok_or_else(missing)?;
        let canonical = view.db.canonical_hash(number).map_err(RpcError::storage)?;
        if canonical == Some(hash) { Ok(number) } else { Err(missing()) }
    };
    let start = number(start, "start")?;
    let end = end.map(|hash| number(hash, "end")).transpose()?;
    between(&view, start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_that_of_go() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes));
        }
        assert_eq!(from_base64("Zm9*"), None);
    }
}
