use std::time::Instant;

use ethash::{Epoch, Target};
use primitives::{
    B64, B256, Block, BlockBody, BlockNumHash, Header, Receipt, SealedBlock, format_ether,
};

/// A block that lacks nothing but its seal.
///
/// It has no hash: a hash exists only once the seal is in, and [`Self::seal`] is the only way there.
#[derive(Debug, Clone)]
pub struct WorkPackage {
    /// The header with nonce and mix hash zero.
    pub header: Header,
    /// Transactions and ommers.
    pub body: BlockBody,
    /// What executing the transactions left behind.
    pub receipts: Vec<Receipt>,
    /// What the seal commits to.
    pub seal_hash: B256,
    /// What the seal must meet.
    pub target: Target,
    /// Which dataset the seal is searched in.
    pub epoch: Epoch,
    /// The block this one extends.
    pub parent: BlockNumHash,
    /// What the transactions pay the beneficiary, in wei.
    pub fees: primitives::U256,
    /// When it was built.
    pub built: Instant,
}

/// A nonce that somebody found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solution {
    /// Which package it is for.
    pub seal_hash: B256,
    /// The nonce.
    pub nonce: u64,
    /// The mix hash that belongs to it.
    pub mix_hash: B256,
}

impl WorkPackage {
    /// Completes a header whose every field but the seal is final.
    ///
    /// # Panics
    ///
    /// When the difficulty is zero: no rule set makes such a header.
    #[must_use]
    pub fn new(
        header: Header,
        body: BlockBody,
        receipts: Vec<Receipt>,
        parent: BlockNumHash,
    ) -> Self {
        let fees = fees(&header, &body, &receipts);
        Self {
            seal_hash: consensus::seal_hash(&header),
            target: Target::from_difficulty(header.difficulty).expect("difficulty is positive"),
            epoch: Epoch::of_block(header.number),
            parent,
            fees,
            built: Instant::now(),
            header,
            body,
            receipts,
        }
    }

    /// Puts the seal in. The only way from a package to a block with a hash.
    #[must_use]
    pub fn seal(&self, solution: Solution) -> SealedBlock {
        let mut header = self.header.clone();
        header.nonce = B64::from(solution.nonce.to_be_bytes());
        header.mix_hash = solution.mix_hash;
        SealedBlock::seal_slow(Block { header, body: self.body.clone() })
    }

    /// As geth logs it: in ether, without zeros at the end.
    #[must_use]
    pub fn fees_in_ether(&self) -> String {
        let text = format_ether(self.fees);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The sum of gas used times effective tip (EIP-1559), in wei.
fn fees(header: &Header, body: &BlockBody, receipts: &[Receipt]) -> primitives::U256 {
    use primitives::{TransactionFields, U256};
    let mut before = 0;
    let mut fees = U256::ZERO;
    for (tx, receipt) in body.transactions.iter().zip(receipts) {
        let used = receipt.cumulative_gas_used - before;
        before = receipt.cumulative_gas_used;
        let tip = tx.effective_tip_per_gas(header.base_fee_per_gas.unwrap_or(0)).unwrap_or(0);
        fees += U256::from(used) * U256::from(tip);
    }
    fees
}
