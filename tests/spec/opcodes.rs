//! geth's vectors of opcodes and of precompiled contracts.

use std::collections::BTreeMap;

use evm::{CallOutcome, CallRequest, call};
use primitives::{
    Address, Bytes, ChainSpec, EMPTY_ROOT_HASH, Genesis, GenesisAccount, Header, TxKind, U256,
};
use serde_json::Value;
use state::{MemoryState, WorldState, genesis_changes};

use crate::{
    json::{bytes, list, number},
    network,
    pow::same,
    report::Sink,
    state_tests::name_of,
};

/// Gas that is enough for every vector.
const GAS: u64 = 100_000_000;

/// What a call costs before it does anything, with Istanbul's price of a byte.
const CALL_GAS: u64 = 21_000;

/// Where the code of an opcode's test lies.
const CONTRACT: Address = Address::repeat_byte(0xcc);

/// Operations by the name of their file.
const OPCODES: [(&str, u8); 21] = [
    ("add", 0x01),
    ("mul", 0x02),
    ("sub", 0x03),
    ("div", 0x04),
    ("sdiv", 0x05),
    ("mod", 0x06),
    ("smod", 0x07),
    ("exp", 0x0a),
    ("signext", 0x0b),
    ("lt", 0x10),
    ("gt", 0x11),
    ("slt", 0x12),
    ("sgt", 0x13),
    ("eq", 0x14),
    ("and", 0x16),
    ("or", 0x17),
    ("xor", 0x18),
    ("byte", 0x1a),
    ("shl", 0x1b),
    ("shr", 0x1c),
    ("sar", 0x1d),
];

/// Contracts by the name of their file, and the rules their gas is of.
const PRECOMPILES: [(&str, u8, &str); 8] = [
    ("ecRecover", 1, "Istanbul"),
    ("modexp", 5, "Istanbul"),
    ("modexp_eip2565", 5, "Berlin"),
    ("bn256Add", 6, "Istanbul"),
    ("bn256ScalarMul", 7, "Istanbul"),
    ("bn256Pairing", 8, "Istanbul"),
    ("blake2F", 9, "Istanbul"),
    ("blake2f", 9, "Istanbul"),
];

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    let file = sink.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Some(name) = file.strip_prefix("testcases_") {
        let opcode = OPCODES.iter().find(|(known, _)| *known == name);
        let Some((_, opcode)) = opcode else { return sink.fail(name, "an unknown operation") };
        for (place, test) in list(json).iter().enumerate() {
            sink.case(&place.to_string(), || run_opcode(*opcode, test));
        }
        return;
    }
    let name = file.trim_start_matches("fail-");
    let known = PRECOMPILES.iter().find(|(known, ..)| *known == name);
    let Some((_, address, network)) = known else {
        return sink.fail(name, "an unknown kind of vectors");
    };
    let spec = network::spec(network, Genesis::default()).expect("a network");
    for (place, test) in list(json).iter().enumerate() {
        sink.case(&name_of(test, place), || run_precompile(&spec, *address, test));
    }
}

fn run_opcode(opcode: u8, test: &Value) -> Result<(), String> {
    let spec = network::spec("Istanbul", Genesis::default()).expect("a network");
    let mut code = vec![0x7f];
    code.extend(&bytes(&test["X"])[..]);
    code.push(0x7f);
    code.extend(&bytes(&test["Y"])[..]);
    // Do it, store the result, return it.
    code.extend([opcode, 0x60, 0, 0x52, 0x60, 32, 0x60, 0, 0xf3]);
    let account = GenesisAccount { code: code.into(), ..GenesisAccount::default() };
    let alloc = BTreeMap::from([(CONTRACT, account)]);
    let (root, changes) = genesis_changes(&Genesis { alloc, ..Genesis::default() });
    let mut state = MemoryState::default();
    state.apply(&changes);
    let mut world = WorldState::at(root, state, 1);
    match outcome(&spec, &mut world, CONTRACT, Bytes::new())? {
        CallOutcome::Success { output, .. } => same(
            "result",
            &U256::from_be_slice(&output),
            &U256::from_be_slice(&bytes(&test["Expected"])),
        ),
        other => Err(format!("{other:?}")),
    }
}

fn run_precompile(spec: &ChainSpec, address: u8, test: &Value) -> Result<(), String> {
    let input = bytes(&test["Input"]);
    let zeros = input.iter().filter(|byte| **byte == 0).count();
    let data_gas = 4 * zeros + 16 * (input.len() - zeros);
    let data_gas = u64::try_from(data_gas).expect("a small number");
    let mut world = WorldState::at(EMPTY_ROOT_HASH, MemoryState::default(), 1);
    let found = outcome(spec, &mut world, Address::with_last_byte(address), input)?;
    match (found, test.get("ExpectedError")) {
        (CallOutcome::Halt { .. }, Some(_)) => Ok(()),
        (CallOutcome::Success { output, gas_used, .. }, None) => {
            same("output", &output, &bytes(&test["Expected"]))?;
            same("gas", &(gas_used - CALL_GAS - data_gas), &number(&test["Gas"]))
        }
        (other, _) => Err(format!("{other:?}")),
    }
}

fn outcome(
    spec: &ChainSpec,
    world: &mut WorldState<MemoryState>,
    to: Address,
    input: Bytes,
) -> Result<CallOutcome, String> {
    let header = Header { number: 1, gas_limit: GAS, ..Header::default() };
    let to = TxKind::Call(to);
    let request = CallRequest { to, gas: GAS, input, ..CallRequest::default() };
    call(spec, &header, world, &|_| Ok(None), &request).map_err(|error| error.to_string())
}
