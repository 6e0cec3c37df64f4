use primitives::Address;
use revm::state::Account;
use state::{ReadError, StateReader, WorldState};

use crate::env::{Machine, Rules};

/// Moves what the last message changed from the machine's journal into the state.
///
/// # Errors
///
/// When the state cannot be read; it is then half changed and of no use.
pub(crate) fn commit<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
) -> Result<(), ReadError> {
    let journal = &mut machine.ctx.journaled_state;
    for (address, account) in journal.inner.state.drain() {
        commit_account(journal.database.world, rules, address, &account)?;
    }
    Ok(())
}

fn commit_account<R: StateReader>(
    world: &mut WorldState<R>,
    rules: &Rules,
    address: Address,
    account: &Account,
) -> Result<(), ReadError> {
    let existed = !account.is_loaded_as_not_existing();
    if account.is_selfdestructed() {
        return if existed { world.destroy(address) } else { Ok(()) };
    }
    if !account.is_touched() {
        return Ok(());
    }
    // EIP-158. Before it an account exists as soon as it is touched, and stays.
    if account.is_empty() && rules.removes_empty_accounts() {
        return if existed { world.destroy(address) } else { Ok(()) };
    }
    if account.is_created() {
        world.reset_storage(address)?;
        if let Some(code) = account.info.code.as_ref().filter(|code| !code.is_empty()) {
            world.set_code(account.info.code_hash, code.original_bytes());
        }
    }
    if !existed || account.is_created() || account.is_changed() {
        let info = &account.info;
        world.set_account(address, info.nonce, info.balance, info.code_hash)?;
    }
    for (slot, value) in account.changed_storage_slots() {
        world.set_storage(address, *slot, value.present_value)?;
    }
    Ok(())
}
