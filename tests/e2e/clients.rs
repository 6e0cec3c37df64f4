//! Every library that people use against a node, doing all that its users do: on the book's chain and
//! on one with London's rules.

use std::{path::Path, time::Duration};

use serde_json::{Map, Value, json};

use crate::harness::{
    branches::{CHAIN_ID, book_genesis, write},
    clients,
    geth::Geth,
    key::Key,
    node::{Node, succeed},
    random::{is_long, say},
    rpc::Rpc,
    text,
};

/// How long anything may take.
const LONGEST: Duration = Duration::from_secs(180);
/// How long a DAG and the first block may take on a slow machine that is busy.
const DAG_TIME_MAX: Duration = Duration::from_secs(600);
/// Every library, with the number of its checks, and whether the short tier has it.
const CLIENTS: [(&str, usize, bool); 9] = [
    ("web3.py 5.9", 11, true),
    ("web3.py 7", 14, true),
    ("ethers 5", 13, false),
    ("ethers 6", 13, true),
    ("viem", 13, true),
    ("web3.js 1", 12, false),
    ("web3.js 4", 12, false),
    ("hardhat", 11, false),
    ("cast", 11, true),
];
/// The book's geth and the last one of all.
const CONSOLES: [&str; 2] = ["v1.9.13", "v1.11.6"];
/// Checks of geth's console.
const CONSOLE_CHECKS: usize = 11;
/// The chain id that the classes of web3.py's tests expect: its name, as a number.
const MODULES_CHAIN_ID: u64 = 131_277_322_940_537;
/// Hashes a second, so that a block takes some seconds.
const MODULES_HASHRATE: &str = "80000";
/// Parts of web3.py's tests, each for a node of its own; how many of them pass, and are left out.
const MODULES: [(&str, u64, u64); 3] = [
    ("TestEth", 136, 22),
    ("TestAsyncEth", 119, 22),
    ("not TestEth and not TestAsyncEth", 112, 15),
];
const PASSWORD: &str = "a password of the clients";

/// A chain, by its rules.
struct Rules {
    name: &'static str,
    chain_id: u64,
    genesis: Value,
}

fn keys() -> Vec<Key> {
    (1..=u8::try_from(CLIENTS.len() + CONSOLES.len()).expect("a few")).map(Key::fixed).collect()
}

fn book() -> Rules {
    Rules { name: "book", chain_id: CHAIN_ID, genesis: book_genesis(&keys()) }
}

fn london() -> Rules {
    let mut genesis: Value = serde_json::from_str(&succeed(&["dumpgenesis", "--genesis", "dev"]))
        .expect("the preset is JSON");
    genesis["alloc"] = book_genesis(&keys())["alloc"].clone();
    Rules { name: "london", chain_id: crate::dev::CHAIN_ID, genesis }
}

/// A node that makes a block a second, without work, on every transport.
fn start(folder: &Path, genesis: &Value, more: &[&str]) -> (Node, String) {
    let genesis = write(folder, "genesis.json", genesis.to_string());
    let datadir = folder.join("node");
    let mut args = vec!["--role", "miner", "--fakepow", "--genesis", &genesis];
    args.extend(["--datadir", text(&datadir), "--miner.recommit", "1s"]);
    args.extend(["--miner.etherbase", "0x00000000000000000000000000000000000000aa"]);
    args.extend(["--ws", "--ws.port", "0", "--ws.api", "admin,eth,net,web3,txpool"]);
    args.extend(more);
    let mut node = Node::start(&args);
    node.wait_for_block(2, LONGEST);
    let url = ws_url(&node);
    (node, url)
}

fn ws_url(node: &Node) -> String {
    let line = node.logged("WebSocket enabled").expect("it speaks WebSocket");
    let url = line.split_once("url=").expect("a URL").1;
    url.split_whitespace().next().expect("a URL").trim_matches('"').to_owned()
}

/// What went wrong; a check that is not there went wrong too.
fn trouble(client: &str, seen: &Value, count: usize) -> Vec<String> {
    let nothing = Map::new();
    let seen = seen.as_object().unwrap_or(&nothing);
    let failed = seen.iter().filter(|(_, said)| *said != "ok");
    let mut trouble: Vec<String> =
        failed.map(|(check, said)| format!("{client} {check}: {said}")).collect();
    if seen.len() != count {
        trouble.push(format!("{client}: {} checks and not {count}", seen.len()));
    }
    trouble
}

fn all_checks_pass(rules: &Rules) {
    let folder = tempfile::tempdir().expect("a folder");
    let (node, ws) = start(folder.path(), &rules.genesis, &[]);
    let (http, chain_id) = (node.rpc.url(), rules.chain_id.to_string());
    let mut failed = Vec::new();
    for (key, (client, count, is_short)) in keys().into_iter().zip(CLIENTS) {
        if !is_short && !is_long() {
            continue;
        }
        let key = format!("0x{}", key.hex());
        let seen = clients::checks(client, &[&http, &ws, &key, &chain_id, rules.name]);
        failed.extend(trouble(client, &seen, count));
        say(&format!("{} chain: {client}: {count} checks", rules.name));
    }
    assert!(failed.is_empty(), "on the {} chain:\n{}", rules.name, failed.join("\n"));
    node.stop_well();
}

#[test]
fn every_library_does_what_its_users_do_on_the_books_chain() {
    all_checks_pass(&book());
}

#[test]
fn every_library_does_what_its_users_do_with_londons_rules() {
    all_checks_pass(&london());
}

/// Key files of these keys, as a node finds them; returns the flags that unlock them.
fn unlocked(folder: &Path, keys: &[Key]) -> Vec<String> {
    let password = write(folder, "password", PASSWORD);
    let keystore = text(&folder.join("keys")).to_owned();
    let mut accounts = Vec::new();
    for key in keys {
        let secret = write(folder, "secret", key.hex());
        let import = ["account", "import", "--lightkdf", "--keystore", &keystore];
        succeed(&[&import[..], &["--password", &password, &secret]].concat());
        accounts.push(key.address().to_string());
    }
    let accounts = accounts.join(",");
    ["--keystore", &keystore, "--unlock", &accounts, "--password", &password]
        .map(str::to_owned)
        .into_iter()
        .chain(["--allow-insecure-unlock".to_owned()])
        .collect()
}

fn consoles_pass(rules: &Rules) {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = unlocked(folder.path(), &keys()[..1]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (node, ws) = start(folder.path(), &rules.genesis, &flags);
    let ipc = folder.path().join("node").join("geth.ipc");
    let run = clients::geth_console(rules.chain_id, rules.name);
    let mut failed = Vec::new();
    for (version, place) in CONSOLES.into_iter().zip([text(&ipc), &ws]) {
        if !is_long() && version != CONSOLES[1] {
            continue;
        }
        let geth = Geth::new(version, &folder.path().join(version));
        let out = geth.succeed(&["--exec", &run, "attach", place]);
        let seen = out.lines().find(|line| line.starts_with('{')).unwrap_or(&out);
        let seen = serde_json::from_str(seen).unwrap_or_else(|_| json!(out));
        failed.extend(trouble(&format!("geth {version}"), &seen, CONSOLE_CHECKS));
        say(&format!("{} chain: console of geth {version}", rules.name));
    }
    assert!(failed.is_empty(), "on the {} chain:\n{}", rules.name, failed.join("\n"));
    node.stop_well();
}

#[test]
fn geths_console_does_what_its_users_do_on_the_books_chain() {
    consoles_pass(&book());
}

#[test]
fn geths_console_does_what_its_users_do_with_londons_rules() {
    consoles_pass(&london());
}

/// A node as web3.py's tests want it.
fn start_for_modules(folder: &Path, datadir: &Path) -> Node {
    let mut genesis = london().genesis;
    genesis["config"]["chainId"] = json!(MODULES_CHAIN_ID);
    // They look at what its account has earned.
    let beneficiary = "0x00000000000000000000000000000000000000aa";
    genesis["coinbase"] = json!(beneficiary);
    let genesis = write(folder, "genesis.json", genesis.to_string());
    let unlock = unlocked(folder, &keys()[..1]);
    let mut args = vec!["--role", "miner", "--genesis", &genesis, "--datadir", text(datadir)];
    args.extend(["--miner.etherbase", beneficiary, "--identity", "Geth"]);
    args.extend(["--miner.threads", "1", "--miner.hashrate", MODULES_HASHRATE]);
    args.extend(["--miner.recommit", "10s", "--rpc.finalized-depth", "2"]);
    // They add a peer somewhere in the world, which is not to be called.
    args.extend(["--maxpeers", "10", "--netrestrict", "127.0.0.0/8", "--nodiscover"]);
    args.extend(["--nat", "none", "--ops.addr", "off"]);
    args.extend(["--ws", "--ws.port", "0", "--ws.api", "eth"]);
    args.extend(unlock.iter().map(String::as_str));
    let http = ["--http", "--http.port", "0", "--http.api", "admin,debug,eth,net,web3,txpool"];
    let mut node = Node::spawn(&args, &http);
    node.rpc = Rpc::new(node.wait_for_address("HTTP server started"));
    node.wait_for_block(1, DAG_TIME_MAX);
    node
}

#[test]
fn web3s_own_tests_of_geth_pass() {
    if !is_long() {
        return;
    }
    let mut failed = Vec::new();
    for (part, passed, left_out) in MODULES {
        let folder = tempfile::tempdir().expect("a folder");
        let datadir = folder.path().join("node");
        let node = start_for_modules(folder.path(), &datadir);
        let key = format!("0x{}", keys()[0].hex());
        let places = [&node.rpc.url(), &ws_url(&node), &key, text(&datadir)];
        let seen = clients::web3_7_modules(&[&places[..], &["-k", part]].concat());
        say(&format!("web3.py's {part}: {} passed", seen["passed"]));
        if seen != json!({ "passed": passed, "left_out": left_out, "failed": {} }) {
            failed.push(format!("{part}: {seen:#}"));
        }
        node.stop_well();
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
