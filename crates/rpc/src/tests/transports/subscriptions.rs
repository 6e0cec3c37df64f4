use std::collections::{HashMap, HashSet};

use chain::testing::BlockOptions;
use primitives::{Address, B256, Bytes, U256, bytes};
use serde_json::{Value, json};
use txpool::Origin;

use super::{super::account, Client, Served};
use crate::subscriptions::SUBSCRIPTIONS_MAX;

/// Init code that logs the topic 0x2a and then leaves nothing behind.
const LOGGING: Bytes = bytes!("602a60006000a100");

fn topic(byte: u8) -> B256 {
    U256::from(byte).into()
}

impl Client {
    async fn subscribe(&mut self, params: Value) -> Value {
        let id = self.result("eth_subscribe", params).await;
        let digits = id.as_str().and_then(|id| id.strip_prefix("0x")).expect("0x and digits");
        assert!(u128::from_str_radix(digits, 16).is_ok() && !digits.starts_with('0'), "{id}");
        id
    }
}

#[tokio::test]
async fn heads_are_told_to_everybody_in_geths_words() {
    let mut served = Served::start().await;
    // What happened before is not told.
    served.fixture.grow(vec![]).await;
    let mut told = Vec::new();
    for mut client in served.clients().await {
        let id = client.subscribe(json!(["newHeads"])).await;
        told.push((client, id));
    }
    let block = served.fixture.grow(vec![]).await;
    for (client, id) in &mut told {
        let head = client.told(id).await;
        let whole = client.result("eth_getBlockByNumber", json!(["0x2", false])).await;
        assert_eq!(head["hash"], json!(block.hash()));
        let members = head.as_object().unwrap();
        assert_eq!(members.len(), 16, "{head}");
        for (name, value) in members {
            assert_eq!(value, &whole[name], "{name}");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn a_reorg_takes_logs_back_and_tells_all_new_heads() {
    let mut served = Served::start().await;
    let genesis = served.fixture.api.node.chain.view().head.hash();
    let mut ws = served.ws().await;
    let mut ipc = served.ipc().await;
    let logs = ws.subscribe(json!(["logs", {"topics": [topic(0x2a)]}])).await;
    let heads = ipc.subscribe(json!(["newHeads"])).await;
    let old = served.fixture.grow(vec![account(0).create(1337, 0, LOGGING)]).await;
    let first = ws.told(&logs).await;
    assert_eq!((&first["removed"], &first["blockHash"]), (&json!(false), &json!(old.hash())));
    assert_eq!(ipc.told(&heads).await["hash"], json!(old.hash()));

    let mut parent = genesis;
    let mut branch = Vec::new();
    for nonce in 0..2 {
        let options =
            BlockOptions { extra_data: b"other".as_slice().into(), ..BlockOptions::default() };
        let tx = account(1).create(1337, nonce, LOGGING);
        let block = served.fixture.builder.block_on(parent, vec![tx], options);
        served.fixture.builder.import(block.clone()).unwrap();
        served.fixture.import(block.clone()).await;
        parent = block.hash();
        branch.push(block.hash());
    }
    let removed = ws.told(&logs).await;
    assert_eq!((&removed["removed"], &removed["blockHash"]), (&json!(true), &json!(old.hash())));
    assert_eq!(removed["transactionHash"], first["transactionHash"]);
    for hash in branch {
        let log = ws.told(&logs).await;
        assert_eq!((&log["removed"], &log["blockHash"]), (&json!(false), &json!(hash)));
        assert_eq!(ipc.told(&heads).await["hash"], json!(hash));
    }
    served.stop().await;
}

#[tokio::test]
async fn logs_are_filtered_by_address_topic_and_number() {
    let mut served = Served::start().await;
    let mut ws = served.ws().await;
    let contract = account(0).address().create(1);
    let all = ws.subscribe(json!(["logs", {}])).await;
    for unwanted in [
        json!({"address": Address::ZERO}),
        json!({"topics": [topic(0x2b)]}),
        json!({"topics": [null, topic(0x2a)]}),
        json!({"fromBlock": "0x9"}),
        json!({"fromBlock": "0x0", "toBlock": "0x1"}),
    ] {
        ws.subscribe(json!(["logs", unwanted])).await;
    }
    let one =
        ws.subscribe(json!(["logs", {"address": [contract], "topics": [[topic(0x2a)]]}])).await;
    served.fixture.grow(vec![]).await;
    let txs = (0..2).map(|nonce| account(0).create(1337, nonce, LOGGING)).collect();
    served.fixture.grow(txs).await;
    assert_eq!(ws.told(&all).await["logIndex"], "0x0");
    assert_eq!(ws.told(&all).await["logIndex"], "0x1");
    let log = ws.told(&one).await;
    assert_eq!((&log["address"], &log["logIndex"]), (&json!(contract), &json!("0x1")));
    served.stop().await;
}

#[tokio::test]
async fn pending_transactions_are_told_by_hash_or_whole() {
    let served = Served::start().await;
    let mut ws = served.ws().await;
    let mut ipc = served.ipc().await;
    let hashes = ws.subscribe(json!(["newPendingTransactions"])).await;
    let whole = ipc.subscribe(json!(["newPendingTransactions", true])).await;
    for nonce in 0..3 {
        let tx = account(0).transfer(1337, nonce, Address::ZERO, U256::from(nonce));
        served.fixture.pool.add(Origin::Remote, tx.clone()).unwrap();
        assert_eq!(ws.told(&hashes).await, json!(tx.tx_hash()));
        let object = ipc.told(&whole).await;
        assert_eq!(object["hash"], json!(tx.tx_hash()));
        assert_eq!(
            (&object["blockHash"], &object["from"]),
            (&Value::Null, &json!(account(0).address()))
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn what_is_unsubscribed_is_not_told() {
    let mut served = Served::start().await;
    let mut ws = served.ws().await;
    let mut other = served.ws().await;
    let first = ws.subscribe(json!(["newHeads"])).await;
    let second = ws.subscribe(json!(["newHeads"])).await;
    let stranger = other.error("eth_unsubscribe", json!([first])).await;
    assert_eq!(stranger, (-32000, "subscription not found".to_owned()));
    assert_eq!(ws.result("eth_unsubscribe", json!([first])).await, true);
    let again = ws.error("eth_unsubscribe", json!([first])).await;
    assert_eq!(again, (-32000, "subscription not found".to_owned()));
    for _ in 0..2 {
        let block = served.fixture.grow(vec![]).await;
        assert_eq!(ws.told(&second).await["hash"], json!(block.hash()));
    }
    assert_eq!(ws.result("eth_unsubscribe", json!([second])).await, true);
    served.fixture.grow(vec![]).await;
    assert_eq!(ws.result("eth_blockNumber", json!([])).await, "0x3");
    served.stop().await;
}

#[tokio::test]
async fn refuses_in_geths_words() {
    let served = Served::start().await;
    let backwards = "invalid from and to block combination: from > to";
    for mut client in served.clients().await {
        for (method, params, code, text) in [
            (
                "eth_subscribe",
                json!(["nope"]),
                -32601,
                r#"no "nope" subscription in eth namespace"#,
            ),
            ("net_subscribe", json!(["x"]), -32601, r#"no "x" subscription in net namespace"#),
            ("foo_subscribe", json!(["x"]), -32601, r#"no "x" subscription in foo namespace"#),
            ("eth_subscribe", json!([]), -32602, "expected subscription name as first argument"),
            ("eth_subscribe", json!([1]), -32602, "expected subscription name as first argument"),
            ("eth_subscribe", json!({}), -32602, "non-array args"),
            ("eth_subscribe", json!(["newHeads", 1]), -32602, "too many arguments, want at most 1"),
            ("eth_subscribe", json!(["logs"]), -32602, "missing value for required argument 1"),
            (
                "eth_subscribe",
                json!(["logs", {"fromBlock": "0x5", "toBlock": "0x1"}]),
                -32000,
                backwards,
            ),
            (
                "eth_subscribe",
                json!(["logs", {"fromBlock": "latest", "toBlock": "0x1"}]),
                -32000,
                backwards,
            ),
            (
                "eth_newFilter",
                json!([{"fromBlock": "pending", "toBlock": "latest"}]),
                -32000,
                backwards,
            ),
            ("eth_unsubscribe", json!([]), -32602, "missing value for required argument 0"),
            ("eth_unsubscribe", json!(["0x1"]), -32000, "subscription not found"),
            ("foo_unsubscribe", json!(["0x1"]), -32000, "subscription not found"),
            ("eth_getFilterChanges", json!(["0x1"]), -32000, "filter not found"),
        ] {
            let want = (code, text.to_owned());
            assert_eq!(client.error(method, params.clone()).await, want, "{method} {params}");
        }
        let (code, text) = client.error("eth_unsubscribe", json!([1])).await;
        assert_eq!(code, -32602);
        assert!(text.ends_with("Go value of type rpc.ID"), "{text}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_transport_without_eth_has_no_subscriptions() {
    let served = Served::with(|config| {
        config.ws.as_mut().unwrap().modules = vec!["net".into()];
    })
    .await;
    let refused = served.ws().await.error("eth_subscribe", json!(["newHeads"])).await;
    assert_eq!(refused, (-32601, r#"no "newHeads" subscription in eth namespace"#.to_owned()));
    served.stop().await;
}

#[tokio::test]
async fn http_has_no_notifications() {
    let served = Served::start().await;
    let http = served.server.http_address().unwrap();
    for (method, code, text) in [
        ("eth_subscribe", -32001, "notifications not supported"),
        ("net_subscribe", -32001, "notifications not supported"),
        ("eth_unsubscribe", -32000, "subscription not found"),
    ] {
        let call = json!({"id": 1, "method": method, "params": ["newHeads"]});
        let answer = super::super::post(http, &call.to_string()).await;
        assert_eq!(answer["error"], json!({"code": code, "message": text}));
    }
    served.stop().await;
}

#[tokio::test]
async fn a_batch_is_answered_before_what_it_subscribed_to_is_told() {
    let mut served = Served::start().await;
    let mut ipc = served.ipc().await;
    let batch = json!([
        {"id": 1, "method": "eth_subscribe", "params": ["newHeads"]},
        {"id": 2, "method": "eth_getLogs", "params": [{}]},
        {"id": 3, "method": "eth_subscribe", "params": ["newHeads"]},
    ]);
    ipc.with(move |socket| socket.send(&batch.to_string())).await;
    let block = served.fixture.grow(vec![]).await;
    let answer = ipc.receive().await.unwrap();
    let first = &answer[0]["result"];
    assert!(first.is_string() && answer[2]["result"].is_string(), "{answer}");
    // The block came during the batch, before it or after: one more is told in any case.
    let next = served.fixture.grow(vec![]).await;
    let mut told = Vec::new();
    while told.last() != Some(&json!(next.hash())) {
        let notification = ipc.receive().await.unwrap();
        if &notification["params"]["subscription"] == first {
            told.push(notification["params"]["result"]["hash"].clone());
        }
    }
    assert!(told == [json!(next.hash())] || told == [json!(block.hash()), json!(next.hash())]);
    served.stop().await;
}

#[tokio::test]
async fn a_burst_reaches_every_subscription_in_order() {
    const TRANSACTIONS: u64 = 60;
    let served = Served::start().await;
    let mut ipc = served.ipc().await;
    let mut ids = Vec::new();
    for _ in 0..SUBSCRIPTIONS_MAX {
        ids.push(ipc.subscribe(json!(["newPendingTransactions"])).await);
    }
    let mut sent = Vec::new();
    for nonce in 0..TRANSACTIONS {
        let tx = account(0).transfer(1337, nonce, Address::ZERO, U256::from(nonce));
        served.fixture.pool.add(Origin::Local, tx.clone()).unwrap();
        sent.push(json!(tx.tx_hash()));
    }
    let total = ids.len() * sent.len();
    let told = ipc.with(move |socket| {
        (0..total).map(|_| socket.receive().unwrap()["params"].take()).collect::<Vec<_>>()
    });
    let mut by_id: HashMap<String, Vec<Value>> = HashMap::new();
    for mut params in told.await {
        let id = params["subscription"].as_str().unwrap().to_owned();
        by_id.entry(id).or_default().push(params["result"].take());
    }
    assert_eq!(by_id.len(), ids.len());
    assert!(by_id.values().all(|hashes| hashes == &sent));
    served.stop().await;
}

#[tokio::test]
async fn what_came_too_fast_to_be_told_is_told_from_the_pool() {
    const TRANSACTIONS: usize = txpool::CHANGES_MAX + 500;
    let served = Served::start().await;
    let mut ipc = served.ipc().await;
    let id = ipc.subscribe(json!(["newPendingTransactions"])).await;
    // Nobody else runs meanwhile, so that the pool's backlog overflows.
    let transactions = (0..TRANSACTIONS).map(|nonce| {
        let nonce = u64::try_from(nonce).unwrap();
        account(0).transfer(1337, nonce, Address::ZERO, U256::ZERO)
    });
    let transactions: Vec<_> = transactions.collect();
    let sent: HashSet<_> = transactions.iter().map(|tx| tx.tx_hash().to_string()).collect();
    for added in served.fixture.pool.add_many(Origin::Remote, transactions) {
        added.unwrap();
    }
    let told = ipc.with(move |socket| {
        let one = |_| {
            let told = socket.receive().unwrap();
            assert_eq!(told["params"]["subscription"], id);
            told["params"]["result"].as_str().unwrap().to_owned()
        };
        (0..TRANSACTIONS).map(one).collect::<HashSet<_>>()
    });
    assert!(told.await == sent, "each once");
    served.stop().await;
}
