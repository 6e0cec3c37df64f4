//! Blocks, headers and ommers.

use std::sync::Arc;

use ::miner::WorkPackage;
use chain::ChainView;
use primitives::{Address, B256, Block, SealedBlock, SealedHeader, U256};

use crate::{
    convert::{Quantity, RpcBlock, recovered, sender, senders},
    error::RpcError,
    methods::Table,
    node::{Api, Place},
    params::Params,
    parse,
};

pub(crate) fn register(table: &mut Table) {
    table.light("eth_getBlockByHash", block_by_hash);
    table.light("eth_getBlockByNumber", block_by_number);
    table.light("eth_getHeaderByHash", header_by_hash);
    table.light("eth_getHeaderByNumber", header_by_number);
    table.light("eth_getBlockTransactionCountByHash", transaction_count_by_hash);
    table.light("eth_getBlockTransactionCountByNumber", transaction_count_by_number);
    table.light("eth_getUncleCountByBlockHash", ommer_count_by_hash);
    table.light("eth_getUncleCountByBlockNumber", ommer_count_by_number);
    table.light("eth_getUncleByBlockHashAndIndex", ommer_by_hash);
    table.light("eth_getUncleByBlockNumberAndIndex", ommer_by_number);
}

/// A block, or the package that will be one. A package has a hash only so that it can be handled
/// like a block; nobody is told.
pub(crate) enum Found {
    Sealed(SealedBlock),
    Pending(SealedBlock),
}

impl Found {
    pub(crate) fn block(&self) -> &SealedBlock {
        match self {
            Self::Sealed(block) | Self::Pending(block) => block,
        }
    }

    /// Who signed the transactions.
    pub(crate) fn senders(&self, view: &ChainView) -> Result<Vec<Address>, RpcError> {
        match self {
            Self::Sealed(block) => senders(view, block),
            Self::Pending(block) => recovered(block),
        }
    }

    /// Who signed one of the transactions.
    pub(crate) fn sender(&self, view: &ChainView, index: usize) -> Result<Address, RpcError> {
        let stored = match self {
            Self::Sealed(block) => view.db.senders(block.hash()).map_err(RpcError::storage)?,
            Self::Pending(_) => None,
        };
        let stored = stored.and_then(|senders| senders.get(index).copied());
        stored.map_or_else(|| sender(&self.block().body().transactions[index]), Ok)
    }

    /// What to say about the block's hash.
    pub(crate) fn hash(&self) -> Option<B256> {
        match self {
            Self::Sealed(block) => Some(block.hash()),
            Self::Pending(_) => None,
        }
    }
}

fn of_package(package: &Arc<WorkPackage>) -> SealedBlock {
    SealedBlock::seal_slow(Block { header: package.header.clone(), body: package.body.clone() })
}

/// The block that the next parameter names by hash.
pub(crate) fn find_by_hash(
    view: &ChainView,
    params: &mut Params<'_>,
) -> Result<Option<Found>, RpcError> {
    let hash = params.required(parse::hash)?;
    Ok(view.db.block(hash).map_err(RpcError::storage)?.map(Found::Sealed))
}

/// The block that the next parameter names by number or tag.
pub(crate) fn find_by_number(
    api: &Api,
    view: &ChainView,
    params: &mut Params<'_>,
) -> Result<Option<Found>, RpcError> {
    let tag = params.required(parse::block_tag)?;
    match api.by_tag(view, tag)? {
        None => Ok(None),
        Some(Place::Pending(package)) => Ok(Some(Found::Pending(of_package(&package)))),
        Some(Place::Sealed(header)) => {
            let body = view.db.body(header.hash()).map_err(RpcError::storage)?;
            Ok(body.map(|body| Found::Sealed(SealedBlock::from_sealed_parts(*header, body))))
        }
    }
}

fn total_difficulty(view: &ChainView, hash: B256) -> Result<U256, RpcError> {
    if hash == view.head.hash() {
        return Ok(view.td.get());
    }
    let td = view.db.td(hash).map_err(RpcError::storage)?;
    Ok(td.map_or(U256::ZERO, |td| td.get()))
}

fn object(view: &ChainView, found: &Found, full: bool) -> Result<RpcBlock, RpcError> {
    let senders = full.then(|| found.senders(view)).transpose()?;
    Ok(match found {
        Found::Sealed(block) => {
            RpcBlock::block(block, total_difficulty(view, block.hash())?, senders.as_deref())
        }
        Found::Pending(block) => RpcBlock::pending(block, senders.as_deref()),
    })
}

fn block_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    let full = params.required(parse::boolean)?;
    params.end()?;
    found.map(|found| object(&view, &found, full)).transpose()
}

fn block_by_number(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    let full = params.required(parse::boolean)?;
    params.end()?;
    found.map(|found| object(&view, &found, full)).transpose()
}

fn header_object(view: &ChainView, header: &SealedHeader) -> Result<RpcBlock, RpcError> {
    Ok(RpcBlock::header(header, total_difficulty(view, header.hash())?))
}

fn header_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    params.end()?;
    let header = view.db.header(hash).map_err(RpcError::storage)?;
    header.map(|header| header_object(&view, &header)).transpose()
}

fn header_by_number(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let tag = params.required(parse::block_tag)?;
    params.end()?;
    match api.by_tag(&view, tag)? {
        None => Ok(None),
        Some(Place::Sealed(header)) => header_object(&view, &header).map(Some),
        Some(Place::Pending(package)) => Ok(Some(RpcBlock::pending_header(&package.header))),
    }
}

fn transaction_count(found: Option<Found>) -> Option<Quantity> {
    found.map(|found| found.block().body().transactions.len().into())
}

fn transaction_count_by_hash(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    params.end()?;
    Ok(transaction_count(found))
}

fn transaction_count_by_number(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    params.end()?;
    Ok(transaction_count(found))
}

fn ommer_count_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    params.end()?;
    Ok(found.map(|found| found.block().body().ommers.len().into()))
}

fn ommer_count_by_number(api: &Api, params: &mut Params<'_>) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    params.end()?;
    Ok(found.map(|found| found.block().body().ommers.len().into()))
}

fn ommer(found: Option<Found>, index: u64) -> Option<RpcBlock> {
    let found = found?;
    let index = usize::try_from(index).ok()?;
    found.block().body().ommers.get(index).map(RpcBlock::ommer)
}

fn ommer_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    Ok(ommer(found, index))
}

fn ommer_by_number(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    Ok(ommer(found, index))
}
