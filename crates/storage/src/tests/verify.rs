use state::StateReader;

use super::fixture::*;
use crate::{
    View, Writer,
    schema::{Column, parse_owner},
    verify::{Counts, PROBLEMS_MAX, Report, verify},
};

/// A database with a past, layers, side blocks and an unexecuted block.
fn filled() -> Writer {
    let (mut writer, genesis) = memory();
    let blocks = line(&genesis, 200, 1);
    writer.commit(extension(&blocks, &[])).unwrap();
    writer.commit(side(&line(&blocks[190], 3, 2))).unwrap();
    let mut unexecuted = side(&line(&blocks[20], 1, 3));
    unexecuted.layers.clear();
    unexecuted.blocks[0].receipts = None;
    writer.commit(unexecuted).unwrap();
    writer
}

/// Checks the database as it is now, whatever was done to it behind the writer's back.
fn report(writer: &Writer) -> Report {
    let view = writer.view();
    let now = View::now(writer.db.clone(), view.layers().clone(), view.head(), view.base());
    verify(&now, &mut |_| {}).unwrap()
}

#[test]
fn a_sound_database_has_no_problems() {
    let writer = filled();
    let report = report(&writer);
    assert!(report.is_clean(), "{:#?}", report.problems);
    let Counts { blocks, canonical, transactions, receipts, layers, .. } = report.counts;
    assert_eq!((blocks, canonical, transactions, receipts, layers), (205, 201, 400, 204, 131));
    let Counts { accounts, slots, nodes, codes, preimages, history, .. } = report.counts;
    for count in [accounts, slots, nodes, codes, preimages, history] {
        assert!(count > 0);
    }
}

#[test]
fn an_empty_database_has_no_problems() {
    let (writer, _) = crate::open(&crate::StorageConfig::memory()).unwrap();
    assert!(report(&writer).is_clean());
}

#[test]
fn progress_is_told_in_the_order_of_the_parts() {
    let writer = filled();
    let mut parts = Vec::new();
    writer.verify(&mut |progress| parts.push(progress.part)).unwrap();
    parts.dedup();
    assert_eq!(parts.first(), Some(&"blocks"));
    assert_eq!(parts.last(), Some(&"history"));
    assert_eq!(parts.len(), 9);
}

/// The keys of a column that matter to the newest view.
fn keys(writer: &Writer, column: Column) -> Vec<Vec<u8>> {
    let view = writer.view();
    let state = view.state_at(view.base().hash).unwrap();
    let is_living = |key: &[u8]| match column {
        Column::Slots | Column::SlotNodes => {
            let (owner, _) = parse_owner(key).unwrap();
            let account = state.account(owner.address_hash).unwrap();
            account.is_some_and(|account| account.incarnation == owner.incarnation)
        }
        _ => true,
    };
    dump(view.pinned(), column).into_keys().filter(|key| is_living(key)).collect()
}

fn is_kept(column: Column) -> bool {
    !matches!(column, Column::Meta | Column::LogIndex)
}

#[test]
fn every_missing_record_is_noticed() {
    let writer = filled();
    for column in Column::ALL.into_iter().filter(|column| is_kept(*column)) {
        // A preimage that is not there is no contradiction, and code may be of no account any more.
        if matches!(column, Column::Preimages | Column::Codes) {
            continue;
        }
        let handle = writer.db.cf_handle(column.name()).unwrap();
        let keys = keys(&writer, column);
        assert!(!keys.is_empty(), "{column:?}");
        for key in keys.iter().step_by(keys.len().div_ceil(5)) {
            let value = writer.db.get_cf(handle, key).unwrap().unwrap();
            writer.db.delete_cf(handle, key).unwrap();
            assert!(!report(&writer).is_clean(), "{column:?} {key:02x?}");
            writer.db.put_cf(handle, key, value).unwrap();
        }
    }
    assert!(report(&writer).is_clean());
}

#[test]
fn every_changed_record_is_noticed() {
    let writer = filled();
    for column in Column::ALL.into_iter().filter(|column| is_kept(*column)) {
        // Sizes and past values are one as good as another, as far as the other columns know.
        if matches!(column, Column::Unexecuted | Column::History) {
            continue;
        }
        let handle = writer.db.cf_handle(column.name()).unwrap();
        let keys = keys(&writer, column);
        for key in keys.iter().step_by(keys.len().div_ceil(5)) {
            let value = writer.db.get_cf(handle, key).unwrap().unwrap();
            let mut changed = value.clone();
            *changed.last_mut().unwrap() ^= 1;
            writer.db.put_cf(handle, key, changed).unwrap();
            assert!(!report(&writer).is_clean(), "{column:?} {key:02x?}");
            writer.db.put_cf(handle, key, value).unwrap();
        }
    }
    assert!(report(&writer).is_clean());
}

#[test]
fn every_record_too_many_is_noticed() {
    let writer = filled();
    for column in Column::ALL.into_iter().filter(|column| is_kept(*column)) {
        if column == Column::Layers {
            continue;
        }
        let handle = writer.db.cf_handle(column.name()).unwrap();
        let keys = keys(&writer, column);
        let mut key = keys[keys.len() / 2].clone();
        // The last byte of a path is its length; the one before it is part of the path.
        let place = key.len() - if column == Column::SlotNodes { 2 } else { 1 };
        key[place] ^= 0x81;
        let value = writer.db.get_cf(handle, &keys[0]).unwrap().unwrap();
        let before = writer.db.get_cf(handle, &key).unwrap();
        if before.is_some() {
            continue;
        }
        writer.db.put_cf(handle, &key, value).unwrap();
        assert!(!report(&writer).is_clean(), "{column:?} {key:02x?}");
        writer.db.delete_cf(handle, &key).unwrap();
    }
    assert!(report(&writer).is_clean());
}

#[test]
fn a_hopeless_database_gives_a_short_report() {
    let writer = filled();
    let handle = writer.db.cf_handle(Column::Bodies.name()).unwrap();
    for key in keys(&writer, Column::Bodies) {
        writer.db.delete_cf(handle, key).unwrap();
    }
    let report = report(&writer);
    assert_eq!(report.problems.len(), PROBLEMS_MAX);
    assert!(report.problems_total > 200);
}
