//! geth's words for what ends an execution (`core/vm/errors.go`).

use revm::{
    bytecode::opcode::{self, OpCode},
    context::{LocalContext, LocalContextTr},
    interpreter::{
        InstructionResult, Interpreter, interpreter::EthInterpreter, interpreter_types::Jumps,
    },
    precompile::PrecompileHalt,
};

/// Items on the stack, at most.
const STACK_ITEMS_MAX: usize = 1024;

/// Where an execution halted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HaltSite {
    opcode: u8,
    stack_items: usize,
}

impl HaltSite {
    pub(crate) fn of(interpreter: &Interpreter<EthInterpreter>) -> Self {
        // The interpreter has stepped over the instruction already.
        let position = interpreter.bytecode.pc().saturating_sub(1);
        let opcode =
            interpreter.bytecode.bytes_slice().get(position).copied().unwrap_or(opcode::STOP);
        Self { opcode, stack_items: interpreter.stack.len() }
    }

    /// The instruction that runs next.
    pub(crate) fn ahead(interpreter: &Interpreter<EthInterpreter>) -> Self {
        Self { opcode: interpreter.bytecode.opcode(), stack_items: interpreter.stack.len() }
    }
}

/// The text for a halt of the first frame. `site` is missing where no code ran.
pub(crate) fn text(
    result: InstructionResult,
    site: Option<HaltSite>,
    precompile_error: Option<String>,
) -> String {
    match result {
        InstructionResult::OutOfGas if site.is_some_and(|site| site.opcode == opcode::RETURN) => {
            "contract creation code storage out of gas".to_owned()
        }
        InstructionResult::OutOfGas
        | InstructionResult::MemoryOOG
        | InstructionResult::MemoryLimitOOG
        | InstructionResult::PrecompileOOG
        | InstructionResult::ReentrancySentryOOG => "out of gas".to_owned(),
        InstructionResult::InvalidOperandOOG => "gas uint64 overflow".to_owned(),
        InstructionResult::OpcodeNotFound
        | InstructionResult::NotActivated
        | InstructionResult::InvalidFEOpcode => invalid_opcode(site),
        InstructionResult::StackUnderflow => stack_underflow(site),
        InstructionResult::StackOverflow => {
            format!("stack limit reached {STACK_ITEMS_MAX} ({})", STACK_ITEMS_MAX - 1)
        }
        InstructionResult::InvalidJump => "invalid jump destination".to_owned(),
        InstructionResult::StateChangeDuringStaticCall
        | InstructionResult::CallNotAllowedInsideStatic => "write protection".to_owned(),
        InstructionResult::OutOfOffset => "return data out of bounds".to_owned(),
        InstructionResult::CreateCollision => "contract address collision".to_owned(),
        InstructionResult::CreateContractSizeLimit => "max code size exceeded".to_owned(),
        InstructionResult::CreateContractStartingWithEF => {
            "invalid code: must not begin with 0xef".to_owned()
        }
        InstructionResult::NonceOverflow => "nonce uint64 overflow".to_owned(),
        InstructionResult::CallTooDeep => "max call depth exceeded".to_owned(),
        InstructionResult::OutOfFunds | InstructionResult::OverflowPayment => {
            "insufficient balance for transfer".to_owned()
        }
        InstructionResult::PrecompileError => precompile_failure(precompile_error.as_deref()),
        // No rule set of ours can end this way; the machine's own word has to do.
        other => format!("{other:?}"),
    }
}

/// geth's words for revm's (`core/vm/contracts.go` and its curve library).
fn precompile_failure(said: Option<&str>) -> String {
    let known = [
        (PrecompileHalt::Bn254PairLength, "bad elliptic curve pairing size"),
        (PrecompileHalt::Bn254FieldPointNotAMember, "bn256: coordinate exceeds modulus"),
        (PrecompileHalt::Bn254AffineGFailedToCreate, "bn256: malformed point"),
        (PrecompileHalt::Blake2WrongLength, "invalid input length"),
        (PrecompileHalt::Blake2WrongFinalIndicatorFlag, "invalid final flag"),
    ];
    let said = said.unwrap_or("precompiled contract failed");
    let known = known.into_iter().find(|(halt, _)| halt.to_string() == said);
    known.map_or(said, |(_, words)| words).to_owned()
}

/// The text for how any frame failed; what a precompiled contract said stays where it is.
pub(crate) fn text_of_frame(
    result: InstructionResult,
    site: Option<HaltSite>,
    local: &mut LocalContext,
) -> String {
    if result.is_revert() {
        return "execution reverted".to_owned();
    }
    let said = local.take_precompile_error_context();
    if let Some(said) = &said {
        local.set_precompile_error_context(said.clone());
    }
    text(result, site, said)
}

/// geth names what it knows, even where a fork does not have it yet, and numbers the rest.
fn invalid_opcode(site: Option<HaltSite>) -> String {
    let opcode = site.map_or(opcode::INVALID, |site| site.opcode);
    match opcode {
        opcode::INVALID
        | opcode::DELEGATECALL
        | opcode::RETURNDATASIZE
        | opcode::RETURNDATACOPY
        | opcode::STATICCALL
        | opcode::REVERT
        | opcode::SHL
        | opcode::SHR
        | opcode::SAR
        | opcode::EXTCODEHASH
        | opcode::CREATE2
        | opcode::CHAINID
        | opcode::SELFBALANCE
        | opcode::BASEFEE => format!("invalid opcode: {}", OpCode::name_by_op(opcode)),
        unknown => format!("invalid opcode: opcode {unknown:#x} not defined"),
    }
}

fn stack_underflow(site: Option<HaltSite>) -> String {
    let (items, wanted) = site.map_or((0, 1), |site| {
        (
            site.stack_items,
            OpCode::new(site.opcode).map_or(1, |opcode| usize::from(opcode.inputs())),
        )
    });
    format!("stack underflow ({items} <=> {wanted})")
}
