//! A set of hashes that forgets the oldest ones.

use std::collections::VecDeque;

use primitives::{B256, map::HashSet};

/// The newest hashes put in, up to a limit.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    limit: usize,
    hashes: HashSet<B256>,
    order: VecDeque<B256>,
}

impl Recent {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, hashes: HashSet::default(), order: VecDeque::new() }
    }

    /// Whether the hash is new here. When the limit is reached, the oldest one goes.
    pub(crate) fn insert(&mut self, hash: B256) -> bool {
        if !self.hashes.insert(hash) {
            return false;
        }
        if self.order.len() == self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }

    pub(crate) fn contains(&self, hash: &B256) -> bool {
        self.hashes.contains(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_beyond_the_limit() {
        let mut recent = Recent::new(2);
        let hashes = [B256::repeat_byte(1), B256::repeat_byte(2), B256::repeat_byte(3)];
        assert!(recent.insert(hashes[0]) && recent.insert(hashes[1]));
        assert!(!recent.insert(hashes[0]));
        assert!(recent.insert(hashes[2]));
        assert!(!recent.contains(&hashes[0]));
        assert!(recent.contains(&hashes[1]) && recent.contains(&hashes[2]));
    }
}
