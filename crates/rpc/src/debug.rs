//! `debug_*`: what a developer wants to see, and levers that nobody should need.

mod blocks;
mod runtime;
mod states;
mod trace;

use chain::ChainView;
use primitives::{B256, SealedBlock};

use crate::{error::RpcError, methods::Table};

pub(crate) fn register(table: &mut Table) {
    trace::register(table);
    blocks::register(table);
    states::register(table);
    runtime::register(table);
}

/// A whole block by hash.
fn block(view: &ChainView, hash: B256) -> Result<SealedBlock, RpcError> {
    let found = view.db.block(hash).map_err(RpcError::storage)?;
    found.ok_or_else(|| RpcError::Refused(format!("block {hash} not found")))
}
