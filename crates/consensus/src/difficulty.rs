use primitives::{ChainSpec, EMPTY_OMMER_ROOT_HASH, Hardfork, Header, U256};

/// The lowest difficulty of a block that has a parent.
pub const DIFFICULTY_MIN: U256 = U256::from_limbs([131_072, 0, 0, 0]);

/// The difficulty changes by this fraction of the parent's.
const BOUND_DIVISOR: U256 = U256::from_limbs([2048, 0, 0, 0]);

/// The ice age doubles its part of the difficulty every so many blocks.
const BOMB_PERIOD_BLOCKS: u64 = 100_000;

/// A slow block lowers the difficulty by at most so many fractions.
const DECREASE_MAX: u64 = 99;

/// The difficulty that a child of `parent` with this timestamp must have.
///
/// Frontier and Homestead ([EIP-2](https://eips.ethereum.org/EIPS/eip-2)), later with the parent's
/// ommers in the rule ([EIP-100](https://eips.ethereum.org/EIPS/eip-100)) and the ice age put off
/// (EIP-649, 1234, 2384, 3554, 4345, 5133).
#[must_use]
pub fn next_difficulty(spec: &ChainSpec, timestamp: u64, parent: &Header) -> U256 {
    let number = parent.number.saturating_add(1);
    let elapsed = timestamp.saturating_sub(parent.timestamp);
    if let Some(delay) = bomb_delay(spec, number) {
        let reward_for_ommers = if parent.ommers_hash == EMPTY_OMMER_ROOT_HASH { 1 } else { 2 };
        let base = adjusted(parent.difficulty, reward_for_ommers, elapsed / 9);
        return base.saturating_add(bomb(parent.number.saturating_sub(delay - 1)));
    }
    if spec.forks.is_active(Hardfork::Homestead, number) {
        let base = adjusted(parent.difficulty, 1, elapsed / 10);
        return base.saturating_add(bomb(number));
    }
    let step = parent.difficulty / BOUND_DIVISOR;
    let base = if elapsed < 13 {
        parent.difficulty.saturating_add(step)
    } else {
        parent.difficulty.saturating_sub(step)
    };
    base.max(DIFFICULTY_MIN).saturating_add(bomb(number))
}

/// How many blocks the ice age is put off in a block of this number; `None` before Byzantium.
#[must_use]
pub fn bomb_delay(spec: &ChainSpec, number: u64) -> Option<u64> {
    const NEWEST_FIRST: [(Hardfork, u64); 6] = [
        (Hardfork::GrayGlacier, 11_400_000),
        (Hardfork::ArrowGlacier, 10_700_000),
        (Hardfork::London, 9_700_000),
        (Hardfork::MuirGlacier, 9_000_000),
        (Hardfork::Constantinople, 5_000_000),
        (Hardfork::Byzantium, 3_000_000),
    ];
    NEWEST_FIRST
        .into_iter()
        .find(|(fork, _)| spec.forks.is_active(*fork, number))
        .map(|(_, delay)| delay)
}

/// The parent's difficulty moved by `up - down` fractions, at most 99 downwards, not below the
/// minimum.
fn adjusted(parent: U256, up: u64, down: u64) -> U256 {
    let step = parent / BOUND_DIVISOR;
    let moved = if down <= up {
        parent.saturating_add(step.saturating_mul(U256::from(up - down)))
    } else {
        parent.saturating_sub(step.saturating_mul(U256::from((down - up).min(DECREASE_MAX))))
    };
    moved.max(DIFFICULTY_MIN)
}

/// The ice age's part of the difficulty, by a block number from which the delay is taken off.
fn bomb(number: u64) -> U256 {
    match number / BOMB_PERIOD_BLOCKS {
        0 | 1 => U256::ZERO,
        period => usize::try_from(period - 2)
            .ok()
            .and_then(|exponent| U256::ONE.checked_shl(exponent))
            .unwrap_or(U256::MAX),
    }
}
