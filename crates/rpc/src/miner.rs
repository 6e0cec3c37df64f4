//! `miner_*`: the operator's levers.

use std::time::Duration;

use ::miner::MinerHandle;
use primitives::Bytes;

use crate::{error::RpcError, methods::Table, node::Api, params::Params, parse};

pub(crate) fn register(table: &mut Table) {
    table.light("miner_start", start);
    table.light("miner_stop", stop);
    table.light("miner_setExtra", set_extra);
    table.light("miner_setGasPrice", set_gas_price);
    table.light("miner_setGasLimit", set_gas_limit);
    table.light("miner_setEtherbase", set_etherbase);
    table.light("miner_setRecommitInterval", set_recommit_interval);
    table.light("miner_getHashrate", hashrate);
}

fn miner(api: &Api) -> Result<&MinerHandle, RpcError> {
    api.node.miner.as_ref().ok_or_else(|| RpcError::refused("this node does not mine"))
}

/// No number means all processors, zero or less means none.
fn start(api: &Api, params: &mut Params<'_>) -> Result<(), RpcError> {
    let threads: Option<i64> = params.optional(|raw| parse::json_ref(raw))?;
    params.end()?;
    let miner = miner(api)?;
    if miner.beneficiary().is_none() {
        return Err(RpcError::refused("etherbase must be explicitly specified"));
    }
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.map_or_else(all, |threads| usize::try_from(threads).unwrap_or(0));
    miner.start(Some(threads));
    Ok(())
}

fn stop(api: &Api, params: &mut Params<'_>) -> Result<(), RpcError> {
    params.end()?;
    miner(api)?.stop();
    Ok(())
}

fn set_extra(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let extra = params.required(parse::string)?;
    params.end()?;
    miner(api)?
        .set_extra_data(Bytes::from(extra.into_bytes()))
        .map_err(|error| RpcError::refused(error.to_string()))?;
    Ok(true)
}

fn set_gas_price(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let price = params.required(parse::amount)?;
    params.end()?;
    api.node.pool.set_gas_price(u128::try_from(price).unwrap_or(u128::MAX));
    Ok(true)
}

fn set_gas_limit(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let target = params.required(parse::quantity)?;
    params.end()?;
    miner(api)?.set_gas_target(target);
    Ok(true)
}

fn set_etherbase(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let beneficiary = params.required(parse::address)?;
    params.end()?;
    miner(api)?.set_beneficiary(beneficiary);
    Ok(true)
}

fn set_recommit_interval(api: &Api, params: &mut Params<'_>) -> Result<(), RpcError> {
    let milliseconds = params.required(parse::count)?;
    params.end()?;
    miner(api)?.set_recommit(Duration::from_millis(milliseconds));
    Ok(())
}

fn hashrate(api: &Api, params: &mut Params<'_>) -> Result<u64, RpcError> {
    params.end()?;
    Ok(miner(api)?.hashrate())
}
