//! Blocks that broke a rule although their seal holds, for whoever has to find out why.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use primitives::{RecoveredBlock, SealedBlock};

/// How many are kept, as in geth.
const BLOCKS_MAX: usize = 10;
/// What all of them may take, in bytes of RLP.
const BYTES_MAX: usize = 16 << 20;

/// The newest rejected blocks, oldest first. Clones share them; all of them are gone with the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rejected(Arc<Mutex<VecDeque<Arc<RecoveredBlock>>>>);

impl Rejected {
    pub(crate) fn keep(&self, block: &SealedBlock, senders: &[primitives::Address]) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.iter().any(|kept| kept.hash() == block.hash()) {
            return;
        }
        blocks.push_back(Arc::new(RecoveredBlock::new_sealed(block.clone(), senders.to_vec())));
        let bytes = |block: &Arc<RecoveredBlock>| block.sealed_block().rlp_length();
        let mut total: usize = blocks.iter().map(bytes).sum();
        while blocks.len() > BLOCKS_MAX || total > BYTES_MAX {
            let Some(oldest) = blocks.pop_front() else { break };
            total -= bytes(&oldest);
        }
    }

    /// The highest first.
    pub(crate) fn blocks(&self) -> Vec<Arc<RecoveredBlock>> {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks: Vec<_> = blocks.iter().cloned().collect();
        blocks.sort_by_key(|block| std::cmp::Reverse(block.header().number));
        blocks
    }
}

#[cfg(test)]
mod tests {
    use primitives::{Block, BlockBody, Bytes, Header};

    use super::*;

    fn block(number: u64, extra: usize) -> SealedBlock {
        let header =
            Header { number, extra_data: Bytes::from(vec![1; extra]), ..Header::default() };
        SealedBlock::seal_slow(Block { header, body: BlockBody::default() })
    }

    fn numbers(rejected: &Rejected) -> Vec<u64> {
        rejected.blocks().iter().map(|block| block.header().number).collect()
    }

    #[test]
    fn the_newest_are_kept_once_and_within_their_room() {
        let rejected = Rejected::default();
        for number in [3, 9, 3, 4] {
            rejected.keep(&block(number, 0), &[]);
        }
        assert_eq!(numbers(&rejected), [9, 4, 3]);
        for number in 10..25 {
            rejected.keep(&block(number, 0), &[]);
        }
        assert_eq!(numbers(&rejected), (15..25).rev().collect::<Vec<_>>());
        rejected.keep(&block(30, BYTES_MAX - 2_000), &[]);
        assert_eq!(numbers(&rejected), [30, 24, 23]);
        rejected.keep(&block(31, BYTES_MAX), &[]);
        assert!(numbers(&rejected).is_empty());
    }
}
