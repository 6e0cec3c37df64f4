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
