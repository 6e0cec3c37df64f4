//! `debug_*`: what a developer wants to see, and levers that nobody should need.

mod blocks;
mod runtime;
mod states;
mod trace;

use chain::ChainView;
use primitives::{B256, RecoveredBlock};

use crate::{error::RpcError, methods::Table};

pub(crate) fn register(table: &mut Table) {
    trace::register(table);
    blocks::register(table);
    states::register(table);
    runtime::register(table);
}

/// A whole block by hash, and who signed its transactions.
fn block(view: &ChainView, hash: B256) -> Result<RecoveredBlock, RpcError> {
    let header = view.db.header(hash).map_err(RpcError::storage)?;
    let block = header.map(|header| view.db.recovered_block(header));
    let block = block.transpose().map_err(RpcError::storage)?.flatten();
    block.ok_or_else(|| RpcError::Refused(format!("block {hash} not found")))
}
