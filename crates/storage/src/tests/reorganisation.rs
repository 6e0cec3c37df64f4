use proptest::prelude::*;

use super::fixture::*;
use crate::{
    BlockRecord, Commit, HeadChange, LAYERS_MAX, Rewind, StorageError, Writer, schema::Column,
};

/// Columns that depend on the canonical chain alone, not on which side blocks were seen.
const CANONICAL_COLUMNS: [Column; 8] = [
    Column::Canonical,
    Column::TxIndex,
    Column::Accounts,
    Column::Slots,
    Column::AccountNodes,
    Column::SlotNodes,
    Column::History,
    Column::Changes,
];

fn assert_same_canonical(have: &Writer, want: &Writer) {
    assert_sound(have);
    assert_eq!(have.view().head(), want.view().head());
    assert_eq!(have.view().base(), want.view().base());
    for column in CANONICAL_COLUMNS {
        let (have, want) = (dump(have.view().pinned(), column), dump(want.view().pinned(), column));
        assert!(have == want, "{column:?}: {} records instead of {}", have.len(), want.len());
    }
}

fn rewind(writer: &Writer, to: &Grown) -> Rewind {
    let (root, changes) = nodes_to(writer.view(), to.id().number);
    assert_eq!(root, to.layer.root);
    Rewind { to: to.id(), changes }
}

#[test]
fn a_reorganisation_above_the_base_moves_pointers() {
    let (mut writer, genesis) = memory();
    let trunk = line(&genesis, 140, 1);
    writer.commit(extension(&trunk, &[])).unwrap();
    let fork = 60;
    let branch = line(&trunk[fork], 90, 2);
    writer.commit(side(&branch)).unwrap();
    let before = dump(writer.view().pinned(), Column::Accounts);
    let retired = trunk[fork + 1..].iter().rev().map(Grown::id).collect();
    let adopted = branch.iter().map(Grown::id).collect();
    let head = Some(HeadChange { retired, adopted });
    let view = writer.commit(Commit { head, ..side(&[]) }).unwrap();
    assert_eq!(view.head(), Some(branch[89].id()));
    assert_ne!(dump(view.pinned(), Column::Accounts), before, "the base followed the head");
    assert_eq!(view.base().number, 151 - LAYERS_MAX);
    for block in &branch {
        assert_eq!(view.canonical_hash(block.id().number).unwrap(), Some(block.id().hash));
        assert_flat(&view.state_at(block.id().hash).unwrap(), &block.state, &[&trunk[139].state]);
    }
    // The old branch is still executed, and its own transactions are no more in the index.
    let old = &trunk[139];
    assert_flat(&view.state_at(old.id().hash).unwrap(), &old.state, &[&branch[89].state]);
    let [shared, own] = &old.record.block.body().transactions[..] else { panic!("two each") };
    let place = view.transaction_place(*shared.tx_hash()).unwrap().unwrap();
    assert_eq!(place.0, branch[140 - 62].id());
    assert_eq!(view.transaction_place(*own.tx_hash()).unwrap(), None);

    let (mut straight, _) = memory();
    straight.commit(extension(&trunk[..=fork], &[])).unwrap();
    straight.commit(side(&trunk[fork + 1..])).unwrap();
    straight.commit(extension(&branch, &[])).unwrap();
    assert_same_canonical(&writer, &straight);
}

#[test]
fn side_blocks_that_the_base_leaves_behind_are_forgotten() {
    let (mut writer, genesis) = memory();
    let side_blocks = line(&genesis, 3, 2);
    let trunk = line(&genesis, 130, 1);
    writer.commit(side(&side_blocks)).unwrap();
    writer.commit(extension(&trunk[..128], &[])).unwrap();
    let hash = side_blocks[2].id().hash;
    assert_flat(&writer.view().state_at(hash).unwrap(), &side_blocks[2].state, &[]);

    let view = writer.commit(extension(&trunk[128..129], &[])).unwrap();
    assert_eq!(view.base(), trunk[0].id());
    for block in &side_blocks {
        let hash = block.id().hash;
        assert!(matches!(view.state_at(hash), Err(StorageError::NoState(_))));
        assert!(!view.is_executed(hash).unwrap());
        assert_eq!(view.block(hash).unwrap().as_ref(), Some(&block.record.block));
    }
    assert_eq!(dump(view.pinned(), Column::Layers).len(), 128);
    assert_eq!(dump(view.pinned(), Column::Unexecuted).len(), 3);
}

#[test]
fn a_rewind_across_the_base_leaves_what_would_be_there_without_the_other_branch() {
    for (fork, length) in [(0, 260), (1, 280), (50, 230), (99, 150), (120, 131)] {
        let (mut writer, genesis) = memory();
        let mut trunk = vec![genesis.clone()];
        trunk.extend(line(&genesis, 250, 1));
        for group in trunk[1..].chunks(40) {
            writer.commit(extension(group, &[])).unwrap();
        }
        let side_block = child(&trunk[200], 77);
        writer.commit(side(std::slice::from_ref(&side_block))).unwrap();
        assert!(writer.view().base().number > u64::try_from(fork).unwrap());
        let branch = line(&trunk[fork], length, 2);
        let rewind = Some(rewind(&writer, &trunk[fork]));
        let commit = Commit { rewind, ..extension(&branch, &trunk[fork + 1..]) };
        let view = writer.commit(commit).unwrap();
        for block in &branch {
            assert_flat(
                &view.state_at(block.id().hash).unwrap(),
                &block.state,
                &[&trunk[250].state],
            );
        }
        for block in trunk[fork + 1..].iter().chain([&side_block]) {
            assert!(!view.is_executed(block.id().hash).unwrap());
            assert_eq!(view.receipts(block.id().hash).unwrap(), block.record.receipts);
        }

        let (mut straight, _) = memory();
        straight.commit(extension(&trunk[1..=fork], &[])).unwrap();
        straight.commit(extension(&branch, &[])).unwrap();
        if writer.view().base() != straight.view().base() {
            // A branch shorter than the window: the base stays at the fork.
            assert_eq!(writer.view().base(), trunk[fork].id());
            assert_sound(&writer);
            continue;
        }
        assert_same_canonical(&writer, &straight);
    }
}

#[test]
fn the_old_branch_can_win_again_after_a_rewind() {
    let (mut writer, genesis) = memory();
    let mut trunk = vec![genesis.clone()];
    trunk.extend(line(&genesis, 400, 1));
    writer.commit(extension(&trunk[1..251], &[])).unwrap();
    let branch = line(&trunk[40], 260, 2);
    let there = Some(rewind(&writer, &trunk[40]));
    writer.commit(Commit { rewind: there, ..extension(&branch, &trunk[41..251]) }).unwrap();
    assert!(writer.view().base().number > 40);
    let back = Some(rewind(&writer, &trunk[40]));
    writer.commit(Commit { rewind: back, ..extension(&trunk[41..], &branch) }).unwrap();

    let (mut straight, _) = memory();
    straight.commit(extension(&trunk[1..], &[])).unwrap();
    assert_same_canonical(&writer, &straight);
    for block in &branch {
        assert!(!writer.view().is_executed(block.id().hash).unwrap());
    }
    for block in &trunk {
        assert!(writer.view().is_executed(block.id().hash).unwrap());
    }
}

#[test]
fn a_rewind_can_end_at_the_fork_itself() {
    let (mut writer, genesis) = memory();
    let mut trunk = vec![genesis.clone()];
    trunk.extend(line(&genesis, 200, 1));
    writer.commit(extension(&trunk[1..], &[])).unwrap();
    let head = HeadChange {
        retired: trunk[31..].iter().rev().map(Grown::id).collect(),
        adopted: Vec::new(),
    };
    let rewind = Some(rewind(&writer, &trunk[30]));
    let commit = Commit { rewind, head: Some(head), ..side(&[]) };
    let view = writer.commit(commit).unwrap();
    assert_eq!((view.head(), view.base()), (Some(trunk[30].id()), trunk[30].id()));
    let state = view.state_at(trunk[30].id().hash).unwrap();
    assert_flat(&state, &trunk[30].state, &[&trunk[200].state]);
    assert_nodes(&state, &trunk[30].state);
}

#[test]
fn receipts_of_a_block_stay_when_it_is_stored_again() {
    let (mut writer, genesis) = memory();
    let block = child(&genesis, 1);
    writer.commit(extension(std::slice::from_ref(&block), &[])).unwrap();
    let again = BlockRecord { receipts: None, ..block.record.clone() };
    let view = writer.commit(Commit { blocks: vec![again], ..side(&[]) }).unwrap();
    assert!(view.is_executed(block.id().hash).unwrap());
    assert_eq!(view.receipts(block.id().hash).unwrap(), block.record.receipts);
}

/// Grows a chain with reorganisations of all depths, always to a longer branch, and compares the disk
/// with that of a database which never saw the losing branches.
fn reorganise_at_random(seed: u64, rounds: u64) {
    let mut numbers = Numbers(seed);
    let (mut writer, genesis) = memory();
    let mut chain = vec![genesis];
    for round in 1..=rounds {
        let head = chain.len() - 1;
        let window = head - usize::try_from(writer.view().base().number).unwrap();
        let below = |numbers: &mut Numbers, end: usize| {
            usize::try_from(numbers.below(u64::try_from(end).unwrap())).unwrap()
        };
        let fork = match numbers.below(3) {
            0 => head,
            1 => head - below(&mut numbers, window + 1),
            _ => below(&mut numbers, head + 1),
        };
        let length = head - fork + 1 + below(&mut numbers, 60);
        let branch = line(&chain[fork], length, seed ^ round);
        let retired = chain.split_off(fork + 1);
        if fork < head - window {
            let rewind = Some(rewind(&writer, &chain[fork]));
            writer.commit(Commit { rewind, ..extension(&branch, &retired) }).unwrap();
        } else {
            // First some of it beside the canonical chain, then the rest and the switch at once.
            let early = below(&mut numbers, length).min(retired.len());
            writer.commit(side(&branch[..early])).unwrap();
            let head = extension(&branch, &retired).head;
            writer.commit(Commit { head, ..side(&branch[early..]) }).unwrap();
        }
        chain.extend(branch);
    }
    let (mut straight, _) = memory();
    straight.commit(extension(&chain[1..], &[])).unwrap();
    assert_same_canonical(&writer, &straight);
    let view = writer.view();
    for block in &chain {
        assert_flat(&view.state_at(block.id().hash).unwrap(), &block.state, &[]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn no_reorganisation_leaves_a_trace(seed: u64, rounds in 1_u64..10) {
        reorganise_at_random(seed, rounds);
    }
}
