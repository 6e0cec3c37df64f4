//! Subscribers that do not listen. What is forbidden on a WebSocket, and how little of one's memory
//! another can take, is shown in `rpc` (`tests::transports::hostile`).

use std::{net::Ipv4Addr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tests::harness::{
    gauge::MIB,
    random::{is_long, say},
};
use tokio::{net::TcpSocket, task::spawn_blocking};
use tokio_tungstenite::tungstenite::Message;

use super::super::{
    arena::{Arena, PATIENCE},
    web::{Web, call},
};
use crate::harness::{
    branches::CHAIN_ID,
    key::{Key, raw},
};

const CONNECTIONS: u64 = 100;
const SUBSCRIPTIONS: u64 = 100;
/// Transactions that they are told of, or would be.
const TRANSACTIONS: u64 = 1_000;
const TRANSACTIONS_LONG: u64 = 100_000;
const BATCH: u64 = 200;
const RSS_MAX: u64 = 128 * MIB;
/// How long others may wait for an answer.
const RPC_P99_MAX: Duration = Duration::from_millis(250);

/// RPC-16.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_subscriptions_of_the_deaf_delay_nobody() {
    let args = ["--role", "miner", "--ws", "--ws.port", "0"];
    let mut arena = Arena::new(&args).await;
    let address = arena.node.wait_for_websocket();
    let gauge = arena.gauge().await;
    let mut deaf = Vec::new();
    for _ in 0..CONNECTIONS {
        let socket = TcpSocket::new_v4().expect("there are descriptors");
        socket.set_recv_buffer_size(4_096).expect("the size is one");
        let stream = socket.connect(address).await.expect("the node listens");
        let agreed = tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await;
        let (mut socket, _) = agreed.expect("the node speaks WebSocket");
        let subscribe = call("eth_subscribe", json!(["newPendingTransactions"]));
        let batch = vec![subscribe; usize::try_from(SUBSCRIPTIONS).expect("small")].join(",");
        socket.send(Message::text(format!("[{batch}]"))).await.expect("the node reads");
        let answer = socket.next().await.expect("an answer").expect("a message");
        assert!(answer.to_text().expect("text").contains("result"), "{answer}");
        deaf.push(socket);
    }
    let count = if is_long() { TRANSACTIONS_LONG } else { TRANSACTIONS };
    let key = Key::fixed(1);
    let mut web = Web::from(Ipv4Addr::new(127, 0, 0, 5), arena.node.rpc.address()).await;
    for first in (0..count).step_by(usize::try_from(BATCH).expect("small")) {
        let batch = spawn_blocking(move || {
            let calls = (first..first + BATCH).map(|nonce| {
                let tx = key.transfer(CHAIN_ID, nonce, key.address());
                call("eth_sendRawTransaction", json!([raw(&tx)]))
            });
            format!("[{}]", calls.collect::<Vec<_>>().join(","))
        });
        let batch = batch.await.expect("it signs");
        let page = web.ask(&batch).await.expect("it is answered");
        let text = String::from_utf8(page.body).expect("text");
        assert!(!text.contains("\"error\""), "{text:.300}");
        // The pool holds some thousand of a sender.
        let node = &mut arena.node;
        node.wait("there is room", PATIENCE, |node| {
            let status = node.rpc.call("txpool_status", json!([]));
            crate::harness::rpc::number(&status["pending"]) <= 2_000
        });
    }
    let hash = raw(&key.transfer(CHAIN_ID, count, key.address()));
    let sent = arena.node.rpc.send(&hash);
    arena.node.wait_for_receipt(&sent, PATIENCE);
    say(&format!(
        "RPC-16: {CONNECTIONS} deaf connections with {SUBSCRIPTIONS} subscriptions each, {count} transactions"
    ));
    drop(deaf);
    if !is_long() {
        arena.judge(gauge, "RPC-16", RSS_MAX).await;
        return;
    }
    // What so many transactions leave in the newest states stays, whoever listened.
    let cost = gauge.end();
    say(&format!("RPC-16: {cost}"));
    assert!(cost.rss_peak <= RSS_MAX && cost.rpc_p99 <= RPC_P99_MAX, "{cost}");
}
