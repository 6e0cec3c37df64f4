use primitives::{Hardfork, TxKind};
use serde_json::{Value, json};

use super::*;
use crate::{
    CallRequest,
    testing::{CONTRACT, SENDER, STRANGER, header, spec, world},
    trace_call,
};

const LOGS: TraceKind = TraceKind::Calls { with_log: true, only_top: false };

const GAS: u64 = 100_000;

fn traced_with(code: &[u8], gas: u64, config: &TraceConfig) -> Result<Trace, TraceError> {
    let (spec, mut world) = (spec(Hardfork::London), world(code));
    let to = TxKind::Call(CONTRACT);
    let request = CallRequest { from: SENDER, to, gas, ..CallRequest::default() };
    let ask = (&request, config);
    trace_call(&spec, &header(&spec), &mut world, &|_| Ok(None), ask, &|| false)
}

fn traced(code: &[u8], kind: TraceKind, bytes_max: usize) -> Result<Trace, TraceError> {
    traced_with(code, GAS, &TraceConfig { kind, bytes_max })
}

fn json_with(code: &[u8], gas: u64, kind: TraceKind) -> Value {
    let config = TraceConfig { kind, bytes_max: usize::MAX };
    serde_json::to_value(traced_with(code, gas, &config).unwrap()).unwrap()
}

fn json_of(code: &[u8], kind: TraceKind) -> Value {
    json_with(code, GAS, kind)
}

/// CALL(gas, to, 0, 0, 0, 0, 0), with the address of the contract itself.
const CALL_SELF: [u8; 13] = [0x60, 0, 0x60, 0, 0x60, 0, 0x60, 0, 0x60, 0, 0x30, 0x5a, 0xf1];

#[test]
fn an_entry_says_what_geth_finds_out_before_the_instruction_runs() {
    let steps = |code: &[u8]| {
        let trace = json_of(code, TraceKind::Steps(StepOptions::default()));
        assert_eq!((&trace["failed"], &trace["returnValue"]), (&json!(true), &json!("")));
        assert_eq!(trace["gas"], 100_000);
        trace["structLogs"].as_array().unwrap().last().unwrap().clone()
    };
    let underflow = steps(&[0x60, 1, 0x01]);
    assert_eq!(underflow["error"], "stack underflow (1 <=> 2)");
    assert_eq!((&underflow["op"], &underflow["gasCost"]), (&json!("ADD"), &json!(3)));
    let jump = steps(&[0x60, 1, 0x56]);
    assert_eq!((jump.get("error"), &jump["gasCost"]), (None, &json!(8)));
    let unknown = steps(&[0x0c]);
    assert_eq!((unknown.get("error"), &unknown["gasCost"]), (None, &json!(0)));
    assert_eq!(unknown["op"], "opcode 0xc not defined");
    // MSTORE at 2^24 - 1 costs more than there is: 3 words + words^2 / 512.
    let memory = steps(&[0x60, 1, 0x62, 0xff, 0xff, 0xff, 0x52]);
    let words: u64 = (0xff_ffff + 32_u64).div_ceil(32);
    assert_eq!(memory["error"], "out of gas");
    assert_eq!(memory["gasCost"], 3 + 3 * words + words * words / 512);
}

#[test]
fn depth_and_refunds_are_those_of_the_whole_transaction() {
    // SSTORE(1, 0) of a slot that was never set, SSTORE(1, 1), SSTORE(1, 0): a refund of 19 900.
    let code = [0x60, 1, 0x60, 1, 0x55, 0x60, 0, 0x60, 1, 0x55, 0x00];
    let trace = json_of(&code, TraceKind::Steps(StepOptions::default()));
    let steps = trace["structLogs"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["refund"], 19_900);
    assert_eq!(steps[0].get("refund"), None);
    // Calls itself once: CALLER is the contract itself in the inner call only.
    let code = [&[0x33, 0x30, 0x14, 0x60, 20, 0x57][..], &CALL_SELF, &[0x00, 0x5b, 0x00]].concat();
    let trace = json_of(&code, TraceKind::Steps(StepOptions::default()));
    let depths: Vec<u64> = trace["structLogs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["depth"].as_u64().unwrap())
        .collect();
    assert_eq!(depths.iter().max(), Some(&2));
    assert_eq!((depths.first(), depths.last()), (Some(&1), Some(&1)));
}

#[test]
fn what_failed_has_logged_nothing() {
    // LOG0, then RETURN or REVERT.
    for (last, logs) in [(0xf3, 1), (0xfd, 0)] {
        let code = [0x60, 0, 0x60, 0, 0xa0, 0x60, 0, 0x60, 0, last];
        let frame = json_of(&code, LOGS);
        assert_eq!(frame["logs"].as_array().map_or(0, Vec::len), logs);
    }
}

#[test]
fn a_farewell_is_a_call() {
    // SELFDESTRUCT to the stranger.
    let code = [&[0x73][..], STRANGER.as_slice(), &[0xff]].concat();
    let frame = json_of(&code, LOGS);
    let farewell = &frame["calls"][0];
    assert_eq!(farewell["type"], "SELFDESTRUCT");
    assert_eq!((&farewell["from"], &farewell["to"]), (&json!(CONTRACT), &json!(STRANGER)));
    assert_eq!((&farewell["value"], &farewell["gas"]), (&json!("0x3e8"), &json!("0x0")));
}

#[test]
fn calls_that_never_began_are_not_told() {
    // CALL with more wei than the contract has.
    let code = [
        &[0x60, 0, 0x60, 0, 0x60, 0, 0x60, 0, 0x61, 0xff, 0xff, 0x73][..],
        STRANGER.as_slice(),
        &[0x5a, 0xf1],
    ]
    .concat();
    assert_eq!(json_of(&code, LOGS).get("calls"), None);
}

#[test]
fn a_trace_that_grows_too_large_ends() {
    let endless = [0x5b, 0x60, 0, 0x56];
    let steps = TraceKind::Steps(StepOptions::default());
    let ended = traced(&endless, steps, 10_000);
    assert!(matches!(ended, Err(TraceError::TooLarge { max: 10_000 })), "{ended:?}");
    let calls = traced(&[CALL_SELF, CALL_SELF].concat(), LOGS, 1_000);
    assert!(matches!(calls, Err(TraceError::TooLarge { max: 1_000 })), "{calls:?}");
}

/// What `SSTORE(1, value)` costs and gives back in all, as the last entry of a trace says.
fn store(value: u8, gas: u64) -> Value {
    let code = [0x60, value, 0x60, 1, 0x55, 0x00];
    let trace = json_with(&code, gas, TraceKind::Steps(StepOptions::default()));
    trace["structLogs"].as_array().unwrap()[2].clone()
}

#[test]
fn a_store_that_cannot_be_paid_for_says_what_it_costs() {
    let (enough, less, stipend) = (store(1, 100_000), store(1, 40_000), store(1, 21_006 + 2_300));
    assert_eq!((&enough["op"], &enough["gasCost"]), (&json!("SSTORE"), &json!(22_100)));
    assert_eq!((&less["gasCost"], &less["error"]), (&json!(22_100), &json!("out of gas")));
    assert_eq!((&stipend["gasCost"], &stipend["error"]), (&json!(0), &json!("out of gas")));
}

#[test]
fn a_creation_costs_without_what_it_gets() {
    // CREATE(0, 0, 0)
    let code = [0x60, 0, 0x60, 0, 0x60, 0, 0xf0, 0x00];
    let trace = json_of(&code, TraceKind::Steps(StepOptions::default()));
    assert_eq!(trace["structLogs"][3]["gasCost"], 32_000);
}

#[test]
fn what_a_precompiled_contract_says_is_in_geths_words() {
    // CALL(gas, 8, 0, 0, 1, 0, 0): a pairing of one byte.
    let code = [0x60, 0, 0x60, 0, 0x60, 1, 0x60, 0, 0x60, 0, 0x60, 8, 0x61, 0xff, 0xff, 0xf1, 0x00];
    assert_eq!(json_of(&code, LOGS)["calls"][0]["error"], "bad elliptic curve pairing size");
}

#[test]
fn what_could_not_be_paid_for_was_not_looked_at() {
    let code = [0x60, 1, 0x54, 0x60, 1, 0x60, 2, 0x55, 0x00];
    let contract = format!("{CONTRACT:#x}");
    let slots = |gas| {
        let trace = json_with(&code, gas, TraceKind::Prestate { diff: false });
        trace[&contract]["storage"].as_object().map_or(0, serde_json::Map::len)
    };
    assert_eq!((slots(100_000), slots(30_000)), (2, 1));
}

#[test]
fn calls_that_never_began_have_called_no_function() {
    let code = [
        &[0x60, 0, 0x60, 0, 0x60, 4, 0x60, 0, 0x61, 0xff, 0xff, 0x73][..],
        STRANGER.as_slice(),
        &[0x5a, 0xf1],
    ]
    .concat();
    assert_eq!(json_of(&code, TraceKind::Selectors), json!({}));
}
