use primitives::{B256, BlockNumHash, TotalDifficulty};
use storage::{StorageError, View};

/// What fork choice compares: one tip of a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tip {
    pub(crate) number: u64,
    pub(crate) td: TotalDifficulty,
    pub(crate) own: bool,
}

/// Whether a new tip replaces the head: the heavier chain; on a tie the shorter, then our own
/// block, then the first seen.
pub(crate) fn prefers(new: Tip, head: Tip) -> bool {
    if new.td != head.td {
        return new.td > head.td;
    }
    if new.number != head.number {
        return new.number < head.number;
    }
    new.own && !head.own
}

/// The way from one head to another: what is given up, highest first, and what replaces it, lowest
/// first. `branch` is the new tip's ancestry that the database does not know as canonical, lowest
/// first; `ancestor` is its canonical parent.
pub(crate) fn retired(
    view: &View,
    head: BlockNumHash,
    ancestor: BlockNumHash,
) -> Result<Vec<BlockNumHash>, StorageError> {
    let mut retired = Vec::new();
    let mut number = head.number;
    while number > ancestor.number {
        let hash: B256 = view.canonical_hash(number)?.ok_or_else(|| {
            StorageError::corrupt(
                "canonical",
                format!("no canonical block {number} below the head"),
            )
        })?;
        retired.push(BlockNumHash { number, hash });
        number -= 1;
    }
    Ok(retired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use primitives::U256;

    fn tip(number: u64, td: u64, own: bool) -> Tip {
        Tip { number, td: TotalDifficulty::new(U256::from(td)), own }
    }

    #[test]
    fn the_heavier_then_the_shorter_then_the_own_then_the_first_seen_wins() {
        assert!(prefers(tip(5, 11, false), tip(9, 10, true)));
        assert!(!prefers(tip(5, 9, true), tip(4, 10, false)));
        assert!(prefers(tip(4, 10, false), tip(5, 10, true)));
        assert!(!prefers(tip(6, 10, true), tip(5, 10, false)));
        assert!(prefers(tip(5, 10, true), tip(5, 10, false)));
        assert!(!prefers(tip(5, 10, false), tip(5, 10, false)));
        assert!(!prefers(tip(5, 10, true), tip(5, 10, true)));
    }
}
