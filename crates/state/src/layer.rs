mod index;

use std::{iter, sync::Arc};

use alloy_rlp::{BufMut, Decodable, Encodable, RlpDecodable, RlpEncodable};
use alloy_trie::Nibbles;
use primitives::{B256, BlockNumHash, Bytes, U256};

use crate::{Account, StateChanges, StorageOwner};
use index::{Index, Key};

/// What one executed block above the base changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The block.
    pub block: BlockNumHash,
    /// Hash of its parent: the layer below, or the base.
    pub parent: B256,
    /// The state root behind the block.
    pub root: B256,
    /// From the parent's state to this one.
    pub changes: StateChanges,
}

/// All layers above a base: a tree of executed blocks, the base its trunk.
///
/// Cheap to clone: versions share their structure, and a change of one leaves the others alone. One
/// chain of the tree is indexed, so that a read at its head does not search the layers.
#[derive(Debug, Clone)]
pub struct Layers {
    layers: imbl::HashMap<B256, Arc<Layer>>,
    /// Children by parent, so that a dead branch is found without looking at the others.
    children: imbl::HashMap<B256, Arc<[B256]>>,
    index: Index,
}

/// The layers from one block down to the base, as one.
///
/// `None` as an answer to a look-up means that no layer says anything: ask the base.
#[derive(Debug, Clone)]
pub struct LayerView(Lookup);

#[derive(Debug, Clone)]
enum Lookup {
    Indexed(Index),
    /// Newest first.
    Walk(Arc<[Arc<Layer>]>),
}

#[derive(RlpEncodable, RlpDecodable)]
struct LayerRow {
    number: u64,
    hash: B256,
    parent: B256,
    root: B256,
}

impl Encodable for Layer {
    fn encode(&self, out: &mut dyn BufMut) {
        self.row().encode(out);
        self.changes.encode(out);
    }

    fn length(&self) -> usize {
        self.row().length() + self.changes.length()
    }
}

impl Decodable for Layer {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let LayerRow { number, hash, parent, root } = LayerRow::decode(buf)?;
        let block = BlockNumHash { number, hash };
        Ok(Self { block, parent, root, changes: StateChanges::decode(buf)? })
    }
}

impl Layer {
    fn row(&self) -> LayerRow {
        let BlockNumHash { number, hash } = self.block;
        LayerRow { number, hash, parent: self.parent, root: self.root }
    }
}

impl Layers {
    /// No layers above this block.
    #[must_use]
    pub fn new(base: BlockNumHash) -> Self {
        let (layers, children) = Default::default();
        Self { layers, children, index: Index::new(base) }
    }

    /// The block whose state is below all layers.
    #[must_use]
    pub const fn base(&self) -> BlockNumHash {
        self.index.base()
    }

    /// With one more layer, see [`Self::add`].
    ///
    /// # Panics
    ///
    /// As [`Self::add`].
    #[must_use]
    pub fn with(&self, layer: Arc<Layer>) -> Self {
        let mut next = self.clone();
        next.add(layer);
        next
    }

    /// With the chain up to this block indexed, see [`Self::set_head`].
    ///
    /// # Panics
    ///
    /// As [`Self::set_head`].
    #[must_use]
    pub fn with_head(&self, head: B256) -> Self {
        let mut next = self.clone();
        next.set_head(head);
        next
    }

    /// With the base moved up over these layers, and the layers that this drops, see
    /// [`Self::raise`].
    ///
    /// # Panics
    ///
    /// As [`Self::raise`].
    #[must_use]
    pub fn advance(&self, to: &[Arc<Layer>]) -> (Self, Vec<Arc<Layer>>) {
        let mut next = self.clone();
        let dropped = next.raise(to);
        (next, dropped)
    }

    /// Adds a layer. The index stays where it is, see [`Self::set_head`].
    ///
    /// # Panics
    ///
    /// If the layer's number is not the one after its parent's, as far as the parent is known.
    pub fn add(&mut self, layer: Arc<Layer>) {
        let base = self.base();
        let (hash, parent) = (layer.block.hash, layer.parent);
        let number = match self.layers.get(&parent) {
            Some(parent) => Some(parent.block.number),
            None => (parent == base.hash).then_some(base.number),
        };
        if let Some(number) = number {
            assert_eq!(number + 1, layer.block.number, "a layer lies on its parent's");
        }
        if self.layers.insert(hash, layer).is_none() {
            let siblings = self.children.get(&parent).into_iter().flat_map(|known| known.iter());
            let children = siblings.copied().chain([hash]).collect();
            self.children.insert(parent, children);
        }
    }

    /// Indexes the chain up to this block. Costs what differs from the chain indexed before.
    ///
    /// # Panics
    ///
    /// If no chain of layers leads from the base to this block.
    pub fn set_head(&mut self, head: B256) {
        let mut added = Vec::new();
        let mut hash = head;
        while !self.index.contains(hash) {
            let layer = self.layers.get(&hash).expect("a head descends from the base");
            added.push(Arc::clone(layer));
            hash = layer.parent;
        }
        self.index.retire_above(hash);
        for layer in added.into_iter().rev() {
            self.index.push(layer);
        }
    }

    /// Moves the base up over these layers, the lowest first, and gives back the layers that do not
    /// descend from the new base. If the indexed head is among those, nothing is indexed any more.
    ///
    /// # Panics
    ///
    /// If these are not a chain that begins above the base.
    pub fn raise(&mut self, to: &[Arc<Layer>]) -> Vec<Arc<Layer>> {
        let mut dropped = Vec::new();
        for layer in to {
            assert_eq!(layer.parent, self.base().hash, "the base moves from parent to child");
            self.layers.remove(&layer.block.hash);
            for child in self.take_children(layer.parent) {
                if child != layer.block.hash {
                    self.drop_branch(child, &mut dropped);
                }
            }
            self.index.advance(layer);
        }
        dropped
    }

    /// The layer of a block.
    #[must_use]
    pub fn get(&self, hash: B256) -> Option<&Arc<Layer>> {
        self.layers.get(&hash)
    }

    /// Whether there is a layer of this block. The base has none.
    #[must_use]
    pub fn contains(&self, hash: B256) -> bool {
        self.layers.contains_key(&hash)
    }

    /// How many layers there are, side blocks included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// All layers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Layer>> {
        self.layers.values()
    }

    /// The block whose chain is indexed; at first the base.
    #[must_use]
    pub fn head(&self) -> BlockNumHash {
        self.index.head()
    }

    /// The layers from just above the base up to this block, lowest first; empty for the base,
    /// `None` for a block that does not descend from it.
    #[must_use]
    pub fn chain_to(&self, hash: B256) -> Option<Vec<Arc<Layer>>> {
        let mut chain = Vec::new();
        let mut hash = hash;
        while hash != self.base().hash {
            let layer = self.layers.get(&hash)?;
            chain.push(Arc::clone(layer));
            hash = layer.parent;
        }
        chain.reverse();
        Some(chain)
    }

    /// What the layers say about the state behind this block; `None` for a block that is neither
    /// the base nor descends from it.
    #[must_use]
    pub fn view(&self, hash: B256) -> Option<LayerView> {
        if self.index.head().hash == hash {
            return Some(LayerView(Lookup::Indexed(self.index.clone())));
        }
        let mut chain = self.chain_to(hash)?;
        chain.reverse();
        Some(LayerView(Lookup::Walk(chain.into())))
    }

    fn take_children(&mut self, parent: B256) -> Vec<B256> {
        self.children.remove(&parent).map(|children| children.to_vec()).unwrap_or_default()
    }

    fn drop_branch(&mut self, hash: B256, dropped: &mut Vec<Arc<Layer>>) {
        let mut open = vec![hash];
        while let Some(hash) = open.pop() {
            dropped.extend(self.layers.remove(&hash));
            open.extend(self.take_children(hash));
        }
    }
}

impl LayerView {
    /// An account by hash of its address; `Some(None)` is one that is gone.
    #[must_use]
    pub fn account(&self, address_hash: B256) -> Option<Option<Account>> {
        self.find(
            || Key::Account(address_hash),
            |changes| changes.accounts.get(&address_hash).copied(),
        )
    }

    /// The value of a slot, zero for one that is gone.
    #[must_use]
    pub fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Option<U256> {
        self.find(
            || Key::Slot(owner, slot_hash),
            |changes| changes.slots.get(&owner)?.get(&slot_hash).copied(),
        )
    }

    /// A stored trie node, of the account trie if there is no owner; `Some(None)` is a path without
    /// one.
    #[must_use]
    pub fn node(&self, owner: Option<StorageOwner>, path: &Nibbles) -> Option<Option<Bytes>> {
        self.find(
            || Key::Node(owner, *path),
            |changes| match owner {
                None => changes.account_nodes.get(path).cloned(),
                Some(owner) => changes.slot_nodes.get(&owner)?.get(path).cloned(),
            },
        )
    }

    /// Code by its hash.
    #[must_use]
    pub fn code(&self, code_hash: B256) -> Option<Bytes> {
        self.find(|| Key::Code(code_hash), |changes| changes.codes.get(&code_hash).cloned())
    }

    /// The address or slot behind a hash. Searches all layers.
    #[must_use]
    pub fn preimage(&self, hash: B256) -> Option<Bytes> {
        self.layers().find_map(|layer| layer.changes.preimages.get(&hash).cloned())
    }

    /// The layers, newest first.
    pub fn layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        let (indexed, walk) = match &self.0 {
            Lookup::Indexed(index) => (Some(index.layers().rev()), [].iter()),
            Lookup::Walk(layers) => (None, layers.iter()),
        };
        iter::chain(indexed.into_iter().flatten(), walk)
    }

    fn find<T>(
        &self,
        key: impl FnOnce() -> Key,
        value: impl Fn(&StateChanges) -> Option<T>,
    ) -> Option<T> {
        match &self.0 {
            Lookup::Indexed(index) => value(&index.newest(&key())?.changes),
            Lookup::Walk(layers) => layers.iter().find_map(|layer| value(&layer.changes)),
        }
    }
}

#[cfg(test)]
mod tests;
