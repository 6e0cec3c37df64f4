//! What attacks leave of the hashrate. Real seals, on one thread of a machine that has two or more,
//! so that the attackers' own work takes nothing from it.

use std::{thread, time::Duration};

use alloy_consensus::TxLegacy;
use network::wire::Message;
use primitives::{Address, Bytes, Transaction, TxKind, U256};
use serde_json::{Value, json};
use tests::harness::{
    gauge::RSS_DELTA_MAX,
    random::{is_long, say},
};
use tokio::{task::JoinSet, time};

use super::{
    arena::{Arena, PATIENCE, blocks_per_second},
    rpc::heavy,
};
use crate::harness::{
    branches::{CHAIN_ID, book_genesis},
    key::{GWEI, Key},
    node::Node,
    rpc::number,
};

/// For how long an attack lasts, and the hashrate before it is measured.
const PERIOD: Duration = Duration::from_secs(40);
/// How often the hashrate is read.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Nobody finds a block at such a difficulty.
const DIFFICULTY: &str = "0x1000000000000";
const HEAVY_CALLS_MIN: f64 = 0.9;
const TRAPS_MIN: f64 = 0.95;

const BENEFICIARY: &str = "0x00000000000000000000000000000000000000aa";
const TRAP: &str = "0x00000000000000000000000000000000000000cc";
/// Gas that falls into the trap with each transaction.
const TRAP_GAS: u64 = 30_000_000;
const TRAPPERS: u8 = 50;
const TRAPS_EACH: u64 = 20;
const TRAPPERS_SHORT: u8 = 5;

/// Burns the gas that it is given and reverts, if the beneficiary is the one that is attacked.
fn trap() -> String {
    format!("0x4173{}14601b57005b5a620186a010601b5760006000fd", &BENEFICIARY[2..])
}

fn genesis(keys: &[Key], difficulty: &str) -> Value {
    let mut genesis = book_genesis(keys);
    for fork in ["byzantium", "constantinople", "petersburg", "istanbul"] {
        genesis["config"][format!("{fork}Block")] = json!(0);
    }
    genesis["difficulty"] = json!(difficulty);
    genesis["alloc"][TRAP] = json!({ "balance": "0", "code": trap() });
    genesis
}

/// A miner that has its dataset.
async fn miner(genesis: &Value) -> Arena {
    let args = ["--role", "miner", "--miner.threads", "1", "--miner.etherbase", BENEFICIARY];
    let mut arena = Arena::of_genesis(genesis, &args).await;
    arena.node.wait("there is a dataset", PATIENCE, |node| {
        ["Loaded DAG", "Generated DAG"].iter().any(|words| node.logged(words).is_some())
    });
    // The figure is a moving average.
    time::sleep(10 * READ_INTERVAL).await;
    arena
}

fn hashrate(node: &mut Node) -> f64 {
    number(&node.rpc.call("eth_hashrate", json!([]))) as f64
}

/// The mean over a while.
fn mean_hashrate(node: &mut Node) -> f64 {
    let times = u32::try_from(PERIOD.as_secs()).expect("short");
    let read = |_| {
        thread::sleep(READ_INTERVAL);
        hashrate(node)
    };
    (0..times).map(read).sum::<f64>() / f64::from(times)
}

/// RPC-08, its second half.
#[tokio::test(flavor = "multi_thread")]
async fn heavy_calls_leave_the_hashrate() {
    if !is_long() {
        say("RPC-08 (hashrate): takes minutes, left to the long tier");
        return;
    }
    let mut arena = miner(&genesis(&[], DIFFICULTY)).await;
    let targets = [arena.node.rpc.address(); 2];
    let gauge = arena.gauge().await;
    let alone = mean_hashrate(&mut arena.node);
    let mut attack = JoinSet::new();
    attack.spawn(heavy::ask_for(PERIOD, targets));
    let beset = mean_hashrate(&mut arena.node);
    let ended = time::timeout(PATIENCE, attack.join_all()).await.expect("it ends");
    let longest = ended.concat().into_iter().map(|(_, took)| took).max();
    say(&format!("RPC-08: {alone:.0} hashes/s alone, {beset:.0} beset, answers in {longest:.2?}"));
    assert!(beset >= HEAVY_CALLS_MIN * alone, "{beset} of {alone} hashes/s");
    arena.judge(gauge, "RPC-08 (hashrate)", RSS_DELTA_MAX).await;
}

fn trapped(key: &Key, nonce: u64) -> Transaction {
    key.sign(TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce,
        gas_price: 10 * GWEI,
        gas_limit: TRAP_GAS,
        to: TxKind::Call(TRAP.parse().expect("it is an address")),
        value: U256::ZERO,
        input: Bytes::new(),
    })
}

/// Fills a pool with traps.
async fn set_traps(arena: &mut Arena, keys: &[Key]) {
    let mut peer = arena.peer(1).await;
    for nonce in 0..TRAPS_EACH {
        let transactions = keys.iter().map(|key| trapped(key, nonce)).collect();
        peer.tell(&Message::Transactions(transactions)).await.expect("the node reads");
    }
    let least = u64::try_from(keys.len()).expect("few") * TRAPS_EACH / 2;
    arena.node.wait("the traps are set", PATIENCE, |node| {
        number(&node.rpc.call("txpool_status", json!([]))["pending"]) >= least
    });
}

fn trappers(count: u8) -> Vec<Key> {
    (1..=count).map(Key::fixed).collect()
}

/// TXP-03 (b): what is executed in vain ends, and the sealers have work meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_burn_gas_for_their_miner_do_not_stop_the_sealing() {
    let keys = trappers(TRAPPERS_SHORT);
    let args = ["--role", "miner", "--miner.etherbase", BENEFICIARY];
    let mut arena = Arena::of_genesis(&genesis(&keys, "0x400"), &args).await;
    arena.node.wait_for_block(2, PATIENCE);
    let gauge = arena.gauge().await;
    let alone = blocks_per_second(&mut arena.node).await;
    set_traps(&mut arena, &keys).await;
    let beset = blocks_per_second(&mut arena.node).await;
    let tx = trapped(&keys[0], 0);
    let receipt = arena.node.wait_for_receipt(&tx.tx_hash().to_string(), PATIENCE);
    assert_eq!(receipt["status"], "0x0", "the trap has snapped");
    assert!(number(&receipt["gasUsed"]) > TRAP_GAS * 9 / 10, "{receipt}");
    say(&format!("TXP-03 (b): {alone:.2} blocks/s alone, {beset:.2} with traps"));
    assert!(beset >= 0.9 * alone || !is_long(), "{beset} of {alone} blocks/s");
    arena.judge(gauge, "TXP-03 (b)", RSS_DELTA_MAX).await;
}

/// TXP-03 (b), its figure.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_burn_gas_for_their_miner_leave_the_hashrate() {
    if !is_long() {
        say("TXP-03 (b, hashrate): takes minutes, left to the long tier");
        return;
    }
    let keys = trappers(TRAPPERS);
    let mut arena = miner(&genesis(&keys, DIFFICULTY)).await;
    let gauge = arena.gauge().await;
    let alone = mean_hashrate(&mut arena.node);
    set_traps(&mut arena, &keys).await;
    // Something new all the time, so that work is made again and again.
    let mut trickle = JoinSet::new();
    let mut peer = arena.peer(2).await;
    trickle.spawn(async move {
        for nonce in 0.. {
            let key = Key::fixed(TRAPPERS);
            let tx = key.transfer(CHAIN_ID, TRAPS_EACH + nonce, Address::repeat_byte(1));
            if peer.tell(&Message::Transactions(vec![tx])).await.is_err() {
                return;
            }
            time::sleep(READ_INTERVAL).await;
        }
    });
    let beset = mean_hashrate(&mut arena.node);
    trickle.abort_all();
    let built = arena.node.history().matches("Commit new mining work").count();
    say(&format!("TXP-03 (b): {alone:.0} hashes/s alone, {beset:.0} with traps, {built} packages"));
    assert!(beset >= TRAPS_MIN * alone, "{beset} of {alone} hashes/s");
    arena.judge(gauge, "TXP-03 (b, hashrate)", RSS_DELTA_MAX).await;
}
