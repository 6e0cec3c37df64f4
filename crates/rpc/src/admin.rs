//! `admin_*`: the node about itself.

use primitives::{B256, U256};
use serde::Serialize;

use crate::{error::RpcError, methods::Table, node::Api, params::Params};

pub(crate) fn register(table: &mut Table) {
    table.light("admin_nodeInfo", node_info);
    table.light("admin_peers", peers);
    table.light("admin_datadir", datadir);
}

#[derive(Debug, Serialize)]
struct NodeInfo {
    name: String,
    protocols: Protocols,
}

#[derive(Debug, Serialize)]
struct Protocols {
    eth: EthInfo,
}

#[derive(Debug, Serialize)]
struct EthInfo {
    network: u64,
    /// A plain number in geth, however large.
    difficulty: serde_json::Number,
    genesis: B256,
    config: serde_json::Value,
    head: B256,
}

fn node_info(api: &Api, params: &mut Params<'_>) -> Result<NodeInfo, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    Ok(NodeInfo {
        name: api.node.client_version.clone(),
        protocols: Protocols {
            eth: EthInfo {
                network: api.node.network_id,
                difficulty: number(view.td.get()),
                genesis: view.spec.genesis_block().hash(),
                config: view.spec.config.clone(),
                head: view.head.hash(),
            },
        },
    })
}

fn number(value: U256) -> serde_json::Number {
    value.to_string().parse().expect("decimal digits are a number")
}

/// Nobody is connected while nothing listens for peers.
fn peers(_: &Api, params: &mut Params<'_>) -> Result<Vec<()>, RpcError> {
    params.end()?;
    Ok(Vec::new())
}

fn datadir(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    params.end()?;
    Ok(api.node.data_directory.display().to_string())
}
