use std::ops::Range;

use primitives::{B256, Bytes, map::HashMap};

use crate::{
    StateChanges, StorageOwner,
    trie::{Records, Trie},
};

/// Collects the bytes of one take in one buffer, which all of them share in the end.
#[derive(Debug, Default)]
pub(super) struct Taken {
    records: Records,
    preimages: Vec<(B256, Range<usize>)>,
    /// Whose records they are, and where in the list they end.
    owners: Vec<(Option<StorageOwner>, usize)>,
}

impl Taken {
    /// With room for this many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let records = Records { rlp: Vec::with_capacity(bytes), ..Records::default() };
        Self { records, ..Self::default() }
    }

    /// Adds the changed records of a trie.
    pub(super) fn nodes_of(&mut self, owner: Option<StorageOwner>, trie: &mut Trie) {
        trie.take(&mut self.records);
        self.owners.push((owner, self.records.changed.len()));
    }

    pub(super) fn preimage(&mut self, hash: B256, preimage: &[u8]) {
        let start = self.records.rlp.len();
        self.records.rlp.extend_from_slice(preimage);
        self.preimages.push((hash, start..self.records.rlp.len()));
    }

    /// Puts everything where it belongs, and says how many bytes it is.
    pub(super) fn finish(mut self, changes: &mut StateChanges) -> usize {
        self.records.rlp.shrink_to_fit();
        let length = self.records.rlp.len();
        let bytes = Bytes::from(self.records.rlp);
        let part = |range: Range<usize>| bytes.slice(range);
        let mut changed = self.records.changed.into_iter();
        let mut start = 0;
        for (owner, end) in self.owners {
            let nodes: HashMap<_, _> = changed
                .by_ref()
                .take(end - start)
                .map(|(path, range)| (path, range.map(part)))
                .collect();
            start = end;
            match owner {
                None => changes.account_nodes = nodes,
                Some(_) if nodes.is_empty() => {}
                Some(owner) => {
                    changes.slot_nodes.insert(owner, nodes);
                }
            }
        }
        changes.preimages =
            self.preimages.into_iter().map(|(hash, range)| (hash, part(range))).collect();
        length
    }
}
