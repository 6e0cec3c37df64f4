use std::collections::VecDeque;

use chain::ChainView;
use primitives::BlockNumHash;

/// How deep a block of ours must be before its fate is told.
const CONFIRMATIONS: u64 = 7;
/// How many blocks of ours may wait for their fate.
const UNCONFIRMED_MAX: usize = 64;

/// Blocks of ours whose fate is open.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed(VecDeque<BlockNumHash>);

impl Unconfirmed {
    pub(super) fn insert(&mut self, block: BlockNumHash) {
        if self.0.len() == UNCONFIRMED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(block);
    }

    /// Tells the fate of every block that is deep enough.
    pub(super) fn confirm(&mut self, view: &ChainView) {
        while let Some(block) = self.0.front().copied() {
            if block.number + CONFIRMATIONS > view.head.number {
                break;
            }
            self.0.pop_front();
            let (number, hash) = (block.number, block.hash);
            match view.db.canonical_hash(number) {
                Ok(Some(canonical)) if canonical == hash => {
                    tracing::info!(number, %hash, "🔗 block reached canonical chain");
                }
                Ok(_) => match is_ommer(view, block) {
                    Ok(true) => tracing::info!(number, %hash, "⑂ block became an uncle"),
                    Ok(false) => tracing::info!(number, %hash, "😱 block lost"),
                    Err(error) => tracing::warn!(number, %hash, %error, "Fate of block unknown"),
                },
                Err(error) => tracing::warn!(number, %hash, %error, "Fate of block unknown"),
            }
        }
    }
}

fn is_ommer(view: &ChainView, block: BlockNumHash) -> Result<bool, storage::StorageError> {
    for number in block.number + 1..=block.number + CONFIRMATIONS {
        let Some(hash) = view.db.canonical_hash(number)? else { return Ok(false) };
        let Some(body) = view.db.body(hash)? else { return Ok(false) };
        if body.ommers.iter().any(|ommer| ommer.hash_slow() == block.hash) {
            return Ok(true);
        }
    }
    Ok(false)
}
