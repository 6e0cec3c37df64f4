use std::collections::VecDeque;

use primitives::{B256, map::HashMap};

/// How many invalid blocks are remembered.
const BAD_BLOCKS_MAX: usize = 1_024;

/// Blocks that broke a rule when they were executed, and their descendants: a stored branch with
/// one of them in it must not be executed again for every child that arrives.
#[derive(Debug, Default)]
pub(super) struct BadBlocks {
    /// Block to the invalid block it descends from, or itself.
    reasons: HashMap<B256, B256>,
    order: VecDeque<B256>,
}

impl BadBlocks {
    /// Remembers that `hash` is bad because of `ancestor`.
    pub(super) fn insert(&mut self, hash: B256, ancestor: B256) {
        if self.reasons.insert(hash, ancestor).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > BAD_BLOCKS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.reasons.remove(&oldest);
        }
    }

    /// The invalid block that a block is or descends from. A child of a bad block is bad from now on.
    pub(super) fn reason(&mut self, hash: B256, parent: B256) -> Option<B256> {
        if let Some(reason) = self.reasons.get(&hash) {
            return Some(*reason);
        }
        let reason = *self.reasons.get(&parent)?;
        self.insert(hash, reason);
        Some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_a_bad_block_are_bad_and_the_memory_is_bounded() {
        let mut bad = BadBlocks::default();
        let hash = |n: usize| B256::from(primitives::U256::from(n));
        bad.insert(hash(1), hash(1));
        assert_eq!(bad.reason(hash(2), hash(1)), Some(hash(1)));
        assert_eq!(bad.reason(hash(3), hash(2)), Some(hash(1)));
        assert_eq!(bad.reason(hash(4), hash(9)), None);
        for n in 10..10 + BAD_BLOCKS_MAX {
            bad.insert(hash(n), hash(n));
        }
        assert_eq!(bad.reason(hash(1), hash(0)), None);
        assert_eq!(bad.reasons.len(), BAD_BLOCKS_MAX);
    }
}
