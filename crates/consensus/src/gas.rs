use primitives::{ChainSpec, Hardfork, Header};

use crate::InvalidBlock;

/// The lowest gas limit of a block.
pub const GAS_LIMIT_MIN: u64 = 5_000;

/// The highest gas limit of a block: 2^63 - 1.
pub const GAS_LIMIT_MAX: u64 = u64::MAX >> 1;

/// A gas limit differs from the parent's by less than this fraction of it.
const GAS_LIMIT_BOUND_DIVISOR: u64 = 1024;

/// How many times its target a London block may use
/// ([EIP-1559](https://eips.ethereum.org/EIPS/eip-1559)).
const ELASTICITY: u64 = 2;

/// The base fee changes by at most this fraction (EIP-1559).
const BASE_FEE_CHANGE_DENOMINATOR: u128 = 8;

/// The base fee in wei of the first block of London (EIP-1559).
const INITIAL_BASE_FEE: u64 = 1_000_000_000;

/// The base fee in wei that a child of `parent` must have; `None` before London
/// ([EIP-1559](https://eips.ethereum.org/EIPS/eip-1559)).
#[must_use]
pub fn next_base_fee(spec: &ChainSpec, parent: &Header) -> Option<u64> {
    let number = parent.number.saturating_add(1);
    if !spec.forks.is_active(Hardfork::London, number) {
        return None;
    }
    if !spec.forks.is_active(Hardfork::London, parent.number) {
        return Some(INITIAL_BASE_FEE);
    }
    let fee = parent.base_fee_per_gas.unwrap_or(INITIAL_BASE_FEE);
    let target = parent.gas_limit / ELASTICITY;
    let change = |gas: u64| {
        let product = u128::from(gas) * u128::from(fee);
        let change = product.checked_div(u128::from(target)).unwrap_or_default()
            / BASE_FEE_CHANGE_DENOMINATOR;
        u64::try_from(change).unwrap_or(u64::MAX)
    };
    Some(if parent.gas_used > target {
        fee.saturating_add(change(parent.gas_used - target).max(1))
    } else {
        fee.saturating_sub(change(target - parent.gas_used))
    })
}

/// The gas limit of a new child of `parent`: as near to `target` as one block may move.
///
/// The first block of London starts from twice the parent's (EIP-1559).
#[must_use]
pub fn next_gas_limit(spec: &ChainSpec, parent: &Header, target: u64) -> u64 {
    let start = base_limit(spec, parent);
    let step = (start / GAS_LIMIT_BOUND_DIVISOR).saturating_sub(1);
    let target = target.clamp(GAS_LIMIT_MIN, GAS_LIMIT_MAX);
    target.clamp(start.saturating_sub(step), start.saturating_add(step)).min(GAS_LIMIT_MAX)
}

/// Checks that a child's gas limit is near enough to that of `parent`, and high enough.
pub(crate) fn verify_gas_limit(
    spec: &ChainSpec,
    have: u64,
    parent: &Header,
) -> Result<(), InvalidBlock> {
    let base = base_limit(spec, parent);
    let bound = base / GAS_LIMIT_BOUND_DIVISOR;
    if have.abs_diff(base) >= bound || have < GAS_LIMIT_MIN {
        return Err(InvalidBlock::GasLimit { have, parent: base, bound });
    }
    Ok(())
}

/// What a child's gas limit is measured against: twice the parent's in the first block of London.
fn base_limit(spec: &ChainSpec, parent: &Header) -> u64 {
    let london = |number| spec.forks.is_active(Hardfork::London, number);
    if !london(parent.number) && london(parent.number.saturating_add(1)) {
        return parent.gas_limit.saturating_mul(ELASTICITY);
    }
    parent.gas_limit
}
