//! `eth_*`: blocks, states, transactions and what can be asked of them.

pub(crate) mod args;
pub(crate) mod block;
pub(crate) mod call;
pub(crate) mod fees;
pub(crate) mod filter;
pub(crate) mod logs;
mod mining;
pub(crate) mod overrides;
pub(crate) mod sign;
mod state;
pub(crate) mod submit;
pub(crate) mod transaction;

use network::SyncProgress;
use primitives::{Address, U256};
use serde_json::{Value, json};

use crate::{convert::Quantity, error::RpcError, methods::Table, node::Api, params::Params};

/// The newest version of the eth protocol that geth 1.9.13 speaks, which is what clients of its
/// time compare with.
const PROTOCOL_VERSION: u64 = 65;

pub(crate) fn register(table: &mut Table) {
    table.light("eth_chainId", chain_id);
    table.light("eth_protocolVersion", protocol_version);
    table.light("eth_syncing", syncing);
    table.light("eth_blockNumber", block_number);
    table.heavy("eth_accounts", accounts);
    block::register(table);
    state::register(table);
    transaction::register(table);
    call::register(table);
    fees::register(table);
    logs::register(table);
    filter::register(table);
    submit::register(table);
    sign::register(table);
    mining::register(table);
}

fn chain_id(api: &Api, params: &mut Params<'_>) -> Result<U256, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    Ok(U256::from(view.spec.chain_id))
}

fn protocol_version(_: &Api, params: &mut Params<'_>) -> Result<Quantity, RpcError> {
    params.end()?;
    Ok(Quantity(PROTOCOL_VERSION))
}

fn syncing(api: &Api, params: &mut Params<'_>) -> Result<Value, RpcError> {
    params.end()?;
    let progress = api.node.network.as_ref().and_then(|network| network.sync_progress());
    Ok(sync_status(progress))
}

/// As geth 1.9 says it, `false` once everything is here. It fetches states and counts them; this
/// node executes.
fn sync_status(progress: Option<SyncProgress>) -> Value {
    match progress {
        Some(SyncProgress { starting, current, highest }) if current < highest => json!({
            "startingBlock": Quantity(starting),
            "currentBlock": Quantity(current),
            "highestBlock": Quantity(highest),
            "pulledStates": Quantity(0),
            "knownStates": Quantity(0),
        }),
        Some(_) | None => json!(false),
    }
}

fn block_number(api: &Api, params: &mut Params<'_>) -> Result<Quantity, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    Ok(Quantity(view.head.number))
}

fn accounts(api: &Api, params: &mut Params<'_>) -> Result<Vec<Address>, RpcError> {
    params.end()?;
    api.accounts()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_told_as_geth_tells_it_until_it_is_over() {
        let progress = |current| Some(SyncProgress { starting: 2, current, highest: 300 });
        let expected = json!({
            "startingBlock": "0x2",
            "currentBlock": "0x10",
            "highestBlock": "0x12c",
            "pulledStates": "0x0",
            "knownStates": "0x0",
        });
        assert_eq!(sync_status(progress(16)), expected);
        assert_eq!(sync_status(progress(300)), json!(false));
        assert_eq!(sync_status(None), json!(false));
    }
}
