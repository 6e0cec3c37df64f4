//! Chains to files and from files, for the operator of this machine.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
};

use alloy_rlp::{Decodable, Encodable};
use chain::ChainView;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use primitives::{Block, SealedBlock};

use crate::{error::RpcError, methods::Table, node::Api, params::Params, parse};

/// Blocks that are verified and imported at once.
const BATCH_BLOCKS: usize = 128;
/// Bytes of one block in a file; a larger one is no block.
const BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) fn register(table: &mut Table) {
    // Files are the business of who is on this machine.
    if table.api().is_local {
        table.heavy("admin_exportChain", export);
        table.heavy("admin_importChain", import);
    }
}

fn failed(error: &io::Error) -> RpcError {
    RpcError::Refused(error.to_string())
}

fn is_zipped(path: &str) -> bool {
    path.ends_with(".gz")
}

/// As geth's: never over what is there.
fn export(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let view = api.node.chain.view();
    let path = params.required(parse::string)?;
    let first = params.optional(parse::count)?;
    let last = params.optional(parse::count)?;
    params.end()?;
    if first.is_none() && last.is_some() {
        return Err(RpcError::refused("last cannot be specified without first"));
    }
    let (first, last) = (first.unwrap_or(0), last.or(first).unwrap_or(view.head.number));
    if first > last || last > view.head.number {
        let head = view.head.number;
        return Err(RpcError::Refused(format!("no blocks {first} to {last}: the head is {head}")));
    }
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            RpcError::refused("location would overwrite an existing file")
        }
        _ => failed(&error),
    })?;
    let mut out = BufWriter::new(file);
    if is_zipped(&path) {
        let mut zipped = GzEncoder::new(&mut out, Compression::default());
        write(&view, first, last, &mut zipped)?;
        zipped.finish().map_err(|error| failed(&error))?;
    } else {
        write(&view, first, last, &mut out)?;
    }
    let file = out.into_inner().map_err(|error| failed(error.error()))?;
    file.sync_all().map_err(|error| failed(&error))?;
    Ok(true)
}

fn write(view: &ChainView, first: u64, last: u64, out: &mut dyn Write) -> Result<(), RpcError> {
    let mut rlp = Vec::new();
    for number in first..=last {
        let missing = || RpcError::Refused(format!("block #{number} not found"));
        let hash = view.db.canonical_hash(number).map_err(RpcError::storage)?;
        let block = view.db.block(hash.ok_or_else(missing)?).map_err(RpcError::storage)?;
        rlp.clear();
        block.ok_or_else(missing)?.encode(&mut rlp);
        out.write_all(&rlp).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Blocks that are here already are passed over; at a bad one the good ones before it stay.
fn import(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let path = params.required(parse::string)?;
    params.end()?;
    let file = File::open(&path).map_err(|error| failed(&error))?;
    let mut input: Box<dyn Read> = if is_zipped(&path) {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    loop {
        let mut batch = Vec::with_capacity(BATCH_BLOCKS);
        while batch.len() < BATCH_BLOCKS {
            let Some(block) = read(&mut *input)? else { break };
            batch.push(block);
        }
        if batch.is_empty() {
            return Ok(true);
        }
        batch.retain(|block| block.header().number > 0);
        take_in(api, batch)?;
    }
}

/// The next block; `None` at the end.
fn read(input: &mut dyn Read) -> Result<Option<SealedBlock>, RpcError> {
    let mut rlp = vec![0];
    if input.read(&mut rlp).map_err(|error| failed(&error))? == 0 {
        return Ok(None);
    }
    let wrong = || RpcError::refused("the file holds something that is no block");
    // A list beyond 55 bytes: its length takes so many bytes.
    let Some(length_bytes) = rlp[0].checked_sub(0xf7).filter(|length| (1..=4).contains(length))
    else {
        return Err(wrong());
    };
    let head = 1 + usize::from(length_bytes);
    rlp.resize(head, 0);
    input.read_exact(&mut rlp[1..]).map_err(|error| failed(&error))?;
    let length = rlp[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length > BLOCK_BYTES_MAX {
        return Err(wrong());
    }
    input
        .take(u64::try_from(length).expect("checked a line above"))
        .read_to_end(&mut rlp)
        .map_err(|error| failed(&error))?;
    let block = Block::decode(&mut &rlp[..]).map_err(|_| wrong())?;
    Ok(Some(SealedBlock::seal_slow(block)))
}

fn take_in(api: &Api, blocks: Vec<SealedBlock>) -> Result<(), RpcError> {
    let view = api.node.chain.view();
    let mut verified = Vec::with_capacity(blocks.len());
    for block in api.node.engine.verify_many(&view.spec, blocks, 1) {
        verified.push(block.map_err(|error| RpcError::Refused(error.to_string()))?);
    }
    // This runs on the blocking pool, where waiting for the chain is in order.
    let imported = tokio::runtime::Handle::current().block_on(api.node.chain.import_many(verified));
    imported.map_err(|error| RpcError::Refused(crate::error::chain_of_causes(&error)))?;
    Ok(())
}
