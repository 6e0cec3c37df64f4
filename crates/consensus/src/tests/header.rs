use primitives::{B256, Bytes, ChainSpec, Header, U256};

use super::{child, rules, rules_with};
use crate::{
    DAO_EXTRA_DATA, Early, InvalidBlock, dao_drain_list, dao_extra_data, is_dao_transition,
    prepare, verify_header, verify_time,
};

/// What `verify_header` says of a valid child after this change.
fn verdict(spec: &ChainSpec, change: impl FnOnce(&mut Header)) -> String {
    let parent = spec.genesis_header();
    let mut header = child(spec, &parent);
    assert_eq!(verify_header(spec, &header, &parent), Ok(()));
    change(&mut header);
    verify_header(spec, &header, &parent).unwrap_err().to_string()
}

#[test]
fn accepts_a_prepared_child_under_every_rule_set() {
    for fork in super::FORKS {
        let spec = rules(fork);
        let parent = spec.genesis_header();
        assert_eq!(verify_header(&spec, &child(&spec, &parent), &parent), Ok(()), "{fork}");
    }
}

#[test]
fn refuses_each_broken_rule_with_the_text_of_geth() {
    let spec = rules("berlin");
    assert_eq!(
        verdict(&spec, |header| header.extra_data = Bytes::from([0; 33])),
        "extra-data too long: 33 > 32"
    );
    assert_eq!(verdict(&spec, |header| header.timestamp = 0), "timestamp older than parent");
    assert_eq!(
        verdict(&spec, |header| header.difficulty = U256::from(1)),
        "invalid difficulty: have 1, want 200000"
    );
    assert_eq!(
        verdict(&spec, |header| header.gas_limit = 1 << 63),
        "invalid gasLimit: have 9223372036854775808, max 9223372036854775807"
    );
    assert_eq!(
        verdict(&spec, |header| header.gas_used = 10_000_001),
        "invalid gasUsed: have 10000001, gasLimit 10000000"
    );
    assert_eq!(
        verdict(&spec, |header| header.gas_limit = 10_009_765),
        "invalid gas limit: have 10009765, want 10000000 += 9765"
    );
    assert_eq!(
        verdict(&spec, |header| header.gas_limit = 9_990_235),
        "invalid gas limit: have 9990235, want 10000000 += 9765"
    );
    assert_eq!(verdict(&spec, |header| header.number = 2), "invalid block number");
    assert_eq!(
        verdict(&spec, |header| header.base_fee_per_gas = Some(7)),
        "invalid baseFee before fork: have 7, expected 'nil'"
    );
}

#[test]
fn allows_a_gas_limit_just_inside_the_bound() {
    let spec = rules("berlin");
    let parent = spec.genesis_header();
    for gas_limit in [10_009_764, 9_990_236] {
        let header = Header { gas_limit, ..child(&spec, &parent) };
        assert_eq!(verify_header(&spec, &header, &parent), Ok(()));
    }
}

#[test]
fn refuses_a_gas_limit_below_five_thousand() {
    let spec = rules("berlin");
    let parent = Header { gas_limit: 5_001, ..spec.genesis_block().header().clone() };
    let mut header = child(&spec, &spec.genesis_header());
    header.gas_limit = 5_000;
    assert_eq!(verify_header(&spec, &header, &parent), Ok(()));
    header.gas_limit = 4_999;
    assert_eq!(
        verify_header(&spec, &header, &parent),
        Err(InvalidBlock::GasLimit { have: 4_999, parent: 5_001, bound: 4 })
    );
}

#[test]
fn refuses_a_missing_or_wrong_base_fee() {
    let spec = rules("london");
    assert_eq!(
        verdict(&spec, |header| header.base_fee_per_gas = None),
        "header is missing baseFee"
    );
    assert_eq!(
        verdict(&spec, |header| header.base_fee_per_gas = Some(1)),
        "invalid baseFee: have 1, want 875000000, parentBaseFee 1000000000, parentGasUsed 0"
    );
    let spec = rules_with("berlin", r#""londonBlock": 1,"#);
    assert_eq!(
        verdict(&spec, |header| header.base_fee_per_gas = Some(1)),
        "invalid baseFee: have 1, want 1000000000, parentBaseFee <nil>, parentGasUsed 0"
    );
    assert_eq!(
        verdict(&spec, |header| header.gas_limit = 10_000_000),
        "invalid gas limit: have 10000000, want 20000000 += 19531"
    );
}

#[test]
fn refuses_every_field_that_came_after_proof_of_work() {
    type Change = fn(&mut Header);
    let changes: [(&str, Change); 7] = [
        ("withdrawalsRoot", |header| header.withdrawals_root = Some(B256::ZERO)),
        ("blobGasUsed", |header| header.blob_gas_used = Some(0)),
        ("excessBlobGas", |header| header.excess_blob_gas = Some(0)),
        ("parentBeaconBlockRoot", |header| header.parent_beacon_block_root = Some(B256::ZERO)),
        ("requestsHash", |header| header.requests_hash = Some(B256::ZERO)),
        ("blockAccessListHash", |header| header.block_access_list_hash = Some(B256::ZERO)),
        ("slotNumber", |header| header.slot_number = Some(0)),
    ];
    for (field, change) in changes {
        let expected = format!("header has {field}, which no rule of proof of work knows");
        assert_eq!(verdict(&rules("grayGlacier"), change), expected);
    }
}

#[test]
fn a_block_may_be_fifteen_seconds_early_and_no_more() {
    let header = Header { timestamp: 1_015, ..Header::default() };
    assert_eq!(verify_time(&header, 1_000), Ok(()));
    assert_eq!(verify_time(&header, 2_000), Ok(()));
    assert_eq!(verify_time(&header, 997), Err(Early { seconds: 3 }));
    assert_eq!(verify_time(&header, u64::MAX), Ok(()));
    assert_eq!(verify_time(&header, 997).unwrap_err().to_string(), "block in the future");
}

#[test]
fn the_dao_fork_marks_ten_blocks() {
    let spec = ChainSpec::preset("mainnet").unwrap();
    assert_eq!(dao_extra_data(&spec, 1_919_999), None);
    assert_eq!(dao_extra_data(&spec, 1_920_000), Some(DAO_EXTRA_DATA));
    assert_eq!(dao_extra_data(&spec, 1_920_009), Some(DAO_EXTRA_DATA));
    assert_eq!(dao_extra_data(&spec, 1_920_010), None);
    assert!(is_dao_transition(&spec, 1_920_000));
    assert!(!is_dao_transition(&spec, 1_920_001));
    assert!(!is_dao_transition(&rules("london"), 0));
}

#[test]
fn drains_each_account_once() {
    let mut drained = dao_drain_list().to_vec();
    drained.sort_unstable();
    drained.dedup();
    assert_eq!(drained.len(), 116);
}

#[test]
fn a_new_block_shows_its_side_of_the_dao_fork() {
    let extra = |support: bool, wanted: &'static [u8]| {
        let dao = format!(r#""daoForkBlock": 1, "daoForkSupport": {support},"#);
        let spec = rules_with("homestead", &dao);
        let parent = spec.genesis_header();
        prepare(&spec, &parent, 9, Default::default(), Bytes::from_static(wanted), 8_000_000)
            .extra_data
    };
    assert_eq!(extra(true, b"mine").as_ref(), DAO_EXTRA_DATA);
    assert_eq!(extra(false, b"mine").as_ref(), b"mine");
    assert_eq!(extra(false, DAO_EXTRA_DATA).as_ref(), b"");
}
