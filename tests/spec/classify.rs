//! Which suite a file belongs to, by its path and what is in it.

use serde_json::Value;

use crate::{
    basic, blockchain, call_tracer,
    data::DataFile,
    difficulty, genesis, jsonrpc, keystore, opcodes, pow, realchain,
    report::{Sink, Skip, Suite},
    rlp, state_tests, t8n, transaction, trie, vm,
};

/// Requests and responses, and what other parts of a node read: not for these crates.
const LATER: [(&str, &str); 4] = [
    ("/v5wire/", "discovery v5"),
    ("/hive-graphql/testcases/", "GraphQL requests"),
    ("/jsonrpc/eth", "JSON-RPC requests"),
    ("/jsonrpc/debug", "JSON-RPC requests"),
];

/// Files that hold no vectors.
const NO_VECTORS: [&str; 4] = ["/LICENSE", "README", "README.md", "/geth_version.txt"];

/// The suite as far as the path alone says it.
pub(crate) fn suite_of_path(path: &str) -> Option<Suite> {
    const BY_PATH: [(&str, Suite); 15] = [
        ("/BlockchainTests/", Suite::Blockchain),
        ("/GeneralStateTests/", Suite::State),
        ("/VMTests/", Suite::Vm),
        ("/DifficultyTests/", Suite::Difficulty),
        ("/BasicTests/difficulty", Suite::Difficulty),
        ("/TransactionTests/", Suite::Transaction),
        ("/RLPTests/", Suite::Rlp),
        ("/TrieTests/", Suite::Trie),
        ("/PoWTests/", Suite::Pow),
        ("/GenesisTests/", Suite::Genesis),
        ("/KeyStoreTests/", Suite::KeyStore),
        ("/BasicTests/", Suite::Basic),
        ("/ABITests/", Suite::Abi),
        ("geth-testdata/", Suite::Geth),
        ("realchain/", Suite::RealChain),
    ];
    let known = BY_PATH.iter().find(|(part, _)| path.contains(part)).map(|(_, suite)| *suite);
    known.or_else(|| path.starts_with("jsonrpc/").then_some(Suite::JsonRpc))
}

/// Runs all cases of a file.
pub(crate) fn run(file: &DataFile, sink: &mut Sink<'_>) {
    let name = file.name.as_str();
    if let Some(suite) = suite_of_path(name) {
        sink.belongs_to(suite);
    }
    if NO_VECTORS.iter().any(|ending| name.ends_with(ending)) {
        return;
    }
    if let Some((_, part)) = LATER.iter().find(|(folder, _)| name.contains(folder)) {
        return sink.later(part, 1);
    }
    if name.contains("/tracetest/") {
        call_tracer::run_file(file, sink);
    } else if name.ends_with(".io") {
        jsonrpc::run_file(file, sink);
    } else if name.contains("/keystore/testdata/") {
        keystore::run_file(file, sink);
    } else if name.contains("/cmd/evm/testdata/") {
        t8n::run_file(file, sink);
    } else if name.starts_with("realchain/") || name.starts_with("jsonrpc/") {
        realchain::run_file(file, sink);
    } else {
        run_json(file, sink);
    }
}

fn run_json(file: &DataFile, sink: &mut Sink<'_>) {
    let content = file.read();
    let Ok(text) = std::str::from_utf8(&content) else {
        return sink.fail("the file", "is no text");
    };
    // `parse` and not `from_str`: that one is compiled here, without optimisation.
    let Ok(json) = text.parse::<Value>() else { return sink.fail("the file", "is no JSON") };
    let suite = suite_of_content(&json).or_else(|| suite_of_path(&file.name));
    sink.belongs_to(suite.unwrap_or(Suite::Unknown));
    if let Some(skip) = Skip::of_path(&file.name) {
        return sink.skip(skip, cases(&json));
    }
    match suite {
        Some(Suite::Blockchain) => blockchain::run(&json, sink),
        Some(Suite::State) => state_tests::run(&json, sink),
        Some(Suite::Vm) => vm::run(&json, sink),
        Some(Suite::Difficulty) => difficulty::run(&json, sink),
        Some(Suite::Transaction) => transaction::run(&json, sink),
        Some(Suite::Rlp) => rlp::run(&json, sink),
        Some(Suite::Trie) => trie::run(&json, sink),
        Some(Suite::Pow) => pow::run(&json, sink),
        Some(Suite::Genesis) => genesis::run(&json, sink),
        Some(Suite::KeyStore) => keystore::run(&json, sink),
        Some(Suite::Basic) => basic::run(&json, sink),
        Some(Suite::Abi) => sink.later("contract ABI", cases(&json)),
        Some(Suite::Geth) => opcodes::run(&json, sink),
        Some(Suite::RealChain | Suite::JsonRpc | Suite::Unknown) | None => {
            sink.fail("the file", "belongs to no suite that is known");
        }
    }
}

/// How many cases a skipped file has: state tests have one for each fork and index.
fn cases(json: &Value) -> usize {
    let Some(tests) = json.as_object() else { return 1 };
    tests.values().map(posts).sum()
}

fn posts(test: &Value) -> usize {
    if test.get("transaction").is_none() {
        return 1;
    }
    let forks = test.get("post").and_then(Value::as_object);
    forks.map_or(1, |forks| forks.values().map(|posts| posts.as_array().map_or(0, Vec::len)).sum())
}

/// The suite that the members of the first case are typical for.
fn suite_of_content(json: &Value) -> Option<Suite> {
    const BY_MEMBERS: [(Suite, &[&str]); 10] = [
        (Suite::Blockchain, &["blocks", "genesisBlockHeader"]),
        (Suite::State, &["transaction", "post", "env"]),
        (Suite::Vm, &["exec", "env", "pre"]),
        (Suite::Transaction, &["txbytes", "result"]),
        (Suite::Difficulty, &["parentDifficulty", "currentDifficulty"]),
        (Suite::Pow, &["header_hash", "mixHash", "header"]),
        (Suite::KeyStore, &["json", "password", "priv"]),
        (Suite::Trie, &["in", "root"]),
        (Suite::Genesis, &["alloc", "result", "difficulty"]),
        (Suite::Abi, &["args", "types"]),
    ];
    let first = json.as_object()?.values().find(|value| value.is_object())?;
    let has = |members: &&[&str]| members.iter().all(|member| first.get(*member).is_some());
    BY_MEMBERS.iter().find(|(_, members)| has(members)).map(|(suite, _)| *suite)
}
