use proptest::prelude::*;
use state::{Nibbles, ReadError, StateReader};

use super::fixture::*;
use crate::{LAYERS_MAX, schema::Column};

/// Commits a line of blocks in groups, and compares every state with the model.
fn check(seed: u64, groups: impl IntoIterator<Item = usize>) {
    let (mut writer, genesis) = memory();
    let mut blocks = vec![genesis];
    for size in groups {
        let new = line(&blocks[blocks.len() - 1], size, seed);
        writer.commit(extension(&new, &[])).unwrap();
        blocks.extend(new);
    }
    assert_sound(&writer);
    let view = writer.view();
    let head = view.head().unwrap().number;
    assert_eq!(view.base().number, head.saturating_sub(LAYERS_MAX));
    let layers = usize::try_from(head - view.base().number).unwrap();
    assert_eq!(dump(view.pinned(), Column::Layers).len(), layers);
    let newest = blocks[blocks.len() - 1].state.clone();
    for (number, block) in (0..).zip(&blocks) {
        let state = view.state_at(block.id().hash).unwrap();
        let middle = &blocks[blocks.len() / 2].state;
        assert_flat(&state, &block.state, &[&newest, middle]);
        if number % 13 == 0 {
            assert_walk(&state, &block.state);
        }
        if number >= view.base().number {
            assert_nodes(&state, &block.state);
        } else {
            let node = state.node(None, &Nibbles::new());
            assert!(matches!(node, Err(ReadError::NodesPruned { kept: LAYERS_MAX })));
        }
    }
}

#[test]
fn every_past_state_can_be_read_after_block_by_block() {
    check(1, std::iter::repeat_n(1, 300));
}

#[test]
fn every_past_state_can_be_read_after_one_large_commit() {
    check(2, [300]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_past_state_can_be_read_however_blocks_are_grouped(
        seed: u64, groups in proptest::collection::vec(1_usize..140, 1..6),
    ) {
        check(seed, groups);
    }
}

#[test]
fn the_difference_to_a_past_state_is_what_changed_since() {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 200, 3);
    let view = writer.commit(extension(&blocks, &[])).unwrap();
    let base = view.base().number;
    assert_eq!(base, 72);
    let at_base = &blocks[71].state;
    for to in 0..=base {
        let past = match to {
            0 => &genesis.state,
            to => &blocks[usize::try_from(to - 1).unwrap()].state,
        };
        let diff = view.history_diff(base, to).unwrap();
        for (hash, account) in &diff.accounts {
            assert_eq!(*account, past.account(*hash).unwrap());
        }
        for (owner, slots) in &diff.slots {
            for (slot, value) in slots {
                assert_eq!(*value, past.slot(*owner, *slot).unwrap());
            }
        }
        let mut back = at_base.clone();
        back.apply(&diff);
        assert_eq!(back.accounts(), past.accounts());
        assert_eq!(back.slots(), past.slots());
    }
    assert!(view.history_diff(base, base).unwrap().is_empty());
}

#[test]
fn a_block_by_block_import_and_a_large_one_leave_the_same_disk() {
    let (mut slow, genesis) = memory();
    let (mut fast, _) = memory();
    let blocks = line(&genesis, 290, 4);
    for block in &blocks {
        slow.commit(extension(std::slice::from_ref(block), &[])).unwrap();
    }
    fast.commit(extension(&blocks, &[])).unwrap();
    for column in Column::ALL.into_iter().filter(|column| *column != Column::Meta) {
        let (slow, fast) = (dump(slow.view().pinned(), column), dump(fast.view().pinned(), column));
        assert!(slow == fast, "{column:?}: {} and {} records", slow.len(), fast.len());
    }
}

#[test]
fn recent_roots_are_those_of_the_head_down_to_the_base_and_their_states_are_whole() {
    let (mut writer, genesis) = memory();
    let view = writer.view();
    assert_eq!(view.recent_roots().unwrap(), [(genesis.layer.root, genesis.id())]);
    let mut blocks = vec![genesis];
    for seed in [5, 6] {
        let new = line(&blocks[blocks.len() - 1], 90, seed);
        writer.commit(extension(&new, &[])).unwrap();
        blocks.extend(new);
    }
    let beside = line(&blocks[170], 3, 9);
    let view = writer.commit(side(&beside)).unwrap();
    let roots = view.recent_roots().unwrap();
    let canonical = blocks.iter().rev().map(|block| (block.layer.root, block.id()));
    assert_eq!(roots, canonical.take(roots.len()).collect::<Vec<_>>());
    assert_eq!(roots.last().unwrap().1, view.base());
    assert_eq!(u64::try_from(roots.len()).unwrap(), LAYERS_MAX + 1);
    // The order of questions does not matter, whatever is kept between them.
    for (_, id) in roots.iter().step_by(40).chain(&roots[..3]).chain(&roots[..3]) {
        let block = blocks.iter().find(|block| block.id() == *id).unwrap();
        assert_walk(&view.state_at(id.hash).unwrap(), &block.state);
    }
}
