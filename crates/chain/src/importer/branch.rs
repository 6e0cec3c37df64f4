//! Reorganisations onto a branch that has not been executed: above the base or below it.

use consensus::VerifiedBlock;
use primitives::{Address, B256, BlockNumHash, SealedBlock, SealedHeader, TotalDifficulty};
use state::{StateReader, WorldState};
use storage::{Commit, Durability, Rewind, StorageError};

use super::{Executed, Importer, execute_checked, executed, unwound::Unwound};
use crate::{ImportError, view::ancestor_hash};

/// One block of a branch. It was verified when it arrived, before it was stored.
struct Link {
    block: SealedBlock,
    senders: Vec<Address>,
}

/// Where the execution of a branch begins.
enum Root {
    /// A block whose trie is here.
    Trie(SealedHeader),
    /// A canonical block below the base: the base must be unwound to it.
    History(SealedHeader),
}

impl Importer {
    /// Executes the branch that ends with this block, which is heavier than the head, and makes it
    /// canonical. All of it or nothing: one commit.
    pub(super) fn reorganise(
        &mut self,
        block: VerifiedBlock,
        td: TotalDifficulty,
        own: bool,
        durability: Durability,
    ) -> Result<(), ImportError> {
        let hash = block.block().hash();
        let (root, branch) = self.collect(block).map_err(|e| ImportError::storage(hash, e))?;
        let first_parent = branch[0].block.header().parent_hash;
        let (executed, rewind) = match root {
            Root::Trie(header) => {
                let world = self.view.world_at(&header);
                let world = world.map_err(|e| ImportError::storage(hash, e))?;
                (self.execute_branch(world, &header, &branch, td)?, None)
            }
            Root::History(header) => {
                let unwound = Unwound::to(&self.view.db, &header);
                let unwound = unwound.map_err(|e| ImportError::storage(hash, e))?;
                let changes = unwound.changes().clone();
                let world = WorldState::at(header.state_root, unwound, header.number + 1);
                let executed = self.execute_branch(world, &header, &branch, td)?;
                (executed, Some(Rewind { to: header.num_hash(), changes }))
            }
        };
        let ids: Vec<BlockNumHash> = branch.iter().map(|link| link.block.num_hash()).collect();
        let head = self.adoption(first_parent, ids).map_err(|e| ImportError::storage(hash, e))?;
        let (blocks, layers) = executed.into_iter().map(|e| (e.record, e.layer)).unzip();
        self.world = None;
        self.commit(Commit { blocks, layers, head: Some(head), rewind, durability }, own)?;
        self.unexecuted_bytes =
            self.view.db.unexecuted_bytes().map_err(|e| ImportError::storage(hash, e))?;
        Ok(())
    }

    /// The branch from the newest ancestor with a known state up to `tip`, lowest first.
    fn collect(&self, tip: VerifiedBlock) -> Result<(Root, Vec<Link>), StorageError> {
        let db = &self.view.db;
        let (block, senders) = tip.into_parts();
        let mut branch = vec![Link { block, senders }];
        loop {
            let parent = branch[branch.len() - 1].block.header().parent_hash;
            let missing = || StorageError::corrupt("headers", format!("block {parent} is missing"));
            let header = db.header(parent)?.ok_or_else(missing)?;
            let root = if db.has_trie(parent) {
                Root::Trie(header)
            } else if db.canonical_hash(header.number)? == Some(parent) {
                Root::History(header)
            } else {
                let block = db.recovered_block(header)?.ok_or_else(missing)?;
                let (block, senders) = block.split_sealed();
                branch.push(Link { block, senders });
                continue;
            };
            branch.reverse();
            return Ok((root, branch));
        }
    }

    fn execute_branch<R: StateReader>(
        &mut self,
        mut world: WorldState<R>,
        root: &SealedHeader,
        branch: &[Link],
        tip_td: TotalDifficulty,
    ) -> Result<Vec<Executed>, ImportError> {
        let db = self.view.db.clone();
        let (from, spec) = (root.num_hash(), self.spec());
        let mut done: Vec<Executed> = Vec::with_capacity(branch.len());
        for (index, link) in branch.iter().enumerate() {
            self.step();
            let hash = link.block.hash();
            let td = match index + 1 == branch.len() {
                true => tip_td,
                false => db
                    .td(hash)
                    .and_then(|td| {
                        td.ok_or_else(|| StorageError::corrupt("td", format!("block {hash}")))
                    })
                    .map_err(|e| ImportError::storage(hash, e))?,
            };
            let lookup = |number: u64| match number.checked_sub(from.number + 1) {
                Some(place) => Ok(usize::try_from(place)
                    .ok()
                    .and_then(|place| branch.get(place))
                    .map(|link| link.block.hash())),
                None => Ok(ancestor_hash(&db, from, number)?),
            };
            let result = execute_checked(&spec, &link.block, &link.senders, &mut world, &lookup);
            let (receipts, changes) = result.inspect_err(|error| {
                if error.is_senders_fault() {
                    self.mark_bad(hash, &branch[index..]);
                    self.rejected.keep(&link.block, &link.senders);
                }
            })?;
            done.push(executed(&link.block, &link.senders, td, (receipts, changes)));
        }
        Ok(done)
    }

    fn mark_bad(&mut self, bad: B256, branch: &[Link]) {
        for link in branch {
            self.bad.insert(link.block.hash(), bad);
        }
    }
}
