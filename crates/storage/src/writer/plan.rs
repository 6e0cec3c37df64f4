use std::sync::Arc;

use primitives::{B256, BlockNumHash};
use state::{Layer, Layers};

use super::{Commit, HeadChange, LAYERS_MAX, Rewind};
use crate::{StorageError, View, codec::bad, schema::Column};

/// What a commit does to the layers and to the base: decided before anything is written.
pub(super) struct Plan {
    /// The layers afterwards, indexed at the head.
    pub(super) layers: Layers,
    /// The head afterwards.
    pub(super) head: BlockNumHash,
    /// The base afterwards.
    pub(super) base: BlockNumHash,
    /// The state root of the base afterwards; `None` if it stays where it is.
    pub(super) base_root: Option<B256>,
    /// The layers that the base moves up over, lowest first.
    pub(super) passed: Vec<Arc<Layer>>,
    /// Executed blocks whose state cannot be reached any more.
    pub(super) forgotten: Vec<BlockNumHash>,
    /// Blocks whose layers are on the disk and not needed any more.
    pub(super) stale: Vec<B256>,
}

impl Plan {
    pub(super) fn of(
        view: &View,
        head: BlockNumHash,
        commit: &Commit,
    ) -> Result<Self, StorageError> {
        let mut forgotten = Vec::new();
        let mut base_root = None;
        let mut layers = view.layers().clone();
        if let Some(rewind) = &commit.rewind {
            check_rewind(view, rewind)?;
            forgotten = above(view, rewind.to)?;
            base_root = Some(state_root(view, rewind.to)?);
            layers = Layers::new(rewind.to);
        }
        let executed = commit.blocks.iter().filter(|record| record.receipts.is_some());
        assert_eq!(executed.count(), commit.layers.len(), "every executed block has its layer");
        for layer in &commit.layers {
            let parent = layer.parent;
            assert!(
                parent == layers.base().hash || layers.contains(parent),
                "the layer of block {} lies on its parent's",
                layer.block.hash
            );
            layers = layers.with(layer.clone());
        }
        let head = match &commit.head {
            None => head,
            Some(change) => head_after(view, head, change)?,
        };
        let mut passed = layers.chain_to(head.hash).expect("the head has a layer, or is the base");
        passed.retain(|layer| layer.block.number + LAYERS_MAX <= head.number);
        let (layers, dropped) = layers.advance(&passed);
        let layers = layers.with_head(head.hash);
        forgotten.extend(dropped.iter().map(|layer| layer.block));
        if let Some(last) = passed.last() {
            base_root = Some(last.root);
        }
        let known = view.layers().iter().map(|layer| layer.block.hash);
        let stale = known.filter(|hash| !layers.contains(*hash)).collect();
        let base = layers.base();
        Ok(Self { layers, head, base, base_root, passed, forgotten, stale })
    }
}

fn check_rewind(view: &View, rewind: &Rewind) -> Result<(), StorageError> {
    let BlockNumHash { number, hash } = rewind.to;
    assert!(number < view.base().number, "a rewind goes below the base");
    let canonical = view.canonical_hash(number)?;
    assert_eq!(canonical, Some(hash), "a rewind goes to a canonical block");
    Ok(())
}

/// Every executed block above a canonical block that is below the base.
fn above(view: &View, to: BlockNumHash) -> Result<Vec<BlockNumHash>, StorageError> {
    let mut blocks: Vec<BlockNumHash> = view.layers().iter().map(|layer| layer.block).collect();
    for number in to.number + 1..=view.base().number {
        blocks.push(BlockNumHash { number, hash: canonical(view, number)? });
    }
    Ok(blocks)
}

fn state_root(view: &View, block: BlockNumHash) -> Result<B256, StorageError> {
    let header = view.header(block.hash)?.ok_or(StorageError::UnknownBlock(block.hash))?;
    Ok(header.state_root)
}

/// The head after a change of the canonical chain, which must have no gap.
fn head_after(
    view: &View,
    head: BlockNumHash,
    change: &HeadChange,
) -> Result<BlockNumHash, StorageError> {
    let mut top = head.number;
    for (index, retired) in change.retired.iter().enumerate() {
        assert_eq!(retired.number, top, "blocks retire from the head down, without a gap");
        let is_canonical = view.canonical_hash(top)? == Some(retired.hash);
        assert!(is_canonical, "retired block {index} was canonical");
        top = top.checked_sub(1).expect("the genesis block never retires");
    }
    for adopted in &change.adopted {
        top += 1;
        assert_eq!(adopted.number, top, "blocks are adopted upwards, without a gap");
    }
    match change.adopted.last() {
        Some(&last) => Ok(last),
        None => Ok(BlockNumHash { number: top, hash: canonical(view, top)? }),
    }
}

fn canonical(view: &View, number: u64) -> Result<B256, StorageError> {
    let hash = view.canonical_hash(number)?;
    hash.ok_or_else(|| bad(Column::Canonical, &number.to_be_bytes(), "is missing"))
}
