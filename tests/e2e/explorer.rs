//! The explorer, as a real browser shows it.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use alloy_consensus::TxLegacy;
use primitives::{TxKind, U256};
use serde_json::{Value, json};

use crate::{
    dev::{CHAIN_ID, printed_keys},
    harness::{
        clients,
        key::{GWEI, raw},
        node::{Node, fail},
    },
};

/// How long a block may take that needs no work.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(60);
/// The code of a contract that tells of a transfer of 7 as it is made, and then does nothing.
const CREATION: &str = "6007600052\
    33337fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef60206000a3\
    6001601ff3";

fn said(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Value {
    let line = lines.next().expect("it says something").expect("it can be read");
    serde_json::from_str(&line).expect("it is JSON")
}

#[test]
fn a_real_browser_reads_blocks_transactions_addresses_and_contracts() {
    let mut node = Node::start(&["--dev", "--dev.period", "1", "--explorer"]);
    let key = printed_keys(&mut node)[0];
    let creation = key.sign(TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce: 0,
        gas_price: 10 * GWEI,
        gas_limit: 200_000,
        to: TxKind::Create,
        value: U256::ZERO,
        input: CREATION.parse().unwrap(),
    });
    let hash = node.rpc.send(&raw(&creation));
    let receipt = node.wait_for_receipt(&hash, BLOCK_TIME_MAX);
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    // A mean needs two blocks beside the genesis.
    node.wait_for_block(3, BLOCK_TIME_MAX);
    let contract = receipt["contractAddress"].as_str().unwrap().to_owned();
    let url = format!("{}/explorer", node.rpc.url());
    let pictures = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("HEMATITE_PICTURES");
    let folder = folder.map_or_else(|| pictures.path().to_owned(), PathBuf::from);
    let mut browser = clients::explorer(&url, &folder, &hash, &contract)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut lines = BufReader::new(browser.stdout.take().expect("it is a pipe")).lines();
    let seen = said(&mut lines);
    let shows = |page: &str, words: &[&str]| {
        let text = seen[page].as_str().unwrap_or_default();
        for word in words {
            assert!(text.contains(word), "{page} lacks {word}: {text}");
        }
    };
    let sender = key.address().to_string().to_lowercase();
    shows("home", &["Newest block", "Mean block time", "Newest transactions"]);
    shows("network", &["1337"]);
    shows("transaction", &["done", &sender, &contract, "10 gwei", "makes a contract", "Transfer"]);
    shows("contract", &["Contract", &contract, "0 ETH", "1 bytes", "Transfer", "Activity"]);
    shows("genesis", &["Block 0", "genesis"]);
    shows("block", &["Block 1", "Miner", "Gas used"]);
    shows("no_block", &["999999999", "not mined yet"]);
    let expected = ["#/block/1", &format!("#/tx/{hash}"), &format!("#/address/{contract}")];
    assert_eq!(seen["found"].as_array().unwrap()[..3], expected.map(Value::from));
    shows("no_page", &["No such page"]);
    assert!(seen["found"][3].as_str().unwrap().starts_with("Not a block number"), "{seen}");
    assert_eq!((&seen["overflow_home"], &seen["overflow_block"]), (&json!(0), &json!(0)), "{seen}");
    assert_eq!(seen["marked"], true, "everything came without a reload: {seen}");
    assert_eq!(seen["nameless"], json!([]), "a screen reader has a name for everything: {seen}");
    let host = node.rpc.url().trim_start_matches("http://").to_owned();
    assert_eq!(seen["hosts"], json!([host]), "{seen}");
    assert_eq!(seen["trouble"], json!([]), "{seen}");
    drop(node.kill());
    writeln!(browser.stdin.take().expect("it is a pipe"), "dead").expect("it waits");
    let said = said(&mut lines);
    assert!(said.as_str().unwrap().contains("The node does not answer"), "{said}");
    assert!(browser.wait().expect("the child is ours").success());
}

#[test]
fn without_http_there_is_nothing_to_serve_the_explorer() {
    fail(&["--dev", "--http=false", "--explorer"], 2, &["--explorer", "--http"]);
}
