use primitives::BloomInput;

use super::fixture::*;
use crate::{Commit, HeadChange, View, log_index::SECTION_BLOCKS};

/// Every block up to the indexed one whose bloom has a value is named, and no other one.
fn assert_indexed(view: &View, values: &[Vec<u8>], want_only: bool) {
    let indexed = view.logs_indexed().unwrap();
    for value in values {
        let found = view.blocks_with(value, 0..=u64::MAX - 1).unwrap();
        let found: Vec<u64> = found.numbers().collect();
        let is_expected = |number: &u64| {
            let header = view.header_by_number(*number).unwrap().unwrap();
            header.logs_bloom.contains_input(BloomInput::Raw(value))
        };
        let expected: Vec<u64> = (0..indexed).filter(is_expected).collect();
        if want_only {
            assert_eq!(found, expected, "{value:?}");
        } else {
            assert!(expected.iter().all(|number| found.contains(number)), "{value:?}");
        }
    }
}

fn values(blocks: &[Grown]) -> Vec<Vec<u8>> {
    let logs = blocks.iter().flat_map(|block| block.record.receipts.iter().flatten());
    let logs = logs.flat_map(|receipt| &receipt.logs);
    let mut values: Vec<_> = logs
        .flat_map(|log| {
            let topics = log.data.topics().iter().map(|topic| topic.to_vec());
            topics.chain([log.address.to_vec()])
        })
        .collect();
    values.sort();
    values.dedup();
    values.push(b"nobody".to_vec());
    values
}

#[test]
fn sections_are_indexed_once_they_are_complete_and_hold_what_the_headers_say() {
    let (mut writer, genesis) = memory();
    let trunk = line(&genesis, 1_130, 1);
    for (at, blocks) in trunk.chunks(50).enumerate() {
        let before = writer.view().head().unwrap().number;
        let view = writer.commit(extension(blocks, &[])).unwrap();
        assert_eq!(
            view.logs_indexed().unwrap(),
            (before + 1) / SECTION_BLOCKS * SECTION_BLOCKS,
            "{at}"
        );
    }
    let values = values(&trunk);
    assert!(values.len() > 200);
    assert_indexed(writer.view(), &values, true);
    let beyond = writer.view().blocks_with(&values[0], 1_024..=1_030).unwrap();
    assert_eq!(beyond.numbers().count(), 0, "that section is not asked for");
}

#[test]
fn a_reorganisation_across_a_section_is_indexed_anew() {
    let (mut writer, genesis) = memory();
    let trunk = line(&genesis, 1_060, 1);
    for blocks in trunk.chunks(50) {
        writer.commit(extension(blocks, &[])).unwrap();
    }
    assert_eq!(writer.view().logs_indexed().unwrap(), SECTION_BLOCKS);
    let fork = 1_000;
    let branch = line(&trunk[fork], 60, 2);
    writer.commit(side(&branch)).unwrap();
    let retired = trunk[fork + 1..].iter().rev().map(Grown::id).collect();
    let adopted = branch.iter().map(Grown::id).collect();
    let head = Some(HeadChange { retired, adopted });
    let view = writer.commit(Commit { head, ..side(&[]) }).unwrap();
    assert_eq!(view.logs_indexed().unwrap(), 0, "the section has other blocks now");
    let next = line(&branch[59], 1, 2);
    let view = writer.commit(extension(&next, &[])).unwrap();
    assert_eq!(view.logs_indexed().unwrap(), SECTION_BLOCKS);
    assert_indexed(&view, &values(&trunk), false);
    assert_indexed(&view, &values(&branch), false);
}
