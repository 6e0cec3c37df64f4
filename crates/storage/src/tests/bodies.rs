use primitives::{B256, BlockNumHash, Header, SealedHeader};

use super::fixture::*;
use crate::{
    Commit, StorageConfig, StorageError, View, Writer,
    body::Record,
    open,
    schema::{Column, SCHEMA_VERSION, block_key, meta},
};

/// What is said of the block's transactions one by one is what the block says.
fn assert_transactions(view: &View, block: &Grown) {
    let (id, record) = (block.id(), &block.record);
    let transactions = &record.block.body().transactions;
    assert_eq!(view.block(id.hash).unwrap().as_ref(), Some(&record.block));
    let header = view.header(id.hash).unwrap().unwrap();
    let recovered = view.recovered_block(header).unwrap().unwrap();
    assert_eq!(recovered.sealed_block(), &record.block);
    assert_eq!(recovered.senders(), record.senders);
    for (index, tx) in transactions.iter().enumerate() {
        let sender = record.senders[index];
        assert_eq!(view.transaction(id, index).unwrap(), Some((tx.clone(), sender)));
    }
    for index in [transactions.len(), transactions.len() + 1, usize::MAX] {
        assert_eq!(view.transaction(id, index).unwrap(), None);
    }
    let places: Vec<usize> = (0..transactions.len()).collect();
    let hashes: Vec<B256> = transactions.iter().map(|tx| *tx.tx_hash()).collect();
    assert_eq!(view.transaction_hashes(id, &places).unwrap(), hashes);
    assert!(view.transaction_hashes(id, &[transactions.len()]).unwrap().is_empty());
    if let Some(last) = hashes.last() {
        assert_eq!(view.transaction_hashes(id, &[hashes.len() - 1, 9]).unwrap(), [*last]);
    }
}

#[test]
fn a_body_has_its_senders_on_the_chain_and_beside_it() {
    let (mut writer, genesis) = memory();
    let trunk = line(&genesis, 200, 1);
    writer.commit(extension(&trunk, &[])).unwrap();
    let side_blocks = line(&trunk[20], 3, 2);
    let unexecuted = side_blocks.iter().map(|block| {
        let mut record = block.record.clone();
        record.receipts = None;
        record
    });
    let commit = Commit { blocks: unexecuted.collect(), ..side(&[]) };
    let view = writer.commit(commit).unwrap();
    for block in trunk.iter().chain(&side_blocks).chain([&genesis]) {
        assert_transactions(&view, block);
        assert_eq!(stored_senders(&view, block), block.record.senders.len());
    }
    let unknown = BlockNumHash { number: 3, hash: B256::ZERO };
    let unknown_header = SealedHeader::new(Header { number: 3, ..Header::default() }, B256::ZERO);
    assert_eq!(view.recovered_block(unknown_header).unwrap(), None);
    assert_eq!(view.transaction(unknown, 0).unwrap(), None);
    assert!(view.transaction_hashes(unknown, &[0]).unwrap().is_empty());
}

/// How many senders are on the disk for a block.
fn stored_senders(view: &View, block: &Grown) -> usize {
    let key = block_key(block.id());
    let value = view.pinned().record(Column::Bodies, &key).unwrap().unwrap();
    Record::parse(&key, &value).unwrap().stored_senders().len()
}

fn put(writer: &Writer, column: Column, key: &[u8], value: &[u8]) {
    writer.db.put_cf(writer.db.cf_handle(column.name()).unwrap(), key, value).unwrap();
}

fn schema(view: &View) -> Vec<u8> {
    view.pinned().record(Column::Meta, meta::SCHEMA).unwrap().unwrap().to_vec()
}

#[test]
fn a_database_without_senders_is_read_and_gets_them_from_its_next_block_on() {
    let directory = tempfile::tempdir().unwrap();
    let config = StorageConfig::at(directory.path().join("hematite"));
    let (mut writer, _) = open(&config).unwrap();
    let genesis = genesis();
    initialise(&mut writer, &genesis);
    let blocks = line(&genesis, 5, 1);
    writer.commit(extension(&blocks, &[])).unwrap();
    // As version 1 left it.
    for (key, value) in dump(writer.view().pinned(), Column::Bodies) {
        put(&writer, Column::Bodies, &key, Record::parse(&key, &value).unwrap().rlp);
    }
    put(&writer, Column::Meta, meta::SCHEMA, &1_u64.to_be_bytes());
    drop(writer);

    let (mut writer, view) = open(&config).unwrap();
    assert_eq!(schema(&view), 1_u64.to_be_bytes(), "reading changes nothing");
    for block in &blocks {
        assert_transactions(&view, block);
        assert_eq!(stored_senders(&view, block), 0);
    }
    assert!(crate::verify(&view, &mut |_| {}).unwrap().is_clean());
    let next = child(&blocks[4], 1);
    let branch = line(&blocks[2], 4, 7);
    writer.commit(extension(std::slice::from_ref(&next), &[])).unwrap();
    let retired = [blocks[3].clone(), blocks[4].clone(), next.clone()];
    writer.commit(extension(&branch, &retired)).unwrap();
    drop((writer, view));

    let (_writer, view) = open(&config).unwrap();
    assert_eq!(schema(&view), SCHEMA_VERSION.to_be_bytes());
    assert!(crate::verify(&view, &mut |_| {}).unwrap().is_clean());
    for block in &blocks {
        assert_transactions(&view, block);
        assert_eq!(stored_senders(&view, block), 0);
    }
    for block in branch.iter().chain([&next]) {
        assert_transactions(&view, block);
        assert_eq!(stored_senders(&view, block), block.record.senders.len());
    }
}

#[test]
fn a_body_without_one_of_its_senders_is_corrupt() {
    let (mut writer, genesis) = memory();
    let block = child(&genesis, 1);
    let view = writer.commit(extension(std::slice::from_ref(&block), &[])).unwrap();
    let key = block_key(block.id());
    let record = view.pinned().record(Column::Bodies, &key).unwrap().unwrap().to_vec();
    for damaged in [&record[..record.len() - 20], &record[..record.len() - 1]] {
        put(&writer, Column::Bodies, &key, damaged);
        let view = writer.accept_rollback().map(|()| writer.view().clone()).unwrap();
        let is_corrupt = |error: StorageError| matches!(error, StorageError::Corrupt { .. });
        let header = view.header(block.id().hash).unwrap().unwrap();
        assert!(view.recovered_block(header).is_err_and(is_corrupt));
        assert!(view.body(block.id().hash).is_err_and(is_corrupt));
    }
}

#[test]
fn headers_of_a_range_are_the_canonical_ones() {
    let (mut writer, genesis) = memory();
    let trunk = line(&genesis, 40, 1);
    writer.commit(extension(&trunk, &[])).unwrap();
    for seed in 2..5 {
        writer.commit(side(&line(&trunk[usize::try_from(seed).unwrap()], 20, seed))).unwrap();
    }
    let branch = line(&trunk[29], 12, 9);
    let view = writer.commit(extension(&branch, &trunk[30..])).unwrap();
    for (from, to) in
        [(0, 42), (0, 0), (3, 25), (29, 33), (42, 42), (40, u64::MAX), (43, 50), (5, 4)]
    {
        let have: Vec<_> = view.headers(from..=to).map(Result::unwrap).collect();
        let numbers = from..=to.min(50);
        let want = numbers.filter_map(|number| view.header_by_number(number).unwrap());
        assert_eq!(have, want.collect::<Vec<_>>(), "{from} to {to}");
    }
}
