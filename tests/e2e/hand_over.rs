//! What a node was given is with others before it goes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    branches::{CHAIN_ID, book_genesis, write},
    key::{Key, raw},
    network::start,
    node::Node,
    rpc::{Rpc, number},
    text,
};

/// How long anything may take on a machine with much to do.
const LONGEST: Duration = Duration::from_secs(300);
/// Transactions of each of the senders that are sent right before the end.
const EACH: u64 = 60;
/// Senders.
const SENDERS: u8 = 4;
/// Nodes that stay. A transaction is sent whole to the root of their number, and announced to the
/// others, who would ask too late.
const STAY: usize = 3;

fn peers(node: &mut Node) -> u64 {
    number(&node.rpc.call("net_peerCount", json!([])))
}

fn status(rpc: &mut Rpc) -> (u64, u64) {
    let status = rpc.call("txpool_status", json!([]));
    (number(&status["pending"]), number(&status["queued"]))
}

/// What the probes' port answers to a path.
fn answer(node: &Node, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let line = node.logged("Started probes and metrics")?;
    let address = line.split_once("address=")?.1.split_whitespace().next()?.to_owned();
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn transactions_that_were_answered_are_with_every_peer_when_a_node_has_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let keys: Vec<Key> = (1..=SENDERS).map(Key::fixed).collect();
    let genesis = write(folder.path(), "genesis.json", book_genesis(&keys).to_string());
    let mut leaves = start(&genesis, &at("leaves"), &["--role", "tx", "--nodiscover"]);
    let enode = leaves.enode();
    let alone = ["--role", "tx", "--nodiscover"];
    let mut stay: Vec<Node> =
        (0..STAY).map(|index| start(&genesis, &at(&format!("stays-{index}")), &alone)).collect();
    for node in &mut stay {
        assert_eq!(node.rpc.call("admin_addPeer", json!([enode])), true);
        node.wait("it knows the one that leaves", LONGEST, |node| peers(node) == 1);
    }

    let to = Key::fixed(9).address();
    let mut hashes = Vec::new();
    for nonce in 0..EACH {
        for key in &keys {
            hashes.push(leaves.rpc.send(&raw(&key.transfer(CHAIN_ID, nonce, to))));
        }
    }
    // One that waits for a nonce that somebody else may have been given.
    hashes.push(leaves.rpc.send(&raw(&keys[0].transfer(CHAIN_ID, EACH + 1, to))));
    leaves.stop_well();

    let pending = EACH * u64::from(SENDERS);
    for node in &mut stay {
        node.wait("it has them all", LONGEST, |node| status(&mut node.rpc) == (pending, 1));
        for hash in &hashes {
            let tx = node.rpc.call("eth_getTransactionByHash", json!([hash]));
            assert_ne!(tx, Value::Null, "{hash}");
        }
    }
    for node in stay {
        node.stop_well();
    }
}

#[test]
fn a_node_without_peers_keeps_what_it_was_given_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = [Key::fixed(1)];
    let genesis = write(folder.path(), "genesis.json", book_genesis(&keys).to_string());
    let datadir = folder.path().join("node");
    let args = ["--role", "tx", "--nodiscover"];
    let mut node = start(&genesis, &datadir, &args);
    let hash = node.rpc.send(&raw(&keys[0].transfer(CHAIN_ID, 0, Key::fixed(9).address())));
    let log = node.stop_well_and_read();
    let said = log.lines().find(|line| line.contains("No peer took over the own transactions"));
    let said = said.unwrap_or_else(|| panic!("{log}"));
    assert!(said.contains("after the next start") && said.contains("journal="), "{said}");
    let mut node = start(&genesis, &datadir, &args);
    assert_ne!(node.rpc.call("eth_getTransactionByHash", json!([hash])), Value::Null);
    node.stop_well();
}

#[test]
fn a_block_that_was_found_right_before_the_end_is_known_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let account = Key::fixed(2).address().to_string();
    let mines = ["--role", "miner", "--fakepow", "--nodiscover", "--miner.etherbase", &account];
    let mut miner = start(&genesis, &at("miner"), &mines);
    let mut reader = start(&genesis, &at("reader"), &["--role", "tx", "--fakepow", "--nodiscover"]);
    assert_eq!(reader.rpc.call("admin_addPeer", json!([miner.enode()])), true);
    miner.wait("it has a peer", LONGEST, |node| peers(node) == 1);
    let height = miner.rpc.block_number() + 3;
    miner.wait_for_block(height, LONGEST);
    let log = miner.stop_well_and_read();
    let last = log.lines().rfind(|line| line.contains("mined potential block")).expect("a block");
    let last = last.split_once("number=").expect("a number").1;
    let last: u64 =
        last.split_whitespace().next().expect("a number").parse().expect("it is a number");
    reader.wait_for_block(last, LONGEST);
    reader.stop_well();
}

#[test]
fn a_request_that_is_under_way_is_answered_and_probes_say_that_the_node_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let datadir = folder.path().join("node");
    let mut all = vec!["--genesis", &genesis, "--datadir", text(&datadir), "--role", "tx"];
    all.extend(["--maxpeers", "5", "--port", "0", "--nodiscover"]);
    let mut node = Node::start_with_ops(&all, &["--ops.addr", "127.0.0.1:0"]);
    // Without a peer the node waits for one, as long as it has something to pass on.
    let tx = Key::fixed(1).transfer(CHAIN_ID, 0, Key::fixed(9).address());
    node.rpc.send(&raw(&tx));
    node.terminate();
    let mut said = String::new();
    node.wait("the probe is red", LONGEST, |node| {
        said = answer(node, "/readyz").unwrap_or_default();
        said.contains("[-]shutdown in progress")
    });
    assert!(said.starts_with("HTTP/1.1 503"), "{said}");
    node.wait("there are no new requests", LONGEST, |node| {
        node.rpc.again().try_call("eth_blockNumber", &json!([])).is_err()
    });
    assert_eq!(node.join().code(), Some(0));
}
