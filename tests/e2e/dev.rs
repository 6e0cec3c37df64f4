//! The node for developers.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    clients,
    key::{Key, raw},
    node::Node,
    rpc::number,
};

/// How long a block may take that needs no work.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(60);
/// Chain id of the development chain.
pub(crate) const CHAIN_ID: u64 = 1337;

/// The keys that a development node prints.
pub(crate) fn printed_keys(node: &mut Node) -> Vec<Key> {
    // They come right after the line that says where RPC listens.
    node.wait("the keys are printed", BLOCK_TIME_MAX, |node| {
        node.logged("Ctrl-C stops the node").is_some()
    });
    let history = node.history();
    let lines = history.lines().filter_map(|line| line.trim().strip_prefix("0x"));
    let keys = lines.filter_map(|line| {
        let (address, key) = line.split_once(char::is_whitespace)?;
        let key = Key::from_hex(key.trim());
        let expected = format!("{:x}", key.address());
        assert_eq!(address.to_lowercase(), expected, "the key is that of the address");
        Some(key)
    });
    keys.collect()
}

#[test]
fn a_development_node_prints_funded_keys_and_seals_what_is_sent() {
    let mut node = Node::start(&["--dev"]);
    let keys = printed_keys(&mut node);
    assert!(keys.len() >= 3, "{}", node.history());
    for key in &keys {
        let balance = node.rpc.call("eth_getBalance", json!([key.address(), "latest"]));
        assert_eq!(balance, json!("0x21e19e0c9bab2400000"), "10000 ether");
    }
    assert_eq!(node.rpc.block_number(), 0, "nothing is sealed without a transaction");
    let sent = node.rpc.send(&raw(&keys[0].transfer(CHAIN_ID, 0, keys[1].address())));
    let receipt = node.wait_for_receipt(&sent, BLOCK_TIME_MAX);
    assert_eq!((number(&receipt["blockNumber"]), number(&receipt["status"])), (1, 1));
    let to = keys[2].address().to_string();
    let seen = clients::web3_7(&[&node.rpc.url(), &keys[0].hex(), &to, "default"]);
    let statuses = (&seen["transfer_status"], &seen["creation_status"]);
    assert_eq!(statuses, (&json!(1), &json!(1)), "{seen}");
    assert_eq!((&seen["type"], &seen["answer"]), (&json!(2), &json!(42)), "{seen}");
    node.stop_well();
}
