//! Which claims of a chain's weight are believed. Whoever knows the secret may report, and nothing
//! proves a total difficulty here: but a chain cannot become heavier than its difficulty and the
//! time that has passed allow.

use crate::message::BlockSeen;

/// How far a block's time may be ahead of the clock, and clocks of machines apart, in seconds.
const CLOCK_SECONDS_MAX: u64 = 60;
/// A branch of equal height may be heavier by the work of so many blocks.
const BRANCH_BLOCKS_MAX: u64 = 16;
/// The lowest difficulty of a block that has a parent.
const DIFFICULTY_MIN: f64 = 131_072.0;
/// The share of itself that the difficulty can grow by from block to block: two of 2 048 parts.
const GROWTH: f64 = 2.0 / 2_048.0;
/// The ice age doubles its part of the difficulty every so many blocks.
const PERIOD_BLOCKS: f64 = 100_000.0;
/// How much larger a number may come out of floats.
const ROUNDING: f64 = 1e-9;

/// Whether a block can be what its reporter says, if this head is what it was said to be. `now` is
/// in milliseconds since 1970.
pub(super) fn is_plausible(head: &BlockSeen, claim: &BlockSeen, now: u64) -> bool {
    let seconds = now / 1_000;
    if claim.timestamp > seconds.saturating_add(CLOCK_SECONDS_MAX) {
        return false;
    }
    // No two blocks of a chain are of the same second.
    let passed = seconds.saturating_sub(head.timestamp).saturating_add(CLOCK_SECONDS_MAX);
    let steps = claim.number.saturating_sub(head.number);
    if steps > passed {
        return false;
    }
    let steps = steps.saturating_add(BRANCH_BLOCKS_MAX);
    let steps = f64::from(u32::try_from(steps).unwrap_or(u32::MAX));
    let difficulty = f64::from(head.difficulty).max(DIFFICULTY_MIN);
    let grown = difficulty * ((steps * GROWTH.ln_1p()).exp_m1() / GROWTH);
    // What the ice age adds is a part of the difficulty, and doubles.
    let bomb = steps * 2.0 * difficulty * (steps / PERIOD_BLOCKS).exp2();
    let most = f64::from(head.td) + grown + bomb;
    f64::from(claim.td) <= most * (1.0 + ROUNDING)
}

#[cfg(test)]
mod tests {
    use primitives::U256;

    use super::*;
    use crate::dashboard::chain::tests::block;

    /// A moment at which a block is new.
    fn at(block: &BlockSeen) -> u64 {
        block.timestamp * 1_000
    }

    #[test]
    fn the_next_block_and_a_heavier_branch_are_believed() {
        let head = block(1_000, 1, 0);
        for (number, extra) in [(1_001, 0), (1_001, 131_072), (1_000, 131_072), (998, 500_000)] {
            let claim = block(number, 2, extra);
            assert!(is_plausible(&head, &claim, at(&head)), "{number} {extra}");
        }
        // Nobody told anything for an hour.
        let later = block(1_360, 1, 0);
        assert!(is_plausible(&head, &later, at(&later)));
    }

    #[test]
    fn a_weight_that_no_chain_can_have_by_now_is_not_believed() {
        let head = block(1_000, 1, 0);
        let mut heavy = block(1_001, 2, 0);
        heavy.td = U256::MAX;
        assert!(!is_plausible(&head, &heavy, at(&head)));
        heavy.td = head.td * U256::from(2);
        assert!(!is_plausible(&head, &heavy, at(&head)), "a thousand blocks in a second");
        let far = block(100_000, 2, 0);
        assert!(!is_plausible(&head, &far, at(&head)), "its time is to come");
        let mut far = far;
        far.timestamp = head.timestamp;
        assert!(!is_plausible(&head, &far, at(&head)), "more blocks than seconds");
    }

    #[test]
    fn whoever_knew_the_genesis_only_believes_any_chain() {
        let mut genesis = block(0, 1, 0);
        (genesis.timestamp, genesis.difficulty) = (0, U256::from(1_024));
        let claim = block(5_000_000, 1, 1 << 60);
        assert!(is_plausible(&genesis, &claim, at(&claim)));
    }
}
