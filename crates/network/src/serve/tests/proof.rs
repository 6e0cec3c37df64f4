//! Whether a range with its proof shows that nothing was left out, found out in another way than
//! the one in which proofs are made.

use std::collections::BTreeMap;

use alloy_trie::{
    HashBuilder, Nibbles,
    nodes::{RlpNode, TrieNode},
};
use primitives::{Bytes, keccak256};

use alloy_rlp::Decodable;

use super::*;

/// Checks that a trie has these values, and no others, from `first` up to and including `last`.
pub(super) fn verify_range(
    root: B256,
    (first, last): (B256, B256),
    values: &BTreeMap<B256, Vec<u8>>,
    proof: &[Bytes],
) {
    assert!(values.keys().all(|key| (first..=last).contains(key)));
    let nodes = proof.iter().map(|node| (keccak256(node), node)).collect();
    let mut range = Range { first, last, values, nodes, found: 0 };
    range.check(&RlpNode::word_rlp(&root), Nibbles::new());
    assert_eq!(range.found, values.len(), "every value is in the trie");
}

struct Range<'a> {
    first: B256,
    last: B256,
    values: &'a BTreeMap<B256, Vec<u8>>,
    nodes: BTreeMap<B256, &'a Bytes>,
    found: usize,
}

impl Range<'_> {
    fn check(&mut self, reference: &RlpNode, path: Nibbles) {
        let node = match reference.as_hash() {
            None => TrieNode::decode(&mut &reference[..]).unwrap(),
            Some(hash) => match self.nodes.get(&hash) {
                Some(node) => TrieNode::decode(&mut &node[..]).unwrap(),
                None => return self.check_unseen(hash, &path),
            },
        };
        match node {
            TrieNode::EmptyRoot => {}
            TrieNode::Leaf(leaf) => {
                let key = B256::from_slice(&path.join(&leaf.key).pack());
                if (self.first..=self.last).contains(&key) {
                    assert_eq!(self.values.get(&key), Some(&leaf.value));
                    self.found += 1;
                }
            }
            TrieNode::Extension(extension) => {
                self.check(&extension.child, path.join(&extension.key));
            }
            TrieNode::Branch(branch) => {
                for (nibble, child) in branch.as_ref().children() {
                    if let Some(child) = child {
                        self.check(child, path.join(&Nibbles::from_nibbles([nibble])));
                    }
                }
            }
        }
    }

    /// A node that is not in the proof lies outside the range, or has nothing but values of it.
    fn check_unseen(&mut self, hash: B256, path: &Nibbles) {
        let end = |nibble: u8| {
            let rest = Nibbles::from_nibbles(vec![nibble; 64 - path.len()]);
            B256::from_slice(&path.join(&rest).pack())
        };
        let (low, high) = (end(0), end(15));
        if high < self.first || low > self.last {
            return;
        }
        assert!(low >= self.first && high <= self.last, "a node of the edge is missing: {path:?}");
        let mut below = HashBuilder::default();
        for (key, value) in self.values.range(low..=high) {
            below.add_leaf(Nibbles::unpack(key).slice(path.len()..), value);
            self.found += 1;
        }
        assert_eq!(below.root(), hash, "something was left out, or added");
    }
}

fn ten() -> (B256, BTreeMap<B256, Vec<u8>>) {
    let values: BTreeMap<_, _> =
        (0..10_u8).map(|byte| (keccak256([byte]), vec![byte + 1; 40])).collect();
    let mut trie = HashBuilder::default();
    for (key, value) in &values {
        trie.add_leaf(Nibbles::unpack(key), value);
    }
    (trie.root(), values)
}

#[test]
fn a_whole_trie_needs_no_proof() {
    let (root, values) = ten();
    verify_range(root, (B256::ZERO, B256::repeat_byte(0xff)), &values, &[]);
}

#[test]
#[should_panic(expected = "something was left out")]
fn a_value_that_is_left_out_is_noticed() {
    let (root, mut values) = ten();
    values.pop_first();
    verify_range(root, (B256::ZERO, B256::repeat_byte(0xff)), &values, &[]);
}
