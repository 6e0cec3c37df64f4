use std::sync::Arc;

use consensus::Ancestor;
use primitives::{
    Address, B256, BlockNumHash, ChainSpec, Header, SealedHeader, TotalDifficulty, keccak256,
};
use state::{Account, ReadError, StateReader, WorldState};
use storage::{StateAt, StorageError, View};

/// One canonical head and the database as it stood when that head was committed.
///
/// Everything read through one view agrees with everything else read through it.
#[derive(Debug, Clone)]
pub struct ChainView {
    /// The newest canonical block.
    pub head: SealedHeader,
    /// The work up to and including the head.
    pub td: TotalDifficulty,
    /// Every block and state that the head can see.
    pub db: View,
    /// The rules of the chain.
    pub spec: Arc<ChainSpec>,
}

impl ChainView {
    /// Number and hash of the head.
    #[must_use]
    pub fn head_id(&self) -> BlockNumHash {
        BlockNumHash { number: self.head.number, hash: self.head.hash() }
    }

    /// An account at the head.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        self.state_at(self.head.hash())?.account(keccak256(address))
    }

    /// The state after a block.
    ///
    /// # Errors
    ///
    /// When the database fails, or the block has not been executed.
    pub fn state_at(&self, hash: B256) -> Result<StateAt, ReadError> {
        self.db.state_at(hash).map_err(ReadError::from)
    }

    /// The state after a block, ready to execute a child of it.
    ///
    /// # Errors
    ///
    /// As [`Self::state_at`].
    pub fn world_at(&self, block: &SealedHeader) -> Result<WorldState<StateAt>, ReadError> {
        Ok(WorldState::at(block.state_root, self.state_at(block.hash())?, block.number + 1))
    }

    /// The hash of an ancestor of `from` (or of `from` itself) by number.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn ancestor_hash(
        &self,
        from: BlockNumHash,
        number: u64,
    ) -> Result<Option<B256>, ReadError> {
        ancestor_hash(&self.db, from, number).map_err(ReadError::from)
    }

    /// A block and the blocks below it, newest first, as far as ommers' rules reach.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn ancestors(&self, block: &SealedHeader) -> Result<Vec<Ancestor>, StorageError> {
        ancestors_of(&self.db, block)
    }
}

/// How many ancestors an ommer's rules look at.
pub(crate) const OMMER_ANCESTORS: usize = 7;

pub(crate) fn ancestors_of(db: &View, block: &SealedHeader) -> Result<Vec<Ancestor>, StorageError> {
    let mut ancestors = Vec::with_capacity(OMMER_ANCESTORS);
    let mut next = Some(block.clone());
    while let Some(header) = next.take() {
        let body = db.body(header.hash())?.ok_or_else(|| {
            StorageError::corrupt("bodies", format!("body of block {} is missing", header.hash()))
        })?;
        let ommers = body.ommers.iter().map(Header::hash_slow).collect();
        let (parent, number) = (header.parent_hash, header.number);
        ancestors.push(Ancestor { header, ommers });
        if number > 0 && ancestors.len() < OMMER_ANCESTORS {
            next = db.header(parent)?;
        }
    }
    Ok(ancestors)
}

/// Walks parents until the chain is canonical, then asks the index.
pub(crate) fn ancestor_hash(
    db: &View,
    from: BlockNumHash,
    number: u64,
) -> Result<Option<B256>, StorageError> {
    if number > from.number {
        return Ok(None);
    }
    let mut at = from;
    while at.number > number {
        if db.canonical_hash(at.number)? == Some(at.hash) {
            return db.canonical_hash(number);
        }
        let Some(header) = db.header(at.hash)? else { return Ok(None) };
        at = BlockNumHash { number: at.number - 1, hash: header.parent_hash };
    }
    Ok(Some(at.hash))
}
