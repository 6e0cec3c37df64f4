//! Transactions and receipts.

use alloy_eips::eip2718::Encodable2718;
use chain::ChainView;
use primitives::{Address, B256, Bytes, SealedBlock, SealedHeader, Transaction};

use super::block::{Found, find_by_hash, find_by_number};
use crate::{
    convert::{BlockReceipts, RpcReceipt, RpcTransaction, TransactionPlace, sender, senders},
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
    stored_sender: Option<Address>,
}

impl Mined {
    /// Who signed it.
    pub(crate) fn from(&self) -> Result<Address, RpcError> {
        self.stored_sender.map_or_else(|| sender(&self.tx), Ok)
    }
}

/// A transaction of the chain by its hash, without the rest of its block.
pub(crate) fn mined(view: &ChainView, hash: B256) -> Result<Option<Mined>, RpcError> {
    let Some((id, index)) = view.db.transaction_place(hash).map_err(RpcError::storage)? else {
        return Ok(None);
    };
    let found = view.db.transaction(id, index).map_err(RpcError::storage)?;
    let Some((tx, stored_sender)) = found else { return Ok(None) };
    let Some(header) = view.db.header(id.hash).map_err(RpcError::storage)? else { return Ok(None) };
    Ok(Some(Mined { header, index, tx, stored_sender }))
}

/// The canonical block that holds a transaction, and where in it.
pub(crate) fn place(
    view: &ChainView,
    hash: B256,
) -> Result<Option<(SealedBlock, usize)>, RpcError> {
    let Some((id, index)) = view.db.transaction_place(hash).map_err(RpcError::storage)? else {
        return Ok(None);
    };
    let block = view.db.block(id.hash).map_err(RpcError::storage)?;
    Ok(block.map(|block| (block, index)))
}

fn by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcTransaction>, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    params.end()?;
    if let Some(mined) = mined(&view, hash)? {
        let place = TransactionPlace::new(Some(mined.header.hash()), mined.header.header());
        let place = TransactionPlace { index: mined.index, ..place };
        return Ok(Some(RpcTransaction::mined(&mined.tx, mined.from()?, &place)));
    }
    Ok(api.node.pool.get(hash).map(|pooled| RpcTransaction::pooled(&pooled.tx, pooled.sender)))
}

fn in_block(
    view: &ChainView,
    found: Option<Found>,
    index: u64,
) -> Result<Option<RpcTransaction>, RpcError> {
    let Some(found) = found else { return Ok(None) };
    let Some((index, tx)) = nth(found.block(), index) else { return Ok(None) };
    let place =
        TransactionPlace { index, ..TransactionPlace::new(found.hash(), found.block().header()) };
    Ok(Some(RpcTransaction::mined(tx, found.sender(view, index)?, &place)))
}

fn nth(block: &SealedBlock, index: u64) -> Option<(usize, &Transaction)> {
    let index = usize::try_from(index).ok()?;
    block.body().transactions.get(index).map(|tx| (index, tx))
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

fn raw_in_block(found: Option<Found>, index: u64) -> Bytes {
    let tx = found.and_then(|found| nth(found.block(), index).map(|(_, tx)| encoded(tx)));
    tx.unwrap_or_default()
}

fn raw_by_block_hash(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    Ok(raw_in_block(found, index))
}

fn raw_by_block_number(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    Ok(raw_in_block(found, index))
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
    Ok(receipts.get(mined.index, &mined.tx, mined.from()?))
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
            let Some(block) = view.db.block(hash).map_err(RpcError::storage)? else {
                return Ok(None);
            };
            let Some(receipts) = view.db.receipts(hash).map_err(RpcError::storage)? else {
                return Ok(None);
            };
            let strict = api.node.strict_receipts;
            let senders = senders(&view, &block)?;
            let receipts = BlockReceipts { header: &header, receipts: &receipts, strict };
            Ok(Some(receipts.all(&block.body().transactions, &senders)))
        }
    }
}
