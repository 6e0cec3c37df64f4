use std::{iter, sync::Arc};

use alloy_trie::Nibbles;
use primitives::{B256, BlockNumHash, map::DefaultHashBuilder};

use super::Layer;
use crate::{StateChanges, StorageOwner};

/// Anything that a layer can say something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Account(B256),
    Slot(StorageOwner, B256),
    Node(Option<StorageOwner>, Nibbles),
    Code(B256),
}

/// Says for every key of one chain of layers which of them said something last.
#[derive(Debug, Clone)]
pub(super) struct Index {
    base: BlockNumHash,
    /// Lowest first, numbered without gaps from just above the base.
    chain: imbl::Vector<Arc<Layer>>,
    /// The number of the newest layer that has the key.
    newest: imbl::GenericHashMap<Key, u64, DefaultHashBuilder, imbl::shared_ptr::DefaultSharedPtr>,
}

impl Index {
    pub(super) fn new(base: BlockNumHash) -> Self {
        Self { base, chain: imbl::Vector::new(), newest: Default::default() }
    }

    pub(super) const fn base(&self) -> BlockNumHash {
        self.base
    }

    pub(super) fn head(&self) -> BlockNumHash {
        self.chain.last().map_or(self.base, |layer| layer.block)
    }

    pub(super) fn layers(&self) -> impl DoubleEndedIterator<Item = &Arc<Layer>> {
        self.chain.iter()
    }

    /// Whether this is the base or a block of the indexed chain.
    pub(super) fn contains(&self, hash: B256) -> bool {
        // A head's parent is what is asked for nearly always, so the search begins at the top.
        hash == self.base.hash || self.chain.iter().rev().any(|layer| layer.block.hash == hash)
    }

    /// The newest layer that has this key.
    pub(super) fn newest(&self, key: &Key) -> Option<&Layer> {
        let number = self.newest.get(key)?;
        self.chain.get(self.position(*number)).map(|layer| &**layer)
    }

    pub(super) fn push(&mut self, layer: Arc<Layer>) {
        for key in keys(&layer.changes) {
            self.newest.insert(key, layer.block.number);
        }
        self.chain.push_back(layer);
    }

    /// Takes the layers above this block of the chain out again.
    pub(super) fn retire_above(&mut self, hash: B256) {
        let mut retired = Vec::new();
        while self.head().hash != hash {
            retired.extend(self.chain.pop_back());
        }
        for key in retired.iter().flat_map(|layer| keys(&layer.changes)) {
            match self.chain.iter().rev().find(|layer| has(&layer.changes, &key)) {
                Some(layer) => self.newest.insert(key, layer.block.number),
                None => self.newest.remove(&key),
            };
        }
    }

    /// Moves the base up over this layer.
    pub(super) fn advance(&mut self, layer: &Layer) {
        if self.chain.front().is_none_or(|lowest| lowest.block != layer.block) {
            *self = Self::new(layer.block);
            return;
        }
        self.chain.pop_front();
        self.base = layer.block;
        for key in keys(&layer.changes) {
            if self.newest.get(&key) == Some(&layer.block.number) {
                self.newest.remove(&key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn keys_count(&self) -> usize {
        self.newest.len()
    }

    fn position(&self, number: u64) -> usize {
        let above = number - self.base.number - 1;
        usize::try_from(above).expect("the chain is in memory")
    }
}

pub(super) fn keys(changes: &StateChanges) -> impl Iterator<Item = Key> {
    let accounts = changes.accounts.keys().map(|hash| Key::Account(*hash));
    let slots = changes
        .slots
        .iter()
        .flat_map(|(owner, slots)| slots.keys().map(|slot| Key::Slot(*owner, *slot)));
    let nodes = changes.account_nodes.keys().map(|path| Key::Node(None, *path));
    let slot_nodes = changes
        .slot_nodes
        .iter()
        .flat_map(|(owner, nodes)| nodes.keys().map(|path| Key::Node(Some(*owner), *path)));
    let codes = changes.codes.keys().map(|hash| Key::Code(*hash));
    iter::chain(iter::chain(accounts, slots), iter::chain(iter::chain(nodes, slot_nodes), codes))
}

fn has(changes: &StateChanges, key: &Key) -> bool {
    match key {
        Key::Account(hash) => changes.accounts.contains_key(hash),
        Key::Slot(owner, slot) => {
            changes.slots.get(owner).is_some_and(|slots| slots.contains_key(slot))
        }
        Key::Node(None, path) => changes.account_nodes.contains_key(path),
        Key::Node(Some(owner), path) => {
            changes.slot_nodes.get(owner).is_some_and(|nodes| nodes.contains_key(path))
        }
        Key::Code(hash) => changes.codes.contains_key(hash),
    }
}
