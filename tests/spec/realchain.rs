//! Blocks of real chains, and chains that clients made: imported, executed or checked without state.

mod blocks;
mod era1;
mod fork_id;
mod headers;
mod nimbus;
mod persist;
mod stateless;

use primitives::Genesis;
use serde_json::Value;

use crate::{data::DataFile, pow, report::Sink};

/// Runs a file by its ending and what is in it.
pub(crate) fn run_file(file: &DataFile, sink: &mut Sink<'_>) {
    let ending = file.name.rsplit('.').next().unwrap_or_default();
    match ending {
        "era1" => era1::run(&file.read(), sink),
        "json" => run_json(file, sink),
        "rlp" | "blocks" | "bin" | "gz" => {
            let content = file.read();
            if content.starts_with(b"#") || content.starts_with(b"0x") {
                headers::run(&content, sink);
            } else {
                blocks::run(file, &content, sink);
            }
        }
        _ => sink.fail("the file", "is of no kind that is known"),
    }
}

fn run_json(file: &DataFile, sink: &mut Sink<'_>) {
    let content = file.read();
    let text = String::from_utf8_lossy(&content);
    let Ok(json) = text.parse::<Value>() else { return sink.fail("the file", "is no JSON") };
    let first = match &json {
        Value::Array(items) => items.first(),
        Value::Object(members) => members.values().next(),
        _ => None,
    };
    let first_has = |name: &str| first.is_some_and(|first| first.get(name).is_some());
    let has = |name: &str| json.get(name).is_some();
    if first_has("final_hash") {
        pow::run_hashes(&json, sink);
    } else if has("creation") {
        fork_id::run(&json, sink);
    } else if has("blockNumber") && has("state") {
        sink.case("execution", || persist::run(&json));
    } else if has("mixHash") && has("transactions") {
        sink.case("block", || nimbus::run_block(&json));
    } else if first_has("header") && first_has("receipts") {
        nimbus::run_consecutive(&json, sink);
    } else if has("alloc") {
        // Checked further where blocks are imported on it.
        sink.case("genesis", || Genesis::from_json(&text).map(drop).map_err(|e| e.to_string()));
    } else if !text.contains("HIVE_") {
        sink.fail("the file", "is of no kind that is known");
    }
}
