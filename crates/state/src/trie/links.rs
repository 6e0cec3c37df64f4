use alloy_trie::Nibbles;
use primitives::B256;

use super::node::Node;

/// The path to a value: the hash of an address or of a slot. No path is longer.
const PATH_NIBBLES_MAX: usize = 64;

/// What a stored trie node refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLinks {
    /// The stored nodes right below it: their hashes, and the paths they are stored at.
    pub nodes: Vec<(B256, Nibbles)>,
    /// The keys that end in it or in what lies inside it, and their values.
    pub values: Vec<(B256, Vec<u8>)>,
}

impl NodeLinks {
    /// What the node with this RLP refers to if it lies at this path; `None` if it is no node of a
    /// trie whose keys are hashes.
    #[must_use]
    pub fn of(rlp: &[u8], path: &Nibbles) -> Option<Self> {
        let mut links = Self::default();
        links.add(&Node::decode(rlp, B256::ZERO)?, *path)?;
        Some(links)
    }

    fn add(&mut self, node: &Node, path: Nibbles) -> Option<()> {
        match node {
            Node::Empty => {}
            Node::Hash(hash) => self.nodes.push((*hash, path)),
            Node::Leaf(leaf) => {
                let key = joined(&path, &leaf.path)?;
                if key.len() != PATH_NIBBLES_MAX {
                    return None;
                }
                self.values.push((B256::from_slice(&key.pack()), leaf.value.clone()));
            }
            Node::Extension(extension) => {
                self.add(&extension.child, joined(&path, &extension.path)?)?;
            }
            Node::Branch(branch) => {
                for (nibble, child) in (0..).zip(&branch.children) {
                    self.add(child, joined(&path, &Nibbles::from_nibbles([nibble]))?)?;
                }
            }
        }
        Some(())
    }
}

fn joined(path: &Nibbles, rest: &Nibbles) -> Option<Nibbles> {
    (path.len() + rest.len() <= PATH_NIBBLES_MAX).then(|| path.join(rest))
}
