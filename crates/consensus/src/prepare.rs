use primitives::{Address, Bytes, ChainSpec, Header, SealedHeader};

use crate::{
    EXTRA_DATA_BYTES_MAX, dao::chosen_extra_data, next_base_fee, next_difficulty, next_gas_limit,
};

/// The header of a new child of `parent`, as far as it is known before its body: number, time,
/// difficulty, gas limit, base fee and extra data.
///
/// The time is in seconds since 1970 and later than the parent's; `gas_target` is where the gas
/// limit moves. Around the DAO fork its mark replaces the extra data.
///
/// # Panics
///
/// If the extra data is longer than 32 bytes: configuration refuses that.
#[must_use]
pub fn prepare(
    spec: &ChainSpec,
    parent: &SealedHeader,
    timestamp: u64,
    beneficiary: Address,
    extra_data: Bytes,
    gas_target: u64,
) -> Header {
    assert!(extra_data.len() <= EXTRA_DATA_BYTES_MAX, "extra data is at most 32 bytes");
    let number = parent.number + 1;
    Header {
        parent_hash: parent.hash(),
        beneficiary,
        difficulty: next_difficulty(spec, timestamp, parent),
        number,
        gas_limit: next_gas_limit(spec, parent, gas_target),
        timestamp,
        extra_data: chosen_extra_data(spec, number, extra_data),
        base_fee_per_gas: next_base_fee(spec, parent),
        ..Header::default()
    }
}
