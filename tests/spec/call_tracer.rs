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
    // It is the state before some block that is told as a genesis.
    let mut genesis = json["genesis"].clone();
    genesis["number"] = "0x0".into();
    // One has Byzantium before what comes before it.
    for fork in ["eip150Block", "eip155Block", "eip158Block"] {
        if genesis["config"]["byzantiumBlock"] == 0 {
            genesis["config"][fork] = 0.into();
        }
    }
    let spec = ChainSpec::from_json(&genesis.to_string()).map_err(|e| e.to_string())?;
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
    let mut have = serde_json::to_value(&trace).expect("a trace is JSON");
    let mut want = json["result"].clone();
    // geth counts what a transaction costs before it runs since 1.11, and these are older.
    for frame in [&mut have, &mut want] {
        let frame = frame.as_object_mut().ok_or("a trace is an object")?;
        frame.retain(|name, _| !matches!(name.as_str(), "gas" | "gasUsed" | "time"));
        modernise(frame);
    }
    if have == want { Ok(()) } else { Err(format!("have {have}, want {want}")) }
}

/// Leaves out what geth 1.10.26 tells otherwise than 1.11.6, which is the one that is followed: empty
/// outputs, the value of a delegation, the reason in words, the case of addresses.
fn modernise(frame: &mut serde_json::Map<String, Value>) {
    let delegates = frame.get("type").is_some_and(|kind| kind == "DELEGATECALL");
    frame.retain(|name, value| match name.as_str() {
        "output" => value != "0x",
        "value" => !delegates,
        "revertReason" => false,
        _ => true,
    });
    for (name, value) in frame {
        match value {
            Value::String(text) if name == "to" || name == "from" => text.make_ascii_lowercase(),
            Value::Array(calls) => {
                calls.iter_mut().filter_map(Value::as_object_mut).for_each(modernise);
            }
            _ => {}
        }
    }
}
