mod edit;
mod hash;
mod links;
mod node;

use alloy_trie::Nibbles;
use primitives::{B256, Bytes, EMPTY_ROOT_HASH, keccak256, map::HashMap};

pub(crate) use hash::Records;
pub use links::NodeLinks;

use crate::{MemoryState, ReadError, StateReader, StorageOwner};
use edit::{Edit, load};
use hash::{Take, collapse, encode, refresh, root_hash};
use node::Node;

/// A Merkle-Patricia trie (Yellow Paper, appendix D) that loads its nodes when it needs them and
/// hashes again only what changed.
///
/// Its nodes are stored by path. The root has a record, and every node that its parent knows by
/// hash; nodes of less than 32 bytes lie inside their parent.
#[derive(Debug)]
pub struct Trie {
    root: Node,
    /// Records that were at these paths at the last take, and whose nodes are gone since.
    vanished: HashMap<Nibbles, B256>,
    /// Nodes in memory, counted from above: what was dropped is not subtracted at once.
    loaded: usize,
    buffer: Vec<u8>,
}

/// Which trie is meant, and who knows its nodes.
#[derive(Debug)]
pub(crate) struct Source<'a, R> {
    pub(crate) reader: &'a R,
    pub(crate) owner: Option<StorageOwner>,
}

impl<R> Clone for Source<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Source<'_, R> {}

impl Default for Trie {
    fn default() -> Self {
        Self::new()
    }
}

impl Trie {
    /// An empty trie in memory.
    #[must_use]
    pub fn new() -> Self {
        Self::at(EMPTY_ROOT_HASH)
    }

    /// Sets the value of a key; an empty value removes it.
    ///
    /// # Panics
    ///
    /// If the key is longer than 32 bytes.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        let nothing = MemoryState::default();
        let source = Source { reader: &nothing, owner: None };
        self.set(source, Nibbles::unpack(key), value).expect("all nodes are in memory");
    }

    /// Removes a key if it is there.
    ///
    /// # Panics
    ///
    /// If the key is longer than 32 bytes.
    pub fn remove(&mut self, key: &[u8]) {
        self.insert(key, &[]);
    }

    /// The hash of everything in it. Cheap to call again: only what changed is hashed.
    pub fn root(&mut self) -> B256 {
        refresh(&mut self.root, &mut self.buffer);
        match &self.root {
            Node::Empty => EMPTY_ROOT_HASH,
            Node::Hash(hash) => *hash,
            loaded => root_hash(loaded.meta().expect("a loaded node has meta data")),
        }
    }

    /// The trie with this root, nothing of it loaded.
    pub(crate) fn at(root: B256) -> Self {
        let root = if root == EMPTY_ROOT_HASH { Node::Empty } else { Node::Hash(root) };
        let vanished = HashMap::default();
        Self { root, vanished, loaded: 0, buffer: Vec::new() }
    }

    /// The trie whose root record the reader has, whatever its hash.
    pub(crate) fn stored<R: StateReader>(source: Source<'_, R>) -> Result<Self, ReadError> {
        let rlp = source.reader.node(source.owner, &Nibbles::new())?;
        Ok(Self::at(rlp.map_or(EMPTY_ROOT_HASH, keccak256)))
    }

    /// Sets the value of a key; an empty value removes it. After an error the trie is not usable.
    pub(crate) fn set<R: StateReader>(
        &mut self,
        source: Source<'_, R>,
        key: Nibbles,
        value: &[u8],
    ) -> Result<(), ReadError> {
        let mut edit = Edit { source, key, vanished: &mut self.vanished, loaded: 0 };
        if value.is_empty() {
            edit.remove(&mut self.root, 0)?;
        } else {
            edit.insert(&mut self.root, 0, value)?;
        }
        self.loaded += edit.loaded;
        Ok(())
    }

    /// Lists the records that differ from those of the last take.
    pub(crate) fn take(&mut self, records: &mut Records) {
        refresh(&mut self.root, &mut self.buffer);
        let mut take = Take { records, vanished: &mut self.vanished };
        take.visit(&mut self.root, Nibbles::new());
        records.changed.extend(self.vanished.drain().map(|(path, _)| (path, None)));
    }

    /// Says that the reader now has everything that was taken. If there are more nodes in memory
    /// than this, the lower ones are dropped: the upper ones are few, and on every way.
    pub(crate) fn settle(&mut self, nodes_max: usize) {
        if self.loaded > nodes_max {
            let levels = nodes_max.checked_ilog(16).unwrap_or(0);
            self.loaded = collapse(&mut self.root, levels);
        }
    }

    /// Nodes in memory, at most.
    pub(crate) const fn loaded(&self) -> usize {
        self.loaded
    }

    /// The records from the root towards a key, as `eth_getProof` gives them (EIP-1186).
    pub(crate) fn prove<R: StateReader>(
        &mut self,
        source: Source<'_, R>,
        key: &Nibbles,
    ) -> Result<Vec<Bytes>, ReadError> {
        refresh(&mut self.root, &mut self.buffer);
        let mut proof = Vec::new();
        let mut node = &mut self.root;
        let mut depth = 0;
        loop {
            if let Node::Hash(hash) = node {
                *node = load(source, *hash, &key.slice(..depth))?;
                self.loaded += 1;
            }
            let Some(meta) = node.meta() else { return Ok(proof) };
            if depth == 0 || meta.reference.as_hash().is_some() {
                let mut rlp = Vec::new();
                encode(node, &mut rlp);
                proof.push(rlp.into());
            }
            match node {
                Node::Empty | Node::Hash(_) | Node::Leaf(_) => return Ok(proof),
                Node::Extension(extension) => {
                    if !key.slice(depth..).starts_with(&extension.path) {
                        return Ok(proof);
                    }
                    depth += extension.path.len();
                    node = &mut extension.child;
                }
                Node::Branch(branch) => {
                    let Some(nibble) = key.get(depth) else { return Ok(proof) };
                    depth += 1;
                    node = &mut branch.children[usize::from(nibble)];
                }
            }
        }
    }
}

/// The records from a root towards each of these keys, every record once, in the order of the keys
/// and from the root downwards: what shows, with everything between two keys, that nothing between
/// them was left out. Without an owner it is the account trie that is meant.
///
/// # Errors
///
/// When the reader fails, or a node is not there or not what it should be.
pub fn prove_keys<R: StateReader>(
    reader: &R,
    owner: Option<StorageOwner>,
    root: B256,
    keys: &[B256],
) -> Result<Vec<Bytes>, ReadError> {
    let (mut trie, source) = (Trie::at(root), Source { reader, owner });
    let mut proof = Vec::new();
    for key in keys {
        for node in trie.prove(source, &Nibbles::unpack_array(key))? {
            if !proof.contains(&node) {
                proof.push(node);
            }
        }
    }
    Ok(proof)
}

#[cfg(test)]
mod tests;
