use alloy_trie::nodes::{RlpNode, TrieNode};
use primitives::{B256, Bytes, keccak256};
use state::{Nibbles, StateReader, StorageOwner};

use super::PROBLEMS_MAX;
use crate::{StateAt, StorageError};

/// Walks a whole trie by its records and hands out its leaves in the order of their keys.
///
/// Every record is checked against the hash by which its parent, or the block, knows it.
pub(super) struct Walk<'a> {
    state: &'a StateAt,
    owner: Option<StorageOwner>,
    /// How many records were read.
    pub(super) nodes: u64,
    /// What did not hold.
    pub(super) problems: Vec<String>,
}

/// Takes the key and the value of a leaf.
type Leaf<'a> = &'a mut dyn FnMut(B256, &[u8]) -> Result<(), StorageError>;

impl<'a> Walk<'a> {
    pub(super) const fn new(state: &'a StateAt, owner: Option<StorageOwner>) -> Self {
        Self { state, owner, nodes: 0, problems: Vec::new() }
    }

    /// Walks the trie with this root, which is not empty.
    pub(super) fn run(&mut self, root: B256, leaf: Leaf<'_>) -> Result<(), StorageError> {
        self.record(root, Nibbles::new(), leaf)
    }

    fn record(&mut self, hash: B256, path: Nibbles, leaf: Leaf<'_>) -> Result<(), StorageError> {
        let node: Option<Bytes> = self.state.node(self.owner, &path)?;
        let Some(node) = node else {
            self.problem(&path, "is missing");
            return Ok(());
        };
        self.nodes += 1;
        if keccak256(&node) != hash {
            self.problem(&path, "is not the one its parent names");
            return Ok(());
        }
        self.node(&node, path, leaf)
    }

    fn node(&mut self, rlp: &[u8], path: Nibbles, leaf: Leaf<'_>) -> Result<(), StorageError> {
        let Ok(node) = alloy_rlp::decode_exact::<TrieNode>(rlp) else {
            self.problem(&path, "does not decode");
            return Ok(());
        };
        match node {
            TrieNode::EmptyRoot => self.problem(&path, "is empty"),
            TrieNode::Leaf(node) => match key(path.join(&node.key)) {
                Some(key) => leaf(key, &node.value)?,
                None => self.problem(&path, "is a leaf at a wrong depth"),
            },
            TrieNode::Extension(node) => self.child(&node.child, path.join(&node.key), leaf)?,
            TrieNode::Branch(node) => {
                let children = (0..16).filter(|nibble| node.state_mask.is_bit_set(*nibble));
                for (nibble, child) in children.zip(&node.stack) {
                    let mut path = path;
                    path.push(nibble);
                    self.child(child, path, leaf)?;
                }
            }
        }
        Ok(())
    }

    fn child(
        &mut self,
        child: &RlpNode,
        path: Nibbles,
        leaf: Leaf<'_>,
    ) -> Result<(), StorageError> {
        if path.len() > 64 {
            self.problem(&path, "is too deep");
            return Ok(());
        }
        match child.as_hash() {
            Some(hash) => self.record(hash, path, leaf),
            None => self.node(child, path, leaf),
        }
    }

    fn problem(&mut self, path: &Nibbles, what: &str) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let of = match self.owner {
            None => "of the account trie".to_owned(),
            Some(owner) => format!("of account {}", owner.address_hash),
        };
        self.problems.push(format!("node {path:?} {of} {what}"));
    }
}

fn key(path: Nibbles) -> Option<B256> {
    if path.len() == 64 { Some(B256::from_slice(&path.pack())) } else { None }
}
