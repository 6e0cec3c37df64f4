//! Nodes that are killed at random moments while they mine.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    dev::{CHAIN_ID, printed_keys},
    harness::{
        key::{Key, raw},
        node::{Node, verified_head},
        random::{Random, rounds, say},
        rpc::{Fault, Rpc, number},
        text,
    },
};

/// How long a block may take that needs no work.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(60);
/// A node lives this long before it is killed, in milliseconds.
const LIFE_MILLISECONDS: std::ops::Range<u64> = 200..3_000;

/// Sends transactions of one account until the node is gone; returns the hashes that were answered.
fn send_until_gone(mut rpc: Rpc, key: &Key) -> Vec<String> {
    let mut answered = Vec::new();
    let count = json!([key.address(), "pending"]);
    let Ok(nonce) = rpc.try_call("eth_getTransactionCount", &count) else { return answered };
    let mut nonce = number(&nonce);
    loop {
        let tx = match nonce % 2 {
            0 => key.transfer(CHAIN_ID, nonce, key.address()),
            _ => key.transfer_1559(CHAIN_ID, nonce, key.address()),
        };
        match rpc.try_call("eth_sendRawTransaction", &json!([raw(&tx)])) {
            Ok(hash) => {
                answered.push(hash.as_str().expect("a hash").to_owned());
                nonce += 1;
            }
            Err(Fault::Broken(_)) => return answered,
            // The pool is full of this account's: it must be emptied first.
            Err(Fault::Refused(why)) => assert!(why.contains("pool"), "nonce {nonce}: {why}"),
        }
    }
}

/// Asks for the head until the node is gone; returns the highest answer.
fn watch_until_gone(mut rpc: Rpc, seen: &AtomicU64) -> Option<Value> {
    let mut last = None;
    while let Ok(block) = rpc.try_call("eth_getBlockByNumber", &json!(["latest", false])) {
        seen.store(number(&block["number"]), Ordering::Relaxed);
        last = Some(block);
    }
    last
}

/// What a node said before it was killed.
struct Promises {
    transactions: Vec<String>,
    head: Option<Value>,
}

/// Works with a node for a while, then kills it.
fn work_and_kill(node: Node, keys: &[Key], life: Duration) -> Promises {
    let killed = Instant::now() + life;
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        let senders: Vec<_> = keys
            .iter()
            .map(|key| {
                let rpc = node.rpc.again();
                scope.spawn(move || send_until_gone(rpc, key))
            })
            .collect();
        let watcher = {
            let rpc = node.rpc.again();
            let seen = &seen;
            scope.spawn(move || watch_until_gone(rpc, seen))
        };
        while let Some(left) = killed.checked_duration_since(Instant::now()) {
            node.pause(left);
        }
        node.kill();
        let transactions =
            senders.into_iter().flat_map(|thread| thread.join().expect("it sends")).collect();
        Promises { transactions, head: watcher.join().expect("it watches") }
    })
}

/// Nothing that was promised is gone.
fn keeps(node: &mut Node, promises: &Promises) {
    if let Some(head) = &promises.head {
        let height = number(&head["number"]);
        assert!(node.rpc.block_number() >= height, "block {height} was reported");
        assert_eq!(node.rpc.block_at(height)["hash"], head["hash"], "block {height} changed");
    }
    for hash in &promises.transactions {
        let found = node.rpc.call("eth_getTransactionByHash", json!([hash]));
        assert!(!found.is_null(), "{hash} was answered and is lost: {}", node.history());
    }
}

/// The chain goes on after a restart, with what waits in the pool.
fn goes_on(node: &mut Node, key: &Key) {
    let before = node.rpc.block_number();
    let count = json!([key.address(), "pending"]);
    let nonce = number(&node.rpc.call("eth_getTransactionCount", count));
    let sent = node.rpc.send(&raw(&key.transfer(CHAIN_ID, nonce, key.address())));
    let receipt = node.wait_for_receipt(&sent, BLOCK_TIME_MAX);
    assert!(number(&receipt["blockNumber"]) > before, "{receipt}");
}

fn start(datadir: &Path) -> Node {
    Node::start(&["--dev", "--datadir", text(datadir)])
}

#[test]
fn a_mining_node_that_is_killed_keeps_what_it_said() {
    let mut random = Random::new("killed while mining");
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let (mut sent, mut height) = (0, 0);
    for round in 0..rounds() {
        let mut node = start(&datadir);
        let keys = printed_keys(&mut node);
        let life = Duration::from_millis(random.within(LIFE_MILLISECONDS));
        let promises = work_and_kill(node, &keys, life);
        sent += promises.transactions.len();
        if round % 2 == 0 {
            // Whoever opens the directory first repairs it: a command must do so as well as a node.
            verified_head(&datadir);
        }
        let mut node = start(&datadir);
        keeps(&mut node, &promises);
        goes_on(&mut node, &keys[0]);
        keeps(&mut node, &promises);
        node.stop_well();
        let (number, _) = verified_head(&datadir);
        assert!(number > height, "round {round}: the chain does not grow");
        height = number;
    }
    say(&format!("killed while mining: {} rounds, {sent} answered, head {height}", rounds()));
}
