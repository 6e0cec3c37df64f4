//! Transactions that can never be in a block.

use std::time::Duration;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use network::wire::Message;
use primitives::{Address, Bytes, Signature, Transaction, TxKind, U256};
use serde_json::json;
use tests::harness::{
    attacker::{ETH_OFFSET, Peer, list},
    gauge::RSS_DELTA_MAX,
    random::{is_long, say},
};
use tokio::time::Instant;

use super::{
    arena::{Arena, PATIENCE},
    questions::{assert_is_peer, pour},
};
use crate::harness::{
    branches::CHAIN_ID,
    key::{GWEI, Key},
    rpc::number,
};

/// Transactions in one message.
const TRANSACTIONS_MAX: usize = 4_096;
/// The code of transactions that nobody asked for.
const TRANSACTIONS: u64 = 0x02;
/// Messages full of forged transactions.
const FORGED_MESSAGES: u64 = 20;
/// The processor time that they may take.
const CPU_MAX: Duration = Duration::from_secs(10);

fn legacy(bend: impl FnOnce(&mut TxLegacy)) -> TxLegacy {
    let mut tx = TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce: 0,
        gas_price: 10 * GWEI,
        gas_limit: 21_000,
        to: TxKind::Call(Address::repeat_byte(1)),
        value: U256::from(1),
        input: Bytes::new(),
    };
    bend(&mut tx);
    tx
}

fn signed_with(r: U256, s: U256) -> Transaction {
    legacy(|_| {}).into_signed(Signature::new(r, s, false)).into()
}

/// Each is refused, and none is worth a disconnect by itself.
fn refused() -> Vec<(&'static str, Transaction)> {
    let (rich, poor) = (Key::fixed(1), Key::fixed(200));
    let order = U256::from_be_bytes(secp256k1::constants::CURVE_ORDER);
    let bent = |bend: fn(&mut TxLegacy)| rich.sign(legacy(bend));
    vec![
        ("r is zero", signed_with(U256::ZERO, U256::from(1))),
        ("s is above half the order", signed_with(U256::from(1), order - U256::from(1))),
        ("s is the order", signed_with(U256::from(1), order)),
        ("no key signed it", signed_with(U256::from(5), U256::from(5))),
        ("another chain", bent(|tx| tx.chain_id = Some(1))),
        ("the last nonce", bent(|tx| tx.nonce = u64::MAX)),
        ("more gas than a block", bent(|tx| tx.gas_limit = 1 << 40)),
        ("all gas there is", bent(|tx| tx.gas_limit = u64::MAX)),
        ("too little gas", bent(|tx| tx.gas_limit = 20_999)),
        ("a fee beyond 256 bits", bent(|tx| tx.gas_price = u128::MAX)),
        ("all the money there is", bent(|tx| tx.value = U256::MAX)),
        ("a poor sender", poor.sign(legacy(|_| {}))),
        (
            "too much data",
            bent(|tx| {
                tx.input = vec![0; 128 * 1024 + 1].into();
                tx.gas_limit = 9_000_000;
            }),
        ),
        (
            "a fork that is not",
            rich.sign(TxEip1559 {
                chain_id: CHAIN_ID,
                gas_limit: 21_000,
                max_fee_per_gas: 20 * GWEI,
                ..TxEip1559::default()
            }),
        ),
        (
            "a tip above the cap",
            rich.sign(TxEip1559 {
                chain_id: CHAIN_ID,
                gas_limit: 21_000,
                max_fee_per_gas: 1,
                max_priority_fee_per_gas: GWEI,
                ..TxEip1559::default()
            }),
        ),
        (
            "a long access list",
            rich.sign(TxEip2930 {
                chain_id: CHAIN_ID,
                gas_price: GWEI,
                gas_limit: 8_000_000,
                access_list: vec![alloy_eips::eip2930::AccessListItem::default(); 3_000].into(),
                ..TxEip2930::default()
            }),
        ),
    ]
}

/// ETH-11.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_can_never_be_in_a_block_are_refused_one_by_one() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let mut peer = arena.peer(1).await;
    for (what, tx) in refused() {
        peer.tell(&Message::Transactions(vec![tx])).await.unwrap_or_else(|_| panic!("{what}"));
        assert_is_peer(&arena, &mut peer).await;
    }
    // Types that there are not, and wrappings that no client writes.
    let good = Key::fixed(1).transfer(CHAIN_ID, 0, Address::repeat_byte(1));
    let typed =
        |kind: u8| alloy_rlp::encode([&[kind][..], &good.encoded_2718()].concat().as_slice());
    let trailing = alloy_rlp::encode([&good.encoded_2718()[..], &[0]].concat().as_slice());
    for (number, wrong) in (10..).zip([typed(0), typed(3), typed(4), typed(0x7f), trailing]) {
        let mut peer = arena.peer(number).await;
        peer.send(ETH_OFFSET + TRANSACTIONS, &list(&[wrong])).await.expect("the node reads");
        assert!(peer.hear_end().await.is_some(), "wrong form {number}");
    }
    // The honest one behind them is taken, and nothing else was.
    peer.tell(&Message::Transactions(vec![good])).await.expect("the node reads");
    arena.node.wait("the transaction is pooled", PATIENCE, |node| {
        number(&node.rpc.call("txpool_status", json!([]))["pending"]) == 1
    });
    let status = arena.node.rpc.call("txpool_status", json!([]));
    assert_eq!(number(&status["queued"]), 0, "{status}");
    arena.judge(gauge, "ETH-11 (each)", RSS_DELTA_MAX).await;
}

/// Transactions without a valid signature, each another one.
fn forged(start: usize, count: usize) -> Vec<Transaction> {
    let place = |number: usize| u64::try_from(number).expect("few");
    let forge = |number: usize| -> Transaction {
        let tx = legacy(|tx| tx.nonce = place(number));
        // No point has such an x: its square root does not exist.
        tx.into_signed(Signature::new(U256::from(5), U256::from(place(number) + 1), false)).into()
    };
    (start..start + count).map(forge).collect()
}

/// ETH-11.
#[tokio::test(flavor = "multi_thread")]
async fn forged_transactions_cost_their_sender_the_session_and_the_node_little() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    // More than a message may have: counted, not read.
    let mut peer: Peer = arena.peer(1).await;
    peer.tell(&Message::Transactions(forged(0, TRANSACTIONS_MAX + 1))).await.expect("it reads");
    assert!(peer.hear_end().await.is_some());
    let (process, before, began) = (gauge.process(), gauge.process().cpu(), Instant::now());
    let mut peer = arena.peer(2).await;
    let message = Message::Transactions(forged(0, TRANSACTIONS_MAX));
    let sent = pour(&mut peer, &message, FORGED_MESSAGES).await;
    // It may all have been sent before the first was looked at.
    assert!(sent < FORGED_MESSAGES || peer.hear_end().await.is_some());
    let (cpu, wall) = (process.cpu().saturating_sub(before), began.elapsed());
    say(&format!(
        "ETH-11: dropped after {sent} messages of {TRANSACTIONS_MAX} forged transactions, {cpu:.2?} of CPU in {wall:.2?}"
    ));
    if is_long() {
        assert!(cpu <= CPU_MAX, "{cpu:?}");
    }
    assert_eq!(number(&arena.node.rpc.call("txpool_status", json!([]))["pending"]), 0);
    arena.judge(gauge, "ETH-11 (forged)", RSS_DELTA_MAX).await;
}
