use chain::ChainView;
use consensus::verify_ommers;
use primitives::{Block, BlockBody, Header, SealedBlock, SealedHeader};
use storage::StorageError;

/// How many ommers a block may have (Yellow Paper §4.3.2).
const OMMERS_MAX: usize = 2;
/// How far below a block its ommers may be.
const OMMER_DEPTH_MAX: u64 = 6;

/// Side blocks that a child of `parent` may include: our own first, then the newest.
pub(crate) fn choose(
    view: &ChainView,
    parent: &SealedHeader,
    header: &Header,
) -> Result<Vec<Header>, StorageError> {
    let ancestors = view.ancestors(parent)?;
    let lowest = header.number.saturating_sub(OMMER_DEPTH_MAX);
    let mut candidates = Vec::new();
    for number in (lowest..header.number).rev() {
        for hash in view.db.hashes_at(number)? {
            if view.db.canonical_hash(number)? == Some(hash) {
                continue;
            }
            if let Some(candidate) = view.db.header(hash)? {
                candidates.push(candidate.into_header());
            }
        }
    }
    // A stable sort: within each half the newest stay first.
    candidates.sort_by_key(|candidate| candidate.beneficiary != header.beneficiary);
    let mut chosen = Vec::new();
    for candidate in candidates {
        if chosen.len() == OMMERS_MAX {
            break;
        }
        chosen.push(candidate);
        let body =
            BlockBody { transactions: Vec::new(), ommers: chosen.clone(), withdrawals: None };
        let block = SealedBlock::seal_slow(Block { header: header.clone(), body });
        if verify_ommers(&view.spec, &block, &ancestors).is_err() {
            chosen.pop();
        }
    }
    Ok(chosen)
}
