//! Transactions and receipts.

use alloy_eips::eip2718::Encodable2718;
use chain::ChainView;
use primitives::{Address, B256, Bytes, SealedHeader, Transaction};

use super::block::{find_by_hash, find_by_number};
use crate::{
    convert::{BlockReceipts, RpcReceipt, RpcTransaction, TransactionPlace, sender},
    error::RpcError,
    methods::Table,
    node::{Api, Place},
    params::Params,
    parse::{self, BlockId},
};

pub(crate) fn register(table: &mut Table) {
    table.light("eth_getTransactionByHash", by_hash);
    table.light("eth_getTransactionByBlockHashAndIndex", by_block_hash);
    table.light("eth_getTransactionByBlockNumberAndIndex", by_block_number);
    table.light("eth_getRawTransactionByHash", raw_by_hash);
    table.light("eth_getRawTransactionByBlockHashAndIndex", raw_by_block_hash);
    table.light("eth_getRawTransactionByBlockNumberAndIndex", raw_by_block_number);
    table.light("eth_getTransactionReceipt", receipt);
    table.light("eth_getBlockReceipts", block_receipts);
}

/// A transaction of the chain.
pub(crate) struct Mined {
    pub(crate) header: SealedHeader,
    pub(crate) index: usize,
    pub(crate) tx: Transaction,
    /// Who signed it.
    pub(crate) from: Address,
}

/// A transaction of the chain by its hash, without the rest of its block.
pub(crate) fn mined(view: &ChainView, hash: B256) -> Result<Option<Mined>, RpcError> {
    let Some((id, index)) = view.db.transaction_place(hash).map_err(RpcError::storage)? else {
        return Ok(None);
    };
    let found = view.db.transaction(id, index).map_err(RpcError::storage)?;
    let Some((tx, from)) = found else { return Ok(None) };
    let Some(header) = view.db.header(id.hash).map_err(RpcError::storage)? else { return Ok(None) };
    Ok(Some(Mined { header, index, tx, from }))
}

fn by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcTransaction>, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    params.end()?;
    if let Some(mined) = mined(&view, hash)? {
        let place = TransactionPlace::new(Some(mined.header.hash()), mined.header.header());
        let place = TransactionPlace { index: mined.index, ..place };
        return Ok(Some(RpcTransaction::mined(&mined.tx, mined.from, &place)));
    }
    Ok(api.node.pool.get(hash).map(|pooled| RpcTransaction::pooled(&pooled.tx, pooled.sender)))
}

/// A transaction by its place in a block, and who signed it.
fn nth(
    view: &ChainView,
    place: &Place,
    index: usize,
) -> Result<Option<(Transaction, Address)>, RpcError> {
    match place {
        Place::Sealed(header) => {
            view.db.transaction(header.num_hash(), index).map_err(RpcError::storage)
        }
        Place::Pending(package) => {
            let Some(tx) = package.body.transactions.get(index) else { return Ok(None) };
            Ok(Some((tx.clone(), sender(tx)?)))
        }
    }
}

fn in_block(
    view: &ChainView,
    found: Option<Place>,
    index: u64,
) -> Result<Option<RpcTransaction>, RpcError> {
    let (Some(place), Ok(index)) = (found, usize::try_from(index)) else { return Ok(None) };
    let Some((tx, from)) = nth(view, &place, index)? else { return Ok(None) };
    let place = TransactionPlace { index, ..TransactionPlace::new(place.hash(), place.header()) };
    Ok(Some(RpcTransaction::mined(&tx, from, &place)))
}

fn by_block_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcTransaction>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    in_block(&view, found, index)
}

fn by_block_number(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcTransaction>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    in_block(&view, found, index)
}

fn encoded(tx: &Transaction) -> Bytes {
    tx.encoded_2718().into()
}

fn raw_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    params.end()?;
    raw(api, &view, hash)
}

/// The bytes of a transaction, mined or waiting; none if it is unknown.
pub(crate) fn raw(api: &Api, view: &ChainView, hash: B256) -> Result<Bytes, RpcError> {
    if let Some(mined) = mined(view, hash)? {
        return Ok(encoded(&mined.tx));
    }
    Ok(api.node.pool.get(hash).map(|pooled| encoded(&pooled.tx)).unwrap_or_default())
}

fn raw_in_block(view: &ChainView, found: Option<Place>, index: u64) -> Result<Bytes, RpcError> {
    let (Some(place), Ok(index)) = (found, usize::try_from(index)) else {
        return Ok(Bytes::new());
    };
    Ok(nth(view, &place, index)?.map(|(tx, _)| encoded(&tx)).unwrap_or_default())
}

fn raw_by_block_hash(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    raw_in_block(&view, found, index)
}

fn raw_by_block_number(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    raw_in_block(&view, found, index)
}

fn receipt(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcReceipt>, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    params.end()?;
    let Some(mined) = mined(&view, hash)? else { return Ok(None) };
    let receipts = view.db.receipts(mined.header.hash()).map_err(RpcError::storage)?;
    let Some(receipts) = receipts else { return Ok(None) };
    let strict = api.node.strict_receipts;
    let receipts = BlockReceipts { header: &mined.header, receipts: &receipts, strict };
    Ok(receipts.get(mined.index, &mined.tx, mined.from))
}

fn block_receipts(api: &Api, params: &mut Params<'_>) -> Result<Option<Vec<RpcReceipt>>, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(parse::block_id)?;
    params.end()?;
    let place = match id {
        BlockId::Tag(tag) => api.by_tag(&view, tag)?,
        BlockId::Hash { hash, .. } => {
            view.db.header(hash).map_err(RpcError::storage)?.map(Place::sealed)
        }
    };
    match place {
        // Receipts name their block by hash, and a pending block has none.
        None | Some(Place::Pending(_)) => Ok(None),
        Some(Place::Sealed(header)) => {
            let hash = header.hash();
            let Some(receipts) = view.db.receipts(hash).map_err(RpcError::storage)? else {
                return Ok(None);
            };
            let block = view.db.recovered_block(*header).map_err(RpcError::storage)?;
            let Some(block) = block else { return Ok(None) };
            let strict = api.node.strict_receipts;
            let receipts =
                BlockReceipts { header: block.sealed_header(), receipts: &receipts, strict };
            Ok(Some(receipts.all(&block.body().transactions, block.senders())))
        }
    }
}
