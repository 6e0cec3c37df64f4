use alloy_trie::Nibbles;
use primitives::{B256, Bytes, EMPTY_ROOT_HASH, Genesis, U256, keccak256, map::HashMap};

use crate::{Account, ReadError, StateChanges, StateReader, StorageOwner, WorldState};

/// A state in maps: what a genesis builds on, and what tests take for a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryState {
    accounts: HashMap<B256, Account>,
    slots: HashMap<(StorageOwner, B256), U256>,
    nodes: HashMap<(Option<StorageOwner>, Nibbles), Bytes>,
    codes: HashMap<B256, Bytes>,
    preimages: HashMap<B256, Bytes>,
}

impl MemoryState {
    /// Moves on to the state behind these changes.
    pub fn apply(&mut self, changes: &StateChanges) {
        let StateChanges { accounts, slots, account_nodes, slot_nodes, codes, preimages } = changes;
        for (hash, account) in accounts {
            set(&mut self.accounts, *hash, *account);
        }
        for (owner, slots) in slots {
            for (slot, value) in slots {
                let value = (!value.is_zero()).then_some(*value);
                set(&mut self.slots, (*owner, *slot), value);
            }
        }
        for (path, node) in account_nodes {
            set(&mut self.nodes, (None, *path), node.clone());
        }
        for (owner, nodes) in slot_nodes {
            for (path, node) in nodes {
                set(&mut self.nodes, (Some(*owner), *path), node.clone());
            }
        }
        self.codes.extend(codes.iter().map(|(hash, code)| (*hash, code.clone())));
        self.preimages.extend(preimages.iter().map(|(hash, bytes)| (*hash, bytes.clone())));
    }

    /// All accounts by hash of their address.
    #[must_use]
    pub const fn accounts(&self) -> &HashMap<B256, Account> {
        &self.accounts
    }

    /// All slots that are not zero, those of lives that ended included.
    #[must_use]
    pub const fn slots(&self) -> &HashMap<(StorageOwner, B256), U256> {
        &self.slots
    }

    /// All stored trie nodes, those of lives that ended included.
    #[must_use]
    pub const fn nodes(&self) -> &HashMap<(Option<StorageOwner>, Nibbles), Bytes> {
        &self.nodes
    }

    /// The address or slot behind a hash.
    #[must_use]
    pub fn preimage(&self, hash: &B256) -> Option<&Bytes> {
        self.preimages.get(hash)
    }
}

impl StateReader for MemoryState {
    fn account(&self, address_hash: B256) -> Result<Option<Account>, ReadError> {
        Ok(self.accounts.get(&address_hash).copied())
    }

    fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Result<U256, ReadError> {
        Ok(self.slots.get(&(owner, slot_hash)).copied().unwrap_or_default())
    }

    fn node(
        &self,
        owner: Option<StorageOwner>,
        path: &Nibbles,
    ) -> Result<Option<Bytes>, ReadError> {
        Ok(self.nodes.get(&(owner, *path)).cloned())
    }

    fn code(&self, code_hash: B256) -> Result<Option<Bytes>, ReadError> {
        Ok(self.codes.get(&code_hash).cloned())
    }
}

/// The first state of a chain: its root, and everything in it. Empty accounts are kept.
///
/// # Panics
///
/// Never: nothing is read.
#[must_use]
pub fn genesis_changes(genesis: &Genesis) -> (B256, StateChanges) {
    let mut world = WorldState::at(EMPTY_ROOT_HASH, MemoryState::default(), 0);
    let taken = fill(&mut world, genesis).and_then(|()| Ok((world.root()?, world.take_changes()?)));
    taken.expect("an empty state in memory has nothing to read")
}

fn fill(world: &mut WorldState<MemoryState>, genesis: &Genesis) -> Result<(), ReadError> {
    for (address, account) in &genesis.alloc {
        let code_hash = keccak256(&account.code);
        world.set_account(*address, account.nonce, account.balance, code_hash)?;
        world.set_code(code_hash, account.code.clone());
        for (slot, value) in &account.storage {
            let (slot, value) = (U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0));
            world.set_storage(*address, slot, value)?;
        }
    }
    Ok(())
}

fn set<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
