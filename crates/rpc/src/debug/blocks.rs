//! Blocks as bytes, and what the chain is made of.

use std::sync::Arc;

use alloy_rlp::Encodable;
use chain::ChainView;
use primitives::{B256, Bytes, Receipt, RecoveredBlock, SealedHeader, hex, keccak256};
use serde::Serialize;
use serde_json::value::RawValue;

use super::block;
use crate::{
    convert::RpcBlock,
    error::RpcError,
    eth::transaction,
    methods::Table,
    node::{Api, Place},
    params::Params,
    parse::{self, BlockId, BlockTag},
};

/// Blocks that share a dataset.
const EPOCH_BLOCKS: u64 = 30_000;

pub(crate) fn register(table: &mut Table) {
    table.light("debug_getRawBlock", raw_block);
    table.light("debug_getRawHeader", raw_header);
    table.light("debug_getRawReceipts", raw_receipts);
    table.light("debug_getRawTransaction", raw_transaction);
    table.light("debug_getBlockRlp", block_rlp);
    table.light("debug_getHeaderRlp", header_rlp);
    table.light("debug_printBlock", print_block);
    table.light("debug_seedHash", seed_hash);
    table.light("debug_preimage", preimage);
    table.light("debug_getBadBlocks", bad_blocks);
    // Who can do this can undo what others rely on, so it takes the machine's own socket.
    if table.api().is_local {
        table.heavy("debug_setHead", set_head);
    }
}

/// A height as a plain number, or a block by tag.
pub(super) fn height(raw: &RawValue) -> Result<BlockTag, String> {
    match raw.get().parse() {
        Ok(number) => Ok(BlockTag::Number(number)),
        Err(_) => parse::block_tag(raw),
    }
}

/// The sealed block that is meant; what is being mined has no bytes that anybody else will see.
pub(super) fn sealed(api: &Api, view: &ChainView, id: BlockId) -> Result<SealedHeader, RpcError> {
    match api.place(view, id)? {
        Place::Sealed(header) => Ok(*header),
        Place::Pending(_) => Err(RpcError::refused("pending block is not available")),
    }
}

fn block_of(api: &Api, view: &ChainView, id: BlockId) -> Result<RecoveredBlock, RpcError> {
    block(view, sealed(api, view, id)?.hash())
}

fn by_height(api: &Api, view: &ChainView, tag: BlockTag) -> Result<RecoveredBlock, RpcError> {
    let missing = || match tag {
        BlockTag::Number(number) => RpcError::Refused(format!("block #{number} not found")),
        _ => RpcError::refused("block not found"),
    };
    match api.by_tag(view, tag)?.ok_or_else(missing)? {
        Place::Sealed(header) => block(view, header.hash()),
        Place::Pending(_) => Err(missing()),
    }
}

fn encoded(value: &impl Encodable) -> Bytes {
    alloy_rlp::encode(value).into()
}

fn raw_block(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(parse::block_id)?;
    params.end()?;
    Ok(encoded(block_of(api, &view, id)?.sealed_block()))
}

fn raw_header(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(parse::block_id)?;
    params.end()?;
    Ok(encoded(sealed(api, &view, id)?.header()))
}

fn raw_receipts(api: &Api, params: &mut Params<'_>) -> Result<Vec<Bytes>, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(parse::block_id)?;
    params.end()?;
    let hash = sealed(api, &view, id)?.hash();
    let receipts = view.db.receipts(hash).map_err(RpcError::storage)?;
    let receipts = receipts.ok_or_else(|| RpcError::refused("receipts not found"))?;
    let encoded = |receipt: &Receipt| {
        let mut bytes = Vec::new();
        receipt.encode_consensus(&receipt.bloom(), &mut bytes);
        Bytes::from(bytes)
    };
    Ok(receipts.iter().map(encoded).collect())
}

fn raw_transaction(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::prefixed_hash)?;
    params.end()?;
    transaction::raw(api, &view, hash)
}

/// Without `0x`, as geth had it before it renamed the method.
fn block_rlp(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    let view = api.node.chain.view();
    let tag = params.required(height)?;
    params.end()?;
    Ok(hex::encode(encoded(by_height(api, &view, tag)?.sealed_block())))
}

fn header_rlp(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let tag = params.required(height)?;
    params.end()?;
    Ok(encoded(by_height(api, &view, tag)?.header()))
}

/// For people: the text is nobody's interface.
fn print_block(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    let view = api.node.chain.view();
    let tag = params.required(height)?;
    params.end()?;
    let block = by_height(api, &view, tag)?;
    Ok(format!("{:#?}\n{:#?}", block.header(), block.body()))
}

fn seed_hash(_: &Api, params: &mut Params<'_>) -> Result<B256, RpcError> {
    let number = params.required(parse::count)?;
    params.end()?;
    let epoch = number / EPOCH_BLOCKS;
    if epoch > consensus::EPOCH_MAX {
        return Err(RpcError::Refused(format!("block {number} is beyond the last epoch")));
    }
    Ok((0..epoch).fold(B256::ZERO, |seed, _| keccak256(seed)))
}

fn preimage(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    params.end()?;
    let found = view.db.preimage(hash).map_err(RpcError::storage)?;
    found.ok_or_else(|| RpcError::refused("unknown preimage"))
}

/// What came after stays beside the chain until a heavier block brings it back.
fn set_head(api: &Api, params: &mut Params<'_>) -> Result<(), RpcError> {
    let number = params.required(parse::quantity)?;
    params.end()?;
    // This runs on the blocking pool, where waiting for the chain is in order.
    let done = tokio::runtime::Handle::current().block_on(api.node.chain.set_head(number));
    done.map_err(RpcError::storage)
}

/// A block that broke a rule.
#[derive(Debug, Serialize)]
struct BadBlock {
    hash: B256,
    block: RpcBlock,
    rlp: Bytes,
}

/// The last blocks that broke a rule although their seal holds. Unlike geth's they are forgotten with
/// the process: who floods a node with them writes nothing to its disk.
fn bad_blocks(api: &Api, params: &mut Params<'_>) -> Result<Vec<BadBlock>, RpcError> {
    params.end()?;
    let shown = |block: Arc<RecoveredBlock>| BadBlock {
        hash: block.hash(),
        block: RpcBlock::rejected(block.sealed_block(), block.senders()),
        rlp: encoded(block.sealed_block()),
    };
    Ok(api.node.chain.rejected().into_iter().map(shown).collect())
}
