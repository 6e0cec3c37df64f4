use primitives::{B256, Bytes, SealedHeader, U256};
use state::{Account, Nibbles, ReadError, StateChanges, StateReader, StorageOwner};
use storage::{StateAt, StorageError, View};

/// The base's state taken back to an older canonical block, in memory: what the blocks since then
/// changed, and the base for everything else.
#[derive(Debug)]
pub(super) struct Unwound {
    changes: StateChanges,
    base: StateAt,
}

impl Unwound {
    /// Unwinds the base of a view to a canonical block below it.
    ///
    /// # Errors
    ///
    /// When the database fails, or history does not lead to the root that the block names.
    pub(super) fn to(db: &View, block: &SealedHeader) -> Result<Self, StorageError> {
        let id = db.base();
        let missing = || StorageError::corrupt("headers", format!("base {} is missing", id.hash));
        let base_root = db.header(id.hash)?.ok_or_else(missing)?.state_root;
        let base = db.state_at(id.hash)?;
        let flat = db.history_diff(id.number, block.number)?;
        let (root, changes) = state::unwind(base_root, &base, flat)?;
        if root != block.state_root {
            let detail = format!("unwinding to block {} gave root {root}", block.number);
            return Err(StorageError::corrupt("history", detail));
        }
        Ok(Self { changes, base })
    }

    /// The difference from the base's state to this one.
    pub(super) const fn changes(&self) -> &StateChanges {
        &self.changes
    }
}

impl StateReader for Unwound {
    fn account(&self, address_hash: B256) -> Result<Option<Account>, ReadError> {
        match self.changes.accounts.get(&address_hash) {
            Some(account) => Ok(*account),
            None => self.base.account(address_hash),
        }
    }

    fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Result<U256, ReadError> {
        match self.changes.slots.get(&owner).and_then(|slots| slots.get(&slot_hash)) {
            Some(value) => Ok(*value),
            None => self.base.slot(owner, slot_hash),
        }
    }

    fn node(
        &self,
        owner: Option<StorageOwner>,
        path: &Nibbles,
    ) -> Result<Option<Bytes>, ReadError> {
        let changed = match owner {
            None => self.changes.account_nodes.get(path),
            Some(owner) => self.changes.slot_nodes.get(&owner).and_then(|nodes| nodes.get(path)),
        };
        match changed {
            Some(node) => Ok(node.clone()),
            None => self.base.node(owner, path),
        }
    }

    fn code(&self, code_hash: B256) -> Result<Option<Bytes>, ReadError> {
        self.base.code(code_hash)
    }
}
