use std::{collections::VecDeque, sync::Arc};

use consensus::Ancestor;
use primitives::{B256, SealedHeader, TotalDifficulty, map::HashSet};
use state::Layer;
use storage::{BlockRecord, StorageError, View};

use crate::{
    ChainView,
    view::{OMMER_ANCESTORS, ancestors_of},
};

/// Executed blocks that wait for one commit. They extend the head in a line.
#[derive(Debug)]
pub(super) struct Staged {
    /// The newest staged block, or the head.
    pub(super) tip: SealedHeader,
    /// The work up to and including the tip.
    pub(super) td: TotalDifficulty,
    blocks: Vec<BlockRecord>,
    layers: Vec<Arc<Layer>>,
    hashes: HashSet<B256>,
    /// The tip and its ancestors, newest first; filled when the first block with ommers comes.
    recent: VecDeque<Ancestor>,
}

impl Staged {
    pub(super) fn on(view: &ChainView) -> Self {
        Self {
            tip: view.head.clone(),
            td: view.td,
            blocks: Vec::new(),
            layers: Vec::new(),
            hashes: HashSet::default(),
            recent: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn contains(&self, hash: B256) -> bool {
        self.hashes.contains(&hash)
    }

    /// The hash of a staged block by number.
    pub(super) fn hash_at(&self, number: u64) -> Option<B256> {
        let first = self.blocks.first()?.block.header().number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.blocks.get(index).map(|record| record.block.hash())
    }

    pub(super) fn push(&mut self, record: BlockRecord, layer: Arc<Layer>) {
        self.tip = record.block.clone_sealed_header();
        self.td = record.td;
        self.hashes.insert(self.tip.hash());
        if !self.recent.is_empty() {
            let ommers = record.block.body().ommers.iter().map(primitives::Header::hash_slow);
            self.recent.push_front(Ancestor { header: self.tip.clone(), ommers: ommers.collect() });
            self.recent.truncate(OMMER_ANCESTORS);
        }
        self.blocks.push(record);
        self.layers.push(layer);
    }

    /// The tip and the blocks below it, newest first, as far as ommers' rules reach.
    pub(super) fn ancestors(&mut self, db: &View) -> Result<&[Ancestor], StorageError> {
        if self.recent.is_empty() {
            let staged = self.blocks.iter().rev().take(OMMER_ANCESTORS).map(|record| Ancestor {
                header: record.block.clone_sealed_header(),
                ommers: record
                    .block
                    .body()
                    .ommers
                    .iter()
                    .map(primitives::Header::hash_slow)
                    .collect(),
            });
            self.recent = staged.collect();
            let below = match self.blocks.first() {
                Some(record) => db.header(record.block.header().parent_hash)?,
                None => Some(self.tip.clone()),
            };
            if let Some(header) = below {
                self.recent.extend(ancestors_of(db, &header)?);
            }
            self.recent.truncate(OMMER_ANCESTORS);
        }
        Ok(self.recent.make_contiguous())
    }

    /// Gives away what is staged; the tip stays, for it is about to be the head.
    pub(super) fn take(&mut self) -> (Vec<BlockRecord>, Vec<Arc<Layer>>) {
        self.hashes.clear();
        (std::mem::take(&mut self.blocks), std::mem::take(&mut self.layers))
    }
}
