use std::{sync::Arc, time::Duration};

use chain::testing::book_forks;
use consensus::Engine;
use miner::{MinerConfig, SealerKind, Worker};
use primitives::{Address, B256, Bytes, U256};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Fixture, account};

const MINER: Address = Address::repeat_byte(0xcc);

fn config() -> MinerConfig {
    MinerConfig {
        beneficiary: Some(MINER),
        sealer: SealerKind::Remote,
        datasets: miner::DatasetConfig::default(),
        extra_data: Bytes::new(),
        gas_target: 8_000_000,
        recommit: Duration::from_secs(3),
    }
}

/// A node with one transaction waiting, whose miner has a package with it.
async fn mining() -> (Fixture, JoinSet<()>, CancellationToken) {
    let fixture = Fixture::new(book_forks());
    let tx = account(0).transfer(1337, 0, account(1).address(), U256::from(5));
    fixture.pool.add(txpool::Origin::Local, tx).unwrap();
    let engine = Arc::new(Engine::Instant);
    let (worker, handle) =
        Worker::new(&config(), fixture.chain.clone(), fixture.pool.clone(), engine).unwrap();
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let stop = shutdown.clone();
    tasks.spawn(async move { miner::run(worker, stop).await.unwrap() });
    handle.work().wait_for(Option::is_some).await.unwrap();
    (fixture.with_miner(handle), tasks, shutdown)
}

fn wei(value: &Value) -> U256 {
    U256::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pending_block_is_what_is_being_mined() {
    let (fixture, mut tasks, shutdown) = mining().await;
    let block = fixture.result("eth_getBlockByNumber", json!(["pending", true])).await;
    assert_eq!(block["number"], "0x1");
    for member in ["hash", "nonce", "miner", "totalDifficulty"] {
        assert_eq!(block[member], Value::Null, "{member}");
        assert!(block.get(member).is_some(), "{member}");
    }
    assert_eq!(block["mixHash"], json!(B256::ZERO));
    assert_eq!(block["transactions"][0]["blockHash"], Value::Null);
    let header = fixture.result("eth_getHeaderByNumber", json!(["pending"])).await;
    assert_eq!((&header["hash"], &header["number"]), (&Value::Null, &json!("0x1")));
    assert_eq!(
        fixture.result("eth_getBlockTransactionCountByNumber", json!(["pending"])).await,
        "0x1"
    );
    let to = account(1).address();
    let latest = wei(&fixture.result("eth_getBalance", json!([to, "latest"])).await);
    let pending = wei(&fixture.result("eth_getBalance", json!([to, "pending"])).await);
    assert_eq!(pending, latest + U256::from(5));
    assert_eq!(fixture.result("eth_getBalance", json!([MINER, "latest"])).await, "0x0");
    assert!(!wei(&fixture.result("eth_getBalance", json!([MINER, "pending"])).await).is_zero());
    assert_eq!(fixture.result("eth_getBlockReceipts", json!(["pending"])).await, Value::Null);
    // NUMBER, as the pending block's code would see it.
    let call = json!([{"data": "0x4360005260206000f3"}, "pending"]);
    assert_eq!(wei(&fixture.result("eth_call", call).await), U256::from(1));
    let (code, _) = fixture.error("eth_getProof", json!([to, [], "pending"])).await;
    assert_eq!(code, -32602);
    shutdown.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_handed_out_and_taken_back_sealed() {
    let (fixture, mut tasks, shutdown) = mining().await;
    let mut events = fixture.chain.events();
    assert_eq!(fixture.result("eth_coinbase", json!([])).await, json!(MINER));
    assert_eq!(fixture.result("eth_mining", json!([])).await, true);
    let work = fixture.result("eth_getWork", json!([])).await;
    assert_eq!(work[1], json!(B256::ZERO), "the seed of epoch 0");
    assert_eq!(work[3], "0x1");
    assert_eq!(work[2].as_str().unwrap().len(), 66);
    let mix = B256::repeat_byte(7);
    let stranger = json!(["0x0000000000000001", B256::ZERO, mix]);
    assert_eq!(fixture.result("eth_submitWork", stranger).await, false);
    let solution = json!(["0x0000000000000001", work[0], mix]);
    assert_eq!(fixture.result("eth_submitWork", solution).await, true);
    let event = events.recv().await.unwrap();
    assert_eq!(event.view.head.number, 1);
    let block = fixture.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(block["nonce"], "0x0000000000000001");
    assert_eq!(block["mixHash"], json!(mix));
    assert_eq!(block["miner"], json!(MINER));
    assert_eq!(fixture.result("eth_submitHashrate", json!(["0x1", mix])).await, true);
    shutdown.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_pulls_the_miners_levers() {
    let (fixture, mut tasks, shutdown) = mining().await;
    let other = Address::repeat_byte(0xdd);
    for (method, params, want) in [
        ("miner_setEtherbase", json!([other]), json!(true)),
        ("miner_setExtra", json!(["hello"]), json!(true)),
        ("miner_setGasPrice", json!(["0x77359400"]), json!(true)),
        ("miner_setGasLimit", json!(["0x989680"]), json!(true)),
        ("miner_setRecommitInterval", json!([5_000]), Value::Null),
        ("miner_getHashrate", json!([]), json!(0)),
        ("miner_stop", json!([]), Value::Null),
    ] {
        assert_eq!(fixture.result(method, params).await, want, "{method}");
    }
    assert_eq!(fixture.result("eth_coinbase", json!([])).await, json!(other));
    assert_eq!(fixture.result("eth_mining", json!([])).await, false);
    assert_eq!(fixture.result("eth_gasPrice", json!([])).await, "0x77359400");
    assert_eq!(fixture.result("miner_start", json!([0])).await, Value::Null);
    assert_eq!(fixture.result("eth_mining", json!([])).await, true);
    let long = "x".repeat(33);
    let text = "extra exceeds max length. 33 > 32".to_owned();
    assert_eq!(fixture.error("miner_setExtra", json!([long])).await, (-32000, text));
    shutdown.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}
