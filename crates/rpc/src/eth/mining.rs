//! Work for those who seal elsewhere.

use ::miner::{MinerHandle, Solution};
use primitives::{Address, B256, U256};

use crate::{convert::Quantity, error::RpcError, methods::Table, node::Api, params::Params, parse};

pub(crate) fn register(table: &mut Table) {
    table.heavy("eth_coinbase", coinbase);
    table.heavy("eth_etherbase", coinbase);
    table.light("eth_mining", mining);
    table.light("eth_hashrate", hashrate);
    table.light("eth_getHashrate", hashrate_number);
    table.light("eth_getWork", work);
    table.heavy("eth_submitWork", submit_work);
    table.light("eth_submitHashrate", submit_hashrate);
    table.light("eth_submitHashRate", submit_hashrate);
    table.light("ethash_getWork", work);
    table.heavy("ethash_submitWork", submit_work);
    table.light("ethash_submitHashrate", submit_hashrate);
    table.light("ethash_submitHashRate", submit_hashrate);
    table.light("ethash_getHashrate", hashrate_number);
}

fn coinbase(api: &Api, params: &mut Params<'_>) -> Result<Address, RpcError> {
    params.end()?;
    let chosen = api.node.miner.as_ref().and_then(MinerHandle::beneficiary);
    let first_key = || api.accounts().ok()?.first().copied();
    chosen
        .or_else(first_key)
        .ok_or_else(|| RpcError::refused("etherbase must be explicitly specified"))
}

fn mining(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    params.end()?;
    Ok(api.node.miner.as_ref().is_some_and(MinerHandle::is_mining))
}

fn own_hashrate(api: &Api) -> u64 {
    api.node.miner.as_ref().map_or(0, MinerHandle::hashrate)
}

fn hashrate(api: &Api, params: &mut Params<'_>) -> Result<Quantity, RpcError> {
    params.end()?;
    Ok(Quantity(own_hashrate(api)))
}

/// The same as a plain number: in geth this name belongs to another service.
fn hashrate_number(api: &Api, params: &mut Params<'_>) -> Result<u64, RpcError> {
    params.end()?;
    Ok(own_hashrate(api))
}

/// Seal hash, seed hash of the epoch, target, and block number.
fn work(api: &Api, params: &mut Params<'_>) -> Result<(B256, B256, B256, Quantity), RpcError> {
    params.end()?;
    let package = api.node.miner.as_ref().and_then(MinerHandle::pending);
    let package = package.ok_or_else(|| RpcError::refused("no mining work available yet"))?;
    let target: U256 = package.target.as_u256();
    Ok((package.seal_hash, package.epoch.seed(), target.into(), Quantity(package.header.number)))
}

fn submit_work(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let nonce = params.required(parse::nonce)?;
    let seal_hash = params.required(parse::hash)?;
    let mix_hash = params.required(parse::hash)?;
    params.end()?;
    let Some(miner) = &api.node.miner else { return Ok(false) };
    let solution = Solution { seal_hash, nonce: u64::from_be_bytes(nonce.0), mix_hash };
    // This runs on the blocking pool, where waiting for the worker's verdict is in order.
    Ok(tokio::runtime::Handle::current().block_on(miner.submit(solution)))
}

/// What others try per second is theirs to know: it is acknowledged and not added to ours.
fn submit_hashrate(_: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    params.required(parse::quantity)?;
    params.required(parse::hash)?;
    params.end()?;
    Ok(true)
}
