//! The only way to change the database.

mod base;
mod blocks;
mod plan;

use std::{fmt, sync::Arc};

use primitives::{Address, BlockNumHash, Receipt, SealedBlock, TotalDifficulty};
use rocksdb::{DB, FlushOptions};
use state::{Layer, Layers, StateChanges};

use crate::{
    StorageError, View,
    database::{Batch, Columns},
    ledger::{Ledger, LedgerState, Record},
    log_index,
    schema::{Column, SCHEMA_VERSION, block_key, meta},
    verify,
};
use base::Base;
use plan::Plan;

/// How far behind the head the base stays, in blocks: geth keeps as many states. Reorganisations up
/// to this depth only move pointers.
pub const LAYERS_MAX: u64 = 128;

/// The only way to change the database. Not `Clone`: to own it is to be the writer.
pub struct Writer {
    pub(crate) db: Arc<DB>,
    /// The newest view: what the database holds now.
    pub(crate) view: View,
    /// None in memory.
    pub(crate) ledger: Option<Ledger>,
    /// How many commits the ledger or the database knows.
    pub(crate) commits: u64,
    pub(crate) state: LedgerState,
    /// A write failed, so what is on the disk is not known.
    pub(crate) failed: bool,
}

/// Everything that changes at once.
#[derive(Debug, Clone)]
pub struct Commit {
    /// New blocks, and those whose execution was made up for.
    pub blocks: Vec<BlockRecord>,
    /// What the executed ones among them changed, parents first.
    pub layers: Vec<Arc<Layer>>,
    /// How the canonical chain changes, if it does.
    pub head: Option<HeadChange>,
    /// Takes the base back before the layers are applied: a reorganisation that forks off below it.
    pub rewind: Option<Rewind>,
    /// Whether a power cut may undo it.
    pub durability: Durability,
}

/// A block to be stored.
#[derive(Debug, Clone)]
pub struct BlockRecord {
    /// The block itself.
    pub block: SealedBlock,
    /// The work up to and including it.
    pub td: TotalDifficulty,
    /// Who signed its transactions, in order.
    pub senders: Vec<Address>,
    /// What its execution gave; `None` for a side block that is kept unexecuted.
    pub receipts: Option<Vec<Receipt>>,
}

/// How the canonical chain changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadChange {
    /// Blocks that are canonical no more: the old head first, then its ancestors.
    pub retired: Vec<BlockNumHash>,
    /// Blocks that become canonical, lowest first. The last is the new head; if there is none, the
    /// new head is the parent of the last retired block.
    pub adopted: Vec<BlockNumHash>,
}

/// Takes the base back below where it is.
#[derive(Debug, Clone)]
pub struct Rewind {
    /// A canonical block below the base: the newest that the old and the new branch share.
    pub to: BlockNumHash,
    /// The trie nodes that turn the base's tries into those of `to`. Flat values are not looked at:
    /// the history has them.
    pub changes: StateChanges,
}

/// When a commit is safe. Both kinds survive the process being killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk when the commit returns.
    Sync,
    /// A power cut may undo it, and those before it back to the last synced one, but never in part.
    Buffered,
}

impl Writer {
    /// What the ledger said when the database was opened, and whether that still holds.
    #[must_use]
    pub const fn ledger(&self) -> LedgerState {
        self.state
    }

    /// The newest view.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Checks everything, the ledger too: see [`verify::verify`].
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(verify::Progress),
    ) -> Result<verify::Report, StorageError> {
        let mut report = verify::verify(&self.view, progress)?;
        if let LedgerState::DatabaseBehind { missing, have } = self.state {
            let have = have.map_or(0, |have| have.number);
            let BlockNumHash { number, hash } = missing;
            report.problems_total += 1;
            report
                .problems
                .push(format!("commits up to block {number} {hash} are lost, the head is {have}"));
        }
        Ok(report)
    }

    /// Writes the genesis block and its state into an empty database. One that already begins with
    /// this block is left as it is.
    ///
    /// # Errors
    ///
    /// [`StorageError::WrongGenesis`] if the database begins with another block, or when the disk
    /// fails.
    ///
    /// # Panics
    ///
    /// If the nodes in `changes` do not have the block's state root.
    pub fn initialise(
        &mut self,
        genesis: &SealedBlock,
        td: TotalDifficulty,
        changes: StateChanges,
        config_json: &str,
    ) -> Result<View, StorageError> {
        self.check_usable()?;
        let id = genesis.num_hash();
        if self.view.head().is_some() {
            let have = self.view.canonical_hash(0)?.unwrap_or_default();
            let new = id.hash;
            return if have == new {
                Ok(self.view.clone())
            } else {
                Err(StorageError::WrongGenesis { have, new })
            };
        }
        let db = self.db.clone();
        let mut batch = Batch::new(&db);
        let receipts = Some(Vec::new());
        let record = BlockRecord { block: genesis.clone(), td, senders: Vec::new(), receipts };
        blocks::write_block(&mut batch, &self.view, &record)?;
        blocks::write_head_change(
            &mut batch,
            &self.view,
            &HeadChange { retired: Vec::new(), adopted: vec![id] },
            std::slice::from_ref(&record),
        )?;
        base::write_content(&mut batch, &changes);
        let mut base = Base::of(&self.view);
        base.begin(changes);
        base.finish(&mut batch, genesis.header().state_root)?;
        batch.put(Column::Meta, meta::GENESIS, id.hash.as_slice());
        batch.put(Column::Meta, meta::CONFIG, config_json.as_bytes());
        self.finish(batch, Layers::new(id), id, id, Durability::Sync)
    }

    /// Writes a commit atomically and pins the result. The base follows the head at a distance of
    /// [`LAYERS_MAX`] in the same write.
    ///
    /// # Errors
    ///
    /// [`StorageError::Empty`] before the genesis block is written, [`StorageError::Failed`] after an
    /// earlier write failed, and when the disk fails or something on it is damaged. Nothing of the
    /// commit can be read after an error.
    ///
    /// # Panics
    ///
    /// If the commit contradicts itself or the database: a layer without its parent, a head without a
    /// layer, a canonical chain with a gap, a state whose root node does not have the root's hash.
    pub fn commit(&mut self, commit: Commit) -> Result<View, StorageError> {
        self.check_usable()?;
        let head = self.view.head().ok_or(StorageError::Empty)?;
        let plan = Plan::of(&self.view, head, &commit)?;
        let db = self.db.clone();
        let mut batch = Batch::new(&db);
        for record in &commit.blocks {
            blocks::write_block(&mut batch, &self.view, record)?;
        }
        base::write_layers(&mut batch, &plan, &commit);
        for id in &plan.forgotten {
            blocks::mark_unexecuted(&mut batch, &self.view, *id, &commit.blocks)?;
        }
        if let Some(change) = &commit.head {
            blocks::write_head_change(&mut batch, &self.view, change, &commit.blocks)?;
            let retired = change.retired.iter().map(|id| id.number).min();
            log_index::write(&mut batch, &self.view, retired)?;
        }
        self.move_base(&mut batch, &plan, commit.rewind.as_ref())?;
        self.finish(batch, plan.layers, plan.head, plan.base, commit.durability)
    }

    /// Replaces the stored configuration of the chain, geth's JSON.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn set_config(&mut self, config_json: &str) -> Result<(), StorageError> {
        self.check_usable()?;
        let db = self.db.clone();
        let mut batch = Batch::new(&db);
        batch.put(Column::Meta, meta::CONFIG, config_json.as_bytes());
        let (head, base) = (self.view.head().ok_or(StorageError::Empty)?, self.view.base());
        let layers = self.view.layers().clone();
        self.finish(batch, layers, head, base, Durability::Sync)?;
        Ok(())
    }

    /// Says that commits which the ledger knows and the database lost are not to be waited for.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn accept_rollback(&mut self) -> Result<(), StorageError> {
        self.check_usable()?;
        self.state = LedgerState::Agrees;
        // An empty database keeps its word in the ledger's count alone, until the genesis is written.
        let Some(head) = self.view.head() else { return Ok(()) };
        let db = self.db.clone();
        let (layers, base) = (self.view.layers().clone(), self.view.base());
        let mut batch = Batch::new(&db);
        batch.delete(Column::Meta, meta::MISSING);
        self.finish(batch, layers, head, base, Durability::Sync)?;
        Ok(())
    }

    /// Brings everything committed so far to the disk.
    ///
    /// # Errors
    ///
    /// When the disk fails; nothing can be written afterwards.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.check_usable()?;
        self.failed = true;
        // What is in memory alone has no ledger, and its log cannot be synced.
        if let Some(ledger) = &self.ledger {
            self.db.flush_wal(true)?;
            ledger.sync()?;
        }
        self.failed = false;
        Ok(())
    }

    /// Brings everything to the disk in the form in which it is read, so that the next start has no
    /// log to read again. The database closes when the last view is gone.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.sync()?;
        self.db.flush_cfs_opt(Columns::of(&self.db).handles(), &FlushOptions::default())?;
        Ok(())
    }

    fn check_usable(&self) -> Result<(), StorageError> {
        if self.failed { Err(StorageError::Failed) } else { Ok(()) }
    }

    fn move_base(
        &self,
        batch: &mut Batch<'_>,
        plan: &Plan,
        rewind: Option<&Rewind>,
    ) -> Result<(), StorageError> {
        let Some(root) = plan.base_root else { return Ok(()) };
        let mut base = Base::of(&self.view);
        if let Some(rewind) = rewind {
            base.rewind(batch, rewind)?;
        }
        for layer in &plan.passed {
            base.pass(batch, layer)?;
        }
        base.finish(batch, root)
    }

    /// Writes what every commit writes, then the batch, then the ledger.
    fn finish(
        &mut self,
        mut batch: Batch<'_>,
        layers: Layers,
        head: BlockNumHash,
        base: BlockNumHash,
        durability: Durability,
    ) -> Result<View, StorageError> {
        let commit = self.commits + 1;
        batch.put(Column::Meta, meta::SCHEMA, &SCHEMA_VERSION.to_be_bytes());
        batch.put(Column::Meta, meta::HEAD, &block_key(head));
        batch.put(Column::Meta, meta::BASE, &block_key(base));
        batch.put(Column::Meta, meta::COMMITS, &commit.to_be_bytes());
        let state = match self.state {
            LedgerState::DatabaseBehind { missing, .. } if head.number < missing.number => {
                batch.put(Column::Meta, meta::MISSING, &block_key(missing));
                LedgerState::DatabaseBehind { missing, have: Some(head) }
            }
            LedgerState::DatabaseBehind { .. } => {
                batch.delete(Column::Meta, meta::MISSING);
                LedgerState::Agrees
            }
            LedgerState::DatabaseAhead | LedgerState::Agrees => LedgerState::Agrees,
        };
        // What a failed write left behind cannot be known, so it is never retried.
        self.failed = true;
        batch.write(&self.db, durability)?;
        if let Some(ledger) = &mut self.ledger {
            ledger.append(Record { commit, head }, durability)?;
        }
        self.failed = false;
        self.commits = commit;
        self.state = state;
        self.view = View::now(self.db.clone(), layers, Some(head), base);
        Ok(self.view.clone())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("view", &self.view)
            .field("commits", &self.commits)
            .field("ledger", &self.state)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
