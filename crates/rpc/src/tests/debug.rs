use alloy_consensus::TxLegacy;
use alloy_rlp::Decodable;
use chain::{Origin, testing::book_forks};
use primitives::{Address, B256, Block, Bytes, SealedBlock, TxKind, U256, bytes, hex};
use serde_json::{Value, json};

use super::{
    Fixture, account,
    calls::{READ_SLOT, REVERT, deploy},
    london_forks,
};

/// Calls whatever address its call data ends with, with a wei, and keeps the outcome in slot 1.
const CALLER: Bytes = bytes!("600060006000600060016000355af1600155");

/// A transaction that calls a contract.
async fn call(fixture: &mut Fixture, to: Address, nonce: u64, input: Vec<u8>) -> Value {
    let tx = account(0).sign(TxLegacy {
        chain_id: Some(1337),
        nonce,
        gas_price: 2_000_000_000,
        gas_limit: 200_000,
        to: TxKind::Call(to),
        value: U256::from(10),
        input: input.into(),
    });
    fixture.grow(vec![tx.clone()]).await;
    json!(tx.tx_hash())
}

fn word(address: Address) -> Vec<u8> {
    address.into_word().to_vec()
}

#[tokio::test]
async fn a_transaction_is_shown_instruction_by_instruction() {
    let mut fixture = Fixture::new(london_forks());
    let contract = deploy(&mut fixture, 0, &READ_SLOT).await;
    let hash = call(&mut fixture, contract, 1, Vec::new()).await;
    let trace = fixture.result("debug_traceTransaction", json!([hash])).await;
    assert_eq!(trace["failed"], false);
    assert_eq!(trace["returnValue"], format!("{:064x}", 7));
    let receipt = fixture.result("eth_getTransactionReceipt", json!([hash])).await;
    let gas = trace["gas"].as_u64().unwrap();
    assert_eq!(receipt["gasUsed"], format!("{gas:#x}"));
    let steps = trace["structLogs"].as_array().unwrap();
    let ops: Vec<&str> = steps.iter().map(|step| step["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["PUSH1", "SLOAD", "PUSH1", "MSTORE", "PUSH1", "PUSH1", "RETURN"]);
    assert_eq!(steps[1]["gasCost"], 2_100);
    assert_eq!(steps[1]["stack"], json!(["0x0"]));
    let slot = format!("{:064x}", 0);
    assert_eq!(steps[1]["storage"], json!({ slot: format!("{:064x}", 7) }));
    assert_eq!(steps[0].get("memory"), None, "memory is shown to those who ask");
    let bare = json!({"enableMemory": true, "disableStack": true, "limit": 5});
    let trace = fixture.result("debug_traceTransaction", json!([hash, bare])).await;
    let steps = trace["structLogs"].as_array().unwrap();
    assert_eq!((steps.len(), steps[0].get("stack")), (5, None));
    assert_eq!(steps[4]["memory"], json!([format!("{:064x}", 7)]));
}

#[tokio::test]
async fn the_call_tracer_tells_who_called_whom() {
    let mut fixture = Fixture::new(london_forks());
    let reverter = deploy(&mut fixture, 0, &REVERT).await;
    let caller = deploy(&mut fixture, 1, &CALLER).await;
    let hash = call(&mut fixture, caller, 2, word(reverter)).await;
    let config = json!({"tracer": "callTracer"});
    let top = fixture.result("debug_traceTransaction", json!([hash, config])).await;
    assert_eq!(top["type"], "CALL");
    assert_eq!(top["gas"], "0x30d40");
    assert_eq!(top["value"], "0xa");
    assert_eq!(top.get("error"), None);
    let inner = &top["calls"][0];
    assert_eq!(inner["to"], json!(reverter));
    assert_eq!(inner["value"], "0x1");
    assert_eq!(inner["error"], "execution reverted");
    assert_eq!(inner["output"], format!("0x{:064x}", 1));
    let only_top = json!({"tracer": "callTracer", "tracerConfig": {"onlyTopCall": true}});
    let top = fixture.result("debug_traceTransaction", json!([hash, only_top])).await;
    assert_eq!(top.get("calls"), None);
    let blocks = fixture.result("debug_traceBlockByNumber", json!(["latest", config])).await;
    assert_eq!(blocks[0]["result"]["calls"][0]["to"], json!(reverter));
    assert_eq!(blocks[0]["txHash"], hash);
}

#[tokio::test]
async fn the_prestate_tracer_tells_what_was_and_what_became() {
    let mut fixture = Fixture::new(london_forks());
    let contract = deploy(&mut fixture, 0, &CALLER).await;
    let hash = call(&mut fixture, contract, 1, word(Address::repeat_byte(9))).await;
    let config = json!({"tracer": "prestateTracer"});
    let pre = fixture.result("debug_traceTransaction", json!([hash, config])).await;
    let sender = account(0).address();
    assert_eq!(pre[sender.to_string().to_lowercase()]["nonce"], 1);
    let shown = &pre[contract.to_string().to_lowercase()];
    assert_eq!(shown["balance"], "0x0");
    assert_eq!(shown["code"], json!(CALLER));
    assert!(shown["storage"].is_object());
    let config = json!({"tracer": "prestateTracer", "tracerConfig": {"diffMode": true}});
    let diff = fixture.result("debug_traceTransaction", json!([hash, config])).await;
    assert_eq!(diff["post"][sender.to_string().to_lowercase()]["nonce"], 2);
    let post = &diff["post"][contract.to_string().to_lowercase()];
    assert_eq!(post["balance"], "0x9");
    assert_eq!(post["storage"][format!("0x{:064x}", 1)], format!("0x{:064x}", 1));
    assert_eq!(diff["post"][format!("{:?}", Address::repeat_byte(9))]["balance"], "0x1");
}

#[tokio::test]
async fn a_call_is_traced_in_a_block_and_a_state_that_it_pretends() {
    let fixture = Fixture::new(london_forks());
    let other = Address::repeat_byte(9);
    // NUMBER, returned.
    let config = json!({
        "tracer": "callTracer",
        "stateOverrides": {other.to_string(): {"code": "0x4360005260206000f3"}},
        "blockOverrides": {"number": "0x50"},
    });
    let trace = fixture.result("debug_traceCall", json!([{"to": other}, "latest", config])).await;
    assert_eq!(trace["output"], format!("0x{:064x}", 0x50));
    let selectors = json!({"tracer": "4byteTracer"});
    let call = json!({"to": other, "data": "0xdeadbeef0102"});
    let counts = fixture.result("debug_traceCall", json!([call, "latest", selectors])).await;
    assert_eq!(counts, json!({"0xdeadbeef-2": 1}));
    let nothing = json!({"tracer": "noopTracer"});
    assert_eq!(
        fixture.result("debug_traceCall", json!([call, "latest", nothing])).await,
        json!({})
    );
    let several = json!({"tracer": "muxTracer", "tracerConfig": {
        "parityTracer": null,
        "flatCallTracer": {"includePrecompiles": true},
        "4byteTracer": null,
    }});
    let traces = fixture.result("debug_traceCall", json!([call, "latest", several])).await;
    assert_eq!(traces["4byteTracer"], json!({"0xdeadbeef-2": 1}));
    assert_eq!(traces["parityTracer"][0]["action"]["input"], "0xdeadbeef0102");
    assert_eq!(traces["parityTracer"], traces["flatCallTracer"]);
}

#[tokio::test]
async fn traces_of_endless_code_end() {
    let fixture = Fixture::new(london_forks());
    let other = Address::repeat_byte(9);
    let overrides = json!({other.to_string(): {"code": "0x5b600056"}});
    let call = json!([{"to": other, "gas": "0x2faf080"}, "latest",
        {"stateOverrides": overrides, "tracer": "noopTracer", "timeout": "20ms"}]);
    let late = fixture.error("debug_traceCall", call).await;
    assert_eq!(late, (-32000, "execution timeout".to_owned()));
    let call = json!([{"to": other, "gas": "0x2faf080"}, "latest",
        {"stateOverrides": overrides, "timeout": "60s"}]);
    let (code, text) = fixture.error("debug_traceCall", call).await;
    assert_eq!(code, -32000);
    assert!(text.starts_with("trace is larger than 26214400 bytes"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_traced_is_said_in_geths_words() {
    let fixture = Fixture::new(london_forks());
    let unknown = json!([format!("0x{:064x}", 1)]);
    for (method, params, text) in [
        ("debug_traceTransaction", unknown, "transaction not found"),
        ("debug_traceBlockByNumber", json!(["0x0"]), "genesis is not traceable"),
        ("debug_traceBlockByNumber", json!(["0x7"]), "block #7 not found"),
    ] {
        assert_eq!(fixture.error(method, params).await, (-32000, text.to_owned()), "{method}");
    }
    let script = json!(["0x0", {"tracer": "{step: function() {}}"}]);
    let (code, text) = fixture.error("debug_traceBlockByNumber", script).await;
    assert_eq!(code, -32602);
    assert!(text.contains("scripts are not run"), "{text}");
    let within = json!({"tracer": "muxTracer", "tracerConfig": {"muxTracer": {}}});
    let (code, text) = fixture.error("debug_traceBlockByNumber", json!(["0x0", within])).await;
    assert_eq!(code, -32602);
    assert!(text.contains("a muxTracer cannot be within another"), "{text}");
}

#[tokio::test]
async fn blocks_headers_and_receipts_are_told_as_bytes() {
    let mut fixture = Fixture::new(book_forks());
    deploy(&mut fixture, 0, &READ_SLOT).await;
    let raw = fixture.result("debug_getRawBlock", json!(["latest"])).await;
    let bytes: Bytes = serde_json::from_value(raw.clone()).unwrap();
    let block = Block::decode(&mut &bytes[..]).unwrap();
    let shown = fixture.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(json!(block.header.hash_slow()), shown["hash"]);
    let without_prefix = fixture.result("debug_getBlockRlp", json!([1])).await;
    assert_eq!(without_prefix, json!(hex::encode(&bytes)));
    let header: Bytes =
        serde_json::from_value(fixture.result("debug_getRawHeader", json!(["0x1"])).await).unwrap();
    assert_eq!(primitives::Header::decode(&mut &header[..]).unwrap(), block.header);
    let traced = fixture.result("debug_traceBlock", json!([raw, {"tracer": "callTracer"}])).await;
    assert_eq!(traced[0]["result"]["type"], "CREATE");
    let receipts = fixture.result("debug_getRawReceipts", json!(["latest"])).await;
    let receipts: Vec<Bytes> = serde_json::from_value(receipts).unwrap();
    assert_eq!(receipts.len(), 1);
    let tx = shown["transactions"][0].clone();
    let raw = fixture.result("debug_getRawTransaction", json!([tx])).await;
    assert_eq!(raw, fixture.result("eth_getRawTransactionByHash", json!([tx])).await);
    assert_eq!(fixture.result("debug_getBadBlocks", json!([])).await, json!([]));
    let seed = fixture.result("debug_seedHash", json!([30_000])).await;
    assert_eq!(seed, "0x290decd9548b62a8d60345a988386fc84ba6bc95484008f6362f93160ef3e563");
}

#[tokio::test]
async fn states_are_told_account_by_account() {
    let mut fixture = Fixture::new(london_forks());
    let contract = deploy(&mut fixture, 0, &CALLER).await;
    let heir = Address::repeat_byte(9);
    call(&mut fixture, contract, 1, word(heir)).await;
    let dump = fixture.result("debug_dumpBlock", json!(["latest"])).await;
    let shown = &dump["accounts"][contract.to_string().to_lowercase()];
    assert_eq!(shown["balance"], "9");
    assert_eq!(shown["code"], json!(CALLER));
    assert_eq!(shown["storage"][format!("0x{:064x}", 1)], "01");
    let all = dump["accounts"].as_object().unwrap().len();
    let mut told = 0;
    let mut start = json!("0x");
    loop {
        let params = json!(["latest", start, 2, true, true, false]);
        let part = fixture.result("debug_accountRange", params).await;
        told += part["accounts"].as_object().unwrap().len();
        match part.get("next") {
            Some(next) => start = next.clone(),
            None => break,
        }
    }
    assert_eq!(told, all);
    let hash = fixture.result("eth_getBlockByNumber", json!(["latest", false])).await;
    let params = json!([hash["hash"], 1, contract, "0x00", 100]);
    let range = fixture.result("debug_storageRangeAt", params).await;
    let slots = range["storage"].as_object().unwrap();
    let keys: Vec<&Value> = slots.values().map(|slot| &slot["key"]).collect();
    assert!(keys.contains(&&json!(format!("0x{:064x}", 1))), "{range}");
    assert_eq!(range["nextKey"], Value::Null);
    let before = json!([hash["hash"], 0, contract, "0x00", 100]);
    let before = fixture.result("debug_storageRangeAt", before).await;
    assert_eq!(before["storage"].as_object().unwrap().len(), slots.len() - 1);
    let modified = fixture.result("debug_getModifiedAccountsByNumber", json!([1, 2])).await;
    let modified = modified.as_array().unwrap();
    for address in [contract, heir, account(0).address()] {
        assert!(modified.contains(&json!(address)), "{address}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sets_the_head_back_and_the_chain_goes_on() {
    let mut fixture = Fixture::new(book_forks());
    let first = fixture.grow(vec![]).await;
    fixture.grow(vec![]).await;
    let third = fixture.grow(vec![]).await;
    assert_eq!(fixture.result("debug_setHead", json!(["0x1"])).await, Value::Null);
    assert_eq!(fixture.result("eth_blockNumber", json!([])).await, "0x1");
    let head = fixture.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(head["hash"], json!(first.hash()));
    assert_eq!(fixture.result("eth_getBlockByNumber", json!(["0x2", false])).await, Value::Null);
    let fourth = fixture.grow(vec![]).await;
    assert_eq!(fourth.header().parent_hash, third.hash());
    assert_eq!(fixture.result("eth_blockNumber", json!([])).await, "0x4");
}

#[tokio::test]
async fn an_access_list_is_found_by_trying() {
    let mut fixture = Fixture::new(london_forks());
    let contract = deploy(&mut fixture, 0, &CALLER).await;
    let reader = deploy(&mut fixture, 1, &READ_SLOT).await;
    let call = json!({
        "from": account(0).address(),
        "to": contract,
        "gas": "0x30d40",
        "value": "0xa",
        "data": Bytes::from(word(reader)),
    });
    let found = fixture.result("eth_createAccessList", json!([call, "latest"])).await;
    let list = found["accessList"].as_array().unwrap();
    let item = |address: Address| list.iter().find(|item| item["address"] == json!(address));
    assert_eq!(item(contract).unwrap()["storageKeys"], json!([format!("0x{:064x}", 1)]));
    assert_eq!(item(reader).unwrap()["storageKeys"], json!([format!("0x{:064x}", 0)]));
    assert_eq!(found.get("error"), None);
}

#[tokio::test]
async fn a_call_may_pretend_another_block() {
    let fixture = Fixture::new(london_forks());
    let code = "0x4360005260206000f3";
    let pretend = json!({"number": "0x1234"});
    let params = json!([{"data": code}, "latest", {}, pretend]);
    let answer = fixture.result("eth_call", params).await;
    assert_eq!(answer, format!("0x{:064x}", 0x1234));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_goes_to_a_file_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(book_forks());
    deploy(&mut fixture, 0, &READ_SLOT).await;
    let head = fixture.grow(vec![]).await;
    for name in ["chain.rlp", "chain.rlp.gz"] {
        let path = directory.path().join(name).display().to_string();
        assert_eq!(fixture.result("admin_exportChain", json!([path])).await, true);
        let (_, text) = fixture.error("admin_exportChain", json!([path])).await;
        assert_eq!(text, "location would overwrite an existing file");
        let other = Fixture::new(book_forks());
        assert_eq!(other.result("admin_importChain", json!([path])).await, true);
        let latest = other.result("eth_getBlockByNumber", json!(["latest", false])).await;
        assert_eq!(latest["hash"], json!(head.hash()));
    }
    let path = directory.path().join("no.rlp");
    std::fs::write(&path, [0xc0]).unwrap();
    let (_, text) = fixture.error("admin_importChain", json!([path])).await;
    assert_eq!(text, "the file holds something that is no block");
}

#[tokio::test]
async fn blocks_that_break_a_rule_are_shown_and_traced() {
    let mut fixture = Fixture::new(london_forks());
    let key = account(0);
    let transfer = key.transfer(1337, 0, account(1).address(), U256::from(7));
    let good = fixture.builder.extend(vec![transfer.clone()]);
    let Block { mut header, body } = good.clone_block();
    header.state_root = B256::repeat_byte(7);
    let bad = SealedBlock::seal_slow(Block { header, body });
    for _ in 0..2 {
        let verified = fixture.builder.verify(bad.clone());
        let error = fixture.api.node.chain.import(verified, Origin::Other).await.unwrap_err();
        assert!(error.is_senders_fault(), "{error}");
    }
    fixture.import(good.clone()).await;
    let shown = fixture.result("debug_getBadBlocks", json!([])).await;
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["hash"], json!(bad.hash()));
    assert_eq!(shown[0]["rlp"], json!(Bytes::from(alloy_rlp::encode(&bad))));
    let block = &shown[0]["block"];
    assert_eq!(block["stateRoot"], json!(B256::repeat_byte(7)));
    assert_eq!(block["transactions"][0]["from"], json!(key.address()));
    assert!(block.get("totalDifficulty").is_none());
    let traced = fixture.result("debug_traceBadBlock", json!([bad.hash()])).await;
    assert_eq!(traced[0]["txHash"], json!(transfer.tx_hash()));
    assert_eq!(traced[0]["result"]["gas"], 21_000);
    let text = format!("bad block {} not found", good.hash());
    let answer = fixture.error("debug_traceBadBlock", json!([good.hash()])).await;
    assert_eq!(answer, (-32_000, text));
}
