//! What accounts have, at any block.

use primitives::{Address, B256, Bytes, EMPTY_ROOT_HASH, KECCAK256_EMPTY, U256};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    convert::Quantity,
    error::{ArgumentError, RpcError},
    methods::Table,
    node::Api,
    params::Params,
    parse::{self, BlockId, BlockTag},
};

/// Slots that one proof may be asked for.
const PROOF_SLOTS_MAX: usize = 1_024;

pub(crate) fn register(table: &mut Table) {
    table.of_state("eth_getBalance", balance);
    table.light("eth_getTransactionCount", transaction_count);
    table.of_state("eth_getCode", code);
    table.of_state("eth_getStorageAt", storage_at);
    table.heavy("eth_getProof", proof);
}

fn balance(api: &Api, params: &mut Params<'_>) -> Result<U256, RpcError> {
    let view = api.node.chain.view();
    let address = params.required(parse::address)?;
    let block = params.required(parse::block_id)?;
    params.end()?;
    let mut world = api.world(&view, &api.place(&view, block)?)?;
    Ok(world.account(address)?.map_or(U256::ZERO, |account| account.balance))
}

/// The pending count is the pool's: it includes transactions that no block holds yet.
fn transaction_count(api: &Api, params: &mut Params<'_>) -> Result<Quantity, RpcError> {
    let view = api.node.chain.view();
    let address = params.required(parse::address)?;
    let block = params.required(parse::block_id)?;
    params.end()?;
    if block == BlockId::Tag(BlockTag::Pending) {
        return Ok(Quantity(api.node.pool.nonce(address)?));
    }
    let mut world = api.world(&view, &api.place(&view, block)?)?;
    Ok(Quantity(world.account(address)?.map_or(0, |account| account.nonce)))
}

fn code(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let address = params.required(parse::address)?;
    let block = params.required(parse::block_id)?;
    params.end()?;
    let mut world = api.world(&view, &api.place(&view, block)?)?;
    match world.account(address)? {
        Some(account) => Ok(world.code(account.code_hash)?),
        None => Ok(Bytes::new()),
    }
}

fn storage_at(api: &Api, params: &mut Params<'_>) -> Result<B256, RpcError> {
    let view = api.node.chain.view();
    let address = params.required(parse::address)?;
    let slot = params.required(parse::slot)?;
    let block = params.required(parse::block_id)?;
    params.end()?;
    let mut world = api.world(&view, &api.place(&view, block)?)?;
    Ok(world.storage(address, slot)?.to_be_bytes().into())
}

/// An account and the way to it from the state root (EIP-1186).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RpcProof {
    address: Address,
    account_proof: Vec<Bytes>,
    balance: U256,
    code_hash: B256,
    nonce: Quantity,
    storage_hash: B256,
    storage_proof: Vec<RpcSlotProof>,
}

#[derive(Debug, Serialize)]
struct RpcSlotProof {
    /// As the client wrote it.
    key: String,
    value: U256,
    proof: Vec<Bytes>,
}

/// Slots and how they were written.
fn slots(raw: &RawValue) -> Result<Vec<(String, B256)>, String> {
    let texts: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    if texts.len() > PROOF_SLOTS_MAX {
        return Err(format!("too many keys, want at most {PROOF_SLOTS_MAX}"));
    }
    let one = |raw: &RawValue| Ok((parse::string(raw)?, parse::slot(raw)?.to_be_bytes().into()));
    texts.into_iter().map(one).collect()
}

fn proof(api: &Api, params: &mut Params<'_>) -> Result<RpcProof, RpcError> {
    let view = api.node.chain.view();
    let address = params.required(parse::address)?;
    let slots = params.optional(slots)?.unwrap_or_default();
    let block = params.required(parse::block_id)?;
    params.end()?;
    if block == BlockId::Tag(BlockTag::Pending) && api.pending(&view).is_some() {
        let reason = "a pending block has no state root to prove against".into();
        return Err(ArgumentError::Invalid { index: 2, reason }.into());
    }
    let mut world = api.world(&view, &api.place(&view, block)?)?;
    let hashes: Vec<B256> = slots.iter().map(|(_, slot)| *slot).collect();
    let proof = world.prove(address, &hashes)?;
    let (balance, nonce, code_hash, storage_hash) = match proof.account {
        Some(account) => (account.balance, account.nonce, account.code_hash, account.storage_root),
        None => (U256::ZERO, 0, KECCAK256_EMPTY, EMPTY_ROOT_HASH),
    };
    let slot_proof = |((key, _), slot): ((String, B256), state::SlotProof)| RpcSlotProof {
        key,
        value: slot.value,
        proof: slot.proof,
    };
    Ok(RpcProof {
        address,
        account_proof: proof.proof,
        balance,
        code_hash,
        nonce: Quantity(nonce),
        storage_hash,
        storage_proof: slots.into_iter().zip(proof.slots).map(slot_proof).collect(),
    })
}
