use alloy_consensus::{TxEip1559, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use chain::testing::{BlockOptions, book_forks};
use primitives::{Bytes, Forks, Transaction, TxKind, U256, bytes};
use serde_json::{Value, json};

use super::{Fixture, account, london_forks};

fn raw(tx: &Transaction) -> Bytes {
    tx.encoded_2718().into()
}

#[tokio::test]
async fn a_transaction_is_submitted_seen_and_mined() {
    let mut fixture = Fixture::new(book_forks());
    let tx = account(0).transfer(1337, 0, account(1).address(), U256::from(7));
    let hash = fixture.result("eth_sendRawTransaction", json!([raw(&tx)])).await;
    assert_eq!(hash, json!(tx.tx_hash()));
    let pooled = fixture.result("eth_getTransactionByHash", json!([hash])).await;
    for member in ["blockHash", "blockNumber", "transactionIndex"] {
        assert_eq!(pooled[member], Value::Null);
    }
    assert_eq!(fixture.result("eth_getTransactionReceipt", json!([hash])).await, Value::Null);
    assert_eq!(
        fixture.result("txpool_status", json!([])).await,
        json!({"pending": "0x1", "queued": "0x0"})
    );
    let count = |tag: &str| json!([account(0).address(), tag]);
    assert_eq!(fixture.result("eth_getTransactionCount", count("pending")).await, "0x1");
    assert_eq!(fixture.result("eth_getTransactionCount", count("latest")).await, "0x0");
    let known = (-32000, "already known".to_owned());
    assert_eq!(fixture.error("eth_sendRawTransaction", json!([raw(&tx)])).await, known);

    let block = fixture.grow(vec![tx.clone()]).await;
    let mined = fixture.result("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(mined["blockHash"], json!(block.hash()));
    assert_eq!(mined["type"], "0x0");
    assert_eq!(mined["chainId"], "0x539");
    assert_eq!(mined["from"], json!(account(0).address()));
    for (method, params) in [
        ("eth_getTransactionByBlockHashAndIndex", json!([block.hash(), "0x0"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", "0x0"])),
    ] {
        assert_eq!(fixture.result(method, params).await, mined);
    }
    for (method, params) in [
        ("eth_getRawTransactionByHash", json!([hash])),
        ("eth_getRawTransactionByBlockHashAndIndex", json!([block.hash(), "0x0"])),
        ("eth_getRawTransactionByBlockNumberAndIndex", json!(["0x1", "0x0"])),
    ] {
        assert_eq!(fixture.result(method, params).await, json!(raw(&tx)));
    }
    assert_eq!(fixture.result("eth_getRawTransactionByHash", json!([block.hash()])).await, "0x");
}

/// What every method says of a transaction's sender.
async fn senders_told(fixture: &Fixture, tx: &Transaction) -> Vec<Value> {
    let hash = json!([tx.tx_hash()]);
    let by_hash = fixture.result("eth_getTransactionByHash", hash.clone()).await;
    let at = |first: &Value| json!([first, by_hash["transactionIndex"]]);
    let index = usize::from_str_radix(&by_hash["transactionIndex"].as_str().unwrap()[2..], 16);
    let index = index.unwrap();
    let (number, block) = (&by_hash["blockNumber"], &by_hash["blockHash"]);
    let transactions = |block: &Value| block["transactions"][index]["from"].clone();
    vec![
        by_hash["from"].clone(),
        fixture.result("eth_getTransactionReceipt", hash).await["from"].clone(),
        fixture.result("eth_getTransactionByBlockNumberAndIndex", at(number)).await["from"].clone(),
        fixture.result("eth_getTransactionByBlockHashAndIndex", at(block)).await["from"].clone(),
        transactions(&fixture.result("eth_getBlockByNumber", json!([number, true])).await),
        transactions(&fixture.result("eth_getBlockByHash", json!([block, true])).await),
        fixture.result("eth_getBlockReceipts", json!([number])).await[index]["from"].clone(),
    ]
}

#[tokio::test]
async fn everybody_tells_the_same_sender_before_and_after_a_reorganisation() {
    let mut fixture = Fixture::new(london_forks());
    let genesis = fixture.api.node.chain.view().head.hash();
    let to = account(3).address();
    let transfer = |index, nonce| account(index).transfer(1337, nonce, to, U256::from(7));
    let old = [transfer(0, 0), dynamic(1), transfer(1, 0), transfer(2, 0)];
    fixture.grow(old.to_vec()).await;
    for (tx, index) in old.iter().zip([0, 0, 1, 2]) {
        assert_eq!(senders_told(&fixture, tx).await, vec![json!(account(index).address()); 7]);
    }
    // In another order, and heavier.
    let new = [transfer(2, 0), transfer(0, 0), dynamic(1), transfer(1, 0)];
    let mut parent = genesis;
    for transactions in [new.to_vec(), vec![transfer(2, 1)]] {
        let options =
            BlockOptions { extra_data: b"other".as_slice().into(), ..BlockOptions::default() };
        let block = fixture.builder.block_on(parent, transactions, options);
        parent = block.hash();
        fixture.builder.import(block.clone()).unwrap();
        fixture.import(block).await;
    }
    assert_eq!(fixture.api.node.chain.view().head.hash(), parent);
    for (tx, index) in new.iter().zip([2, 0, 0, 1]) {
        assert_eq!(senders_told(&fixture, tx).await, vec![json!(account(index).address()); 7]);
    }
}

#[tokio::test]
async fn a_log_names_its_transaction_whatever_its_type() {
    let mut fixture = Fixture::new(london_forks());
    // LOG0 while being created.
    let logging = bytes!("60006000a0");
    let typed = |nonce| {
        account(0).sign(TxEip1559 {
            chain_id: 1337,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 3_000_000_000,
            input: logging.clone(),
            ..TxEip1559::default()
        })
    };
    let plain = account(1).transfer(1337, 0, account(2).address(), U256::from(7));
    let transactions = vec![plain, typed(0), account(1).create(1337, 1, logging.clone()), typed(1)];
    fixture.grow(transactions.clone()).await;
    let logs = fixture.result("eth_getLogs", json!([{"fromBlock": "0x0"}])).await;
    for (place, tx) in transactions[1..].iter().enumerate() {
        let log = &logs[place];
        assert_eq!(log["transactionHash"], json!(tx.tx_hash()));
        assert_eq!(log["transactionIndex"], json!(format!("{:#x}", place + 1)));
        assert_eq!(log["logIndex"], json!(format!("{place:#x}")));
    }
    assert_eq!(logs[3], Value::Null);
}

#[tokio::test]
async fn early_receipts_have_both_root_and_status() {
    let mut fixture = Fixture::new(book_forks());
    let tx = account(0).transfer(1337, 0, account(1).address(), U256::from(7));
    let create = account(1).create(1337, 0, bytes!("60006000fd"));
    let block = fixture.grow(vec![tx.clone(), create.clone()]).await;
    let receipt = fixture.result("eth_getTransactionReceipt", json!([tx.tx_hash()])).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(receipt["root"].as_str().unwrap().len(), 66);
    assert_eq!(receipt["type"], "0x0");
    assert_eq!(receipt["effectiveGasPrice"], "0x3b9aca00");
    assert_eq!(receipt["gasUsed"], "0x5208");
    assert_eq!(receipt["logs"], json!([]));
    assert_eq!(receipt["contractAddress"], Value::Null);
    let receipt = fixture.result("eth_getTransactionReceipt", json!([create.tx_hash()])).await;
    assert_eq!(receipt["status"], "0x0");
    assert_eq!(receipt["to"], Value::Null);
    assert_eq!(receipt["transactionIndex"], "0x1");
    assert_eq!(receipt["contractAddress"], json!(account(1).address().create(0)));
    let all = fixture.result("eth_getBlockReceipts", json!(["latest"])).await;
    assert_eq!(all[1], receipt);
    assert_eq!(fixture.result("eth_getBlockReceipts", json!([block.hash()])).await, all);
}

#[tokio::test]
async fn receipts_since_byzantium_have_a_status_only() {
    let mut fixture = Fixture::new(Forks { byzantium: Some(0), ..book_forks() });
    let tx = account(0).transfer(1337, 0, account(1).address(), U256::from(7));
    fixture.grow(vec![tx.clone()]).await;
    let receipt = fixture.result("eth_getTransactionReceipt", json!([tx.tx_hash()])).await;
    assert_eq!(receipt["status"], "0x1");
    assert!(receipt.get("root").is_none());
}

fn dynamic(nonce: u64) -> Transaction {
    account(0).sign(TxEip1559 {
        chain_id: 1337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 2_000_000_000,
        to: TxKind::Call(account(1).address()),
        ..TxEip1559::default()
    })
}

#[tokio::test]
async fn a_dynamic_fee_transaction_before_london_is_told_when() {
    let fixture = Fixture::new(book_forks());
    let (code, text) = fixture.error("eth_sendRawTransaction", json!([raw(&dynamic(0))])).await;
    assert_eq!(code, -32000);
    assert!(text.starts_with("transaction type not supported: London"), "{text}");
}

#[tokio::test]
async fn a_mined_dynamic_fee_transaction_shows_what_it_paid() {
    let mut fixture = Fixture::new(london_forks());
    let tx = dynamic(0);
    fixture.result("eth_sendRawTransaction", json!([raw(&tx)])).await;
    let pooled = fixture.result("eth_getTransactionByHash", json!([tx.tx_hash()])).await;
    assert_eq!(pooled["gasPrice"], pooled["maxFeePerGas"]);
    fixture.grow(vec![tx.clone()]).await;
    let mined = fixture.result("eth_getTransactionByHash", json!([tx.tx_hash()])).await;
    assert_eq!(mined["type"], "0x2");
    assert_eq!(mined["maxFeePerGas"], "0xb2d05e00");
    assert_eq!(mined["maxPriorityFeePerGas"], "0x77359400");
    assert_eq!(mined["accessList"], json!([]));
    let receipt = fixture.result("eth_getTransactionReceipt", json!([tx.tx_hash()])).await;
    assert_eq!(receipt["type"], "0x2");
    assert_eq!(receipt["effectiveGasPrice"], mined["gasPrice"]);
}

#[tokio::test]
async fn transactions_without_chain_id_are_welcome() {
    let fixture = Fixture::new(book_forks());
    let tx = account(0).sign(TxLegacy {
        chain_id: None,
        nonce: 0,
        gas_price: 1_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(account(1).address()),
        ..TxLegacy::default()
    });
    let hash = fixture.result("eth_sendRawTransaction", json!([raw(&tx)])).await;
    let object = fixture.result("eth_getTransactionByHash", json!([hash])).await;
    assert!(matches!(object["v"].as_str(), Some("0x1b" | "0x1c")), "{object}");
    assert!(object.get("chainId").is_none());
}

#[tokio::test]
async fn refuses_transactions_in_geths_words() {
    let mut fixture = Fixture::new(book_forks());
    fixture.grow(vec![account(0).transfer(1337, 0, account(1).address(), U256::from(7))]).await;
    let fixture = fixture.with_fresh_pool();
    let rich = U256::from(10).pow(U256::from(30));
    let cases = [
        (raw(&account(0).transfer(1337, 0, account(1).address(), U256::from(8))), "nonce too low"),
        (raw(&account(0).transfer(1, 1, account(1).address(), U256::from(8))), "invalid sender"),
        (
            raw(&account(0).transfer(1337, 1, account(1).address(), rich)),
            "insufficient funds for gas * price + value",
        ),
        (vec![0; 131_073].into(), "oversized data"),
        (bytes!(""), "typed transaction too short"),
        (bytes!("02"), "typed transaction too short"),
        (bytes!("7f00"), "transaction type not supported"),
        (bytes!("03f800"), "transaction type not supported"),
        (bytes!("80"), "rlp: expected input list for types.LegacyTx"),
        (bytes!("f86b"), "rlp: value size exceeds available input length"),
    ];
    for (bytes, text) in cases {
        let (code, message) = fixture.error("eth_sendRawTransaction", json!([bytes])).await;
        assert_eq!((code, message.as_str()), (-32000, text));
    }
}

#[tokio::test]
async fn the_pool_is_shown_by_sender_and_nonce() {
    let fixture = Fixture::new(book_forks());
    let (next, later) = (
        account(0).transfer(1337, 0, account(1).address(), U256::from(7)),
        account(0).transfer(1337, 5, account(1).address(), U256::from(7)),
    );
    fixture.result("eth_sendRawTransaction", json!([raw(&next)])).await;
    fixture.result("eth_sendRawTransaction", json!([raw(&later)])).await;
    let sender = account(0).address().to_checksum(None);
    let content = fixture.result("txpool_content", json!([])).await;
    assert_eq!(content["pending"][&sender]["0"]["hash"], json!(next.tx_hash()));
    assert_eq!(content["queued"][&sender]["5"]["hash"], json!(later.tx_hash()));
    let from = fixture.result("txpool_contentFrom", json!([account(0).address()])).await;
    assert_eq!(from["queued"]["5"]["hash"], json!(later.tx_hash()));
    let inspect = fixture.result("txpool_inspect", json!([])).await;
    let to = account(1).address().to_checksum(None);
    assert_eq!(
        inspect["pending"][&sender]["0"],
        json!(format!("{to}: 7 wei + 21000 gas \u{d7} 1000000000 wei"))
    );
}

#[tokio::test]
async fn a_fee_above_the_cap_is_refused_in_geths_words() {
    let fixture = Fixture::new(london_forks());
    let offer = |gas_limit, max_fee_per_gas| {
        let tx = TxEip1559 {
            chain_id: 1337,
            gas_limit,
            max_fee_per_gas,
            to: TxKind::Call(account(1).address()),
            ..TxEip1559::default()
        };
        json!([raw(&account(0).sign(tx))])
    };
    let ether = 1_000_000_000_000_000_000;
    for (params, fee) in [
        (offer(100_000, ether / 100_000 + 1), "1.00"),
        (offer(21_000, 100_000_000_000_000), "2.10"),
        (offer(100_000, 123_456 * (ether / 1_000_000_000)), "12.35"),
        (offer(u64::MAX, u128::MAX), "6277101735386680763495507056286727952620.53"),
    ] {
        let text = format!("tx fee ({fee} ether) exceeds the configured cap (1.00 ether)");
        assert_eq!(fixture.error("eth_sendRawTransaction", params).await, (-32000, text));
    }
    let at_the_cap = fixture.error("eth_sendRawTransaction", offer(20_000, ether / 20_000)).await;
    assert!(!at_the_cap.1.contains("exceeds the configured cap"), "{at_the_cap:?}");
}
