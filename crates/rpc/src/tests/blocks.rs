use chain::testing::{BENEFICIARY, BlockOptions, book_forks};
use primitives::U256;
use serde_json::{Value, json};

use super::{Fixture, Node, account, london_forks};

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_block_has_every_member_geth_gives_it() {
    let mut fixture = Fixture::new(book_forks());
    let transfer = account(0).transfer(1337, 0, account(1).address(), U256::from(1));
    let block = fixture.grow(vec![transfer.clone()]).await;
    let object = fixture.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(
        keys(&object),
        [
            "difficulty",
            "extraData",
            "gasLimit",
            "gasUsed",
            "hash",
            "logsBloom",
            "miner",
            "mixHash",
            "nonce",
            "number",
            "parentHash",
            "receiptsRoot",
            "sha3Uncles",
            "size",
            "stateRoot",
            "timestamp",
            "totalDifficulty",
            "transactions",
            "transactionsRoot",
            "uncles",
        ]
    );
    assert_eq!(object["hash"], json!(block.hash()));
    assert_eq!(object["number"], "0x1");
    assert_eq!(object["nonce"], "0x0000000000000000");
    assert_eq!(object["miner"], json!(BENEFICIARY));
    assert_eq!(object["gasUsed"], "0x5208");
    assert_eq!(object["transactions"], json!([transfer.tx_hash()]));
    assert_eq!(object["size"], json!(format!("{:#x}", block.rlp_length())));
    let td = U256::from(131_072) + block.header().difficulty;
    assert_eq!(object["totalDifficulty"], json!(td));
    let by_hash = fixture.result("eth_getBlockByHash", json!([block.hash(), false])).await;
    assert_eq!(by_hash, object);
    let full = fixture.result("eth_getBlockByHash", json!([block.hash(), true])).await;
    assert_eq!(full["transactions"][0]["hash"], json!(transfer.tx_hash()));
}

#[tokio::test]
async fn only_a_london_header_has_a_base_fee() {
    let before = Fixture::new(book_forks());
    let block = before.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert!(block.get("baseFeePerGas").is_none());
    let after = Fixture::new(london_forks());
    let block = after.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(block["baseFeePerGas"], "0x3b9aca00");
    let header = after.result("eth_getHeaderByNumber", json!(["0x0"])).await;
    assert_eq!(header["baseFeePerGas"], "0x3b9aca00");
    assert!(header.get("transactions").is_none() && header.get("uncles").is_none());
    assert_eq!(header["totalDifficulty"], "0x20000");
}

#[tokio::test]
async fn blocks_that_are_not_there_are_null() {
    let fixture = Fixture::new(book_forks());
    let nowhere = primitives::B256::repeat_byte(1);
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["0x7", true])),
        ("eth_getBlockByHash", json!([nowhere, true])),
        ("eth_getHeaderByNumber", json!(["0x7"])),
        ("eth_getHeaderByHash", json!([nowhere])),
        ("eth_getBlockTransactionCountByNumber", json!(["0x7"])),
        ("eth_getBlockTransactionCountByHash", json!([nowhere])),
        ("eth_getUncleCountByBlockNumber", json!(["0x7"])),
        ("eth_getUncleCountByBlockHash", json!([nowhere])),
        ("eth_getUncleByBlockNumberAndIndex", json!(["0x0", "0x0"])),
        ("eth_getUncleByBlockHashAndIndex", json!([nowhere, "0x0"])),
        ("eth_getTransactionByHash", json!([nowhere])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x0", "0x0"])),
        ("eth_getTransactionByBlockHashAndIndex", json!([nowhere, "0x0"])),
        ("eth_getTransactionReceipt", json!([nowhere])),
        ("eth_getBlockReceipts", json!(["0x7"])),
    ] {
        assert_eq!(fixture.result(method, params).await, Value::Null, "{method}");
    }
}

#[tokio::test]
async fn proof_of_stake_tags_are_not_found() {
    let fixture = Fixture::new(book_forks());
    for tag in ["safe", "finalized"] {
        let text = (-32000, format!("{tag} block not found"));
        assert_eq!(fixture.error("eth_getBlockByNumber", json!([tag, false])).await, text);
        assert_eq!(fixture.error("eth_getBalance", json!([account(0).address(), tag])).await, text);
    }
}

#[tokio::test]
async fn what_lies_deep_enough_is_final_where_that_is_asked_for() {
    let Fixture { api, thread, builder, .. } = Fixture::new(book_forks());
    let node = Node { finalized_depth: Some(2), ..api.node.clone() };
    let mut fixture = Fixture::of(node, thread, builder);
    for number in [0, 0, 0, 1, 2] {
        for tag in ["safe", "finalized"] {
            let block = fixture.result("eth_getBlockByNumber", json!([tag, false])).await;
            assert_eq!(block["number"], format!("{number:#x}"));
        }
        fixture.grow(vec![]).await;
    }
}

#[tokio::test]
async fn an_ommer_is_a_block_without_transactions() {
    let mut fixture = Fixture::new(book_forks());
    let genesis = fixture.api.node.chain.view().head.hash();
    fixture.grow(vec![]).await;
    let options =
        BlockOptions { extra_data: b"ommer".as_slice().into(), ..BlockOptions::default() };
    let ommer = fixture.builder.block_on(genesis, vec![], options);
    let head = fixture.api.node.chain.view().head.hash();
    let options = BlockOptions { ommers: vec![ommer.header().clone()], ..BlockOptions::default() };
    let nephew = fixture.builder.block_on(head, vec![], options);
    fixture.import(nephew.clone()).await;
    assert_eq!(fixture.result("eth_getUncleCountByBlockNumber", json!(["0x2"])).await, "0x1");
    assert_eq!(fixture.result("eth_getUncleCountByBlockHash", json!([nephew.hash()])).await, "0x1");
    let block = fixture.result("eth_getBlockByNumber", json!(["0x2", false])).await;
    assert_eq!(block["uncles"], json!([ommer.hash()]));
    let object = fixture.result("eth_getUncleByBlockNumberAndIndex", json!(["0x2", "0x0"])).await;
    assert_eq!(object["hash"], json!(ommer.hash()));
    assert_eq!(object["uncles"], json!([]));
    assert!(object.get("transactions").is_none() && object.get("totalDifficulty").is_none());
}

#[tokio::test]
async fn states_are_read_at_any_block() {
    let mut fixture = Fixture::new(book_forks());
    let to = account(1).address();
    let before = fixture.result("eth_getBalance", json!([to, "latest"])).await;
    let block = fixture.grow(vec![account(0).transfer(1337, 0, to, U256::from(5))]).await;
    assert_eq!(fixture.result("eth_getBalance", json!([to, "0x0"])).await, before);
    let after = U256::from_str_radix(before.as_str().unwrap().trim_start_matches("0x"), 16)
        .unwrap()
        + U256::from(5);
    for at in [
        json!("latest"),
        json!("pending"),
        json!("0x1"),
        json!(block.hash()),
        json!({"blockNumber": "0x1"}),
        json!({"blockHash": block.hash(), "requireCanonical": true}),
    ] {
        assert_eq!(fixture.result("eth_getBalance", json!([to, at])).await, json!(after), "{at}");
    }
    assert_eq!(
        fixture.result("eth_getTransactionCount", json!([account(0).address(), "0x0"])).await,
        "0x0"
    );
    assert_eq!(
        fixture.result("eth_getTransactionCount", json!([account(0).address(), "latest"])).await,
        "0x1"
    );
    for (at, text) in [
        (json!("0x2"), "header not found"),
        (json!(primitives::B256::repeat_byte(1)), "header for hash not found"),
    ] {
        assert_eq!(
            fixture.error("eth_getBalance", json!([to, at])).await,
            (-32000, text.to_owned())
        );
    }
    let missing = (-32602, "missing value for required argument 1".to_owned());
    assert_eq!(fixture.error("eth_getBalance", json!([to])).await, missing);
}

#[tokio::test]
async fn a_side_block_is_not_canonical() {
    let mut fixture = Fixture::new(book_forks());
    let genesis = fixture.api.node.chain.view().head.hash();
    fixture.grow(vec![]).await;
    fixture.grow(vec![]).await;
    let options = BlockOptions { extra_data: b"side".as_slice().into(), ..BlockOptions::default() };
    let side = fixture.builder.block_on(genesis, vec![], options);
    fixture.import(side.clone()).await;
    let strict = json!([BENEFICIARY, {"blockHash": side.hash(), "requireCanonical": true}]);
    let text = (-32000, "hash is not currently canonical".to_owned());
    assert_eq!(fixture.error("eth_getBalance", strict).await, text);
    let lenient = json!([BENEFICIARY, {"blockHash": side.hash()}]);
    assert_eq!(
        fixture.result("eth_getBalance", lenient).await,
        json!(U256::from(5) * U256::from(10).pow(U256::from(18)))
    );
}

#[tokio::test]
async fn proofs_lead_from_the_state_root() {
    let mut fixture = Fixture::new(book_forks());
    let block = fixture.grow(vec![]).await;
    let proof =
        fixture.result("eth_getProof", json!([account(0).address(), ["0x1"], "latest"])).await;
    let first = proof["accountProof"][0].as_str().unwrap();
    let bytes = primitives::hex::decode(first).unwrap();
    assert_eq!(primitives::keccak256(bytes), block.header().state_root);
    assert_eq!(proof["storageProof"][0]["key"], "0x1");
    assert_eq!(proof["storageProof"][0]["value"], "0x0");
    let many = vec!["0x1"; 1_025];
    let (code, text) =
        fixture.error("eth_getProof", json!([account(0).address(), many, "latest"])).await;
    assert_eq!(
        (code, text.as_str()),
        (-32602, "invalid argument 1: too many keys, want at most 1024")
    );
}

#[tokio::test]
async fn fee_history_on_both_sides_of_london() {
    let mut before = Fixture::new(book_forks());
    before.grow(vec![account(0).transfer(1337, 0, account(1).address(), U256::from(1))]).await;
    let history = before.result("eth_feeHistory", json!(["0x2", "latest", [0, 100]])).await;
    assert_eq!(history["oldestBlock"], "0x0");
    assert_eq!(history["baseFeePerGas"], json!(["0x0", "0x0", "0x0"]));
    assert_eq!(history["reward"], json!([["0x0", "0x0"], ["0x3b9aca00", "0x3b9aca00"]]));
    assert_eq!(before.result("eth_maxPriorityFeePerGas", json!([])).await, "0x3b9aca00");
    let after = Fixture::new(london_forks());
    let history = after.result("eth_feeHistory", json!([1, "latest", []])).await;
    assert_eq!(history["baseFeePerGas"], json!(["0x3b9aca00", "0x342770c0"]));
    assert!(history.get("reward").is_none());
    assert_eq!(after.result("eth_gasPrice", json!([])).await, "0x77359400");
    for (params, text) in [
        (json!(["0x1", "0x9", []]), "request beyond head block: requested 9, head 0"),
        (json!(["0x1", "latest", [101]]), "invalid reward percentile: 101"),
        (json!(["0x1", "latest", [50, 20]]), "invalid reward percentile: #0:50 > #1:20"),
    ] {
        assert_eq!(after.error("eth_feeHistory", params).await, (-32000, text.to_owned()));
    }
}
