//! What a write to a slot costs, where the machine does not get as far as saying so.

use primitives::{Hardfork, U256};
use revm::context_interface::{Cfg, context::SStoreResult};
use state::StateReader;

use super::{Step, slot_value};
use crate::{env::MachineContext, sstore as net_metering};

/// Gas and refund of the SSTORE that is about to run, as geth counts them before it runs it. Neither
/// is known where the stack is too short or a call's stipend is all that is left (EIP-2200).
pub(super) fn price<R: StateReader>(
    context: &mut MachineContext<'_, R>,
    hardfork: Hardfork,
    step: &Step<'_>,
    gas: u64,
) -> (u64, i64) {
    let (Some(slot), Some(value)) = (step.word(0), step.word(1)) else { return (0, 0) };
    let is_istanbul = hardfork >= Hardfork::Istanbul;
    if is_istanbul && gas <= context.cfg.gas_params().call_stipend() {
        return (0, 0);
    }
    let (values, is_cold) = values(context, step, slot, value);
    if hardfork == Hardfork::Constantinople {
        let gas = net_metering::STATIC_GAS + net_metering::dynamic_gas(&values);
        return (gas, net_metering::refund(&values));
    }
    let params = context.cfg.gas_params();
    let gas = params.sstore_static_gas() + params.sstore_dynamic_gas(is_istanbul, &values, is_cold);
    (gas, params.sstore_refund(is_istanbul, &values))
}

/// What the slot held before the transaction, holds, and shall hold; and whether it was not touched
/// yet (EIP-2929).
fn values<R: StateReader>(
    context: &mut MachineContext<'_, R>,
    step: &Step<'_>,
    slot: U256,
    new_value: U256,
) -> (SStoreResult, bool) {
    let journal = &context.journaled_state.inner;
    let account = journal.state.get(&step.contract);
    let held = account.and_then(|account| account.storage.get(&slot));
    let held = held.filter(|held| held.transaction_id == journal.transaction_id);
    let is_cold = held.is_none_or(|held| held.is_cold)
        && !journal.warm_addresses.is_storage_warm(&step.contract, &slot);
    let (original_value, present_value) = match held {
        Some(held) => (held.original_value, held.present_value),
        // A failed read ends the run by itself when the instruction does it again.
        None => {
            let value = slot_value(context, step.contract, slot).unwrap_or_default();
            (value, value)
        }
    };
    (SStoreResult { original_value, present_value, new_value }, is_cold)
}
