//! Blocks, headers and ommers.

use ::miner::WorkPackage;
use chain::ChainView;
use primitives::{B256, Block, BlockBody, SealedBlock, SealedHeader, U256};

use crate::{
    convert::{Quantity, RpcBlock, recovered},
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

/// The block that the next parameter names by hash.
pub(crate) fn find_by_hash(
    view: &ChainView,
    params: &mut Params<'_>,
) -> Result<Option<Place>, RpcError> {
    let hash = params.required(parse::hash)?;
    Ok(view.db.header(hash).map_err(RpcError::storage)?.map(Place::sealed))
}

/// The block that the next parameter names by number or tag.
pub(crate) fn find_by_number(
    api: &Api,
    view: &ChainView,
    params: &mut Params<'_>,
) -> Result<Option<Place>, RpcError> {
    let tag = params.required(parse::block_tag)?;
    api.by_tag(view, tag)
}

fn total_difficulty(view: &ChainView, hash: B256) -> Result<U256, RpcError> {
    if hash == view.head.hash() {
        return Ok(view.td.get());
    }
    let td = view.db.td(hash).map_err(RpcError::storage)?;
    Ok(td.map_or(U256::ZERO, |td| td.get()))
}

/// A package is sealed only to be handled like a block; nobody is told its hash.
fn of_package(package: &WorkPackage) -> SealedBlock {
    SealedBlock::seal_slow(Block { header: package.header.clone(), body: package.body.clone() })
}

fn object(view: &ChainView, place: Place, full: bool) -> Result<Option<RpcBlock>, RpcError> {
    let header = match place {
        Place::Sealed(header) => *header,
        Place::Pending(package) => {
            let block = of_package(&package);
            let senders = full.then(|| recovered(&block)).transpose()?;
            return Ok(Some(RpcBlock::pending(&block, senders.as_deref())));
        }
    };
    let td = total_difficulty(view, header.hash())?;
    if full {
        let found = view.db.recovered_block(header).map_err(RpcError::storage)?;
        return Ok(
            found.map(|block| RpcBlock::block(block.sealed_block(), td, Some(block.senders())))
        );
    }
    let body = view.db.body(header.hash()).map_err(RpcError::storage)?;
    Ok(body.map(|body| RpcBlock::block(&SealedBlock::from_sealed_parts(header, body), td, None)))
}

fn block_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    let full = params.required(parse::boolean)?;
    params.end()?;
    found.map_or(Ok(None), |place| object(&view, place, full))
}

fn block_by_number(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    let full = params.required(parse::boolean)?;
    params.end()?;
    found.map_or(Ok(None), |place| object(&view, place, full))
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

fn body(view: &ChainView, found: Option<Place>) -> Result<Option<BlockBody>, RpcError> {
    match found {
        None => Ok(None),
        Some(Place::Sealed(header)) => view.db.body(header.hash()).map_err(RpcError::storage),
        Some(Place::Pending(package)) => Ok(Some(package.body.clone())),
    }
}

fn transaction_count(view: &ChainView, found: Option<Place>) -> Result<Option<Quantity>, RpcError> {
    Ok(body(view, found)?.map(|body| body.transactions.len().into()))
}

fn ommer_count(view: &ChainView, found: Option<Place>) -> Result<Option<Quantity>, RpcError> {
    Ok(body(view, found)?.map(|body| body.ommers.len().into()))
}

fn transaction_count_by_hash(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    params.end()?;
    transaction_count(&view, found)
}

fn transaction_count_by_number(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    params.end()?;
    transaction_count(&view, found)
}

fn ommer_count_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    params.end()?;
    ommer_count(&view, found)
}

fn ommer_count_by_number(api: &Api, params: &mut Params<'_>) -> Result<Option<Quantity>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    params.end()?;
    ommer_count(&view, found)
}

fn ommer(view: &ChainView, found: Option<Place>, index: u64) -> Result<Option<RpcBlock>, RpcError> {
    let (Some(body), Ok(index)) = (body(view, found)?, usize::try_from(index)) else {
        return Ok(None);
    };
    Ok(body.ommers.get(index).map(RpcBlock::ommer))
}

fn ommer_by_hash(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_hash(&view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    ommer(&view, found, index)
}

fn ommer_by_number(api: &Api, params: &mut Params<'_>) -> Result<Option<RpcBlock>, RpcError> {
    let view = api.node.chain.view();
    let found = find_by_number(api, &view, params)?;
    let index = params.required(parse::quantity)?;
    params.end()?;
    ommer(&view, found, index)
}
