use std::ops::Range;

use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};
use alloy_trie::{Nibbles, nodes::RlpNode};
use primitives::{B256, keccak256, map::HashMap};

use super::node::{Branch, Meta, Node};

/// Where the new records of a trie go: their RLP one after the other, and where each one lies.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The RLP of all new records.
    pub(crate) rlp: Vec<u8>,
    /// Each changed path, with its part of `rlp`, or `None` if no record is left there.
    pub(crate) changed: Vec<(Nibbles, Option<Range<usize>>)>,
}

/// Hashes a node again where it or something below it was touched. `buffer` is used as a stack.
pub(super) fn refresh(node: &mut Node, buffer: &mut Vec<u8>) {
    if node.meta().is_none_or(|meta| !meta.reference.is_empty()) {
        return;
    }
    match node {
        Node::Empty | Node::Hash(_) | Node::Leaf(_) => {}
        Node::Extension(extension) => refresh(&mut extension.child, buffer),
        Node::Branch(branch) => {
            for child in &mut branch.children {
                refresh(child, buffer);
            }
        }
    }
    let start = buffer.len();
    encode(node, buffer);
    let reference = RlpNode::from_rlp(&buffer[start..]);
    buffer.truncate(start);
    if let Some(meta) = node.meta_mut() {
        meta.reference = reference;
    }
}

/// Hash of a node that has been refreshed and is the root.
pub(super) fn root_hash(meta: &Meta) -> B256 {
    meta.reference.as_hash().unwrap_or_else(|| keccak256(&meta.reference))
}

/// Appends the RLP of a loaded node whose children have been refreshed.
pub(super) fn encode(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Empty | Node::Hash(_) => encode_reference(node, out),
        Node::Leaf(leaf) => {
            let payload_length = path_length(&leaf.path) + leaf.value.as_slice().length();
            Header { list: true, payload_length }.encode(out);
            encode_path(&leaf.path, true, out);
            leaf.value.as_slice().encode(out);
        }
        Node::Extension(extension) => {
            let payload_length = path_length(&extension.path) + reference_length(&extension.child);
            Header { list: true, payload_length }.encode(out);
            encode_path(&extension.path, false, out);
            encode_reference(&extension.child, out);
        }
        Node::Branch(branch) => encode_branch(branch, out),
    }
}

fn encode_branch(branch: &Branch, out: &mut Vec<u8>) {
    let value = branch.value.as_deref().unwrap_or_default();
    let children_length: usize = branch.children.iter().map(reference_length).sum();
    Header { list: true, payload_length: children_length + value.length() }.encode(out);
    for child in &branch.children {
        encode_reference(child, out);
    }
    value.encode(out);
}

fn reference_length(child: &Node) -> usize {
    match child {
        Node::Empty => 1,
        Node::Hash(_) => 33,
        Node::Leaf(leaf) => leaf.meta.reference.len(),
        Node::Extension(extension) => extension.meta.reference.len(),
        Node::Branch(branch) => branch.meta.reference.len(),
    }
}

fn encode_reference(child: &Node, out: &mut Vec<u8>) {
    match child {
        Node::Empty => out.push(EMPTY_STRING_CODE),
        Node::Hash(hash) => {
            out.push(EMPTY_STRING_CODE + 32);
            out.extend_from_slice(hash.as_slice());
        }
        Node::Leaf(leaf) => out.extend_from_slice(&leaf.meta.reference),
        Node::Extension(extension) => out.extend_from_slice(&extension.meta.reference),
        Node::Branch(branch) => out.extend_from_slice(&branch.meta.reference),
    }
}

/// Length of the RLP of a path in hex-prefix encoding.
fn path_length(path: &Nibbles) -> usize {
    let bytes = path.len() / 2 + 1;
    // One byte below 0x80, which every first byte of a path is, is its own RLP.
    if bytes == 1 { 1 } else { 1 + bytes }
}

/// The hex-prefix encoding of the Yellow Paper, appendix C, as RLP.
fn encode_path(path: &Nibbles, is_leaf: bool, out: &mut Vec<u8>) {
    let mut first = if is_leaf { 0x20 } else { 0x00 };
    let odd = path.len() % 2;
    if odd == 1 {
        first |= 0x10 | path.get_unchecked(0);
    }
    let bytes = path.len() / 2 + 1;
    if bytes > 1 {
        // At most 33 bytes, so the length fits the short form.
        out.push(EMPTY_STRING_CODE + u8::try_from(bytes).expect("a path has at most 64 nibbles"));
    }
    out.push(first);
    out.extend_from_slice(&path.slice(odd..).pack());
}

/// Walks what changed since the last take and lists the records that differ.
pub(super) struct Take<'a> {
    pub(super) records: &'a mut Records,
    pub(super) vanished: &'a mut HashMap<Nibbles, B256>,
}

impl Take<'_> {
    pub(super) fn visit(&mut self, node: &mut Node, path: Nibbles) {
        if !node.meta().is_some_and(|meta| meta.unsaved) {
            return;
        }
        self.record(node, path);
        match node {
            Node::Empty | Node::Hash(_) | Node::Leaf(_) => {}
            Node::Extension(extension) => {
                self.visit(&mut extension.child, path.join(&extension.path));
            }
            Node::Branch(branch) => {
                for (nibble, child) in (0..).zip(&mut branch.children) {
                    if child.meta().is_some_and(|meta| meta.unsaved) {
                        let mut path = path;
                        path.push(nibble);
                        self.visit(child, path);
                    }
                }
            }
        }
    }

    /// Brings the record at this path up to date: there is one for the root and for every node that
    /// its parent knows by hash.
    fn record(&mut self, node: &mut Node, path: Nibbles) {
        let meta = node.meta().expect("only loaded nodes are unsaved");
        let hash = meta.reference.as_hash();
        let hash = if path.is_empty() { Some(root_hash(meta)) } else { hash };
        let mut saved = meta.saved;
        if saved.is_none() && hash.is_some() && !self.vanished.is_empty() {
            saved = self.vanished.remove(&path);
        }
        if saved != hash {
            let range = hash.map(|_| {
                let start = self.records.rlp.len();
                encode(node, &mut self.records.rlp);
                start..self.records.rlp.len()
            });
            self.records.changed.push((path, range));
        }
        let meta = node.meta_mut().expect("only loaded nodes are unsaved");
        meta.saved = hash;
        meta.unsaved = false;
    }
}

/// Turns nodes below this many levels back into hashes, unless they changed since the last take.
/// Returns how many nodes are left.
pub(super) fn collapse(node: &mut Node, levels: u32) -> usize {
    let Some(meta) = node.meta() else { return 0 };
    if levels == 0
        && !meta.unsaved
        && let Some(hash) = meta.reference.as_hash()
    {
        *node = Node::Hash(hash);
        return 0;
    }
    let levels = levels.saturating_sub(1);
    1 + match node {
        Node::Empty | Node::Hash(_) | Node::Leaf(_) => 0,
        Node::Extension(extension) => collapse(&mut extension.child, levels),
        Node::Branch(branch) => {
            branch.children.iter_mut().map(|child| collapse(child, levels)).sum()
        }
    }
}
