use primitives::{
    Address, BlockNumHash, Header, Receipt, SignerRecoverable, TotalDifficulty, logs_bloom,
    ommers_hash, receipts_root, transactions_root,
};

use super::Check;
use crate::{
    StorageError,
    body::Record,
    codec::{bad, decode},
    schema::{BLOCK_KEY_BYTES, Column, block_key, parse_block_key},
};

/// Every block by itself, and against its parent.
pub(super) fn blocks(check: &mut Check<'_>) -> Result<(), StorageError> {
    let view = check.view;
    let mut cursor = view.pinned().cursor(Column::Headers, &[], None);
    while let Some((key, value)) = cursor.item()? {
        let id = parse_block_key(key).ok_or_else(|| bad(Column::Headers, key, "has a bad key"))?;
        let header: Header = decode(Column::Headers, key, value)?;
        let name = format!("block {} {}", id.number, id.hash);
        check.require(header.hash_slow() == id.hash, || format!("{name}: header has another hash"));
        check.require(header.number == id.number, || format!("{name}: header has another number"));
        let indexed = view.number_of(id.hash)?;
        check.require(indexed == Some(id.number), || format!("{name}: index says {indexed:?}"));
        body(check, &name, id, &header)?;
        receipts(check, &name, id, &header)?;
        td(check, &name, id, &header)?;
        executed(check, &name, id)?;
        check.report.counts.blocks += 1;
        check.step();
        cursor.advance();
    }
    Ok(())
}

fn body(
    check: &mut Check<'_>,
    name: &str,
    id: BlockNumHash,
    header: &Header,
) -> Result<(), StorageError> {
    let key = block_key(id);
    let Some(value) = check.view.pinned().record(Column::Bodies, &key)? else {
        check.problem(format!("{name}: body is missing"));
        return Ok(());
    };
    let record = Record::parse(&key, &value)?;
    let body = record.body()?;
    let root = transactions_root(&body.transactions);
    check.require(root == header.transactions_root, || {
        format!("{name}: transactions have root {root}")
    });
    let hash = ommers_hash(&body.ommers);
    check.require(hash == header.ommers_hash, || format!("{name}: ommers have hash {hash}"));
    let senders = record.stored_senders().iter().map(Address::from);
    for (tx, sender) in body.transactions.iter().zip(senders) {
        let signer = tx.recover_signer_unchecked();
        check.require(signer.is_ok_and(|signer| signer == sender), || {
            format!("{name}: transaction {} is not of {sender}", tx.tx_hash())
        });
    }
    Ok(())
}

fn receipts(
    check: &mut Check<'_>,
    name: &str,
    id: BlockNumHash,
    header: &Header,
) -> Result<(), StorageError> {
    let key = block_key(id);
    let Some(value) = check.view.pinned().record(Column::Receipts, &key)? else {
        let is_needed = check.view.is_executed(id.hash)?;
        check.require(!is_needed, || format!("{name}: executed, and without receipts"));
        return Ok(());
    };
    let receipts: Vec<Receipt> = decode(Column::Receipts, &key, &value)?;
    let root = receipts_root(&receipts);
    check.require(root == header.receipts_root, || format!("{name}: receipts have root {root}"));
    let bloom = logs_bloom(receipts.iter().flat_map(|receipt| &receipt.logs));
    check.require(bloom == header.logs_bloom, || format!("{name}: receipts have another bloom"));
    let gas_used = receipts.last().map_or(0, |receipt| receipt.cumulative_gas_used);
    check.require(gas_used == header.gas_used, || format!("{name}: receipts use {gas_used} gas"));
    check.report.counts.receipts += 1;
    Ok(())
}

fn td(
    check: &mut Check<'_>,
    name: &str,
    id: BlockNumHash,
    header: &Header,
) -> Result<(), StorageError> {
    let have = check.view.td(id.hash)?;
    let expected = if id.number == 0 {
        Some(TotalDifficulty::new(header.difficulty))
    } else {
        let parent = BlockNumHash { number: id.number - 1, hash: header.parent_hash };
        let is_here = check.view.pinned().record(Column::Headers, &block_key(parent))?.is_some();
        check.require(is_here, || format!("{name}: parent {} is missing", parent.hash));
        check
            .view
            .td(parent.hash)?
            .and_then(|td| td.get().checked_add(header.difficulty))
            .map(TotalDifficulty::new)
    };
    check.require(have.is_some() && have == expected, || {
        format!("{name}: total difficulty is {have:?}, expected {expected:?}")
    });
    Ok(())
}

/// A block counts as executed exactly if its state can be read.
fn executed(check: &mut Check<'_>, name: &str, id: BlockNumHash) -> Result<(), StorageError> {
    let view = check.view;
    let is_past =
        id.number <= view.base().number && view.canonical_hash(id.number)? == Some(id.hash);
    let has_state = is_past || view.layers().contains(id.hash);
    let is_executed = view.is_executed(id.hash)?;
    check.require(has_state == is_executed, || {
        format!("{name}: executed: {is_executed}, has a state: {has_state}")
    });
    Ok(())
}

/// No column speaks of a block that is not there.
pub(super) fn indexes(check: &mut Check<'_>) -> Result<(), StorageError> {
    let view = check.view;
    for column in [Column::Bodies, Column::Receipts, Column::Td, Column::Unexecuted] {
        let mut cursor = view.pinned().cursor(column, &[], None);
        while let Some((key, _)) = cursor.item()? {
            let is_block = key.len() == BLOCK_KEY_BYTES
                && view.pinned().record(Column::Headers, key)?.is_some();
            check.require(is_block, || bad(column, key, "belongs to no block").to_string());
            check.step();
            cursor.advance();
        }
    }
    let mut cursor = view.pinned().cursor(Column::Numbers, &[], None);
    let mut numbers = 0_u64;
    while cursor.item()?.is_some() {
        numbers += 1;
        cursor.advance();
    }
    let blocks = check.report.counts.blocks;
    check.require(numbers == blocks, || format!("{blocks} blocks, {numbers} of them by hash"));
    Ok(())
}

/// The canonical chain has no gap, and the index knows exactly its transactions.
pub(super) fn canonical(check: &mut Check<'_>) -> Result<(), StorageError> {
    let view = check.view;
    let head = view.head().ok_or(StorageError::Empty)?;
    let mut parent = None;
    let mut indexed_here = 0_u64;
    for number in 0..=head.number {
        let Some(header) = view.header_by_number(number)? else {
            check.problem(format!("canonical block {number} is missing"));
            parent = None;
            continue;
        };
        check.require(parent.is_none_or(|hash| hash == header.parent_hash), || {
            format!("canonical block {number} is no child of the one below it")
        });
        let id = header.num_hash();
        for (index, tx) in
            view.body(id.hash)?.map(|body| body.transactions).unwrap_or_default().iter().enumerate()
        {
            let place = view.transaction_place(*tx.tx_hash())?;
            if place == Some((id, index)) {
                indexed_here += 1;
            } else {
                elsewhere(check, *tx.tx_hash(), id, place)?;
            }
            check.report.counts.transactions += 1;
        }
        parent = Some(id.hash);
        check.report.counts.canonical += 1;
        check.step();
    }
    let top = view.canonical_hash(head.number)?;
    check.require(top == Some(head.hash), || format!("the head is {}, not {top:?}", head.hash));
    let beyond = view.pinned().cursor(Column::Canonical, &(head.number + 1).to_be_bytes(), None);
    let is_top = beyond.item()?.is_none();
    check.require(is_top, || "there are canonical blocks above the head".to_owned());
    let mut cursor = view.pinned().cursor(Column::TxIndex, &[], None);
    let mut indexed = 0_u64;
    while cursor.item()?.is_some() {
        indexed += 1;
        cursor.advance();
    }
    check.require(indexed == indexed_here, || {
        format!("{indexed} transactions are indexed, {indexed_here} of them rightly")
    });
    Ok(())
}

/// A transaction can be in the chain twice if its sender was destroyed in between; then the index
/// must point to its other place.
fn elsewhere(
    check: &mut Check<'_>,
    tx_hash: primitives::B256,
    id: BlockNumHash,
    place: Option<(BlockNumHash, usize)>,
) -> Result<(), StorageError> {
    let body = match place {
        Some((other, _)) => check.view.body(other.hash)?,
        None => None,
    };
    let is_there = body.zip(place).is_some_and(|(body, (_, index))| {
        body.transactions.get(index).is_some_and(|tx| *tx.tx_hash() == tx_hash)
    });
    check.require(is_there, || {
        format!("transaction {tx_hash} of block {} is indexed at {place:?}", id.number)
    });
    Ok(())
}
