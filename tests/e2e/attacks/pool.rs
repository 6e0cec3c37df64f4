//! More transactions than anybody can mine. What one pool does with them is shown in its crate
//! (`txpool`: TXP-01 to TXP-03, TXP-06 to TXP-08, TXP-10) and in [`super::transactions`].

use std::time::{Duration, Instant};

use alloy_consensus::TxLegacy;
use alloy_eips::eip2718::Encodable2718;
use network::wire::{EthVersion, Message};
use primitives::{Address, Bytes, Transaction, TxKind, U256, keccak256};
use serde_json::{Value, json};
use tests::harness::{
    gauge::{MIB, Process, RSS_DELTA_MAX},
    random::{is_long, say},
};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::{
    arena::{Arena, PATIENCE},
    web::{Web, call},
};
use crate::harness::{
    branches::{CHAIN_ID, book_genesis},
    key::{GWEI, Key, raw},
    rpc::number,
};

/// Transactions that one sender hands to the node's own RPC.
const LOCAL: u64 = 6_000;
const LOCAL_LONG: u64 = 1_000_000;
/// Those of them that the pool takes.
const LOCAL_TAKEN: u64 = 4_096;
/// Transactions in one batch.
const BATCH: u64 = 500;
/// What all of them may take.
const LOCAL_RSS_MAX: u64 = 128 * MIB;
/// How long the node may take to answer RPC again with all of them in its journal.
const RESTART_PERIOD_MAX: Duration = Duration::from_secs(5);

/// Strangers' transactions, from so many accounts each of which can pay.
const REMOTE_ACCOUNTS: u64 = 300;
const REMOTE_ACCOUNTS_LONG: u64 = 10_000;
const REMOTE_EACH: u64 = 10;
const REMOTE_RSS_MAX: u64 = 96 * MIB;
/// Transactions of one message.
const MESSAGE: usize = 200;
/// How often one transaction takes the place of another, and what may be told of all of them: so many
/// times what one takes.
const REPLACEMENTS: usize = 100;
const REPLACEMENTS_TOLD_MAX: usize = 10;
/// After what was passed on at once, the newest follows within this.
const REPLACEMENT_PERIOD: Duration = Duration::from_secs(30);
/// `Transactions` and `NewPooledTransactionHashes`.
const TELLING: [u8; 2] = [0x02, 0x08];
/// Nothing more comes after so long.
const SILENCE: Duration = Duration::from_secs(2);

/// Blocks that an honest transaction may wait.
const BLOCKS_MAX: u64 = 3;

fn transfer(key: &Key, nonce: u64, gas_price: u128) -> Transaction {
    key.sign(TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce,
        gas_price,
        gas_limit: 21_000,
        to: TxKind::Call(Address::repeat_byte(1)),
        value: U256::from(1),
        input: Bytes::new(),
    })
}

/// TXP-05. Only what is local is exempt from the pool's limits, and not from all.
#[tokio::test(flavor = "multi_thread")]
async fn local_transactions_fill_the_pool_and_not_the_memory() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let count = if is_long() { LOCAL_LONG } else { LOCAL };
    let (key, mut taken) = (Key::fixed(1), 0);
    let mut web = Web::connect(arena.node.rpc.address()).await;
    for first in (0..count).step_by(usize::try_from(BATCH).expect("small")) {
        let batch = spawn_blocking(move || {
            let calls = (first..first + BATCH).map(|nonce| {
                call("eth_sendRawTransaction", json!([raw(&transfer(&key, nonce, 10 * GWEI))]))
            });
            format!("[{}]", calls.collect::<Vec<_>>().join(","))
        });
        let page = web.ask(&batch.await.expect("it signs")).await.expect("it is answered");
        let answers = page.json();
        for answer in answers.as_array().expect("a batch") {
            if answer.get("result").is_some() {
                taken += 1;
            } else {
                let refusal = json!({ "code": -32_000, "message": "txpool is full" });
                assert_eq!(answer["error"], refusal);
            }
        }
    }
    assert_eq!(taken, LOCAL_TAKEN);
    arena.judge(gauge, "TXP-05", LOCAL_RSS_MAX).await;
    let began = Instant::now();
    let mut arena = arena.restart().await;
    let restarted = began.elapsed();
    let status = arena.node.rpc.call("txpool_status", json!([]));
    assert_eq!(number(&status["pending"]), LOCAL_TAKEN, "{status}");
    say(&format!("TXP-05: {taken} of {count} taken, stopped and started again in {restarted:.2?}"));
    assert!(restarted <= 2 * RESTART_PERIOD_MAX || !is_long(), "{restarted:?}");
}

/// One of very many accounts.
fn account(number: u64) -> Key {
    Key::from_hex(&keccak256(number.to_be_bytes()).to_string())
}

/// TXP-03 (c). Each replacement pays a tenth more than the one before, and only the last is mined.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_replacements_is_not_passed_on_link_by_link() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let (key, mut price) = (Key::fixed(1), GWEI);
    let mut sender = arena.peer(1).await;
    let mut listener = arena.peer(2).await;
    let mut last = transfer(&key, 0, price);
    let size = last.encode_2718_len();
    for _ in 0..REPLACEMENTS {
        sender.tell(&Message::Transactions(vec![last.clone()])).await.expect("the node reads");
        let hash = last.tx_hash().to_string();
        arena.node.wait("it is pooled", PATIENCE, |node| {
            !node.rpc.call("eth_getTransactionByHash", json!([hash])).is_null()
        });
        price = price * 11 / 10 + 1;
        last = transfer(&key, 0, price);
    }
    let mut heard = 0;
    let mut hear = async |until: Duration| {
        while let Ok(message) = timeout(until, listener.hear_eth(&TELLING)).await {
            heard += message.expect("it stays connected").encode(EthVersion::Eth68).1.len();
        }
        heard
    };
    let at_once = hear(SILENCE).await;
    say(&format!(
        "TXP-03 (c): {REPLACEMENTS} transactions of {size} bytes in a row tell a peer {at_once} bytes"
    ));
    assert!(at_once > size, "the first was passed on");
    assert!(at_once <= REPLACEMENTS_TOLD_MAX * size, "{at_once} bytes");
    if is_long() {
        let later = hear(2 * REPLACEMENT_PERIOD).await;
        assert!(later > at_once, "the newest is passed on, too");
        assert!(later <= REPLACEMENTS_TOLD_MAX * size, "{later} bytes");
    }
    arena.judge(gauge, "TXP-03 (c)", RSS_DELTA_MAX).await;
}

/// TXP-04. A full pool takes what pays more, and the miner takes that first.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_cheap_transactions_keeps_no_honest_one_out() {
    let accounts = if is_long() { REMOTE_ACCOUNTS_LONG } else { REMOTE_ACCOUNTS };
    let honest = Key::fixed(1);
    let keys: Vec<Key> = std::iter::once(honest).chain((0..accounts).map(account)).collect();
    let mut genesis: Value = book_genesis(&keys);
    // Room for few of them in a block.
    genesis["gasLimit"] = json!("0x7a1200");
    let mut arena =
        Arena::of_genesis(&genesis, &["--role", "miner", "--miner.gaslimit", "8000000"]).await;
    arena.node.wait_for_block(2, PATIENCE);
    let gauge = arena.gauge().await;
    let cpu = gauge.process().cpu();
    let began = Instant::now();
    let mut floods = JoinSet::new();
    for source in 0..4 {
        let mut peer = arena.peer(500 + source).await;
        let mine: Vec<Key> =
            (0..accounts).filter(|number| number % 4 == source).map(account).collect();
        floods.spawn(async move {
            for nonce in 0..REMOTE_EACH {
                for some in mine.chunks(MESSAGE) {
                    let price = |at: usize| GWEI + u128::try_from(at % 7).expect("small") * 1_000;
                    let transactions = some.iter().enumerate();
                    let transactions =
                        transactions.map(|(at, key)| transfer(key, nonce, price(at)));
                    let message = Message::Transactions(transactions.collect());
                    if peer.tell(&message).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
    floods.join_all().await;
    // The flood waits to be read; meanwhile somebody pays twice the least.
    let sent = arena.node.rpc.send(&raw(&transfer(&honest, 0, 2 * GWEI)));
    let at = arena.node.rpc.block_number();
    let receipt = arena.node.wait_for_receipt(&sent, PATIENCE);
    let waited = number(&receipt["blockNumber"]) - at;
    let busy = gauge.process().cpu().saturating_sub(cpu);
    say(&format!(
        "TXP-04: {} transactions of {accounts} accounts in {:.2?} with {busy:.2?} of CPU; an honest one waits {waited} blocks",
        accounts * REMOTE_EACH,
        began.elapsed()
    ));
    assert!(waited <= BLOCKS_MAX, "{waited} blocks");
    let process = Process::new(arena.node.id());
    assert!(process.rss() > 0);
    arena.judge(gauge, "TXP-04", REMOTE_RSS_MAX).await;
}
