//! Headers, bodies and blocks on the wire.

use alloy_rlp::{Decodable, Encodable};
use primitives::{BlockBody, Header, SealedBlock, SealedHeader, keccak256};

use super::{
    items::{Items, WireError, encode_list_of, list_length},
    transaction,
};

/// The most bits of a difficulty; geth's.
const DIFFICULTY_BITS_MAX: usize = 80;
/// The longest extra data, in bytes. Consensus allows 32, and a genesis more; geth's.
const EXTRA_DATA_BYTES_MAX: usize = 100 * 1024;
/// The most ommers of a block (Yellow Paper §11.1).
const OMMERS_MAX: usize = 2;

/// A header, hashed as it came.
pub(super) fn decode_header(items: &mut Items<'_>) -> Result<SealedHeader, WireError> {
    let raw = items.raw()?;
    let header = bare_header(raw)?;
    Ok(SealedHeader::new(header, keccak256(raw)))
}

/// A body in an answer: transactions and ommers.
pub(super) fn decode_body(items: &mut Items<'_>) -> Result<BlockBody, WireError> {
    let mut parts = items.list()?;
    let body = body_of(&mut parts)?;
    parts.end()?;
    Ok(body)
}

/// A whole block: header, transactions and ommers.
pub(super) fn decode_block(items: &mut Items<'_>) -> Result<SealedBlock, WireError> {
    let mut parts = items.list()?;
    let header = decode_header(&mut parts)?;
    let body = body_of(&mut parts)?;
    parts.end()?;
    Ok(SealedBlock::from_sealed_parts(header, body))
}

pub(super) fn encode_body(body: &BlockBody) -> Vec<u8> {
    let payload_length = body_length(body);
    let mut out = Vec::with_capacity(list_length(payload_length));
    alloy_rlp::Header { list: true, payload_length }.encode(&mut out);
    encode_body_parts(body, &mut out);
    out
}

pub(super) fn encode_block(block: &SealedBlock, out: &mut Vec<u8>) {
    let payload_length = block.header().length() + body_length(block.body());
    out.reserve(list_length(payload_length));
    alloy_rlp::Header { list: true, payload_length }.encode(out);
    block.header().encode(out);
    encode_body_parts(block.body(), out);
}

fn encode_body_parts(body: &BlockBody, out: &mut Vec<u8>) {
    encode_list_of(body.transactions.iter(), out);
    encode_list_of(body.ommers.iter(), out);
}

fn body_length(body: &BlockBody) -> usize {
    let transactions = body.transactions.iter().map(Encodable::length).sum();
    let ommers = body.ommers.iter().map(Encodable::length).sum();
    list_length(transactions) + list_length(ommers)
}

/// The transactions are bounded by the message's length: each takes up a hundred bytes or so.
fn body_of(parts: &mut Items<'_>) -> Result<BlockBody, WireError> {
    let transactions = parts.list()?.all(transaction::decode)?;
    let ommers = parts.list()?.each(OMMERS_MAX, |ommers| bare_header(ommers.raw()?))?;
    Ok(BlockBody { transactions, ommers, withdrawals: None })
}

fn bare_header(raw: &[u8]) -> Result<Header, WireError> {
    let mut rest = raw;
    let header = Header::decode(&mut rest)?;
    let field = if header.withdrawals_root.is_some() {
        "withdrawals root"
    } else if header.difficulty.bit_len() > DIFFICULTY_BITS_MAX {
        "difficulty"
    } else if header.extra_data.len() > EXTRA_DATA_BYTES_MAX {
        "extra data"
    } else {
        return Ok(header);
    };
    Err(WireError::ImpossibleHeader { field })
}
