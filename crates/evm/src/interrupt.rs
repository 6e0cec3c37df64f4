//! Stopping a call that takes too long. Transactions of blocks are never stopped.
//!
//! Code that runs for long jumps back, calls, or reads: so jump targets, frames and reads are where
//! the question is asked. Jump targets ask it now and then only, as they are cheap themselves.

use revm::{
    bytecode::opcode,
    interpreter::{
        Instruction, InstructionContext, InstructionExecResult, InstructionResult,
        interpreter::EthInterpreter,
    },
};
use state::{ReadError, StateReader};

use crate::env::{Machine, MachineContext};

/// Whether a call is to stop; asked again and again while it runs, so it must be cheap.
pub type Interrupt<'a> = &'a dyn Fn() -> bool;

/// Jump targets passed from one question to the next.
const JUMPS: u32 = 1_024;

/// What every jump target costs.
const JUMPDEST_GAS: u16 = 1;

/// Asks whether to stop, and remembers that it was told to.
pub(crate) struct Watch<'a> {
    interrupt: Option<Interrupt<'a>>,
    jumps_left: u32,
    stopped: bool,
}

impl Watch<'_> {
    /// Never stops.
    pub(crate) const fn none() -> Self {
        Self { interrupt: None, jumps_left: JUMPS, stopped: false }
    }

    pub(crate) const fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops at the next question.
    pub(crate) const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Fails when told to stop, as a read would: that ends everything that runs.
    pub(crate) fn ask(&mut self) -> Result<(), ReadError> {
        if let Some(interrupt) = self.interrupt {
            self.stopped = self.stopped || interrupt();
        }
        if self.stopped { Err(ReadError::Database("interrupted".to_owned())) } else { Ok(()) }
    }

    fn pass_jump_target(&mut self) -> Result<(), ReadError> {
        self.jumps_left -= 1;
        if self.jumps_left > 0 {
            return Ok(());
        }
        self.jumps_left = JUMPS;
        self.ask()
    }
}

/// Makes a machine ask. Without this it runs to the end, and jump targets do nothing.
pub(crate) fn watch<'a, R: StateReader>(machine: &mut Machine<'a, R>, interrupt: Interrupt<'a>) {
    machine.ctx.journaled_state.database.watch =
        Watch { interrupt: Some(interrupt), ..Watch::none() };
    let instruction = Instruction::new(jumpdest::<R>);
    machine.instruction.insert_instruction(opcode::JUMPDEST, instruction, JUMPDEST_GAS);
}

fn jumpdest<R: StateReader>(
    context: InstructionContext<'_, MachineContext<'_, R>, EthInterpreter>,
) -> InstructionExecResult {
    let watch = &mut context.host.journaled_state.database.watch;
    watch.pass_jump_target().map_err(|_| InstructionResult::FatalExternalError)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use primitives::{Hardfork, TxKind};

    use crate::{
        CallOutcome, CallRequest, call_until,
        testing::{CONTRACT, SENDER, header, spec, world},
    };

    /// Runs code with endless gas; the answer turns to "stop" when it was asked so often.
    fn outcome(code: &[u8], gas: u64, patience: u32) -> (Option<CallOutcome>, u32) {
        let (spec, mut world) = (spec(Hardfork::London), world(code));
        let request =
            CallRequest { from: SENDER, to: TxKind::Call(CONTRACT), gas, ..CallRequest::default() };
        let asked = Cell::new(0);
        let interrupt = || {
            asked.set(asked.get() + 1);
            asked.get() > patience
        };
        let header = header(&spec);
        let outcome =
            call_until(&spec, &header, &mut world, &|_| Ok(None), &request, &interrupt).unwrap();
        (outcome, asked.get())
    }

    #[test]
    fn stops_endless_code_wherever_it_is() {
        let endless_gas = u64::MAX / 2;
        // JUMPDEST PUSH1 0 JUMP
        let (stopped, asked) = outcome(&[0x5b, 0x60, 0, 0x56], endless_gas, 100);
        assert_eq!((stopped, asked), (None, 101));
        // Calls itself twice, and so does that: CALL(gas, address, 0, 0, 0, 0, 0), twice
        let call = [0x60, 0, 0x60, 0, 0x60, 0, 0x60, 0, 0x60, 0, 0x30, 0x5a, 0xf1];
        let (stopped, _) = outcome(&[call, call].concat(), endless_gas, 10_000);
        assert_eq!(stopped, None);
    }

    #[test]
    fn code_that_ends_in_time_is_not_disturbed() {
        let looping = &[0x5b, 0x60, 0, 0x56];
        let (ended, asked) = outcome(looping, 1_000_000, u32::MAX);
        let reason = "out of gas".to_owned();
        assert_eq!(ended, Some(CallOutcome::Halt { reason, gas_used: 1_000_000 }));
        assert!((50..200).contains(&asked), "{asked}");
    }
}
