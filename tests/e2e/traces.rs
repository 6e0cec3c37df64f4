//! Traces beside real geth: chains with every kind of call, and with every way to fail.

use std::path::Path;

use serde_json::{Value, json};

use tests::harness::rpc::Rpc;

use crate::harness::{
    geth::Geth,
    node::{Node, succeed},
    root, text,
};

/// The one whose shapes ours are.
const VERSION: &str = "v1.11.6";
/// Contracts of the chains: one stores its argument, one calls all the others.
const STORES: &str = "0xAE519FC2Ba8e6fFE6473195c092bF1BAe986ff90";
const CALLS: &str = "0x52d2878492EF30d625fc54EC52c4dB7f010d471e";
const SENDER: &str = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A";
const GAS: &str = "0xf4240";
const NAMESPACES: &str = "eth,debug";

fn configs() -> [Value; 15] {
    [
        json!({}),
        json!({"enableMemory": true}),
        json!({"disableStack": true, "disableStorage": true, "limit": 5}),
        json!({"tracer": "callTracer"}),
        json!({"tracer": "callTracer", "tracerConfig": {"withLog": true}}),
        json!({"tracer": "callTracer", "tracerConfig": {"onlyTopCall": true}}),
        json!({"tracer": "prestateTracer"}),
        json!({"tracer": "prestateTracer", "tracerConfig": {"diffMode": true}}),
        json!({"tracer": "4byteTracer"}),
        json!({"tracer": "noopTracer"}),
        json!({"tracer": "flatCallTracer"}),
        json!({"tracer": "flatCallTracer", "tracerConfig": {"convertParityErrors": true}}),
        json!({"tracer": "flatCallTracer", "tracerConfig": {"includePrecompiles": true}}),
        json!({"tracer": "muxTracer"}),
        json!({"tracer": "muxTracer", "tracerConfig": {
            "callTracer": {"withLog": true}, "4byteTracer": null, "flatCallTracer": {},
        }}),
    ]
}

/// A question, and the contract that is made meanwhile, if one is.
type Question = (&'static str, Value, Value);

/// What is asked of both, with every tracer.
fn questions(rpc: &mut Rpc) -> Vec<Question> {
    let mut questions = Vec::new();
    for number in 1..=rpc.block_number() {
        let block = rpc.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
        for hash in block["transactions"].as_array().expect("a list") {
            let receipt = rpc.call("eth_getTransactionReceipt", json!([hash]));
            for config in configs() {
                let made = receipt["contractAddress"].clone();
                questions.push(("debug_traceTransaction", json!([hash, config]), made));
            }
        }
    }
    for config in configs() {
        for data in ["0x", "0x1111111111111111111111111111111111111111111111111111111111111111"] {
            let call = json!({"from": SENDER, "to": CALLS, "data": data, "gas": GAS});
            questions.push(("debug_traceCall", json!([call, "latest", config]), Value::Null));
        }
        // Made from what the call pretends: NUMBER PUSH1 0 MSTORE PUSH1 32 PUSH1 0 RETURN.
        let mut pretending = config.clone();
        pretending["stateOverrides"] = json!({STORES: {"code": "0x4360005260206000f3"}});
        pretending["blockOverrides"] = json!({"number": "0x50"});
        let call = json!({"from": SENDER, "to": STORES, "gas": GAS});
        questions.push(("debug_traceCall", json!([call, "latest", pretending]), Value::Null));
    }
    questions
}

/// An answer of the prestate tracer without a contract that is being made: geth 1.11.6 looks at it
/// when it has its nonce already, later versions and we do not.
fn without(mut answer: Value, made: &Value) -> Value {
    let Some(made) = made.as_str() else { return answer };
    for part in ["/pre", "/post", ""] {
        if let Some(accounts) = answer.pointer_mut(part).and_then(Value::as_object_mut) {
            accounts.remove(made);
        }
    }
    answer
}

fn compare(chain: &str, folder: &Path) {
    let fixtures = root().join("tests/fixtures/traces");
    let genesis = fixtures.join(format!("{chain}.json"));
    let blocks = fixtures.join(format!("{chain}.rlp"));
    let geth = Geth::new(VERSION, &folder.join("geth"));
    geth.succeed(&["init", text(&genesis)]);
    geth.succeed(&["--fakepow", "--gcmode", "archive", "import", text(&blocks)]);
    let mut theirs = geth.start(&[
        "--fakepow",
        "--gcmode",
        "archive",
        "--nodiscover",
        "--networkid",
        "1337",
        "--http.api",
        NAMESPACES,
    ]);
    let datadir = folder.join("node");
    let own = ["--datadir", text(&datadir), "--fakepow", "--genesis", text(&genesis)];
    succeed(&[&own[..], &["import", text(&blocks)]].concat());
    let alone = ["--nodiscover", "--ops.addr", "off"];
    let mut ours = Node::start_offering(&[&own[..], &alone].concat(), NAMESPACES);
    let questions = questions(&mut ours.rpc);
    assert!(questions.len() > 300, "{}", questions.len());
    let mut wrong = Vec::new();
    for (method, params, made) in questions {
        let [ours, theirs] = [&mut ours.rpc, &mut theirs.rpc]
            .map(|rpc| without(rpc.call(method, params.clone()), &made));
        if ours != theirs {
            wrong.push(format!("{method} {params}\n  ours: {ours}\n  geth: {theirs}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{chain}: {} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(3)].join("\n")
    );
    ours.stop_well();
}

#[test]
fn traces_are_geths_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    for chain in ["book", "london"] {
        compare(chain, &folder.path().join(chain));
    }
}
