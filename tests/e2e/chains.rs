//! Chains that we mine with real ethash, and what real geth and web3 libraries make of them.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    branches::{CHAIN_ID, book_genesis, write},
    clients,
    geth::{Geth, VERSIONS},
    key::{Key, raw},
    node::{Node, succeed, verified_head},
    random::say,
    rpc::number,
    sealing::{Sealer, Work},
    text,
};

/// How long a DAG and the first blocks may take on a slow machine that is busy.
const DAG_TIME_MAX: Duration = Duration::from_secs(600);
/// How long a few blocks may take.
const BLOCKS_TIME_MAX: Duration = Duration::from_secs(600);
const PASSWORD: &str = "a password of the book";

/// What every importer must agree about.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    hash: String,
    state_root: String,
}

fn head(block: &Value) -> Head {
    let word = |name: &str| block[name].as_str().expect("a hash").to_owned();
    Head { hash: word("hash"), state_root: word("stateRoot") }
}

/// Exports a data directory, after checking it, and has these versions of real geth import it.
fn geth_agrees(datadir: &Path, genesis: &str, expected: &Head, versions: &[&str]) {
    let (height, hash) = verified_head(datadir);
    assert_eq!(hash, expected.hash);
    let file = datadir.join("export.rlp");
    succeed(&["export", text(&file), "--datadir", text(datadir)]);
    for version in versions {
        let geth = Geth::new(version, &datadir.join(format!("geth-{version}")));
        let (hash, state_root) = geth.import(Path::new(genesis), &file);
        assert_eq!(Head { hash, state_root }, *expected, "geth {version}");
        say(&format!("geth {version} imported {height} blocks: {}", expected.hash));
    }
}

/// Every client's transfer and contract were mined as they should be.
fn assert_mined(seen: &Value, kind: u64, chain_id: u64) {
    let (type_, chain) = (seen["type"].as_u64(), seen["chain_id"].as_u64());
    assert_eq!((type_, chain), (Some(kind), Some(chain_id)), "{seen}");
    assert_eq!((&seen["transfer_status"], &seen["creation_status"]), (&json!(1), &json!(1)));
    assert_eq!(seen["answer"], json!(42), "{seen}");
}

/// A key file as `account import` makes it; returns its path and that of its password.
fn key_file(folder: &Path, key: &Key) -> (String, String) {
    let (secret, password) =
        (write(folder, "secret", key.hex()), write(folder, "password", PASSWORD));
    let keystore = folder.join("keys");
    let printed = succeed(&[
        "account",
        "import",
        "--keystore",
        text(&keystore),
        "--password",
        &password,
        &secret,
    ]);
    assert!(printed.contains(&format!("{:x}", key.address())), "{printed}");
    let file = keystore.read_dir().expect("the folder is made").next().expect("a file");
    (text(&file.expect("it is readable").path()).to_owned(), password)
}

fn notebook(node: &mut Node, folder: &Path, from: &Key, to: &Key) -> Value {
    let (file, password) = key_file(folder, from);
    let (a1, a2) = (from.address().to_string(), to.address().to_string());
    let seen = clients::notebook(&[&node.rpc.url(), &file, &password, &a1, &a2]);
    assert_eq!(seen["version"], json!(CHAIN_ID.to_string()), "{seen}");
    assert_eq!(seen["balance_1"], json!("100000000000000000000"), "{seen}");
    assert_eq!(seen["received"], json!("1000000000000000000"), "{seen}");
    let v = seen["v"].as_u64().expect("a number");
    assert!(v == 27 || v == 28, "the book signs without chain id: {seen}");
    assert_eq!(seen["status"], json!(1), "{seen}");
    seen
}

fn reads_the_last_block(node: &Node) {
    let url = node.rpc.url();
    let block = clients::last_block(&url);
    assert!(block["totalDifficulty"].as_u64().is_some_and(|td| td > 131_072), "{block}");
    assert_eq!(block["mixHash"].as_str().map(str::len), Some(66), "{block}");
    match clients::book_handler(&url) {
        Some(out) => {
            assert!(out.contains("'statusCode': 200") && out.contains("'miner'"), "{out}");
        }
        None => say("the book's files are not here: its handler did not run, ours did"),
    }
}

#[test]
fn a_mined_chain_is_geths_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = [1, 2, 3, 4].map(Key::fixed);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&keys).to_string());
    let datadir = folder.path().join("node");
    let role = ["--role", "miner", "--genesis", &genesis, "--datadir", text(&datadir)];

    let mut node = Node::start(&[&role[..], &["--miner.threads", "2"]].concat());
    node.wait_for_block(2, DAG_TIME_MAX);
    let book = notebook(&mut node, folder.path(), &keys[0], &keys[1]);
    let to = keys[1].address().to_string();
    let url = node.rpc.url();
    let web3 = clients::web3_7(&[&url, &keys[2].hex(), &to, "50000000000"]);
    assert_mined(&web3, 0, CHAIN_ID);
    let ethers = clients::ethers_6(&[&url, &keys[3].hex(), &to]);
    assert_mined(&ethers, 0, CHAIN_ID);
    reads_the_last_block(&node);
    let reported = node.rpc.block("latest");
    node.kill();

    // Sealed from outside from here on: another DAG would take as long as the first.
    let mut node = Node::start(&[&role[..], &["--miner.threads", "0"]].concat());
    let height = number(&reported["number"]);
    assert!(node.rpc.block_number() >= height, "{}", node.history());
    assert_eq!(node.rpc.block_at(height)["hash"], reported["hash"]);
    for hash in [&book["hash"], &web3["transfer"], &ethers["creation"]] {
        let receipt = node.rpc.call("eth_getTransactionReceipt", json!([hash]));
        assert_eq!(receipt["status"], json!("0x1"), "{hash}");
    }
    let slot = node.rpc.call("eth_getStorageAt", json!([web3["contract"], "0x0", "latest"]));
    assert!(slot.as_str().expect("a word").ends_with("2a"), "{slot}");
    let before = node.rpc.block_number();
    while node.rpc.block_number() < before + 2 {
        Work::of(&mut node).solve(&mut node);
    }
    let last = head(&node.rpc.block("latest"));
    node.stop_well();
    geth_agrees(&datadir, &genesis, &last, &VERSIONS);
}

#[test]
fn a_chain_with_londons_rules_is_geths_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let printed = succeed(&["dumpgenesis", "--genesis", "dev"]);
    let genesis = write(folder.path(), "genesis.json", printed);
    let datadir = folder.path().join("node");
    let beneficiary = Key::fixed(9).address().to_string();
    let mut args = vec!["--mine", "--miner.threads", "0", "--miner.etherbase", &beneficiary];
    args.extend(["--genesis", "dev", "--datadir", text(&datadir)]);
    let mut node = Node::start(&args);
    let sealer = Sealer::start(&node.rpc);
    node.wait_for_block(1, DAG_TIME_MAX);
    let (url, to) = (node.rpc.url(), Key::fixed(8).address().to_string());
    let keys = [
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    ];
    assert_mined(&clients::web3_7(&[&url, keys[0], &to, "default"]), 2, 1337);
    assert_mined(&clients::ethers_6(&[&url, keys[1], &to]), 2, 1337);
    drop(sealer);
    let last = node.rpc.block("latest");
    assert!(last["baseFeePerGas"].is_string(), "{last}");
    node.stop_well();
    // The book's geth does not know London.
    geth_agrees(&datadir, &genesis, &head(&last), &VERSIONS[1..]);
}

/// Solves two works for one height, so that the second becomes a side block.
fn solve_twice(node: &mut Node, key: &Key, nonce: u64) {
    let first = Work::of(node);
    node.rpc.send(&raw(&key.transfer(CHAIN_ID, nonce, key.address())));
    let mut second = first.clone();
    node.wait("work with the transaction", BLOCKS_TIME_MAX, |node| {
        second = Work::of(node);
        second != first
    });
    assert_eq!(first.number, second.number);
    second.solve(node);
    // An older one is still welcome.
    first.solve(node);
}

fn ommers(node: &mut Node) -> u64 {
    let height = node.rpc.block_number();
    (1..=height)
        .map(|number| {
            let id = json!([format!("{number:#x}")]);
            crate::harness::rpc::number(&node.rpc.call("eth_getUncleCountByBlockNumber", id))
        })
        .sum()
}

#[test]
fn a_mined_chain_with_ommers_is_geths_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::fixed(1);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[key]).to_string());
    let datadir = folder.path().join("node");
    let beneficiary = Key::fixed(9).address().to_string();
    let mut args = vec!["--mine", "--miner.threads", "0", "--miner.etherbase", &beneficiary];
    args.extend(["--genesis", &genesis, "--datadir", text(&datadir), "--miner.recommit", "1s"]);
    let mut node = Node::start(&args);
    Work::of(&mut node).solve(&mut node);
    for nonce in 0..3 {
        solve_twice(&mut node, &key, nonce);
    }
    for _ in 0..8 {
        if ommers(&mut node) == 3 {
            break;
        }
        Work::of(&mut node).solve(&mut node);
    }
    assert_eq!(ommers(&mut node), 3, "each side block is an ommer once: {}", node.history());
    let last = head(&node.rpc.block("latest"));
    node.stop_well();
    geth_agrees(&datadir, &genesis, &last, &VERSIONS);
}
