mod codec;

use alloy_trie::Nibbles;
use primitives::{B256, Bytes, U256, map::HashMap};

use crate::{Account, StorageOwner};

/// What one or several blocks changed: the difference between two states.
///
/// Its RLP is deterministic: every map is a list sorted by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// By hash of the address; `None` is an account that is gone.
    pub accounts: HashMap<B256, Option<Account>>,
    /// By owner and hash of the slot; zero is a slot that is gone.
    pub slots: HashMap<StorageOwner, HashMap<B256, U256>>,
    /// Nodes of the account trie by path; `None` is a path without a stored node.
    pub account_nodes: HashMap<Nibbles, Option<Bytes>>,
    /// Nodes of storage tries by owner and path.
    pub slot_nodes: HashMap<StorageOwner, HashMap<Nibbles, Option<Bytes>>>,
    /// New code by hash.
    pub codes: HashMap<B256, Bytes>,
    /// What was hashed: addresses (20 bytes) and slots (32 bytes) by their Keccak.
    pub preimages: HashMap<B256, Bytes>,
}

impl StateChanges {
    /// Adds changes that were made on top of these. Where both say something, the newer ones do.
    pub fn merge(&mut self, newer: &Self) {
        let Self { accounts, slots, account_nodes, slot_nodes, codes, preimages } = newer;
        self.accounts.extend(accounts);
        for (owner, slots) in slots {
            self.slots.entry(*owner).or_default().extend(slots);
        }
        self.account_nodes.extend(cloned(account_nodes));
        for (owner, nodes) in slot_nodes {
            self.slot_nodes.entry(*owner).or_default().extend(cloned(nodes));
        }
        self.codes.extend(cloned(codes));
        self.preimages.extend(cloned(preimages));
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { accounts, slots, account_nodes, slot_nodes, codes, preimages } = self;
        accounts.is_empty()
            && slots.is_empty()
            && account_nodes.is_empty()
            && slot_nodes.is_empty()
            && codes.is_empty()
            && preimages.is_empty()
    }

    /// About how many bytes these changes take in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let Self { accounts, slots, account_nodes, slot_nodes, codes, preimages } = self;
        accounts.len() * size_of::<(B256, Option<Account>)>()
            + slots.values().map(|slots| slots.len() * size_of::<(B256, U256)>()).sum::<usize>()
            + nodes_bytes(account_nodes)
            + slot_nodes.values().map(nodes_bytes).sum::<usize>()
            + bytes_of(codes)
            + bytes_of(preimages)
    }
}

fn cloned<K: Copy, V: Clone>(map: &HashMap<K, V>) -> impl Iterator<Item = (K, V)> {
    map.iter().map(|(key, value)| (*key, value.clone()))
}

fn nodes_bytes(nodes: &HashMap<Nibbles, Option<Bytes>>) -> usize {
    let rlp: usize = nodes.values().flatten().map(|rlp| rlp.len()).sum();
    rlp + nodes.len() * size_of::<(Nibbles, Option<Bytes>)>()
}

fn bytes_of(map: &HashMap<B256, Bytes>) -> usize {
    map.values().map(|bytes| bytes.len() + size_of::<(B256, Bytes)>()).sum()
}

#[cfg(test)]
mod tests;
