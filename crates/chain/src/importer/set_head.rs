//! Going back, because an operator says so.

use primitives::B256;
use storage::{Commit, Durability, HeadChange, Rewind, StorageError};

use super::{Importer, unwound::Unwound};
use crate::{ImportError, fork_choice::retired};

impl Importer {
    /// Makes an older canonical block the head. What came after it stays beside the chain, and is
    /// canonical again once a block is heavier than everything then. A number that is not below
    /// the head changes nothing.
    ///
    /// # Errors
    ///
    /// When the disk fails; nothing changes then.
    pub fn set_head(&mut self, number: u64) -> Result<(), ImportError> {
        let view = self.view.clone();
        if number >= view.head.number {
            return Ok(());
        }
        let storage = |error: StorageError| ImportError::storage(B256::ZERO, error);
        let missing = || StorageError::corrupt("headers", format!("block {number} is missing"));
        let header = view.db.header_by_number(number).map_err(storage)?;
        let header = header.ok_or_else(missing).map_err(storage)?;
        let to = header.num_hash();
        let retired = retired(&view.db, view.head_id(), to).map_err(storage)?;
        let rewind = if number < view.db.base().number {
            let unwound = Unwound::to(&view.db, &header).map_err(storage)?;
            Some(Rewind { to, changes: unwound.changes().clone() })
        } else {
            None
        };
        self.world = None;
        let head = Some(HeadChange { retired, adopted: Vec::new() });
        let (blocks, layers, durability) = (Vec::new(), Vec::new(), Durability::Sync);
        self.commit(Commit { blocks, layers, head, rewind, durability }, false)?;
        self.unexecuted_bytes = self.view.db.unexecuted_bytes().map_err(storage)?;
        tracing::warn!(number, hash = %to.hash, "Set the head back");
        Ok(())
    }
}
