use primitives::{ChainSpec, Header, SealedHeader};

use super::{child, rules, rules_with};
use crate::{GAS_LIMIT_MAX, next_base_fee, next_gas_limit, verify_header};

#[test]
fn the_book_chain_walks_down_from_its_genesis() {
    let spec = ChainSpec::preset("book").unwrap();
    let mut parent = spec.genesis_block().header().clone();
    let expected = [134_086_657, 133_955_714, 133_824_899, 133_694_212, 133_563_653, 133_433_221];
    for limit in expected {
        let next = next_gas_limit(&spec, &parent, 8_000_000);
        assert_eq!(next, limit);
        parent = Header { number: parent.number + 1, gas_limit: next, ..parent };
    }
}

#[test]
fn the_walk_ends_at_its_target_and_obeys_the_rule() {
    let spec = rules("berlin");
    for (start, target) in
        [(9_000_000, 8_000_000), (7_500_000, 8_000_000), (6_000, 1), (9_000_000, 9_000_001)]
    {
        let mut parent = SealedHeader::seal_slow(Header {
            gas_limit: start,
            difficulty: crate::DIFFICULTY_MIN,
            ..Header::default()
        });
        for _ in 0..400 {
            let header = crate::prepare(
                &spec,
                &parent,
                parent.timestamp + 9,
                Default::default(),
                Default::default(),
                target,
            );
            assert_eq!(verify_header(&spec, &header, &parent), Ok(()));
            parent = SealedHeader::seal_slow(header);
        }
        assert_eq!(parent.gas_limit, target.max(5_000));
    }
}

#[test]
fn a_tiny_or_huge_limit_neither_wraps_nor_passes_the_bounds() {
    let spec = rules("berlin");
    let next = |gas_limit, target| {
        next_gas_limit(&spec, &Header { gas_limit, ..Header::default() }, target)
    };
    assert_eq!(next(0, 8_000_000), 0);
    assert_eq!(next(5_000, 8_000_000), 5_003);
    assert_eq!(next(GAS_LIMIT_MAX, u64::MAX), GAS_LIMIT_MAX);
}

#[test]
fn the_first_london_block_doubles_the_limit_and_costs_one_gwei() {
    let spec = rules_with("berlin", r#""londonBlock": 1,"#);
    let genesis = spec.genesis_header();
    let first = child(&spec, &genesis);
    assert_eq!(next_gas_limit(&spec, &genesis, 20_000_000), 20_000_000);
    assert_eq!(first.gas_limit, 20_000_000 - (20_000_000 / 1024 - 1), "towards ten million");
    assert_eq!(first.base_fee_per_gas, Some(1_000_000_000));
    assert_eq!(verify_header(&spec, &first, &genesis), Ok(()));
}

#[test]
fn london_at_genesis_neither_doubles_nor_starts_anew() {
    let spec = rules("london");
    let genesis = spec.genesis_header();
    let first = child(&spec, &genesis);
    assert_eq!(first.gas_limit, genesis.gas_limit);
    assert_eq!(first.base_fee_per_gas, Some(875_000_000));
}

#[test]
fn the_base_fee_follows_the_gas_used() {
    let spec = rules("london");
    // From geth's own table: parent's fee, limit and use; the child's fee.
    let table = [
        (1_000_000_000, 20_000_000, 10_000_000, 1_000_000_000),
        (1_000_000_000, 20_000_000, 9_000_000, 987_500_000),
        (1_000_000_000, 20_000_000, 11_000_000, 1_012_500_000),
        (1, 20_000_000, 10_000_001, 2),
        (7, 20_000_000, 0, 7),
        (0, 20_000_000, 0, 0),
        (u64::MAX, 20_000_000, 20_000_000, u64::MAX),
        (8, 1, 1, 9),
    ];
    for (fee, gas_limit, gas_used, expected) in table {
        let parent =
            Header { base_fee_per_gas: Some(fee), gas_limit, gas_used, ..Header::default() };
        assert_eq!(next_base_fee(&spec, &parent), Some(expected), "{fee} {gas_used}/{gas_limit}");
    }
    assert_eq!(next_base_fee(&rules("berlin"), &Header::default()), None);
}
