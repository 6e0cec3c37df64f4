//! TrieTests: insertions and removals, and the root they lead to.

use primitives::{hex, keccak256};
use serde_json::Value;
use state::Trie;

use crate::{
    json::{hash, list, object, text},
    report::Sink,
};

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    let is_secure = sink.path.to_ascii_lowercase().contains("secure");
    for (name, test) in object(json) {
        if test.get("root").is_none() {
            // Neighbours of keys: nothing in the node iterates over a trie in memory.
            sink.later("iteration over a trie", 1);
            continue;
        }
        sink.case(name, || run_case(test, is_secure));
    }
}

fn run_case(test: &Value, is_secure: bool) -> Result<(), String> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = match &test["in"] {
        Value::Array(steps) => {
            steps.iter().map(|step| (raw(&list(step)[0]), raw(&list(step)[1]))).collect()
        }
        members => object(members)
            .map(|(key, value)| (raw(&Value::String(key.into())), raw(value)))
            .collect(),
    };
    let want = hash(&test["root"]);
    check(&pairs, is_secure, want)?;
    if test["in"].is_object() {
        // The order of an object's members must not matter.
        pairs.reverse();
        check(&pairs, is_secure, want)?;
    }
    Ok(())
}

fn check(
    pairs: &[(Vec<u8>, Vec<u8>)],
    is_secure: bool,
    want: primitives::B256,
) -> Result<(), String> {
    let mut trie = Trie::new();
    for (key, value) in pairs {
        if is_secure {
            trie.insert(keccak256(key).as_slice(), value);
        } else {
            trie.insert(key, value);
        }
    }
    let have = trie.root();
    if have == want { Ok(()) } else { Err(format!("{have}, expected {want}")) }
}

/// A key or value: text, or hex if it says so. Null removes.
fn raw(value: &Value) -> Vec<u8> {
    if value.is_null() {
        return Vec::new();
    }
    let text = text(value);
    match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).expect("hex"),
        None => text.as_bytes().to_vec(),
    }
}
