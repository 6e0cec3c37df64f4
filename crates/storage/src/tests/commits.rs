use primitives::{BlockNumHash, KECCAK256_EMPTY, U256};
use state::StateReader;

use super::fixture::*;
use crate::{Commit, Durability, HeadChange, StorageError, schema::Column};

#[test]
fn an_empty_database_has_no_head_and_takes_no_commit() {
    let (mut writer, view) = crate::open(&crate::StorageConfig::memory()).unwrap();
    assert_eq!(view.head(), None);
    assert!(!view.has_trie(view.base().hash));
    assert!(matches!(view.genesis_config_json(), Err(StorageError::Empty)));
    let block = child(&genesis(), 1);
    assert!(matches!(writer.commit(side(&[block])), Err(StorageError::Empty)));
}

#[test]
fn the_genesis_block_can_be_read_once_it_is_written() {
    let (writer, genesis) = memory();
    let view = writer.view();
    assert_eq!(view.head(), Some(genesis.id()));
    assert_eq!(view.base(), genesis.id());
    assert_eq!(view.block(genesis.id().hash).unwrap().as_ref(), Some(&genesis.record.block));
    assert_eq!(view.genesis_config_json().unwrap(), "{}");
    let state = view.state_at(genesis.id().hash).unwrap();
    assert_flat(&state, &genesis.state, &[]);
    assert_nodes(&state, &genesis.state);
}

#[test]
fn refuses_another_genesis_and_takes_the_same_again() {
    let (mut writer, genesis) = memory();
    let before = writer.view().head();
    assert_eq!(initialise(&mut writer, &genesis).head(), before);
    let other = child(&genesis, 9);
    let error = writer
        .initialise(&other.record.block, other.record.td, other.layer.changes.clone(), "{}")
        .unwrap_err();
    let (have, new) = (genesis.id().hash, other.id().hash);
    assert!(
        matches!(error, StorageError::WrongGenesis { have: h, new: n } if (h, n) == (have, new))
    );
    assert_eq!(
        error.to_string(),
        format!(
            "database contains incompatible genesis (have {have}, new {new}); \
             another chain needs another --datadir"
        )
    );
}

#[test]
fn everything_of_a_committed_block_can_be_read() {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 3, 1);
    let view = writer.commit(extension(&blocks, &[])).unwrap();
    assert_eq!(view.head(), Some(blocks[2].id()));
    for grown in &blocks {
        let id = grown.id();
        let block = &grown.record.block;
        assert_eq!(view.canonical_hash(id.number).unwrap(), Some(id.hash));
        assert_eq!(view.number_of(id.hash).unwrap(), Some(id.number));
        assert_eq!(view.header(id.hash).unwrap().as_ref(), Some(block.sealed_header()));
        assert_eq!(view.header_by_number(id.number).unwrap().as_ref(), Some(block.sealed_header()));
        assert_eq!(view.body(id.hash).unwrap().as_ref(), Some(block.body()));
        assert_eq!(view.block(id.hash).unwrap().as_ref(), Some(block));
        assert_eq!(view.td(id.hash).unwrap(), Some(grown.record.td));
        assert_eq!(view.receipts(id.hash).unwrap(), grown.record.receipts);
        assert_eq!(view.hashes_at(id.number).unwrap(), vec![id.hash]);
        assert!(view.is_executed(id.hash).unwrap());
        for (index, tx) in block.body().transactions.iter().enumerate() {
            assert_eq!(view.transaction_place(*tx.tx_hash()).unwrap(), Some((id, index)));
        }
        for (hash, code) in &grown.layer.changes.codes {
            assert_eq!(view.code(*hash).unwrap().as_ref(), Some(code));
        }
        for (hash, preimage) in &grown.layer.changes.preimages {
            assert_eq!(view.preimage(*hash).unwrap().as_ref(), Some(preimage));
        }
        let state = view.state_at(id.hash).unwrap();
        assert_flat(&state, &grown.state, &[&genesis.state]);
        assert_nodes(&state, &grown.state);
    }
}

#[test]
fn what_was_never_committed_is_not_there() {
    let (writer, genesis) = memory();
    let view = writer.view();
    let unknown = child(&genesis, 1).id().hash;
    assert_eq!(view.canonical_hash(1).unwrap(), None);
    assert_eq!(view.number_of(unknown).unwrap(), None);
    assert_eq!(view.header(unknown).unwrap(), None);
    assert_eq!(view.header_by_number(1).unwrap(), None);
    assert_eq!(view.body(unknown).unwrap(), None);
    assert_eq!(view.block(unknown).unwrap(), None);
    assert_eq!(view.receipts(unknown).unwrap(), None);
    assert_eq!(view.td(unknown).unwrap(), None);
    assert_eq!(view.transaction_place(unknown).unwrap(), None);
    assert!(view.hashes_at(1).unwrap().is_empty());
    assert_eq!(view.code(KECCAK256_EMPTY).unwrap(), None);
    assert!(!view.is_executed(unknown).unwrap());
    assert!(!view.has_trie(unknown));
    assert!(
        matches!(view.state_at(unknown), Err(StorageError::UnknownBlock(hash)) if hash == unknown)
    );
}

#[test]
fn a_side_block_is_stored_beside_the_canonical_one() {
    let (mut writer, genesis) = memory();
    let (one, other) = (child(&genesis, 1), child(&genesis, 2));
    writer.commit(extension(std::slice::from_ref(&one), &[])).unwrap();
    let view = writer.commit(side(std::slice::from_ref(&other))).unwrap();
    assert_eq!(view.head(), Some(one.id()));
    assert_eq!(view.canonical_hash(1).unwrap(), Some(one.id().hash));
    let mut both = vec![one.id().hash, other.id().hash];
    both.sort();
    assert_eq!(view.hashes_at(1).unwrap(), both);
    let only_there = &other.record.block.body().transactions[1];
    assert_eq!(view.transaction_place(*only_there.tx_hash()).unwrap(), None);
    let state = view.state_at(other.id().hash).unwrap();
    assert_flat(&state, &other.state, &[&one.state]);
    assert_nodes(&state, &other.state);
}

#[test]
fn an_unexecuted_block_has_no_state_until_it_is_executed() {
    let (mut writer, genesis) = memory();
    let block = child(&genesis, 1);
    let mut commit = side(std::slice::from_ref(&block));
    commit.layers.clear();
    commit.blocks[0].receipts = None;
    let view = writer.commit(commit).unwrap();
    let hash = block.id().hash;
    assert!(!view.is_executed(hash).unwrap());
    assert_eq!(view.receipts(hash).unwrap(), None);
    assert_eq!(view.block(hash).unwrap().as_ref(), Some(&block.record.block));
    let body = alloy_rlp::encode(block.record.block.body()).len();
    assert_eq!(view.unexecuted_bytes().unwrap(), u64::try_from(body).unwrap());
    assert!(matches!(view.state_at(hash), Err(StorageError::NoState(h)) if h == hash));

    let view = writer.commit(extension(std::slice::from_ref(&block), &[])).unwrap();
    assert!(view.is_executed(hash).unwrap());
    assert_eq!(view.unexecuted_bytes().unwrap(), 0);
    assert_eq!(view.receipts(hash).unwrap(), block.record.receipts);
    assert_flat(&view.state_at(hash).unwrap(), &block.state, &[]);
}

#[test]
fn a_view_does_not_see_what_is_committed_later() {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 300, 1);
    let mut views = vec![writer.view().clone()];
    for block in &blocks {
        views.push(writer.commit(extension(std::slice::from_ref(block), &[])).unwrap());
    }
    for (number, view) in (0_u64..).zip(&views) {
        let grown =
            number.checked_sub(1).map_or(&genesis, |n| &blocks[usize::try_from(n).unwrap()]);
        assert_eq!(view.head(), Some(grown.id()));
        assert_eq!(view.base().number, number.saturating_sub(128));
        assert_eq!(view.canonical_hash(number + 1).unwrap(), None);
        let state = view.state_at(grown.id().hash).unwrap();
        assert_flat(&state, &grown.state, &[&blocks[299].state]);
        assert_nodes(&state, &grown.state);
    }
}

#[test]
fn the_head_can_go_back_without_a_successor() {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 5, 1);
    writer.commit(extension(&blocks, &[])).unwrap();
    let retired: Vec<BlockNumHash> = blocks[2..].iter().rev().map(Grown::id).collect();
    let head = Some(HeadChange { retired, adopted: Vec::new() });
    let view = writer.commit(Commit { head, ..side(&[]) }).unwrap();
    assert_eq!(view.head(), Some(blocks[1].id()));
    assert_eq!(view.canonical_hash(3).unwrap(), None);
    assert_flat(&view.state_at(blocks[4].id().hash).unwrap(), &blocks[4].state, &[]);
}

#[test]
fn configuration_is_replaced() {
    let (mut writer, _) = memory();
    writer.set_config("{\"chainId\":5}").unwrap();
    assert_eq!(writer.view().genesis_config_json().unwrap(), "{\"chainId\":5}");
}

#[test]
#[should_panic(expected = "the base has the state root of its block")]
fn a_state_that_does_not_have_its_root_never_reaches_the_disk() {
    let (mut writer, genesis) = memory();
    let mut blocks = line(&genesis, 200, 1);
    let mut layer = (*blocks[10].layer).clone();
    layer.root.0[0] ^= 1;
    blocks[10].layer = layer.into();
    for block in &blocks {
        let mut commit = extension(std::slice::from_ref(block), &[]);
        commit.durability = Durability::Sync;
        writer.commit(commit).unwrap();
    }
}

#[test]
#[should_panic(expected = "lies on its parent's")]
fn a_layer_without_its_parent_is_a_broken_invariant() {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 2, 1);
    let _ = writer.commit(side(&blocks[1..]));
}

#[test]
#[should_panic(expected = "without a gap")]
fn a_gap_in_the_canonical_chain_is_a_broken_invariant() {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 2, 1);
    let mut commit = extension(&blocks, &[]);
    commit.head = Some(HeadChange { retired: Vec::new(), adopted: vec![blocks[1].id()] });
    let _ = writer.commit(commit);
}

#[test]
fn zero_is_stored_as_nothing() {
    let (writer, genesis) = memory();
    let slots = dump(writer.view().pinned(), Column::Slots);
    assert_eq!(slots.len(), genesis.state.slots().len());
    let state = writer.view().state_at(genesis.id().hash).unwrap();
    let (owner, slot) = genesis.state.slots().keys().next().unwrap();
    assert_eq!(state.slot(*owner, *slot).unwrap(), U256::from(7));
    assert_eq!(state.slot(*owner, primitives::B256::ZERO).unwrap(), U256::ZERO);
}
