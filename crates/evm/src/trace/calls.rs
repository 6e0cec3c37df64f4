//! `callTracer`: who called whom, with what, and how it ended.

use primitives::{Address, B256, Bytes, Log, U256};
use revm::{
    bytecode::opcode,
    context_interface::CreateScheme,
    interpreter::{CallInputs, CallScheme, CreateInputs, InstructionResult, InterpreterResult},
};
use serde::{Serialize, Serializer};
use state::StateReader;

use super::{
    Findings, Step, address_of,
    flat::{FlatOptions, flatten},
    is_precompile, is_refused_unseen,
};
use crate::{env::MachineContext, message::Message, revert_reason, transact::Outcome};

/// What a frame takes beside its data, in bytes of JSON.
const FRAME_BYTES: usize = 320;
/// What a log takes beside its data, in bytes of JSON.
const LOG_BYTES: usize = 400;

/// One call, and those that it made.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallFrame {
    /// Who called.
    pub from: Address,
    /// Gas it was given; for the transaction its gas limit.
    #[serde(serialize_with = "quantity")]
    pub gas: u64,
    /// Gas it took.
    #[serde(serialize_with = "quantity")]
    pub gas_used: u64,
    /// Whom, or what was created; nobody if the creation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Address>,
    /// Call data, or the code that creates.
    pub input: Bytes,
    /// What it returned, or the code that was created.
    #[serde(skip_serializing_if = "is_empty")]
    pub output: Bytes,
    /// Why it failed, in geth's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the contract said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revert_reason: Option<String>,
    /// Calls it made, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Self>,
    /// Logs it wrote itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<CallLog>,
    /// Wei that went along; none where the kind of call has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<U256>,
    /// The instruction.
    pub r#type: &'static str,
}

/// A log within a call.
#[derive(Debug, Clone, Serialize)]
pub struct CallLog {
    /// Whose it is.
    pub address: Address,
    /// What it is about.
    pub topics: Vec<B256>,
    /// What it says.
    pub data: Bytes,
}

fn is_empty(bytes: &Bytes) -> bool {
    bytes.is_empty()
}

pub(super) fn quantity<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

#[derive(Debug)]
pub(super) struct CallTracer {
    with_log: bool,
    only_top: bool,
    /// One after the other, each with the way to it, and the highest address of a precompiled contract.
    flat: Option<(FlatOptions, u8)>,
    /// From the transaction's own call to the one that runs.
    open: Vec<CallFrame>,
    done: Option<CallFrame>,
    /// Who is about to destroy itself, where it sends what it has, and how much that is.
    farewell: Option<(Address, Address, U256)>,
    bytes: usize,
}

impl CallTracer {
    pub(super) const fn new(with_log: bool, only_top: bool) -> Self {
        Self {
            with_log,
            only_top,
            flat: None,
            open: Vec::new(),
            done: None,
            farewell: None,
            bytes: 0,
        }
    }

    pub(super) fn flat(options: FlatOptions, precompiles: u8) -> Self {
        let flat = Some((options, precompiles));
        Self { flat, ..Self::new(false, false) }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    const fn is_wanted(&self, depth: usize) -> bool {
        depth == 1 || !self.only_top
    }

    fn enter(&mut self, frame: CallFrame) {
        self.bytes += FRAME_BYTES + 2 * frame.input.len();
        if self.flat.is_some() {
            self.bytes += size_of::<usize>() * self.open.len();
        }
        self.open.push(frame);
    }

    pub(super) fn call<R: StateReader>(
        &mut self,
        context: &MachineContext<'_, R>,
        inputs: &CallInputs,
        depth: usize,
    ) {
        if !self.is_wanted(depth) {
            return;
        }
        let (r#type, from, value) = match inputs.scheme {
            CallScheme::Call => ("CALL", inputs.caller, Some(inputs.value.get())),
            CallScheme::CallCode => ("CALLCODE", inputs.caller, Some(inputs.value.get())),
            // The machine keeps the caller's caller here; who calls is the contract itself.
            CallScheme::DelegateCall => {
                ("DELEGATECALL", inputs.target_address, Some(inputs.value.get()))
            }
            CallScheme::StaticCall => ("STATICCALL", inputs.caller, None),
        };
        self.enter(CallFrame {
            from,
            gas: inputs.gas_limit,
            to: Some(inputs.bytecode_address),
            input: inputs.input.bytes(context),
            value,
            r#type,
            ..CallFrame::default()
        });
    }

    pub(super) fn create(&mut self, inputs: &CreateInputs, depth: usize) {
        if !self.is_wanted(depth) {
            return;
        }
        let r#type = match inputs.scheme() {
            CreateScheme::Create2 { .. } => "CREATE2",
            CreateScheme::Create | CreateScheme::Custom { .. } => "CREATE",
        };
        self.enter(CallFrame {
            from: inputs.caller(),
            gas: inputs.gas_limit(),
            input: inputs.init_code().clone(),
            value: Some(inputs.value()),
            r#type,
            ..CallFrame::default()
        });
    }

    /// A frame has ended; `error` says why if it failed.
    pub(super) fn leave(
        &mut self,
        result: &InterpreterResult,
        error: Option<String>,
        created: Option<Address>,
        depth: usize,
    ) {
        if !self.is_wanted(depth) {
            return;
        }
        let Some(mut frame) = self.open.pop() else { return };
        let code = result.result;
        if depth > 1 && is_refused_unseen(code) {
            return;
        }
        let keeps_gas = code.is_ok() || code.is_revert();
        let left = if keeps_gas { result.gas.remaining() } else { 0 };
        frame.gas_used = frame.gas.saturating_sub(left);
        match error {
            None => {
                frame.output = result.output.clone();
                frame.to = frame.to.or(created);
            }
            Some(error) => {
                frame.error = Some(error);
                if code == InstructionResult::Revert {
                    frame.revert_reason = revert_reason(&result.output);
                    frame.output = result.output.clone();
                }
            }
        }
        self.bytes += 2 * frame.output.len();
        match self.open.last_mut() {
            Some(_) if self.flat.is_some_and(|flat| is_left_out(&frame, flat)) => {}
            Some(caller) => caller.calls.push(frame),
            None => self.done = Some(frame),
        }
    }

    pub(super) fn log(&mut self, log: &Log, depth: usize) {
        if !self.with_log || !self.is_wanted(depth) {
            return;
        }
        let Some(frame) = self.open.last_mut() else { return };
        self.bytes += LOG_BYTES + 2 * log.data.data.len();
        let (topics, data) = log.data.clone().split();
        frame.logs.push(CallLog { address: log.address, topics, data });
    }

    pub(super) fn step<R: StateReader>(
        &mut self,
        context: &MachineContext<'_, R>,
        step: &Step<'_>,
    ) {
        self.farewell = None;
        if step.opcode == opcode::SELFDESTRUCT
            && !self.only_top
            && let Some(heir) = step.word(0)
        {
            let loaded = context.journaled_state.inner.state.get(&step.contract);
            let balance = loaded.map_or(U256::ZERO, |account| account.info.balance);
            self.farewell = Some((step.contract, address_of(heir), balance));
        }
    }

    pub(super) fn step_end(&mut self, ended: Option<InstructionResult>) {
        let Some((from, heir, balance)) = self.farewell.take() else { return };
        if ended != Some(InstructionResult::SelfDestruct) {
            return;
        }
        let Some(frame) = self.open.last_mut() else { return };
        self.bytes += FRAME_BYTES;
        frame.calls.push(CallFrame {
            from,
            to: Some(heir),
            value: Some(balance),
            r#type: "SELFDESTRUCT",
            ..CallFrame::default()
        });
    }

    pub(super) fn finish(self, message: &Message<'_>, outcome: &Outcome) -> Findings {
        let mut frame = self.done.expect("a message that ran has opened and closed its frame");
        frame.gas = message.gas_limit;
        frame.gas_used = outcome.gas_used;
        forget_undone_logs(&mut frame);
        match self.flat {
            Some((options, _)) => Findings::FlatCalls(flatten(frame, options)),
            None => Findings::Calls(Box::new(frame)),
        }
    }
}

/// Whether it calls a precompiled contract that nobody wants to hear of. Those that borrow one's code
/// are told.
fn is_left_out(frame: &CallFrame, (options, precompiles): (FlatOptions, u8)) -> bool {
    !options.with_precompiles
        && matches!(frame.r#type, "CALL" | "STATICCALL")
        && frame.to.is_some_and(|to| is_precompile(to, precompiles))
}

/// What failed has logged nothing, nor has what it called.
fn forget_undone_logs(top: &mut CallFrame) {
    let mut frames = vec![(top, false)];
    while let Some((frame, caller_failed)) = frames.pop() {
        let failed = caller_failed || frame.error.is_some();
        if failed {
            frame.logs.clear();
        }
        frames.extend(frame.calls.iter_mut().map(|call| (call, failed)));
    }
}
