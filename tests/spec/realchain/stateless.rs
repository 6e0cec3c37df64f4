//! What can be checked about blocks without the state before them.

use std::collections::VecDeque;

use consensus::{Ancestor, Engine, EthashSeal, OMMER_DEPTH_MAX, verify_header, verify_ommers};
use primitives::{ChainSpec, Header, SealedBlock};

use crate::chains::with_causes;

/// Checks seals, roots, signatures and ommers of blocks; where they follow one another also each
/// header against its parent, and ommers against ancestors as soon as enough of these are known.
pub(super) fn check(spec: &ChainSpec, blocks: Vec<SealedBlock>) -> Result<(), String> {
    let engine = Engine::Ethash(EthashSeal::new());
    let mut ancestors: VecDeque<Ancestor> = VecDeque::new();
    for block in &blocks {
        let height = block.header().number;
        let at = |error| format!("block {height}: {}", with_causes(&error));
        match ancestors.front() {
            Some(parent) if parent.header.hash() == block.header().parent_hash => {
                verify_header(spec, block.header(), parent.header.header()).map_err(at)?;
            }
            _ => ancestors.clear(),
        }
        if ancestors.len() == OMMER_DEPTH_MAX {
            verify_ommers(spec, block, ancestors.make_contiguous()).map_err(at)?;
        }
        let ommers = block.body().ommers.iter().map(Header::hash_slow).collect();
        ancestors.push_front(Ancestor { header: block.clone_sealed_header(), ommers });
        ancestors.truncate(OMMER_DEPTH_MAX);
    }
    let heights: Vec<u64> = blocks.iter().map(|block| block.header().number).collect();
    for (height, verdict) in heights.into_iter().zip(engine.verify_many(spec, blocks, 1)) {
        verdict.map_err(|error| format!("block {height}: {}", with_causes(&error)))?;
    }
    Ok(())
}
