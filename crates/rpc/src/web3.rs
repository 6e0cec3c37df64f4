//! `web3_*` and `rpc_*`: what clients ask first.

use std::collections::BTreeMap;

use primitives::{B256, keccak256};

use crate::{error::RpcError, methods::Table, node::Api, params::Params, parse};

pub(crate) fn register(table: &mut Table) {
    table.light("web3_clientVersion", client_version);
    table.light("web3_sha3", sha3);
    table.light("rpc_modules", modules);
}

fn client_version(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    params.end()?;
    Ok(api.node.client_version.clone())
}

fn sha3(_: &Api, params: &mut Params<'_>) -> Result<B256, RpcError> {
    let bytes = params.required(parse::bytes)?;
    params.end()?;
    Ok(keccak256(bytes))
}

/// What is exposed; `attach` refuses a node that does not say.
fn modules(api: &Api, params: &mut Params<'_>) -> Result<BTreeMap<String, &'static str>, RpcError> {
    params.end()?;
    let names = api.modules.iter().map(String::as_str).chain(["rpc"]);
    Ok(names.map(|name| (name.to_owned(), "1.0")).collect())
}
