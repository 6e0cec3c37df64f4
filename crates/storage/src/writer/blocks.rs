use std::borrow::Cow;

use primitives::{BlockBody, BlockNumHash};

use super::{BlockRecord, HeadChange};
use crate::{
    StorageError, View,
    body::{self, Record},
    codec::{bad, encode_u256},
    database::Batch,
    schema::{Column, block_key, place_value},
};

/// Writes a block, or only what execution adds to one that is already stored.
pub(super) fn write_block(
    batch: &mut Batch<'_>,
    view: &View,
    record: &BlockRecord,
) -> Result<(), StorageError> {
    let id = record.block.num_hash();
    let key = block_key(id);
    let is_known = view.number_of(id.hash)?.is_some();
    if !is_known {
        let body = body::encode(record.block.body(), &record.senders);
        batch.put(Column::Headers, &key, &alloy_rlp::encode(record.block.header()));
        batch.put(Column::Bodies, &key, &body);
        batch.put(Column::Td, &key, &encode_u256(record.td.get()));
        batch.put(Column::Numbers, id.hash.as_slice(), &id.number.to_be_bytes());
        if record.receipts.is_none() {
            let rlp = alloy_rlp::encode(record.block.body());
            batch.put(Column::Unexecuted, &key, &size(&rlp));
        }
    }
    if let Some(receipts) = &record.receipts {
        batch.put(Column::Receipts, &key, &alloy_rlp::encode(receipts));
        if is_known {
            batch.delete(Column::Unexecuted, &key);
        }
    }
    Ok(())
}

/// Notes that a block's state is not here any more. Its receipts stay: they do not change.
pub(super) fn mark_unexecuted(
    batch: &mut Batch<'_>,
    view: &View,
    id: BlockNumHash,
    records: &[BlockRecord],
) -> Result<(), StorageError> {
    let key = block_key(id);
    let size = match view.pinned().record(Column::Bodies, &key)? {
        Some(body) => size(Record::parse(&key, &body)?.rlp),
        None => size(&alloy_rlp::encode(&*body_of(view, id, records)?)),
    };
    batch.put(Column::Unexecuted, &key, &size);
    Ok(())
}

/// Moves the canonical chain and the index of its transactions.
pub(super) fn write_head_change(
    batch: &mut Batch<'_>,
    view: &View,
    change: &HeadChange,
    records: &[BlockRecord],
) -> Result<(), StorageError> {
    // What is both retired and adopted is first deleted, then put: the later write counts.
    for id in &change.retired {
        batch.delete(Column::Canonical, &id.number.to_be_bytes());
        for tx in &body_of(view, *id, records)?.transactions {
            batch.delete(Column::TxIndex, tx.tx_hash().as_slice());
        }
    }
    for id in &change.adopted {
        batch.put(Column::Canonical, &id.number.to_be_bytes(), id.hash.as_slice());
        for (index, tx) in (0..).zip(&body_of(view, *id, records)?.transactions) {
            batch.put(Column::TxIndex, tx.tx_hash().as_slice(), &place_value(id.number, index));
        }
    }
    Ok(())
}

/// A block's body, from the commit itself or from what is stored.
fn body_of<'a>(
    view: &View,
    id: BlockNumHash,
    records: &'a [BlockRecord],
) -> Result<Cow<'a, BlockBody>, StorageError> {
    let number_of = |record: &BlockRecord| record.block.header().number;
    let first = records.first().map_or(0, number_of);
    // Mostly the records are one line of blocks, and the first guess is right.
    let guess = usize::try_from(id.number.saturating_sub(first)).ok();
    let guess = guess.and_then(|place| records.get(place));
    let is_it = |record: &&BlockRecord| record.block.hash_ref() == &id.hash;
    if let Some(record) = guess.filter(is_it).or_else(|| records.iter().find(is_it)) {
        return Ok(Cow::Borrowed(record.block.body()));
    }
    let body = view.body(id.hash)?;
    body.map(Cow::Owned).ok_or_else(|| bad(Column::Bodies, &block_key(id), "is missing"))
}

fn size(body: &[u8]) -> [u8; 8] {
    u64::try_from(body.len()).expect("a block in memory has a length of 64 bits").to_be_bytes()
}
