//! The chain without a thread: takes verified blocks, executes them, chooses the head, commits.

mod bad;
mod branch;
mod open;
mod set_head;
mod staged;
#[cfg(test)]
mod tests;
mod unwound;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use consensus::{VerifiedBlock, verify_execution, verify_header, verify_ommers, verify_time};
use evm::{BlockHashes, ExecutionError};
use primitives::{
    Address, B256, BlockNumHash, ChainSpec, Receipt, SealedBlock, SealedHeader, TotalDifficulty,
    receipts_root,
};
use state::{Layer, StateChanges, StateReader, WorldState};
use storage::{
    BlockRecord, Commit, Durability, HeadChange, LedgerState, StateAt, StorageError, Writer,
};

use self::{bad::BadBlocks, staged::Staged};
use crate::{
    ChainEvent, ChainView, ImportError, execute_block,
    fork_choice::{Tip, prefers, retired},
    metrics::{ChainMetrics, Counts},
    rejected::Rejected,
    view::{ancestor_hash, ancestors_of},
};

pub use open::ChainConfig;

/// How far behind the head a block may fork off and still be kept without being executed, in blocks.
pub const SIDE_DEPTH_MAX: u64 = 4_096;
/// How much room the blocks that are kept without being executed may take, in bytes of RLP.
pub const SIDE_BYTES_MAX: u64 = 256 << 20;
/// How many blocks one commit of [`Importer::import_many`] holds.
const COMMIT_BLOCKS_MAX: usize = 256;

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is the new head.
    Head,
    /// It is stored beside the canonical chain.
    Side,
    /// It was here before.
    Known,
}

/// Who brings a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Our own miner: wins a tie.
    Own,
    /// Anybody.
    Other,
    /// The operator, from a file: no limit on how far back it may fork.
    Operator,
}

/// What became of several blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManyImported {
    /// New blocks on the canonical chain or beside it.
    pub new: usize,
    /// Blocks that were here before.
    pub known: usize,
}

/// A block of several failed.
#[derive(Debug, thiserror::Error)]
#[error("block {imported} of the batch failed")]
pub struct BatchError {
    /// How many blocks before it are imported and stay.
    pub imported: usize,
    /// Why it failed.
    #[source]
    pub error: ImportError,
}

/// The chain without a thread.
#[derive(Debug)]
pub struct Importer {
    writer: Writer,
    view: Arc<ChainView>,
    /// Whether the head was mined here: fork choice keeps it on a tie.
    own_head: bool,
    /// The state after a block, kept with its trie nodes so that the next block need not load them.
    world: Option<(B256, WorldState<StateAt>)>,
    bad: BadBlocks,
    rejected: Rejected,
    unexecuted_bytes: u64,
    events: Vec<ChainEvent>,
    metrics: ChainMetrics,
    /// Blocks looked at or executed, for whoever watches the thread.
    steps: Arc<AtomicU64>,
}

/// A block that passed every rule, not committed yet.
struct Executed {
    record: BlockRecord,
    layer: Arc<Layer>,
}

impl Importer {
    /// The newest view.
    #[must_use]
    pub fn view(&self) -> Arc<ChainView> {
        self.view.clone()
    }

    /// The rules of the chain.
    #[must_use]
    pub fn spec(&self) -> Arc<ChainSpec> {
        self.view.spec.clone()
    }

    /// Counts blocks looked at or executed.
    pub(crate) fn steps(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.steps)
    }

    /// Shows blocks that were rejected.
    pub(crate) fn rejected(&self) -> Rejected {
        self.rejected.clone()
    }

    /// Keeps a block for whoever asks, if it was rejected for breaking a rule.
    fn note(&self, error: &ImportError, block: &VerifiedBlock) {
        if error.is_senders_fault() {
            self.rejected.keep(block.block(), block.senders());
        }
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// What changed since the last call, in order.
    pub fn take_events(&mut self) -> Vec<ChainEvent> {
        std::mem::take(&mut self.events)
    }

    /// What the commit ledger says about the database.
    #[must_use]
    pub const fn ledger(&self) -> LedgerState {
        self.writer.ledger()
    }

    /// Goes on although the ledger knows commits that the database lost.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn accept_rollback(&mut self) -> Result<(), StorageError> {
        self.writer.accept_rollback()
    }

    /// Makes everything committed so far survive a power cut.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.writer.sync()
    }

    /// Syncs and closes the database.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn close(self) -> Result<(), StorageError> {
        self.writer.close()
    }

    /// Imports one block and syncs it. `now` is the wall clock in seconds since 1970.
    ///
    /// # Errors
    ///
    /// See [`ImportError`]; nothing changes on an error.
    pub fn import(
        &mut self,
        block: VerifiedBlock,
        origin: Origin,
        now: u64,
    ) -> Result<Imported, ImportError> {
        let started = Instant::now();
        let imported = self.import_one(block, origin, now, Durability::Sync)?;
        self.metrics.import_seconds.record(started.elapsed());
        Ok(imported)
    }

    /// Imports blocks that follow one another, parents first, in few commits; the last is synced
    /// unless the operator, who syncs himself, brings them.
    ///
    /// # Errors
    ///
    /// The first block that failed; those before it are imported and stay.
    pub fn import_many(
        &mut self,
        blocks: Vec<VerifiedBlock>,
        origin: Origin,
        now: u64,
    ) -> Result<ManyImported, BatchError> {
        let started = Instant::now();
        let mut many = ManyImported::default();
        let mut staged = Staged::on(&self.view);
        let mut failed = None;
        for block in blocks {
            match self.stage(&mut staged, block, origin, now) {
                Ok(Imported::Known) => many.known += 1,
                Ok(Imported::Head | Imported::Side) => many.new += 1,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let durability =
            if origin == Origin::Operator { Durability::Buffered } else { Durability::Sync };
        let flushed = self.flush(&mut staged, durability);
        self.metrics.import_seconds.record(started.elapsed());
        match failed.or(flushed.err()) {
            None => Ok(many),
            Some(error) => Err(BatchError { imported: many.new + many.known, error }),
        }
    }

    /// Executes a block that follows the staged tip; any other goes its own way after a flush.
    fn stage(
        &mut self,
        staged: &mut Staged,
        block: VerifiedBlock,
        origin: Origin,
        now: u64,
    ) -> Result<Imported, ImportError> {
        self.step();
        let hash = block.block().hash();
        if staged.contains(hash) || self.is_known(hash)? {
            return Ok(Imported::Known);
        }
        if block.block().header().parent_hash != staged.tip.hash() {
            self.flush(staged, Durability::Buffered)?;
            let imported = self.import_one(block, origin, now, Durability::Buffered)?;
            *staged = Staged::on(&self.view);
            return Ok(imported);
        }
        let executed = self.execute_staged(staged, &block, now);
        let executed = executed.inspect_err(|error| self.note(error, &block))?;
        staged.push(executed.record, executed.layer);
        if staged.len() >= COMMIT_BLOCKS_MAX {
            self.flush(staged, Durability::Buffered)?;
        }
        Ok(Imported::Head)
    }

    fn execute_staged(
        &mut self,
        staged: &mut Staged,
        block: &VerifiedBlock,
        now: u64,
    ) -> Result<Executed, ImportError> {
        let hash = block.block().hash();
        let spec = self.spec();
        check_time_and_header(&spec, block, &staged.tip, now)?;
        if !block.block().body().ommers.is_empty() {
            let ancestors =
                staged.ancestors(&self.view.db).map_err(|e| ImportError::storage(hash, e))?;
            verify_ommers(&spec, block.block(), ancestors)
                .map_err(|source| ImportError::invalid(hash, source))?;
        }
        let mut world = self.world_after(&staged.tip).map_err(|e| ImportError::storage(hash, e))?;
        let db = &self.view.db;
        let lookup = |number: u64| match staged.hash_at(number) {
            Some(hash) => Ok(Some(hash)),
            None => Ok(db.canonical_hash(number)?),
        };
        let started = Instant::now();
        let (receipts, changes) =
            execute_checked(&spec, block.block(), block.senders(), &mut world, &lookup)?;
        self.metrics.execution_seconds.record(started.elapsed());
        let td = staged.td.child(block.block().header().difficulty);
        self.world = Some((hash, world));
        Ok(executed(block.block(), block.senders(), td, (receipts, changes)))
    }

    /// Commits what is staged. Afterwards the staging area is empty and stands on the new head.
    fn flush(&mut self, staged: &mut Staged, durability: Durability) -> Result<(), ImportError> {
        if staged.is_empty() {
            return Ok(());
        }
        let (blocks, layers) = staged.take();
        let adopted: Vec<BlockNumHash> =
            blocks.iter().map(|record| record.block.num_hash()).collect();
        let head = HeadChange { retired: Vec::new(), adopted };
        let commit = Commit { blocks, layers, head: Some(head), rewind: None, durability };
        self.commit(commit, false)
    }

    fn import_one(
        &mut self,
        block: VerifiedBlock,
        origin: Origin,
        now: u64,
        durability: Durability,
    ) -> Result<Imported, ImportError> {
        self.step();
        let hash = block.block().hash();
        let storage = |error| ImportError::storage(hash, error);
        if self.is_known(hash)? {
            return Ok(Imported::Known);
        }
        let parent_hash = block.block().header().parent_hash;
        if let Some(ancestor) = self.bad.reason(hash, parent_hash) {
            return Err(ImportError::BadAncestor { hash, ancestor });
        }
        let view = self.view.clone();
        let orphan = || ImportError::Orphan { hash, parent: parent_hash };
        let parent = view.db.header(parent_hash).map_err(storage)?.ok_or_else(orphan)?;
        let parent_td = view.db.td(parent_hash).map_err(storage)?.ok_or_else(orphan)?;
        let checked = check_family(&view, &block, &parent, now);
        checked.inspect_err(|error| self.note(error, &block))?;
        let td = parent_td.child(block.block().header().difficulty);
        let tip = Tip { number: block.block().header().number, td, own: origin == Origin::Own };
        let head = Tip { number: view.head.number, td: view.td, own: self.own_head };
        let heavier = prefers(tip, head);
        if view.db.has_trie(parent_hash) {
            let executed = self.execute_on(&parent, &block, td)?;
            self.commit_one(executed, heavier, tip.own, durability)?;
        } else if heavier {
            self.reorganise(block, td, tip.own, durability)?;
        } else {
            self.keep_unexecuted(block, td, origin, durability)?;
        }
        Ok(if heavier { Imported::Head } else { Imported::Side })
    }

    fn is_known(&self, hash: B256) -> Result<bool, ImportError> {
        Ok(self.view.db.number_of(hash).map_err(|e| ImportError::storage(hash, e))?.is_some())
    }

    /// The state after a block whose trie is here, taken from the cache if that is where it stands.
    fn world_after(&mut self, block: &SealedHeader) -> Result<WorldState<StateAt>, StorageError> {
        match self.world.take() {
            Some((at, world)) if at == block.hash() => Ok(world),
            _ => Ok(WorldState::at(
                block.state_root,
                self.view.db.state_at(block.hash())?,
                block.number + 1,
            )),
        }
    }

    fn execute_on(
        &mut self,
        parent: &SealedHeader,
        block: &VerifiedBlock,
        td: TotalDifficulty,
    ) -> Result<Executed, ImportError> {
        let hash = block.block().hash();
        let mut world = self.world_after(parent).map_err(|e| ImportError::storage(hash, e))?;
        let from = parent.num_hash();
        let lookup = |number| Ok(ancestor_hash(&self.view.db, from, number)?);
        let started = Instant::now();
        let (receipts, changes) =
            execute_checked(&self.view.spec, block.block(), block.senders(), &mut world, &lookup)
                .inspect_err(|error| {
                if error.is_senders_fault() {
                    self.bad.insert(hash, hash);
                    self.rejected.keep(block.block(), block.senders());
                }
            })?;
        self.metrics.execution_seconds.record(started.elapsed());
        self.world = Some((hash, world));
        Ok(executed(block.block(), block.senders(), td, (receipts, changes)))
    }

    fn commit_one(
        &mut self,
        executed: Executed,
        heavier: bool,
        own: bool,
        durability: Durability,
    ) -> Result<(), ImportError> {
        let id = executed.record.block.num_hash();
        let parent = executed.layer.parent;
        let head = if heavier {
            Some(self.adoption(parent, vec![id]).map_err(|e| ImportError::storage(id.hash, e))?)
        } else {
            None
        };
        let (blocks, layers) = (vec![executed.record], vec![executed.layer]);
        self.commit(Commit { blocks, layers, head, rewind: None, durability }, own)
    }

    /// The change of head that makes `new` canonical; `parent` is the parent of its first block.
    fn adoption(
        &self,
        parent: B256,
        mut new: Vec<BlockNumHash>,
    ) -> Result<HeadChange, StorageError> {
        let db = &self.view.db;
        let mut below = Vec::new();
        let mut hash = parent;
        let ancestor = loop {
            let header = db.header(hash)?.ok_or_else(|| {
                StorageError::corrupt("headers", format!("block {hash} is missing"))
            })?;
            let id = header.num_hash();
            if db.canonical_hash(id.number)? == Some(id.hash) {
                break id;
            }
            below.push(id);
            hash = header.parent_hash;
        };
        below.reverse();
        below.append(&mut new);
        Ok(HeadChange { retired: retired(db, self.view.head_id(), ancestor)?, adopted: below })
    }

    fn keep_unexecuted(
        &mut self,
        block: VerifiedBlock,
        td: TotalDifficulty,
        origin: Origin,
        durability: Durability,
    ) -> Result<(), ImportError> {
        let id = block.block().num_hash();
        let bytes = u64::try_from(block.block().rlp_length()).expect("a block fits in memory");
        let too_deep = id.number + SIDE_DEPTH_MAX < self.view.head.number
            || self.unexecuted_bytes + bytes > SIDE_BYTES_MAX;
        if too_deep && origin != Origin::Operator {
            return Err(ImportError::TooDeep { hash: id.hash });
        }
        self.unexecuted_bytes += bytes;
        let (block, senders) = block.into_parts();
        let blocks = vec![BlockRecord { block, td, senders, receipts: None }];
        let layers = Vec::new();
        self.commit(Commit { blocks, layers, head: None, rewind: None, durability }, false)
    }

    /// Writes a commit, publishes its view, and tells what changed.
    fn commit(&mut self, commit: Commit, own: bool) -> Result<(), ImportError> {
        let last = commit.blocks.last().map(|record| record.block.num_hash());
        let hash = last.map_or(B256::ZERO, |id| id.hash);
        let storage = |error| ImportError::storage(hash, error);
        let counts = Counts::of(&commit.blocks);
        let head = commit.head.clone();
        let started = Instant::now();
        let db = self.writer.commit(commit).map_err(storage)?;
        self.metrics.commit_seconds.record(started.elapsed());
        let view = match &head {
            None => ChainView { db, ..(*self.view).clone() },
            Some(_) => {
                let id = db.head().expect("a chain has a head");
                let missing = || StorageError::corrupt("headers", format!("head {}", id.hash));
                let head =
                    db.header(id.hash).map_err(storage)?.ok_or_else(missing).map_err(storage)?;
                let td = db.td(id.hash).map_err(storage)?.ok_or_else(missing).map_err(storage)?;
                self.own_head = own;
                ChainView { head, td, db, spec: self.view.spec.clone() }
            }
        };
        self.view = Arc::new(view);
        if let Some((at, world)) = &mut self.world {
            match self.view.db.state_at(*at) {
                Ok(reader) => world.rebase(reader),
                Err(_) => self.world = None,
            }
        }
        self.metrics.imported(counts);
        self.tell(head, last);
        Ok(())
    }

    fn tell(&mut self, head: Option<HeadChange>, side: Option<BlockNumHash>) {
        let view = self.view.clone();
        let event = match head {
            Some(HeadChange { retired, adopted }) => {
                self.metrics.head_number.set(view.head.number as f64);
                if !retired.is_empty() {
                    self.metrics.reorganised(retired.len(), adopted.len());
                    tracing::info!(
                        number = view.head.number,
                        hash = %view.head.hash(),
                        retired = retired.len(),
                        adopted = adopted.len(),
                        "Chain reorg detected"
                    );
                }
                ChainEvent { view, retired, adopted, side: None }
            }
            None => ChainEvent { view, retired: Vec::new(), adopted: Vec::new(), side },
        };
        self.events.push(event);
    }
}

fn check_time_and_header(
    spec: &ChainSpec,
    block: &VerifiedBlock,
    parent: &SealedHeader,
    now: u64,
) -> Result<(), ImportError> {
    let hash = block.block().hash();
    let header = block.block().header();
    verify_time(header, now)
        .map_err(|early| ImportError::Early { hash, seconds: early.seconds })?;
    verify_header(spec, header, parent.header())
        .map_err(|source| ImportError::invalid(hash, source))
}

/// What can be said of a block without executing it, where all its ancestors are stored.
fn check_family(
    view: &ChainView,
    block: &VerifiedBlock,
    parent: &SealedHeader,
    now: u64,
) -> Result<(), ImportError> {
    check_time_and_header(&view.spec, block, parent, now)?;
    if block.block().body().ommers.is_empty() {
        return Ok(());
    }
    let hash = block.block().hash();
    let ancestors =
        ancestors_of(&view.db, parent).map_err(|error| ImportError::storage(hash, error))?;
    verify_ommers(&view.spec, block.block(), &ancestors)
        .map_err(|source| ImportError::invalid(hash, source))
}

/// Executes a block and compares everything with its header.
fn execute_checked<R: StateReader>(
    spec: &ChainSpec,
    sealed: &SealedBlock,
    senders: &[Address],
    world: &mut WorldState<R>,
    ancestors: BlockHashes<'_>,
) -> Result<(Vec<Receipt>, StateChanges), ImportError> {
    let hash = sealed.hash();
    let outcome =
        execute_block(spec, sealed, senders, world, ancestors).map_err(|(index, source)| {
            match source {
                ExecutionError::Read(error) => ImportError::storage(hash, error),
                source @ ExecutionError::Invalid(_) => {
                    ImportError::Transaction { hash, index, source: Box::new(source) }
                }
            }
        })?;
    let executed = outcome.executed;
    verify_execution(
        sealed.header(),
        executed.gas_used,
        &executed.bloom,
        receipts_root(&executed.receipts),
        outcome.state_root,
    )
    .map_err(|source| ImportError::invalid(hash, source))?;
    let changes = world.take_changes().map_err(|error| ImportError::storage(hash, error))?;
    Ok((executed.receipts, changes))
}

fn executed(
    sealed: &SealedBlock,
    senders: &[Address],
    td: TotalDifficulty,
    (receipts, changes): (Vec<Receipt>, StateChanges),
) -> Executed {
    let layer = Layer {
        block: sealed.num_hash(),
        parent: sealed.header().parent_hash,
        root: sealed.header().state_root,
        changes,
    };
    let senders = senders.to_vec();
    let record = BlockRecord { block: sealed.clone(), td, senders, receipts: Some(receipts) };
    Executed { record, layer: Arc::new(layer) }
}
