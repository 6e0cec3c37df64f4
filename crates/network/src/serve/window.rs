//! The states that can be told whole: those of the newest canonical blocks.

use chain::ChainView;
use primitives::{B256, map::HashMap};
use storage::{StateAt, StorageError};

/// The states of the canonical blocks from the base to the head, by their roots. Opened when they
/// are asked for.
pub(super) struct Window<'a> {
    pub(super) view: &'a ChainView,
    blocks: HashMap<B256, B256>,
    open: HashMap<B256, StateAt>,
    /// The root of the base.
    lowest: B256,
}

impl<'a> Window<'a> {
    pub(super) fn of(view: &'a ChainView) -> Result<Self, StorageError> {
        let roots = view.db.recent_roots()?;
        let lowest = roots.last().map_or(B256::ZERO, |(root, _)| *root);
        let blocks = roots.into_iter().map(|(root, block)| (root, block.hash)).collect();
        Ok(Self { view, blocks, open: HashMap::default(), lowest })
    }

    /// Whether the state with this root is here.
    pub(super) fn has(&self, root: B256) -> bool {
        self.blocks.contains_key(&root)
    }

    /// The state with this root.
    pub(super) fn state(&mut self, root: B256) -> Result<Option<&StateAt>, StorageError> {
        let Some(block) = self.blocks.get(&root) else { return Ok(None) };
        if !self.open.contains_key(&root) {
            self.open.insert(root, self.view.db.state_at(*block)?);
        }
        Ok(self.open.get(&root))
    }

    /// The root of the oldest state.
    pub(super) const fn lowest(&self) -> B256 {
        self.lowest
    }
}
