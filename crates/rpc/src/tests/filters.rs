use chain::testing::{BlockOptions, book_forks};
use primitives::{Address, B256, Bytes, U256, bytes};
use serde_json::json;

use super::{Fixture, account};

/// Init code that logs the topic 0x2a and then leaves nothing behind.
const LOGGING: Bytes = bytes!("602a60006000a100");

fn topic() -> B256 {
    U256::from(0x2a).into()
}

#[tokio::test]
async fn logs_are_found_where_they_were_written() {
    let mut fixture = Fixture::new(book_forks());
    fixture.grow(vec![]).await;
    let tx = account(0).create(1337, 0, LOGGING);
    let block = fixture
        .grow(vec![account(1).transfer(1337, 0, Address::ZERO, U256::ZERO), tx.clone()])
        .await;
    fixture.grow(vec![]).await;
    let want = json!([{
        "address": account(0).address().create(0),
        "topics": [topic()],
        "data": "0x",
        "blockNumber": "0x2",
        "transactionHash": tx.tx_hash(),
        "transactionIndex": "0x1",
        "blockHash": block.hash(),
        "logIndex": "0x0",
        "removed": false,
    }]);
    for filter in [
        json!({"fromBlock": "0x0"}),
        json!({"fromBlock": "earliest", "toBlock": "latest", "topics": [topic()]}),
        json!({"fromBlock": "0x2", "toBlock": "0x2"}),
        json!({"fromBlock": "0x0", "toBlock": "0x99"}),
        json!({"fromBlock": "0x0", "address": account(0).address().create(0)}),
        json!({"blockHash": block.hash()}),
    ] {
        assert_eq!(fixture.result("eth_getLogs", json!([filter])).await, want, "{filter}");
    }
    for filter in [
        json!({}),
        json!({"fromBlock": "0x0", "toBlock": "0x1"}),
        json!({"fromBlock": "0x0", "topics": [B256::ZERO]}),
    ] {
        assert_eq!(fixture.result("eth_getLogs", json!([filter])).await, json!([]), "{filter}");
    }
    let unknown = fixture.error("eth_getLogs", json!([{"blockHash": B256::ZERO}])).await;
    assert_eq!(unknown, (-32000, "unknown block".to_owned()));
    let backwards = json!([{"fromBlock": "0x2", "toBlock": "0x1"}]);
    assert_eq!(fixture.result("eth_getLogs", backwards.clone()).await, json!([]));
    let text = "invalid from and to block combination: from > to".to_owned();
    assert_eq!(fixture.error("eth_newFilter", backwards).await, (-32000, text));
}

#[tokio::test]
async fn a_filter_tells_each_change_once() {
    let mut fixture = Fixture::new(book_forks());
    let blocks = fixture.result("eth_newBlockFilter", json!([])).await;
    let logs = fixture.result("eth_newFilter", json!([{"topics": [topic()]}])).await;
    let pending = fixture.result("eth_newPendingTransactionFilter", json!([])).await;
    let whole = fixture.result("eth_newPendingTransactionFilter", json!([true])).await;
    for id in [&blocks, &logs, &pending, &whole] {
        assert_eq!(fixture.result("eth_getFilterChanges", json!([id])).await, json!([]));
    }
    let tx = account(0).create(1337, 0, LOGGING);
    fixture.pool.add(txpool::Origin::Remote, tx.clone()).unwrap();
    let hashes = fixture.result("eth_getFilterChanges", json!([pending])).await;
    assert_eq!(hashes, json!([tx.tx_hash()]));
    let objects = fixture.result("eth_getFilterChanges", json!([whole])).await;
    assert_eq!(
        (objects[0]["hash"].clone(), objects[1].clone()),
        (json!(tx.tx_hash()), json!(null))
    );
    let first = fixture.grow(vec![tx]).await;
    let second = fixture.grow(vec![]).await;
    let hashes = fixture.result("eth_getFilterChanges", json!([blocks])).await;
    assert_eq!(hashes, json!([first.hash(), second.hash()]));
    let found = fixture.result("eth_getFilterChanges", json!([logs])).await;
    assert_eq!(found[0]["blockHash"], json!(first.hash()));
    for id in [&blocks, &logs, &pending] {
        assert_eq!(fixture.result("eth_getFilterChanges", json!([id])).await, json!([]));
    }
    let all = fixture.result("eth_getFilterLogs", json!([logs])).await;
    assert_eq!(all, json!([]), "a filter without a range looks at the newest block");
    assert_eq!(fixture.result("eth_uninstallFilter", json!([blocks])).await, true);
    assert_eq!(fixture.result("eth_uninstallFilter", json!([blocks])).await, false);
    let gone = fixture.error("eth_getFilterChanges", json!([blocks])).await;
    assert_eq!(gone, (-32000, "filter not found".to_owned()));
}

#[tokio::test]
async fn a_reorg_takes_logs_back() {
    let mut fixture = Fixture::new(book_forks());
    let genesis = fixture.api.node.chain.view().head.hash();
    let blocks = fixture.result("eth_newBlockFilter", json!([])).await;
    let logs = fixture.result("eth_newFilter", json!([{}])).await;
    let old = fixture.grow(vec![account(0).create(1337, 0, LOGGING)]).await;
    assert_eq!(fixture.result("eth_getFilterChanges", json!([blocks])).await, json!([old.hash()]));
    assert_eq!(fixture.result("eth_getFilterChanges", json!([logs])).await[0]["removed"], false);

    let mut parent = genesis;
    let mut branch = Vec::new();
    for _ in 0..2 {
        let options =
            BlockOptions { extra_data: b"other".as_slice().into(), ..BlockOptions::default() };
        let block = fixture.builder.block_on(parent, vec![], options);
        fixture.builder.import(block.clone()).unwrap();
        fixture.import(block.clone()).await;
        parent = block.hash();
        branch.push(block.hash());
    }
    assert_eq!(fixture.result("eth_getFilterChanges", json!([blocks])).await, json!(branch));
    let removed = fixture.result("eth_getFilterChanges", json!([logs])).await;
    assert_eq!(removed.as_array().unwrap().len(), 1);
    assert_eq!(removed[0]["removed"], true);
    assert_eq!(removed[0]["blockHash"], json!(old.hash()));
}
