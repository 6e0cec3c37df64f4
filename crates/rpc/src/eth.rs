//! `eth_*`: blocks, states, transactions and what can be asked of them.

pub(crate) mod block;
pub(crate) mod call;
pub(crate) mod fees;
pub(crate) mod filter;
pub(crate) mod logs;
mod mining;
mod state;
pub(crate) mod submit;
mod transaction;

use primitives::{Address, U256};

use crate::{convert::Quantity, error::RpcError, methods::Table, node::Api, params::Params};

/// The newest version of the eth protocol that geth 1.9.13 speaks, which is what clients of its
/// time compare with.
const PROTOCOL_VERSION: u64 = 65;

pub(crate) fn register(table: &mut Table) {
    table.light("eth_chainId", chain_id);
    table.light("eth_protocolVersion", protocol_version);
    table.light("eth_syncing", syncing);
    table.light("eth_blockNumber", block_number);
    table.light("eth_accounts", accounts);
    block::register(table);
    state::register(table);
    transaction::register(table);
    call::register(table);
    fees::register(table);
    logs::register(table);
    filter::register(table);
    submit::register(table);
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

/// Nothing downloads blocks behind this interface's back, so the node is never behind what it knows.
fn syncing(_: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    params.end()?;
    Ok(false)
}

fn block_number(api: &Api, params: &mut Params<'_>) -> Result<Quantity, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    Ok(Quantity(view.head.number))
}

fn accounts(api: &Api, params: &mut Params<'_>) -> Result<Vec<Address>, RpcError> {
    params.end()?;
    let accounts = api.node.keystore.as_ref().map(|keystore| keystore.accounts());
    Ok(accounts.unwrap_or_default().into_iter().map(|account| account.address).collect())
}
