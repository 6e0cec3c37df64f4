use primitives::{ChainSpec, Header};

use crate::{GAS_LIMIT_MAX, InvalidBlock, gas::verify_gas_limit, next_base_fee, next_difficulty};

/// The most bytes of extra data in a header.
pub const EXTRA_DATA_BYTES_MAX: usize = 32;

/// A block may be this many seconds ahead of the clock.
pub const FUTURE_BLOCK_SECONDS_MAX: u64 = 15;

/// A block whose time has not come: nobody is at fault, try again then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("block in the future")]
pub struct Early {
    /// How many seconds until it will be accepted.
    pub seconds: u64,
}

/// Checks a header against its parent: extra data, time, difficulty, gas limit, base fee, number.
///
/// Cheap, so it goes before the seal: without it a stranger could claim difficulty 1 and seal that.
/// The caller found `parent` by the header's parent hash, and checks the time of day with
/// [`verify_time`].
///
/// # Errors
///
/// With the first rule that is broken, in geth's order.
pub fn verify_header(
    spec: &ChainSpec,
    header: &Header,
    parent: &Header,
) -> Result<(), InvalidBlock> {
    verify_fields(header)?;
    if header.timestamp <= parent.timestamp {
        return Err(InvalidBlock::OlderThanParent);
    }
    let want = next_difficulty(spec, header.timestamp, parent);
    if header.difficulty != want {
        return Err(InvalidBlock::Difficulty { have: header.difficulty, want });
    }
    verify_gas(header)?;
    verify_fees(spec, header, parent)?;
    if parent.number.checked_add(1) != Some(header.number) {
        return Err(InvalidBlock::Number);
    }
    Ok(())
}

/// Checks that a header is not too far ahead of the clock; `now` is in seconds since 1970.
///
/// # Errors
///
/// With the time to wait, if it is more than 15 seconds ahead.
pub const fn verify_time(header: &Header, now: u64) -> Result<(), Early> {
    match header.timestamp.checked_sub(now.saturating_add(FUTURE_BLOCK_SECONDS_MAX)) {
        None | Some(0) => Ok(()),
        Some(seconds) => Err(Early { seconds }),
    }
}

/// Checks that a header has only the fields of proof of work, and no more extra data than allowed.
pub(crate) fn verify_fields(header: &Header) -> Result<(), InvalidBlock> {
    let later_fields = [
        ("withdrawalsRoot", header.withdrawals_root.is_some()),
        ("blobGasUsed", header.blob_gas_used.is_some()),
        ("excessBlobGas", header.excess_blob_gas.is_some()),
        ("parentBeaconBlockRoot", header.parent_beacon_block_root.is_some()),
        ("requestsHash", header.requests_hash.is_some()),
        ("blockAccessListHash", header.block_access_list_hash.is_some()),
        ("slotNumber", header.slot_number.is_some()),
    ];
    if let Some((field, _)) = later_fields.into_iter().find(|(_, present)| *present) {
        return Err(InvalidBlock::PostMergeField { field });
    }
    let length = header.extra_data.len();
    if length > EXTRA_DATA_BYTES_MAX {
        return Err(InvalidBlock::ExtraDataTooLong { length });
    }
    Ok(())
}

/// Checks what a header says about gas by itself.
pub(crate) const fn verify_gas(header: &Header) -> Result<(), InvalidBlock> {
    if header.gas_limit > GAS_LIMIT_MAX {
        return Err(InvalidBlock::GasLimitTooHigh { have: header.gas_limit });
    }
    if header.gas_used > header.gas_limit {
        return Err(InvalidBlock::GasUsedAboveLimit {
            used: header.gas_used,
            limit: header.gas_limit,
        });
    }
    Ok(())
}

/// Checks gas limit and base fee against the parent.
fn verify_fees(spec: &ChainSpec, header: &Header, parent: &Header) -> Result<(), InvalidBlock> {
    let want = next_base_fee(spec, parent);
    if let (None, Some(have)) = (want, header.base_fee_per_gas) {
        return Err(InvalidBlock::BaseFeeBeforeLondon { have });
    }
    verify_gas_limit(spec, header.gas_limit, parent)?;
    let Some(want) = want else { return Ok(()) };
    let have = header.base_fee_per_gas.ok_or(InvalidBlock::BaseFeeMissing)?;
    if have != want {
        return Err(InvalidBlock::BaseFee {
            have,
            want,
            parent_base_fee: parent.base_fee_per_gas,
            parent_gas_used: parent.gas_used,
        });
    }
    Ok(())
}
