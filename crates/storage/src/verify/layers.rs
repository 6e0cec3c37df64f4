use primitives::{B256, EMPTY_ROOT_HASH, keccak256};
use state::{Layer, Nibbles, StateReader};

use super::Check;
use crate::{LAYERS_MAX, StorageError, codec::decode, schema::Column};

/// Every layer belongs to a stored block, lies on its parent's, and has its root.
pub(super) fn layers(check: &mut Check<'_>) -> Result<(), StorageError> {
    let view = check.view;
    let mut cursor = view.pinned().cursor(Column::Layers, &[], None);
    let mut stored = 0_u64;
    while let Some((key, value)) = cursor.item()? {
        let layer: Layer = decode(Column::Layers, key, value)?;
        let hash = layer.block.hash;
        let is_same = view.layers().get(hash).is_some_and(|known| **known == layer);
        check.require(is_same && hash.as_slice() == key, || {
            format!("the stored layer of block {hash} is not the one that is used")
        });
        one_layer(check, &layer)?;
        stored += 1;
        check.step();
        cursor.advance();
    }
    let used = u64::try_from(view.layers().len()).unwrap_or(u64::MAX);
    check.require(stored == used, || format!("{stored} layers are stored, {used} are used"));
    let head = view.head().ok_or(StorageError::Empty)?.number;
    let distance = head.saturating_sub(view.base().number);
    check.require(distance <= LAYERS_MAX, || {
        format!("the base is {distance} blocks behind the head")
    });
    check.report.counts.layers = stored;
    Ok(())
}

fn one_layer(check: &mut Check<'_>, layer: &Layer) -> Result<(), StorageError> {
    let hash = layer.block.hash;
    let Some(header) = check.view.header(hash)? else {
        check.problem(format!("block {hash} has a layer and is not stored"));
        return Ok(());
    };
    let agrees = header.number == layer.block.number
        && header.parent_hash == layer.parent
        && header.state_root == layer.root;
    check.require(agrees, || format!("the layer of block {hash} is not of this block"));
    let is_rooted = check.view.layers().chain_to(hash).is_some();
    check.require(is_rooted, || format!("the layer of block {hash} does not lie above the base"));
    if is_rooted {
        let root = check.view.state_at(hash)?.node(None, &Nibbles::new())?;
        let root: B256 = root.map_or(EMPTY_ROOT_HASH, keccak256);
        check.require(root == layer.root, || {
            format!("the state of block {hash} has root {root}, not {}", layer.root)
        });
    }
    for code in &layer.changes.codes {
        let is_stored = check.view.code(*code.0)?.is_some();
        check.require(is_stored, || format!("code {} of block {hash} is missing", code.0));
    }
    Ok(())
}
