use alloy_rlp::Encodable;
use primitives::{B256, EMPTY_ROOT_HASH, U256, keccak256, map::HashSet};
use state::{Account, Layer, Nibbles, StateChanges, StorageOwner};

use super::{Commit, Rewind, plan::Plan};
use crate::{
    StorageError, View,
    codec::{encode_account, encode_keys, encode_u256},
    database::Batch,
    history,
    schema::{Column, FlatKey, owner_key, path_key, slot_key, slot_node_key},
};

/// Writes the layers that stay above the base, and what is known by its hash from all of them.
pub(super) fn write_layers(batch: &mut Batch<'_>, plan: &Plan, commit: &Commit) {
    for layer in &commit.layers {
        write_content(batch, &layer.changes);
        if plan.layers.contains(layer.block.hash) {
            let mut record = Vec::new();
            layer.encode(&mut record);
            batch.put(Column::Layers, layer.block.hash.as_slice(), &record);
        }
    }
    for hash in &plan.stale {
        batch.delete(Column::Layers, hash.as_slice());
    }
}

/// Writes codes and preimages. They are known by their hash, so writing them early or twice does no
/// harm.
pub(super) fn write_content(batch: &mut Batch<'_>, changes: &StateChanges) {
    for (hash, code) in &changes.codes {
        batch.put(Column::Codes, hash.as_slice(), code);
    }
    for (hash, preimage) in &changes.preimages {
        batch.put(Column::Preimages, hash.as_slice(), preimage);
    }
}

/// The base on its way from one block to another within one batch.
///
/// Every block that it passes leaves its own history; the state columns are written once at the end.
pub(super) struct Base<'a> {
    view: &'a View,
    /// What differs from the state on the disk.
    pending: StateChanges,
    /// The height to which the base was taken back first.
    rewound_to: Option<u64>,
}

impl<'a> Base<'a> {
    pub(super) fn of(view: &'a View) -> Self {
        Self { view, pending: StateChanges::default(), rewound_to: None }
    }

    /// Begins with the state of the genesis block.
    pub(super) fn begin(&mut self, changes: StateChanges) {
        self.pending = changes;
    }

    /// Takes the base back to an older block and forgets the history above that.
    pub(super) fn rewind(
        &mut self,
        batch: &mut Batch<'_>,
        rewind: &Rewind,
    ) -> Result<(), StorageError> {
        let (to, from) = (rewind.to.number, self.view.base().number);
        let flat = history::diff(self.view, from, to)?;
        for number in to + 1..=from {
            for key in history::changed_keys(self.view, number)? {
                batch.delete(Column::History, &key.at(number));
            }
            batch.delete(Column::Changes, &number.to_be_bytes());
        }
        let is_old = |owner: &StorageOwner| owner.incarnation <= to;
        let begun: HashSet<StorageOwner> =
            flat.slots.keys().filter(|owner| !is_old(owner)).copied().collect();
        for owner in begun {
            self.delete_life(batch, owner)?;
        }
        self.pending.accounts = flat.accounts;
        self.pending.slots = flat.slots;
        self.pending.slots.retain(|owner, _| is_old(owner));
        self.pending.account_nodes = rewind.changes.account_nodes.clone();
        self.pending.slot_nodes = rewind.changes.slot_nodes.clone();
        self.pending.slot_nodes.retain(|owner, _| is_old(owner));
        self.rewound_to = Some(to);
        Ok(())
    }

    /// Removes everything of a life that began above the block to which the base is taken back.
    fn delete_life(&self, batch: &mut Batch<'_>, owner: StorageOwner) -> Result<(), StorageError> {
        for column in [Column::Slots, Column::SlotNodes] {
            let mut cursor = self.view.pinned().prefix(column, &owner_key(owner));
            while let Some((key, _)) = cursor.item()? {
                batch.delete(column, key);
                cursor.advance();
            }
        }
        Ok(())
    }

    /// Moves up over one layer and writes its history.
    pub(super) fn pass(
        &mut self,
        batch: &mut Batch<'_>,
        layer: &Layer,
    ) -> Result<(), StorageError> {
        let number = layer.block.number;
        let changes = &layer.changes;
        let mut changed = Vec::new();
        let mut addresses: Vec<_> = changes.accounts.iter().collect();
        addresses.sort_unstable_by_key(|(hash, _)| **hash);
        for (address_hash, after) in addresses {
            let before = self.account(*address_hash)?;
            if before != *after {
                let key = FlatKey::Account(*address_hash);
                batch.put(Column::History, &key.at(number), &encode_account(before.as_ref()));
                changed.push(key);
            }
        }
        let mut slots: Vec<_> = changes
            .slots
            .iter()
            .flat_map(|(owner, slots)| slots.iter().map(|(hash, value)| (*owner, *hash, *value)))
            .collect();
        slots.sort_unstable();
        for (owner, slot_hash, after) in slots {
            let before = self.slot(owner, slot_hash)?;
            if before != after {
                let key = FlatKey::Slot(owner, slot_hash);
                batch.put(Column::History, &key.at(number), &encode_u256(before));
                changed.push(key);
            }
        }
        batch.put(Column::Changes, &number.to_be_bytes(), &encode_keys(&changed));
        self.pending.merge(changes);
        Ok(())
    }

    fn account(&self, address_hash: B256) -> Result<Option<Account>, StorageError> {
        match self.pending.accounts.get(&address_hash) {
            Some(account) => Ok(*account),
            None => history::base_account(self.view, address_hash),
        }
    }

    fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Result<U256, StorageError> {
        if let Some(value) = self.pending.slots.get(&owner).and_then(|slots| slots.get(&slot_hash))
        {
            return Ok(*value);
        }
        if self.rewound_to.is_some_and(|to| owner.incarnation > to) {
            return Ok(U256::ZERO);
        }
        history::base_slot(self.view, owner, slot_hash)
    }

    /// Writes the state columns. `root` is the state root of the block where the base has arrived.
    ///
    /// # Panics
    ///
    /// If the root node does not have that hash: what follows could only get worse.
    pub(super) fn finish(self, batch: &mut Batch<'_>, root: B256) -> Result<(), StorageError> {
        assert_eq!(self.root()?, root, "the base has the state root of its block");
        for (address_hash, account) in &self.pending.accounts {
            let value = encode_account(account.as_ref());
            batch.put_or_delete(Column::Accounts, address_hash.as_slice(), &value);
        }
        for (owner, slots) in &self.pending.slots {
            for (slot_hash, value) in slots {
                let key = slot_key(*owner, *slot_hash);
                batch.put_or_delete(Column::Slots, &key, &encode_u256(*value));
            }
        }
        for (path, node) in &self.pending.account_nodes {
            let node = node.as_deref().map_or(&[][..], |node| node);
            batch.put_or_delete(Column::AccountNodes, &path_key(path), node);
        }
        for (owner, nodes) in &self.pending.slot_nodes {
            for (path, node) in nodes {
                let node = node.as_deref().map_or(&[][..], |node| node);
                batch.put_or_delete(Column::SlotNodes, &slot_node_key(*owner, path), node);
            }
        }
        Ok(())
    }

    fn root(&self) -> Result<B256, StorageError> {
        let path = Nibbles::new();
        let hash = match self.pending.account_nodes.get(&path) {
            Some(node) => node.as_ref().map(keccak256),
            None => {
                let node = self.view.pinned().record(Column::AccountNodes, &path_key(&path))?;
                node.map(|node| keccak256(&*node))
            }
        };
        Ok(hash.unwrap_or(EMPTY_ROOT_HASH))
    }
}
