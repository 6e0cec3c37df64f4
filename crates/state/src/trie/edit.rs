use std::mem;

use alloy_trie::Nibbles;
use primitives::{B256, hex, keccak256, map::HashMap};

use super::{
    Source,
    node::{Branch, Node},
};
use crate::{ReadError, StateReader};

/// One change of a trie: the walk from the root to a key.
pub(super) struct Edit<'a, R> {
    pub(super) source: Source<'a, R>,
    pub(super) key: Nibbles,
    pub(super) vanished: &'a mut HashMap<Nibbles, B256>,
    /// How many nodes came into memory.
    pub(super) loaded: usize,
}

/// Reads a node and checks that it is the one its parent means.
pub(super) fn load<R: StateReader>(
    source: Source<'_, R>,
    hash: B256,
    path: &Nibbles,
) -> Result<Node, ReadError> {
    let Some(rlp) = source.reader.node(source.owner, path)? else {
        return Err(ReadError::MissingNode { hash, path: *path });
    };
    let node = if keccak256(&rlp) == hash { Node::decode(&rlp, hash) } else { None };
    node.ok_or_else(|| {
        let key = source.owner.map(|owner| format!("{owner:?} ")).unwrap_or_default();
        ReadError::Corrupt { what: "trie node", key: key + &hex::encode(path.to_vec()) }
    })
}

impl<R: StateReader> Edit<'_, R> {
    /// Whether the trie changed.
    pub(super) fn insert(
        &mut self,
        node: &mut Node,
        depth: usize,
        value: &[u8],
    ) -> Result<bool, ReadError> {
        match node {
            Node::Empty => {
                *node = Node::leaf(self.key.slice(depth..), value.to_vec(), None);
                self.loaded += 1;
                Ok(true)
            }
            Node::Hash(hash) => {
                *node = self.load(*hash, self.key.slice(..depth))?;
                self.insert(node, depth, value)
            }
            Node::Leaf(leaf) => {
                let rest = self.key.slice(depth..);
                if leaf.path != rest {
                    let mut branch = Branch::new();
                    let common = leaf.path.common_prefix_length(&rest);
                    branch.place(leaf.path.slice(common..), mem::take(&mut leaf.value));
                    branch.place(rest.slice(common..), value.to_vec());
                    *node = branch.behind(rest.slice(..common), leaf.meta.saved);
                    self.loaded += 3;
                    return Ok(true);
                }
                if leaf.value == value {
                    return Ok(false);
                }
                leaf.value.clear();
                leaf.value.extend_from_slice(value);
                leaf.meta.touch();
                Ok(true)
            }
            Node::Extension(extension) => {
                let rest = self.key.slice(depth..);
                let common = extension.path.common_prefix_length(&rest);
                if common == extension.path.len() {
                    let changed = self.insert(&mut extension.child, depth + common, value)?;
                    if changed {
                        extension.meta.touch();
                    }
                    return Ok(changed);
                }
                let mut branch = Branch::new();
                let nibble = extension.path.get_unchecked(common);
                let below = extension.path.slice(common + 1..);
                let mut child = mem::take(&mut extension.child);
                if !below.is_empty() {
                    child = Node::extension(below, child, None);
                }
                branch.children[usize::from(nibble)] = child;
                branch.place(rest.slice(common..), value.to_vec());
                *node = branch.behind(rest.slice(..common), extension.meta.saved);
                self.loaded += 3;
                Ok(true)
            }
            Node::Branch(branch) => {
                let changed = match self.key.get(depth) {
                    Some(nibble) => {
                        let child = &mut branch.children[usize::from(nibble)];
                        self.insert(child, depth + 1, value)?
                    }
                    None if branch.value.as_deref() == Some(value) => false,
                    None => {
                        branch.value = Some(value.to_vec());
                        true
                    }
                };
                if changed {
                    branch.meta.touch();
                }
                Ok(changed)
            }
        }
    }

    /// Whether the key was there.
    pub(super) fn remove(&mut self, node: &mut Node, depth: usize) -> Result<bool, ReadError> {
        match node {
            Node::Empty => Ok(false),
            Node::Hash(hash) => {
                *node = self.load(*hash, self.key.slice(..depth))?;
                self.remove(node, depth)
            }
            Node::Leaf(leaf) => {
                if leaf.path != self.key.slice(depth..) {
                    return Ok(false);
                }
                self.vanish(self.key.slice(..depth), leaf.meta.saved);
                *node = Node::Empty;
                Ok(true)
            }
            Node::Extension(extension) => {
                let below = depth + extension.path.len();
                if !self.key.slice(depth..).starts_with(&extension.path)
                    || !self.remove(&mut extension.child, below)?
                {
                    return Ok(false);
                }
                extension.meta.touch();
                let (prefix, saved) = (extension.path, extension.meta.saved);
                let path = self.key.slice(..below);
                if let Some(joined) = self.join(prefix, &mut extension.child, path, saved) {
                    *node = joined;
                }
                Ok(true)
            }
            Node::Branch(branch) => {
                let removed = match self.key.get(depth) {
                    Some(nibble) => {
                        self.remove(&mut branch.children[usize::from(nibble)], depth + 1)?
                    }
                    None => branch.value.take().is_some(),
                };
                if removed {
                    branch.meta.touch();
                    if let Some(smaller) = self.shrink(branch, depth)? {
                        *node = smaller;
                    }
                }
                Ok(removed)
            }
        }
    }

    /// What takes the place of a branch with only one thing left in it.
    fn shrink(&mut self, branch: &mut Branch, depth: usize) -> Result<Option<Node>, ReadError> {
        let saved = branch.meta.saved;
        let mut children =
            (0_u8..).zip(&mut branch.children).filter(|(_, child)| !child.is_empty());
        let Some((nibble, child)) = children.next() else {
            return Ok(branch.value.take().map(|value| Node::leaf(Nibbles::new(), value, saved)));
        };
        if children.next().is_some() || branch.value.is_some() {
            return Ok(None);
        }
        let prefix = Nibbles::from_nibbles([nibble]);
        let path = self.key.slice(..depth).join(&prefix);
        if let Node::Hash(hash) = child {
            *child = self.load(*hash, path)?;
        }
        let joined = self.join(prefix, child, path, saved);
        Ok(Some(joined.unwrap_or_else(|| Node::extension(prefix, mem::take(child), saved))))
    }

    /// A leaf or extension below a prefix becomes one node with it, and its own path is free.
    fn join(
        &mut self,
        prefix: Nibbles,
        child: &mut Node,
        child_path: Nibbles,
        saved: Option<B256>,
    ) -> Option<Node> {
        match child {
            Node::Empty | Node::Hash(_) | Node::Branch(_) => None,
            Node::Leaf(leaf) => {
                self.vanish(child_path, leaf.meta.saved);
                Some(Node::leaf(prefix.join(&leaf.path), mem::take(&mut leaf.value), saved))
            }
            Node::Extension(extension) => {
                self.vanish(child_path, extension.meta.saved);
                let below = mem::take(&mut extension.child);
                Some(Node::extension(prefix.join(&extension.path), below, saved))
            }
        }
    }

    fn load(&mut self, hash: B256, path: Nibbles) -> Result<Node, ReadError> {
        self.loaded += 1;
        load(self.source, hash, &path)
    }

    /// The node at this path is gone; if it had a record, the record must go too.
    fn vanish(&mut self, path: Nibbles, saved: Option<B256>) {
        if let Some(hash) = saved {
            self.vanished.insert(path, hash);
        }
    }
}
