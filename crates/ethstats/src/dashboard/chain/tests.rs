use primitives::{Address, B256, U256};

use super::*;

/// A block of a branch: equal numbers and branches are equal blocks. Its parent is on `parent`.
pub(crate) fn on(number: u64, branch: u8, parent: u8) -> BlockSeen {
    let hash = |number: u64, branch: u8| {
        let mut bytes = [branch; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        B256::from(bytes)
    };
    BlockSeen {
        number,
        hash: hash(number, branch),
        parent: hash(number.wrapping_sub(1), parent),
        timestamp: 1_600_000_000 + number * 10,
        miner: Address::repeat_byte(branch),
        gas_used: 21_000,
        gas_limit: 8_000_000,
        difficulty: U256::from(131_072),
        td: U256::from(number) * U256::from(131_072),
        transactions: 1,
        transactions_root: B256::ZERO,
        state_root: B256::ZERO,
        uncles: Vec::new(),
    }
}

/// A block whose parent is on the same branch.
pub(crate) fn block(number: u64, branch: u8, extra_weight: u64) -> BlockSeen {
    let mut block = on(number, branch, branch);
    block.td += U256::from(extra_weight);
    block
}

/// When a block of a number is new, in milliseconds.
fn at(number: u64) -> u64 {
    (1_600_000_000 + number * 10) * 1_000
}

#[test]
fn the_genesis_says_nothing_about_the_time_between_blocks() {
    let by: Arc<str> = "a".into();
    let mut chain = Chain::default();
    let mut genesis = block(0, 1, 0);
    genesis.timestamp = 0;
    chain.reported(genesis, (&by, true), 1);
    assert_eq!(chain.forecast(None), None, "nothing to go by");
    for number in 1..=20 {
        chain.reported(block(number, 1, 0), (&by, true), at(number));
    }
    // Ten seconds apart at the lowest difficulty, the rule cannot be told but by a node.
    let forecast = chain.forecast(Some(0)).unwrap().json();
    assert_eq!((&forecast["rule"], &forecast["blockTime"]), (&json!("homestead"), &json!(10.0)));
    let first = &forecast["milestones"][0];
    assert!(first["number"].as_u64() >= Some(700_000), "{first}");
}

#[test]
fn a_word_that_came_late_is_no_reorganisation() {
    let by: Arc<str> = "a".into();
    let mut chain = Chain::default();
    for number in 1..=3 {
        chain.reported(block(number, 1, 0), (&by, true), at(number));
    }
    let hash = |number| block(number, 1, 0).hash;
    chain.moved(hash(3), hash(2), &by, 9);
    chain.moved(hash(1), hash(3), &by, 9);
    chain.moved(B256::ZERO, hash(3), &by, 9);
    assert!(chain.reorgs().is_empty());
}
