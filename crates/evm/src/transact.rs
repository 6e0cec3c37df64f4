//! One message from check to payment: geth's `TransitionDb`, on revm's frames.
//!
//! revm's own handler is made for the rules of today. What differs is written out here: the order
//! and the words of the checks, prices beyond 128 bits when multiplied, and what a failed creation
//! leaves behind before Homestead.

use std::mem;

use alloy_eips::eip2930::AccessList;
use primitives::{Address, Bytes, EMPTY_ROOT_HASH, KECCAK256_EMPTY, Log, U256};
use revm::{
    context::{ContextTr, JournalTr, LocalContextTr, TransactionType},
    context_interface::{context::ContextError, journaled_state::account::JournaledAccountTr},
    handler::{
        EvmTr, FrameResult, ItemOrResult, execution::create_init_frame,
        pre_execution::load_accounts,
    },
    inspector::InspectorEvmTr,
    interpreter::{
        CreateInputs, FrameInput, GasTracker, InstructionResult, SharedMemory,
        interpreter_action::FrameInit,
    },
};
use state::{ReadError, StateReader};

use crate::{
    ExecutionError, InvalidTransaction,
    database::DatabaseError,
    env::{Machine, Rules},
    gas::intrinsic_gas_of,
    halt::{self, HaltSite},
    message::{Message, gas_cost},
};

/// How a message that did run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Success,
    Revert,
    /// With geth's text.
    Halt(String),
}

/// What a message left behind, beside the changes in the machine's journal.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) output: Bytes,
    /// Refunds are taken off.
    pub(crate) gas_used: u64,
    /// Refunds are not taken off: with less there would have been too little.
    pub(crate) gas_spent: u64,
    pub(crate) logs: Vec<Log>,
}

/// Runs a message. Its changes are in the machine's journal afterwards, until [`clear`] or a
/// commit; after an error there are none.
pub(crate) fn transact<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    message: &Message<'_>,
    gas_left: u64,
) -> Result<Outcome, ExecutionError> {
    let outcome = try_transact(machine, rules, message, gas_left);
    machine.local_mut().clear();
    machine.frame_stack.clear();
    machine.journal_mut().commit_tx();
    if outcome.is_err() {
        clear(machine);
    }
    outcome
}

/// Forgets what a message changed.
pub(crate) fn clear<R: StateReader>(machine: &mut Machine<'_, R>) {
    machine.ctx.journaled_state.inner.state.clear();
}

fn try_transact<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    message: &Message<'_>,
    gas_left: u64,
) -> Result<Outcome, ExecutionError> {
    let price = message.price(rules.base_fee);
    enter(machine, message, price);
    load_accounts::<_, DatabaseError>(machine).map_err(read_error)?;
    let intrinsic = check_and_buy_gas(machine, rules, message, price, gas_left)?;

    let mut gas = GasTracker::new(message.gas_limit, message.gas_limit - intrinsic, 0);
    let frame_input = create_init_frame(&mut machine.ctx, &mut gas)
        .map_err(read_error)?
        .expect("only rules after ours charge gas for the first frame");
    let memory = SharedMemory::new_with_buffer(machine.local().shared_memory_buffer().clone());
    let (result, site) = run_frames(machine, rules, FrameInit { depth: 0, memory, frame_input })
        .map_err(interrupted)?;
    mem::replace(machine.ctx.error(), Ok(())).map_err(interrupted)?;

    let code = result.instruction_result();
    // A failed frame keeps no refund, a halted one no gas either.
    let (gas_remaining, refund) = if code.is_ok() {
        (result.gas().remaining(), u64::try_from(result.gas().refunded()).unwrap_or(0))
    } else if code.is_revert() {
        (result.gas().remaining(), 0)
    } else {
        (0, 0)
    };
    let gas_spent = message.gas_limit - gas_remaining;
    let gas_used = gas_spent - refund.min(gas_spent / rules.refund_quotient());
    if !message.is_free() {
        settle(machine, rules, message, price, gas_used)?;
    }
    let logs = machine.journal_mut().take_logs();
    let end = if code.is_ok() {
        End::Success
    } else if code == InstructionResult::Revert {
        End::Revert
    } else {
        End::Halt(halt::text(code, site, machine.local_mut().take_precompile_error_context()))
    };
    Ok(Outcome { end, output: result.into_interpreter_result().output, gas_used, gas_spent, logs })
}

/// Puts the message where the instructions look for it.
fn enter<R: StateReader>(machine: &mut Machine<'_, R>, message: &Message<'_>, price: u128) {
    let tx = &mut machine.ctx.tx;
    // The price is settled, so nothing but the access list is left of the types.
    let tx_type = if message.access_list.is_some() {
        TransactionType::Eip2930
    } else {
        TransactionType::Legacy
    };
    tx.tx_type = tx_type.into();
    tx.caller = message.from;
    tx.kind = message.to;
    tx.gas_limit = message.gas_limit;
    tx.gas_price = price;
    tx.value = message.value;
    tx.data.clone_from(message.input);
    tx.nonce = message.nonce.unwrap_or_default();
    match message.access_list {
        Some(list) => tx.access_list.clone_from(list),
        None => tx.access_list = AccessList::default(),
    }
}

/// Checks the message against its sender and the block, and takes the gas from the sender. Returns
/// the intrinsic gas.
fn check_and_buy_gas<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    message: &Message<'_>,
    price: u128,
    gas_left: u64,
) -> Result<u64, ExecutionError> {
    let address = message.from;
    let mut sender = machine.journal_mut().load_account_mut(address).map_err(read_error)?.data;
    if let Some(nonce) = message.nonce {
        let expected = sender.nonce();
        if nonce < expected {
            return Err(InvalidTransaction::NonceTooLow { address, nonce, expected }.into());
        }
        if nonce > expected {
            return Err(InvalidTransaction::NonceTooHigh { address, nonce, expected }.into());
        }
        if nonce == u64::MAX {
            return Err(InvalidTransaction::NonceMax { address, nonce }.into());
        }
        if *sender.code_hash() != KECCAK256_EMPTY {
            return Err(InvalidTransaction::SenderNotEoa { address }.into());
        }
    }
    if let Some(base_fee) = rules.base_fee
        && !message.is_free()
    {
        let (fee_cap, tip_cap) = (message.fee_cap, message.tip_cap);
        if tip_cap > fee_cap {
            return Err(InvalidTransaction::TipAboveFeeCap { address, tip_cap, fee_cap }.into());
        }
        if fee_cap < u128::from(base_fee) {
            return Err(InvalidTransaction::FeeCapTooLow { address, fee_cap, base_fee }.into());
        }
    }
    let balance = *sender.balance();
    if message.cost_max().is_none_or(|cost| cost > balance) {
        let cost = message.cost_max().unwrap_or(U256::MAX);
        return Err(InvalidTransaction::InsufficientFunds { address, balance, cost }.into());
    }
    if message.gas_limit > gas_left {
        return Err(InvalidTransaction::GasLimitReached.into());
    }
    let intrinsic = intrinsic_gas_of(rules.hardfork, message);
    if message.gas_limit < intrinsic {
        let gas_limit = message.gas_limit;
        return Err(InvalidTransaction::IntrinsicGas { gas_limit, intrinsic }.into());
    }

    sender.set_balance(balance - gas_cost(message.gas_limit, price));
    // A creation takes its nonce when the address is made.
    if message.to.is_call() {
        sender.bump_nonce();
    }
    Ok(intrinsic)
}

/// Runs the first frame and all that it calls. If it halted in code of its own, says where.
fn run_frames<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    first: FrameInit,
) -> Result<(FrameResult, Option<HaltSite>), ContextError<DatabaseError>> {
    if let Some(result) = open_frame(machine, rules, first)? {
        return Ok((result, None));
    }
    loop {
        let ended = if machine.inspector.is_on() {
            machine.inspect_frame_run()?
        } else {
            machine.frame_run()?
        };
        machine.ctx.journaled_state.database.watch.ask().map_err(DatabaseError)?;
        let result = match ended {
            ItemOrResult::Item(init) => match open_frame(machine, rules, init)? {
                None => continue,
                Some(result) => result,
            },
            ItemOrResult::Result(result) => result,
        };
        let site = (result.instruction_result().is_halt()
            && machine.frame_stack.index() == Some(0))
        .then(|| HaltSite::of(&machine.frame_stack.get().interpreter));
        if let Some(result) = machine.frame_return_result(result)? {
            return Ok((result, site));
        }
    }
}

/// Opens a frame; if there is nothing to run in it, gives its result instead.
fn open_frame<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    init: FrameInit,
) -> Result<Option<FrameResult>, ContextError<DatabaseError>> {
    let blocked = match &init.frame_input {
        FrameInput::Create(inputs) => blocked_target(machine, rules, inputs)?,
        FrameInput::Call(_) | FrameInput::Empty => None,
    };
    let Some(target) = blocked else {
        return init_frame(machine, init);
    };
    // revm sees a collision in a nonce only.
    set_nonce(machine, target, 1);
    let result = init_frame(machine, init)?;
    set_nonce(machine, target, 0);
    Ok(result)
}

fn init_frame<R: StateReader>(
    machine: &mut Machine<'_, R>,
    init: FrameInit,
) -> Result<Option<FrameResult>, ContextError<DatabaseError>> {
    if machine.inspector.is_on() {
        return Ok(result_of(machine.inspect_frame_init(init)?));
    }
    Ok(result_of(machine.frame_init(init)?))
}

fn result_of<T>(opened: ItemOrResult<T, FrameResult>) -> Option<FrameResult> {
    match opened {
        ItemOrResult::Item(_) => None,
        ItemOrResult::Result(result) => Some(result),
    }
}

/// Where a contract is to be created, if nothing but slots is in its way there.
fn blocked_target<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    inputs: &CreateInputs,
) -> Result<Option<Address>, DatabaseError> {
    let journal = machine.journal_mut();
    let nonce = journal.load_account(inputs.caller())?.data.info.nonce;
    let target = inputs.created_address(nonce);
    let stored = journal.database.world.account(target)?;
    let Some(stored) = stored.filter(|account| account.storage_root != EMPTY_ROOT_HASH) else {
        return Ok(None);
    };
    // Looking must not load it: what is loaded is warm, and a creation that fails for want of money
    // warms nothing.
    let loaded = journal.inner.state.get(&target).map(|account| &account.info);
    let (nonce, code_hash, balance) = loaded
        .map_or((stored.nonce, stored.code_hash, stored.balance), |info| {
            (info.nonce, info.code_hash, info.balance)
        });
    if nonce > 0 || code_hash != KECCAK256_EMPTY || !rules.slots_block_creation(balance) {
        return Ok(None);
    }
    journal.load_account(target)?;
    Ok(Some(target))
}

/// Changes a loaded account behind the journal's back.
fn set_nonce<R: StateReader>(machine: &mut Machine<'_, R>, address: Address, nonce: u64) {
    let state = &mut machine.ctx.journaled_state.inner.state;
    state.get_mut(&address).expect("it was loaded to look at it").info.nonce = nonce;
}

/// Gives the sender back what was not used and the beneficiary the fee; the base fee is gone. The
/// beneficiary is touched even by nothing, as EIP-158 cares.
fn settle<R: StateReader>(
    machine: &mut Machine<'_, R>,
    rules: &Rules,
    message: &Message<'_>,
    price: u128,
    gas_used: u64,
) -> Result<(), ExecutionError> {
    let beneficiary = machine.ctx.block.beneficiary;
    let tip = price - u128::from(rules.base_fee.unwrap_or_default());
    let journal = machine.journal_mut();
    let change = gas_cost(message.gas_limit - gas_used, price);
    journal.load_account_mut(message.from).map_err(read_error)?.data.incr_balance(change);
    let fee = gas_cost(gas_used, tip);
    journal.load_account_mut(beneficiary).map_err(read_error)?.data.incr_balance(fee);
    Ok(())
}

fn read_error(error: DatabaseError) -> ReadError {
    error.0
}

fn interrupted(error: ContextError<DatabaseError>) -> ReadError {
    match error {
        ContextError::Db(error) => error.0,
        ContextError::Custom(text) => {
            panic!("no precompile of these rules can fail fatally: {text}")
        }
    }
}
