//! geth's vectors of its call tracer: a state, a block, a transaction, and who called whom.

use alloy_eips::eip2718::Decodable2718;
use evm::{
    BlockExecutor,
    trace::{TraceConfig, TraceKind},
};
use primitives::{ChainSpec, Header, SignerRecoverable, Transaction};
use serde_json::Value;
use state::{MemoryState, WorldState};

use crate::{
    data::DataFile,
    json::{address, bytes, number, word},
    report::Sink,
    state_tests::pre_state,
};

/// More than any of them takes.
const TRACE_BYTES_MAX: usize = 1 << 24;

/// Runs one file. Those of the tracer that was a script have another form.
pub(crate) fn run_file(file: &DataFile, sink: &mut Sink<'_>) {
    if file.name.contains("/call_tracer_legacy/") {
        return sink.later("call tracer in JavaScript", 1);
    }
    let content = file.read();
    let text = String::from_utf8_lossy(&content);
    let Ok(json) = text.parse::<Value>() else { return sink.fail("the file", "is no JSON") };
    sink.case("trace", || run(&json));
}

fn run(json: &Value) -> Result<(), String> {
    let spec = ChainSpec::from_json(&json["genesis"].to_string()).map_err(|e| e.to_string())?;
    let (root, state) = pre_state(&json["genesis"]["alloc"]);
    let context = &json["context"];
    let header = Header {
        number: number(&context["number"]),
        beneficiary: address(&context["miner"]),
        timestamp: number(&context["timestamp"]),
        difficulty: word(&context["difficulty"]),
        gas_limit: number(&context["gasLimit"]),
        ..Header::default()
    };
    let mut world: WorldState<&MemoryState> = WorldState::at(root, &state, header.number);
    let tx = Transaction::decode_2718_exact(&bytes(&json["input"])).map_err(|e| e.to_string())?;
    let sender = tx.recover_signer().map_err(|error| error.to_string())?;
    let only_top = json["tracerConfig"]["onlyTopCall"].as_bool().unwrap_or(false);
    let kind = TraceKind::Calls { with_log: false, only_top };
    let config = TraceConfig { kind, bytes_max: TRACE_BYTES_MAX };
    let ancestors = |_| Ok(None);
    let never = || false;
    let executor = BlockExecutor::new(&spec, &header, &mut world, &ancestors);
    let mut executor = executor.looking_back(&never);
    let trace = executor.trace(&tx, sender, &config).map_err(|error| error.to_string())?;
    let have = serde_json::to_value(&trace).expect("a trace is JSON");
    let want = &json["result"];
    if have == *want { Ok(()) } else { Err(format!("have {have}, want {want}")) }
}
