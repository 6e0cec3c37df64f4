//! `net_*`: what the node says about its network.

use primitives::U256;

use crate::{error::RpcError, methods::Table, node::Api, params::Params};

pub(crate) fn register(table: &mut Table) {
    table.light("net_version", version);
    table.light("net_listening", listening);
    table.light("net_peerCount", peer_count);
}

fn version(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    params.end()?;
    Ok(api.node.network_id.to_string())
}

/// geth says so whether it does or not, and clients wait for it.
fn listening(_: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    params.end()?;
    Ok(true)
}

fn peer_count(api: &Api, params: &mut Params<'_>) -> Result<U256, RpcError> {
    params.end()?;
    Ok(U256::from(api.node.network.as_ref().map_or(0, |network| network.peers().len())))
}
