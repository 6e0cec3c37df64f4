//! SSTORE with net gas metering as Constantinople had it (EIP-1283). Petersburg took it back, and
//! Istanbul brought another one (EIP-2200), so no other rule set needs it.

use revm::{
    context_interface::context::SStoreResult,
    interpreter::{
        Host, InstructionContext, InstructionExecResult, InstructionResult, InterpreterTypes,
        instructions::host::sstore_with_gas_accounting,
    },
};

/// What every SSTORE costs; the rest is [`dynamic_gas`].
pub(crate) const STATIC_GAS: u64 = 200;

const SET_GAS: u64 = 20_000;
const RESET_GAS: u64 = 5_000;
const CLEAR_REFUND: i64 = 15_000;
const RESTORE_EMPTY_REFUND: i64 = 19_800;
const RESTORE_REFUND: i64 = 4_800;

/// The instruction.
pub(crate) fn sstore<T: InterpreterTypes, H: Host + ?Sized>(
    context: InstructionContext<'_, H, T>,
) -> InstructionExecResult {
    sstore_with_gas_accounting(context, |context, _, load| {
        let gas = &mut context.interpreter.gas;
        if !gas.record_regular_cost(dynamic_gas(&load.data)) {
            return Err(InstructionResult::OutOfGas);
        }
        gas.record_refund(refund(&load.data));
        Ok(())
    })
}

/// What a change costs beyond [`STATIC_GAS`].
pub(crate) fn dynamic_gas(slot: &SStoreResult) -> u64 {
    if slot.is_new_eq_present() || !slot.is_original_eq_present() {
        0
    } else if slot.is_original_zero() {
        SET_GAS - STATIC_GAS
    } else {
        RESET_GAS - STATIC_GAS
    }
}

/// What a change gives back, or takes back of what was given before.
pub(crate) fn refund(slot: &SStoreResult) -> i64 {
    if slot.is_new_eq_present() {
        return 0;
    }
    if slot.is_original_eq_present() {
        return if !slot.is_original_zero() && slot.is_new_zero() { CLEAR_REFUND } else { 0 };
    }
    let mut refund = 0;
    if !slot.is_original_zero() {
        if slot.is_present_zero() {
            refund -= CLEAR_REFUND;
        } else if slot.is_new_zero() {
            refund += CLEAR_REFUND;
        }
    }
    if slot.is_original_eq_new() {
        refund += if slot.is_original_zero() { RESTORE_EMPTY_REFUND } else { RESTORE_REFUND };
    }
    refund
}

#[cfg(test)]
mod tests {
    use super::*;
    use primitives::U256;

    /// Walks a slot through the values and sums up cost and refund.
    fn walk(original: u8, values: &[u8]) -> (u64, i64) {
        let mut present = U256::from(original);
        let mut total = (0, 0);
        for value in values {
            let slot = SStoreResult {
                original_value: U256::from(original),
                present_value: present,
                new_value: U256::from(*value),
            };
            total.0 += STATIC_GAS + dynamic_gas(&slot);
            total.1 += refund(&slot);
            present = slot.new_value;
        }
        total
    }

    #[test]
    fn meters_every_vector_of_the_proposal() {
        // The table of the EIP, without the 3 gas of each PUSH: used gas, refund, original, values.
        let vectors: &[(u64, i64, u8, &[u8])] = &[
            (412, 0, 0, &[0, 0]),
            (20_212, 0, 0, &[0, 1]),
            (20_212, 19_800, 0, &[1, 0]),
            (20_212, 0, 0, &[1, 2]),
            (20_212, 0, 0, &[1, 1]),
            (5_212, 15_000, 1, &[0, 0]),
            (5_212, 4_800, 1, &[0, 1]),
            (5_212, 0, 1, &[0, 2]),
            (5_212, 15_000, 1, &[2, 0]),
            (5_212, 0, 1, &[2, 3]),
            (5_212, 4_800, 1, &[2, 1]),
            (5_212, 0, 1, &[2, 2]),
            (5_212, 15_000, 1, &[1, 0]),
            (5_212, 0, 1, &[1, 2]),
            (412, 0, 1, &[1, 1]),
            (40_218, 19_800, 0, &[1, 0, 1]),
            (10_218, 19_800, 1, &[0, 1, 0]),
        ];
        for (used, refund, original, values) in vectors {
            let pushes = 6 * u64::try_from(values.len()).unwrap();
            assert_eq!(
                walk(*original, values),
                (used - pushes, *refund),
                "{original} -> {values:?}"
            );
        }
    }
}
