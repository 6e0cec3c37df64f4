//! Every instruction with its stack, memory and storage: geth's struct logger.
//!
//! An entry is written as JSON as soon as its cost is known, so that a run of a million
//! instructions is kept as text and not as a million objects.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use primitives::{Address, B256, Hardfork, hex};
use revm::{
    bytecode::opcode::{self, OpCode},
    interpreter::{
        Gas, InstructionResult, Interpreter, instructions::GasTable, instructions::gas_table_spec,
        interpreter::EthInterpreter, interpreter_types::Jumps,
    },
};
use serde_json::value::RawValue;
use state::StateReader;

use super::{Step, is_seen_before, slot_value, sstore};
use crate::{
    env::{MachineContext, Rules},
    halt::{self, HaltSite},
    transact::{End, Outcome},
};

/// What the tracer shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepOptions {
    /// Leave out the stack.
    pub disable_stack: bool,
    /// Leave out the slots that the contract has read and written.
    pub disable_storage: bool,
    /// Show the memory.
    pub enable_memory: bool,
    /// Entries, at most; 0 is no limit.
    pub limit: usize,
}

#[derive(Debug)]
pub(super) struct StepTracer {
    options: StepOptions,
    hardfork: Hardfork,
    /// What instructions cost at least.
    gas_table: GasTable,
    /// The entries so far, with commas between them.
    text: String,
    entries: usize,
    /// The entry that is not complete yet.
    begun: Option<Begun>,
    /// The end of that entry.
    rest: String,
    /// What contracts have read and written.
    storage: HashMap<Address, BTreeMap<B256, B256>>,
    /// Refunds of the frames that wait, and that of the one that runs.
    refunds: Vec<i64>,
}

#[derive(Debug)]
struct Begun {
    pc: usize,
    opcode: u8,
    gas: u64,
    depth: usize,
    /// What it costs if it turns out that it cannot be paid for.
    cost_min: u64,
    /// Refunds of the whole transaction until now.
    refund: i64,
    /// What it gives back, as far as that is known before it runs.
    refund_ahead: i64,
}

impl StepTracer {
    pub(super) fn new(options: StepOptions, rules: &Rules) -> Self {
        Self {
            options,
            hardfork: rules.hardfork,
            gas_table: gas_table_spec(rules.spec_id()),
            text: String::new(),
            entries: 0,
            begun: None,
            rest: String::new(),
            storage: HashMap::new(),
            refunds: Vec::new(),
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.text.len() + self.rest.len()
    }

    pub(super) fn enter(&mut self) {
        self.refunds.push(0);
    }

    pub(super) fn leave(&mut self) {
        self.refunds.pop();
    }

    pub(super) fn step<R: StateReader>(
        &mut self,
        interpreter: &Interpreter<EthInterpreter>,
        context: &mut MachineContext<'_, R>,
        step: &Step<'_>,
        depth: usize,
    ) {
        if let Some(refund) = self.refunds.last_mut() {
            *refund = interpreter.gas.refunded();
        }
        if self.options.limit != 0 && self.entries >= self.options.limit {
            return;
        }
        let memory_bytes = interpreter.memory.len();
        let static_gas = u64::from(self.gas_table[usize::from(step.opcode)]);
        let gas = interpreter.gas.remaining();
        let (cost_min, refund_ahead) = match step.opcode {
            opcode::SSTORE => sstore::price(context, self.hardfork, step, gas),
            _ => (static_gas.saturating_add(memory_gas(step, memory_bytes)), 0),
        };
        self.begun = Some(Begun {
            pc: interpreter.bytecode.pc(),
            opcode: step.opcode,
            gas,
            depth,
            cost_min,
            refund: self.refunds.iter().sum(),
            refund_ahead,
        });
        self.rest.clear();
        self.write_rest(interpreter, context, step);
    }

    /// What is known of an instruction before it runs.
    fn write_rest<R: StateReader>(
        &mut self,
        interpreter: &Interpreter<EthInterpreter>,
        context: &mut MachineContext<'_, R>,
        step: &Step<'_>,
    ) {
        if !self.options.disable_stack {
            list(&mut self.rest, "stack", step.stack.iter().map(|word| format!("{word:#x}")));
        }
        if self.options.enable_memory {
            let memory = interpreter.memory.context_memory();
            list(&mut self.rest, "memory", memory.chunks_exact(32).map(hex::encode));
        }
        if !self.options.disable_storage {
            self.write_storage(context, step);
        }
    }

    fn write_storage<R: StateReader>(
        &mut self,
        context: &mut MachineContext<'_, R>,
        step: &Step<'_>,
    ) {
        let (slot, value) = match (step.opcode, step.word(0), step.word(1)) {
            (opcode::SLOAD, Some(slot), _) => {
                // A failed read ends the run by itself when the instruction does it again.
                (slot, slot_value(context, step.contract, slot).unwrap_or_default())
            }
            (opcode::SSTORE, Some(slot), Some(value)) => (slot, value),
            _ => return,
        };
        let slots = self.storage.entry(step.contract).or_default();
        slots.insert(slot.into(), value.into());
        self.rest.push_str(r#","storage":{"#);
        for (index, (slot, value)) in slots.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (slot, value) = (hex::encode(slot), hex::encode(value));
            push(&mut self.rest, format_args!(r#"{comma}"{slot}":"{value}""#));
        }
        self.rest.push('}');
    }

    pub(super) fn step_end(
        &mut self,
        gas: &Gas,
        given: u64,
        ended: Option<InstructionResult>,
        site: Option<HaltSite>,
    ) {
        if let Some(refund) = self.refunds.last_mut() {
            *refund = gas.refunded();
        }
        let Some(begun) = self.begun.take() else { return };
        let failed = ended.filter(|result| !result.is_ok_or_revert());
        let cost = match failed {
            None => begun.gas.saturating_sub(gas.remaining()).saturating_sub(given),
            Some(InstructionResult::StackUnderflow | InstructionResult::StackOverflow) => {
                u64::from(self.gas_table[usize::from(begun.opcode)])
            }
            Some(_) => begun.cost_min,
        };
        // geth writes its entry before the instruction runs, so what it finds out then is missing.
        let error = failed.filter(|result| is_seen_before(*result));
        let refund = match begun.opcode {
            // Refunds are counted with the cost.
            opcode::SSTORE if failed.is_some() => begun.refund + begun.refund_ahead,
            opcode::SSTORE | opcode::SELFDESTRUCT => self.refunds.iter().sum(),
            _ => begun.refund,
        };
        let error = error.map(|result| halt::text(result, site, None));

        let comma = if self.entries == 0 { "" } else { "," };
        let Begun { pc, opcode, gas, depth, .. } = begun;
        let name = name(opcode);
        let entry = format_args!(
            r#"{comma}{{"pc":{pc},"op":"{name}","gas":{gas},"gasCost":{cost},"depth":{depth}"#
        );
        push(&mut self.text, entry);
        if let Some(error) = error {
            push(&mut self.text, format_args!(r#","error":"{error}""#));
        }
        self.text.push_str(&self.rest);
        if refund > 0 {
            push(&mut self.text, format_args!(r#","refund":{refund}"#));
        }
        self.text.push('}');
        self.rest.clear();
        self.entries += 1;
    }

    pub(super) fn finish(mut self, outcome: &Outcome) -> Box<RawValue> {
        let failed = outcome.end != End::Success;
        let output = match outcome.end {
            End::Success | End::Revert => hex::encode(&outcome.output),
            End::Halt(_) => String::new(),
        };
        let gas = outcome.gas_used;
        let head =
            format!(r#"{{"gas":{gas},"failed":{failed},"returnValue":"{output}","structLogs":["#);
        self.text.insert_str(0, &head);
        self.text.push_str("]}");
        RawValue::from_string(self.text).expect("numbers, hex and names without quotes are JSON")
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes everything");
}

fn list(text: &mut String, name: &str, items: impl Iterator<Item = String>) {
    push(text, format_args!(r#","{name}":["#));
    for (index, item) in items.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        push(text, format_args!(r#"{comma}"{item}""#));
    }
    text.push(']');
}

/// geth's name of an instruction.
fn name(code: u8) -> String {
    match OpCode::new(code) {
        Some(known) if code <= opcode::BASEFEE || code >= opcode::POP && !is_later(code) => {
            known.as_str().to_owned()
        }
        _ => format!("opcode {code:#x} not defined"),
    }
}

/// Instructions of forks that geth 1.11.6 does not know.
const fn is_later(code: u8) -> bool {
    matches!(code, 0x5c..=0x5e | 0xa5..=0xef | 0xf6..=0xf9 | 0xfb | 0xfc)
}

/// What the memory that an instruction asks for would cost, and what is done with its bytes.
fn memory_gas(step: &Step<'_>, bytes_now: usize) -> u64 {
    let number = |index| step.word(index).map_or(0, |word| u64::try_from(word).unwrap_or(u64::MAX));
    let words = |bytes: u64| bytes.div_ceil(32);
    // Offset, length, and what each word and byte cost beside the memory.
    let (offset, length, per_word, per_byte) = match step.opcode {
        opcode::MLOAD | opcode::MSTORE => (number(0), 32, 0, 0),
        opcode::MSTORE8 => (number(0), 1, 0, 0),
        opcode::KECCAK256 => (number(0), number(1), 6, 0),
        opcode::CALLDATACOPY | opcode::CODECOPY | opcode::RETURNDATACOPY => {
            (number(0), number(2), 3, 0)
        }
        opcode::EXTCODECOPY => (number(1), number(3), 3, 0),
        opcode::LOG0..=opcode::LOG4 => (number(0), number(1), 0, 8),
        opcode::RETURN | opcode::REVERT => (number(0), number(1), 0, 0),
        opcode::CREATE => (number(1), number(2), 0, 0),
        opcode::CREATE2 => (number(1), number(2), 6, 0),
        _ => return 0,
    };
    let end = if length == 0 { 0 } else { offset.saturating_add(length) };
    let held = words(u64::try_from(bytes_now).unwrap_or(u64::MAX));
    let needed = words(end).max(held);
    if needed > u64::from(u32::MAX) {
        return 0;
    }
    let cost = |words: u64| 3 * words + words * words / 512;
    let topics = match step.opcode {
        opcode::LOG0..=opcode::LOG4 => 375 * u64::from(step.opcode - opcode::LOG0),
        _ => 0,
    };
    cost(needed) - cost(held) + per_word * words(length) + per_byte * length + topics
}
