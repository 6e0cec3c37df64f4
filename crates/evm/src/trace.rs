//! Watching a transaction run: geth's tracers, whose results are geth's JSON.
//!
//! The shapes are those of geth 1.11.6. What a tracer keeps has a limit, so that a long run ends
//! with an error instead of taking the node's memory.

mod access;
mod calls;
mod flat;
mod prestate;
mod selectors;
mod sstore;
mod steps;

use std::collections::BTreeMap;

use primitives::{Address, B256, U256};
use revm::{
    Inspector,
    context::LocalContextTr,
    interpreter::{
        CallInputs, CallOutcome, CreateInputs, CreateOutcome, FrameInput, Gas, InstructionResult,
        Interpreter, InterpreterAction, InterpreterResult,
        interpreter::EthInterpreter,
        interpreter_types::{Jumps, LoopControl},
    },
    precompile::{PrecompileSpecId, Precompiles},
    primitives::hardfork::SpecId,
};
use serde::Serialize;
use serde_json::value::RawValue;
use state::{ReadError, StateReader};

pub use access::{AccessListOutcome, access_list};
pub use calls::CallFrame;
pub use flat::{FlatAction, FlatCall, FlatOptions, FlatResult};
pub use prestate::{Prestate, PrestateAccount};
pub use steps::StepOptions;

use crate::{
    ExecutionError,
    env::{Machine, MachineContext, Rules},
    halt::{self, HaltSite},
    message::Message,
    transact::Outcome,
};
use access::AccessTracer;
use calls::CallTracer;
use prestate::PrestateTracer;
use selectors::SelectorTracer;
use steps::StepTracer;

/// What is to be found out about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceKind {
    /// Every instruction: geth's default.
    Steps(StepOptions),
    /// Who called whom: `callTracer`.
    Calls {
        /// Keep the logs too.
        with_log: bool,
        /// Only the call of the transaction itself.
        only_top: bool,
    },
    /// The same, one after the other: `flatCallTracer`.
    FlatCalls(FlatOptions),
    /// What was there before: `prestateTracer`.
    Prestate {
        /// Only what changed, before and after.
        diff: bool,
    },
    /// Which functions were called how often: `4byteTracer`.
    Selectors,
    /// Nothing, as slowly as the others: `noopTracer`.
    Nothing,
    /// Several of these at once, by their names: `muxTracer`.
    Several(BTreeMap<String, Self>),
}

/// A tracer to be used, and how much it may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// What is to be found out.
    pub kind: TraceKind,
    /// About how long the result may become as JSON, in bytes.
    pub bytes_max: usize,
}

/// What a tracer found out; as JSON it is what geth answers.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Trace {
    /// The answer.
    pub findings: Findings,
    /// About how long it is as JSON, in bytes.
    #[serde(skip)]
    pub bytes: usize,
}

impl Trace {
    /// Says of which transaction it is, where that is told.
    pub fn locate(&mut self, place: TracePlace) {
        self.findings.locate(place);
    }
}

/// The transaction that was watched, if it is one of the chain.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracePlace {
    /// Its block.
    pub block_hash: Option<B256>,
    /// The block's number.
    pub block_number: u64,
    /// Its hash.
    pub transaction_hash: Option<B256>,
    /// Its position in the block.
    pub transaction_position: usize,
}

/// What there is to be found out.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Findings {
    /// Every instruction, as JSON already.
    Steps(Box<RawValue>),
    /// The call of the transaction, with all that it called.
    Calls(Box<CallFrame>),
    /// The same, one after the other.
    FlatCalls(Vec<FlatCall>),
    /// What was there before.
    Prestate(Prestate),
    /// What changed.
    Diff {
        /// As it became.
        post: Prestate,
        /// As it was.
        pre: Prestate,
    },
    /// Calls by selector and length of the other call data.
    Selectors(BTreeMap<String, u64>),
    /// An empty object.
    Nothing {},
    /// Of several tracers, by their names.
    Several(BTreeMap<String, Self>),
}

impl Findings {
    fn locate(&mut self, place: TracePlace) {
        match self {
            Self::FlatCalls(calls) => calls.iter_mut().for_each(|call| call.place = place),
            Self::Several(several) => several.values_mut().for_each(|each| each.locate(place)),
            Self::Steps(_)
            | Self::Calls(_)
            | Self::Prestate(_)
            | Self::Diff { .. }
            | Self::Selectors(_)
            | Self::Nothing {} => {}
        }
    }
}

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It was told to stop.
    #[error("execution timeout")]
    Interrupted,
    /// There is more to tell than may be kept.
    #[error("trace is larger than {max} bytes; limit it, or use callTracer")]
    TooLarge {
        /// How much may be kept.
        max: usize,
    },
    /// It did not run.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
}

impl From<ReadError> for TraceError {
    fn from(error: ReadError) -> Self {
        Self::Execution(error.into())
    }
}

/// What listens to the machine: usually nobody.
#[derive(Debug, Default)]
pub(crate) enum Tracer {
    #[default]
    Off,
    On(Box<Recorder>),
}

/// A tracer at work.
#[derive(Debug)]
pub(crate) struct Recorder {
    work: Work,
    /// The last instruction, while its frame runs.
    site: Option<HaltSite>,
    /// Frames that are open; 1 in the transaction's own.
    depth: usize,
    bytes_max: usize,
    is_full: bool,
}

#[derive(Debug)]
enum Work {
    Steps(Box<StepTracer>),
    Calls(Box<CallTracer>),
    Prestate(PrestateTracer),
    Selectors(SelectorTracer),
    Access(AccessTracer),
    Nothing,
    Several(BTreeMap<String, Self>),
}

impl Work {
    fn new(kind: &TraceKind, rules: &Rules) -> Self {
        match kind {
            TraceKind::Steps(options) => Self::Steps(Box::new(StepTracer::new(*options, rules))),
            TraceKind::Calls { with_log, only_top } => {
                Self::Calls(Box::new(CallTracer::new(*with_log, *only_top)))
            }
            TraceKind::FlatCalls(options) => {
                Self::Calls(Box::new(CallTracer::flat(*options, precompiles(rules))))
            }
            TraceKind::Prestate { diff } => Self::Prestate(PrestateTracer::new(*diff)),
            TraceKind::Selectors => Self::Selectors(SelectorTracer::new(precompiles(rules))),
            TraceKind::Nothing => Self::Nothing,
            TraceKind::Several(kinds) => {
                let works = kinds.iter().map(|(name, kind)| (name.clone(), Self::new(kind, rules)));
                Self::Several(works.collect())
            }
        }
    }

    fn finish<R: StateReader>(
        self,
        machine: &mut Machine<'_, R>,
        message: &Message<'_>,
        outcome: &Outcome,
    ) -> Result<Findings, ReadError> {
        Ok(match self {
            Self::Steps(steps) => Findings::Steps(steps.finish(outcome)),
            Self::Calls(calls) => calls.finish(message, outcome),
            Self::Prestate(prestate) => prestate.finish(machine, message)?,
            Self::Selectors(selectors) => Findings::Selectors(selectors.finish()),
            Self::Access(_) | Self::Nothing => Findings::Nothing {},
            Self::Several(works) => {
                let finish = |(name, work): (String, Self)| {
                    Ok((name, work.finish(machine, message, outcome)?))
                };
                Findings::Several(works.into_iter().map(finish).collect::<Result<_, ReadError>>()?)
            }
        })
    }

    /// How much is kept, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Steps(steps) => steps.bytes(),
            Self::Calls(calls) => calls.bytes(),
            Self::Prestate(prestate) => prestate.bytes(),
            Self::Selectors(selectors) => selectors.bytes(),
            Self::Access(_) | Self::Nothing => 0,
            Self::Several(works) => works.values().map(Self::bytes).sum(),
        }
    }

    fn step<R: StateReader>(
        &mut self,
        interpreter: &Interpreter<EthInterpreter>,
        context: &mut MachineContext<'_, R>,
        step: &Step<'_>,
        depth: usize,
    ) {
        match self {
            Self::Steps(steps) => steps.step(interpreter, context, step, depth),
            Self::Calls(calls) => calls.step(context, step),
            Self::Prestate(prestate) => prestate.step(step),
            Self::Access(access) => access.step(step),
            Self::Selectors(_) | Self::Nothing => {}
            Self::Several(works) => {
                works.values_mut().for_each(|work| work.step(interpreter, context, step, depth));
            }
        }
    }

    fn step_end(
        &mut self,
        gas: &Gas,
        given: u64,
        ended: Option<InstructionResult>,
        site: Option<HaltSite>,
    ) {
        match self {
            Self::Steps(steps) => steps.step_end(gas, given, ended, site),
            Self::Calls(calls) => calls.step_end(ended),
            Self::Prestate(prestate) => prestate.step_end(ended),
            Self::Selectors(_) | Self::Access(_) | Self::Nothing => {}
            Self::Several(works) => {
                works.values_mut().for_each(|work| work.step_end(gas, given, ended, site));
            }
        }
    }

    fn log(&mut self, log: &primitives::Log, depth: usize) {
        match self {
            Self::Calls(calls) => calls.log(log, depth),
            Self::Several(works) => works.values_mut().for_each(|work| work.log(log, depth)),
            Self::Steps(_)
            | Self::Prestate(_)
            | Self::Selectors(_)
            | Self::Access(_)
            | Self::Nothing => {}
        }
    }

    fn call<R: StateReader>(
        &mut self,
        context: &MachineContext<'_, R>,
        inputs: &CallInputs,
        depth: usize,
    ) {
        match self {
            Self::Steps(steps) => steps.enter(),
            Self::Calls(calls) => calls.call(context, inputs, depth),
            Self::Selectors(selectors) => selectors.call(context, inputs, depth),
            Self::Prestate(_) | Self::Access(_) | Self::Nothing => {}
            Self::Several(works) => {
                works.values_mut().for_each(|work| work.call(context, inputs, depth));
            }
        }
    }

    fn create<R: StateReader>(
        &mut self,
        context: &mut MachineContext<'_, R>,
        inputs: &CreateInputs,
        depth: usize,
    ) {
        match self {
            Self::Steps(steps) => steps.enter(),
            Self::Calls(calls) => calls.create(inputs, depth),
            Self::Selectors(selectors) => selectors.create(inputs, depth),
            Self::Prestate(prestate) => prestate.create(context, inputs),
            Self::Access(_) | Self::Nothing => {}
            Self::Several(works) => {
                works.values_mut().for_each(|work| work.create(context, inputs, depth));
            }
        }
    }

    /// A frame has ended; `error` says why if it failed.
    fn leave(
        &mut self,
        result: &InterpreterResult,
        error: Option<&str>,
        created: Option<Address>,
        depth: usize,
    ) {
        match self {
            Self::Steps(steps) => steps.leave(),
            Self::Calls(calls) => calls.leave(result, error.map(str::to_owned), created, depth),
            Self::Selectors(selectors) => selectors.leave(result.result),
            Self::Prestate(_) | Self::Access(_) | Self::Nothing => {}
            Self::Several(works) => {
                works.values_mut().for_each(|work| work.leave(result, error, created, depth));
            }
        }
    }

    /// Whether it tells why a frame failed.
    fn tells_errors(&self) -> bool {
        match self {
            Self::Calls(_) => true,
            Self::Several(works) => works.values().any(Self::tells_errors),
            Self::Steps(_)
            | Self::Prestate(_)
            | Self::Selectors(_)
            | Self::Access(_)
            | Self::Nothing => false,
        }
    }
}

impl Tracer {
    pub(crate) const fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    fn of(work: Work, bytes_max: usize) -> Self {
        Self::On(Box::new(Recorder { work, site: None, depth: 0, bytes_max, is_full: false }))
    }

    /// A tracer for one message.
    pub(crate) fn new(config: &TraceConfig, rules: &Rules) -> Self {
        Self::of(Work::new(&config.kind, rules), config.bytes_max)
    }

    /// Whether it stopped because it may not keep more.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::On(recorder) if recorder.is_full)
    }
}

/// What a tracer found out. The message's changes are in the machine's journal, those of the
/// messages before it in the state.
pub(crate) fn finish<R: StateReader>(
    machine: &mut Machine<'_, R>,
    message: &Message<'_>,
    outcome: &Outcome,
) -> Result<Trace, ReadError> {
    let Tracer::On(recorder) = std::mem::take(&mut machine.inspector) else {
        return Ok(Trace { findings: Findings::Nothing {}, bytes: 0 });
    };
    let bytes = recorder.work.bytes();
    let findings = recorder.work.finish(machine, message, outcome)?;
    Ok(Trace { findings, bytes })
}

/// The highest address that is a precompiled contract.
fn precompiles(rules: &Rules) -> u8 {
    let spec = rules.spec_id();
    match spec {
        _ if spec.is_enabled_in(SpecId::ISTANBUL) => 9,
        _ if spec.is_enabled_in(SpecId::BYZANTIUM) => 8,
        _ => 4,
    }
}

/// Whether this is a precompiled contract, where `last` is the highest.
fn is_precompile(address: Address, last: u8) -> bool {
    let (zeros, number) = address.as_slice().split_at(19);
    zeros.iter().all(|byte| *byte == 0) && (1..=last).contains(&number[0])
}

/// What a slot holds at the moment.
fn slot_value<R: StateReader>(
    context: &mut MachineContext<'_, R>,
    address: Address,
    slot: U256,
) -> Result<U256, ReadError> {
    let journal = &mut context.journaled_state;
    if let Some(account) = journal.inner.state.get(&address) {
        if let Some(value) = account.storage.get(&slot) {
            return Ok(value.present_value);
        }
        if account.is_created() {
            return Ok(U256::ZERO);
        }
    }
    journal.database.world.storage(address, slot)
}

/// Whether geth knows of the failure before the instruction runs.
const fn is_seen_before(result: InstructionResult) -> bool {
    matches!(
        result,
        InstructionResult::StackUnderflow
            | InstructionResult::StackOverflow
            | InstructionResult::OutOfGas
            | InstructionResult::MemoryOOG
            | InstructionResult::MemoryLimitOOG
            | InstructionResult::ReentrancySentryOOG
            | InstructionResult::InvalidOperandOOG
    )
}

/// Whether the call never began: geth's tracers do not hear of it then.
const fn is_refused_unseen(code: InstructionResult) -> bool {
    matches!(
        code,
        InstructionResult::CallTooDeep
            | InstructionResult::OutOfFunds
            | InstructionResult::OverflowPayment
            | InstructionResult::CreateCollision
            | InstructionResult::NonceOverflow
    )
}

/// The address in a word of the stack.
fn address_of(word: U256) -> Address {
    Address::from_word(B256::from(word))
}

/// An instruction that is about to run.
struct Step<'s> {
    opcode: u8,
    /// The top is last.
    stack: &'s [U256],
    /// Whose storage and balance are at hand.
    contract: Address,
}

impl Step<'_> {
    /// The n-th word from the top, counted from 0.
    fn word(&self, index: usize) -> Option<U256> {
        self.stack.len().checked_sub(index + 1).map(|at| self.stack[at])
    }
}

impl<R: StateReader> Inspector<MachineContext<'_, R>, EthInterpreter> for Tracer {
    fn step(
        &mut self,
        interpreter: &mut Interpreter<EthInterpreter>,
        context: &mut MachineContext<'_, R>,
    ) {
        let Self::On(recorder) = self else { return };
        recorder.site = Some(HaltSite::ahead(interpreter));
        if recorder.is_full {
            return;
        }
        let step = Step {
            opcode: interpreter.bytecode.opcode(),
            stack: interpreter.stack.data(),
            contract: interpreter.input.target_address,
        };
        recorder.work.step(interpreter, context, &step, recorder.depth);
    }

    fn step_end(
        &mut self,
        interpreter: &mut Interpreter<EthInterpreter>,
        context: &mut MachineContext<'_, R>,
    ) {
        let Self::On(recorder) = self else { return };
        let (ended, given) = match interpreter.bytecode.action() {
            Some(InterpreterAction::Return(result)) => (Some(result.result), 0),
            // What a creation gets is no part of its cost for geth; what a call gets is.
            Some(InterpreterAction::NewFrame(FrameInput::Create(inputs))) => {
                (None, inputs.gas_limit())
            }
            Some(InterpreterAction::NewFrame(_)) | None => (None, 0),
        };
        recorder.work.step_end(&interpreter.gas, given, ended, recorder.site);
        if !recorder.is_full && recorder.work.bytes() > recorder.bytes_max {
            recorder.is_full = true;
            context.journaled_state.database.watch.stop();
        }
    }

    fn log(&mut self, _: &mut MachineContext<'_, R>, log: primitives::Log) {
        let Self::On(recorder) = self else { return };
        recorder.work.log(&log, recorder.depth);
    }

    fn call(
        &mut self,
        context: &mut MachineContext<'_, R>,
        inputs: &mut CallInputs,
    ) -> Option<CallOutcome> {
        let Self::On(recorder) = self else { return None };
        recorder.depth += 1;
        recorder.site = None;
        recorder.work.call(context, inputs, recorder.depth);
        None
    }

    fn call_end(
        &mut self,
        context: &mut MachineContext<'_, R>,
        inputs: &CallInputs,
        outcome: &mut CallOutcome,
    ) {
        if outcome.result.result == InstructionResult::PrecompileError && self.is_on() {
            retain_words(context, inputs);
        }
        self.leave(context, &outcome.result, None);
    }

    fn create(
        &mut self,
        context: &mut MachineContext<'_, R>,
        inputs: &mut CreateInputs,
    ) -> Option<CreateOutcome> {
        let Self::On(recorder) = self else { return None };
        recorder.depth += 1;
        recorder.site = None;
        recorder.work.create(context, inputs, recorder.depth);
        None
    }

    fn create_end(
        &mut self,
        context: &mut MachineContext<'_, R>,
        _: &CreateInputs,
        outcome: &mut CreateOutcome,
    ) {
        self.leave(context, &outcome.result, outcome.address);
    }
}

/// Runs a precompiled contract again for the words of its failure: the machine keeps those of a
/// transaction's own call only.
fn retain_words<R: StateReader>(context: &mut MachineContext<'_, R>, inputs: &CallInputs) {
    let spec = PrecompileSpecId::from_spec_id(*context.cfg.spec());
    let Some(precompile) = Precompiles::new(spec).get(&inputs.bytecode_address) else { return };
    let input = inputs.input.bytes(context);
    let ran = precompile.execute(&input, inputs.gas_limit, inputs.reservoir);
    if let Some(halt) = ran.ok().as_ref().and_then(|output| output.halt_reason()) {
        context.local.set_precompile_error_context(halt.to_string());
    }
}

impl Tracer {
    fn leave<R: StateReader>(
        &mut self,
        context: &mut MachineContext<'_, R>,
        result: &InterpreterResult,
        created: Option<Address>,
    ) {
        let Self::On(recorder) = self else { return };
        let error = (!result.result.is_ok() && recorder.work.tells_errors())
            .then(|| halt::text_of_frame(result.result, recorder.site, &mut context.local));
        recorder.work.leave(result, error.as_deref(), created, recorder.depth);
        recorder.depth = recorder.depth.saturating_sub(1);
        // The caller goes on, and says where it is.
        recorder.site = None;
    }
}

#[cfg(test)]
mod tests;
