use std::time::Duration;

use alloy_consensus::TxLegacy;
use chain::testing::book_forks;
use primitives::{Address, Bytes, Forks, TxKind, U256, bytes};
use serde_json::{Value, json};

use super::{Fixture, Node, account};

/// Returns the slot 0 of its storage.
pub(super) const READ_SLOT: Bytes = bytes!("60005460005260206000f3");
/// Reverts with a word of 1.
pub(super) const REVERT: Bytes = bytes!("600160005260206000fd");

/// Init code that leaves this code behind and 7 in slot 0.
fn init(code: &Bytes) -> Bytes {
    let length = u8::try_from(code.len()).unwrap();
    let prefix = [
        0x60, 7, 0x60, 0, 0x55, 0x60, length, 0x60, 17, 0x60, 0, 0x39, 0x60, length, 0x60, 0, 0xf3,
    ];
    [&prefix[..], code].concat().into()
}

pub(super) async fn deploy(fixture: &mut Fixture, nonce: u64, code: &Bytes) -> Address {
    let tx = account(0).create(1337, nonce, init(code));
    fixture.grow(vec![tx.clone()]).await;
    let receipt = fixture.result("eth_getTransactionReceipt", json!([tx.tx_hash()])).await;
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].as_str().unwrap().parse().unwrap()
}

fn word(value: u64) -> Value {
    json!(format!("0x{value:064x}"))
}

#[tokio::test]
async fn a_contract_is_deployed_read_and_called() {
    let mut fixture = Fixture::new(book_forks());
    let contract = deploy(&mut fixture, 0, &READ_SLOT).await;
    assert_eq!(fixture.result("eth_getCode", json!([contract, "latest"])).await, json!(READ_SLOT));
    assert_eq!(fixture.result("eth_getCode", json!([contract, "0x0"])).await, "0x");
    assert_eq!(
        fixture.result("eth_getStorageAt", json!([contract, "0x0", "latest"])).await,
        word(7)
    );
    assert_eq!(fixture.result("eth_call", json!([{"to": contract}, "latest"])).await, word(7));
    assert_eq!(fixture.result("eth_call", json!([{"to": contract}, "0x0"])).await, "0x");
}

#[tokio::test]
async fn a_call_may_pretend_another_state() {
    let mut fixture = Fixture::new(book_forks());
    let contract = deploy(&mut fixture, 0, &READ_SLOT).await;
    let slot = |index: u64, value: u64| json!({word(index).as_str().unwrap(): word(value)});
    let other = Address::repeat_byte(9);
    for (overrides, to, want) in [
        (json!({contract.to_string(): {"stateDiff": slot(0, 9)}}), contract, word(9)),
        (json!({contract.to_string(): {"state": slot(1, 9)}}), contract, word(0)),
        (json!({other.to_string(): {"code": READ_SLOT, "stateDiff": slot(0, 5)}}), other, word(5)),
        // CALLER BALANCE
        (
            json!({other.to_string(): {"code": "0x333160005260206000f3"}, Address::ZERO.to_string(): {"balance": "0x64"}}),
            other,
            word(100),
        ),
    ] {
        assert_eq!(
            fixture.result("eth_call", json!([{"to": to}, "latest", overrides])).await,
            want
        );
    }
    assert_eq!(fixture.result("eth_call", json!([{"to": contract}, "latest"])).await, word(7));
    let both = json!({contract.to_string(): {"state": {}, "stateDiff": {}}});
    let (code, text) = fixture.error("eth_call", json!([{"to": contract}, "latest", both])).await;
    assert_eq!(code, -32602);
    assert!(text.contains("has both 'state' and 'stateDiff'"), "{text}");
}

#[tokio::test]
async fn a_revert_is_code_3_with_its_data() {
    let fixture = Fixture::new(Forks { byzantium: Some(0), ..book_forks() });
    let other = Address::repeat_byte(9);
    let overrides = json!({other.to_string(): {"code": REVERT}});
    let answer = fixture.answer("eth_call", json!([{"to": other}, "latest", overrides])).await;
    assert_eq!(answer["error"]["code"], 3);
    assert_eq!(answer["error"]["message"], "execution reverted");
    assert_eq!(answer["error"]["data"], word(1));
}

#[tokio::test]
async fn other_failures_have_the_machines_words() {
    let fixture = Fixture::new(book_forks());
    let other = Address::repeat_byte(9);
    for (code, text) in [
        ("0xfe", "invalid opcode: opcode 0xfe not defined"),
        ("0x600056", "invalid jump destination"),
    ] {
        let overrides = json!({other.to_string(): {"code": code}});
        let (number, message) =
            fixture.error("eth_call", json!([{"to": other}, "latest", overrides])).await;
        assert_eq!(number, -32000);
        assert!(message.starts_with(text.split(": ").next().unwrap()), "{message}");
    }
    let starved = json!([{"to": other, "gas": "0x0"}, "latest"]);
    let (code, text) = fixture.error("eth_call", starved).await;
    assert_eq!(code, -32000);
    assert!(text.contains("intrinsic gas too low"), "{text}");
    let poor = json!([{"from": other, "to": other, "value": "0x1"}, "latest"]);
    let (code, text) = fixture.error("eth_call", poor).await;
    assert_eq!(code, -32000);
    assert!(text.starts_with("err: insufficient funds for gas * price + value"), "{text}");
    assert!(text.ends_with("(supplied gas 50000000)"), "{text}");
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_gas_limit() {
    let fixture = Fixture::new(book_forks());
    let other = Address::repeat_byte(9);
    let overrides = json!({other.to_string(): {"code": "0x5b600056"}});
    let answer = fixture.error("eth_call", json!([{"to": other}, "latest", overrides])).await;
    assert_eq!(answer, (-32000, "out of gas".to_owned()));
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_aborted_in_geths_words() {
    let Fixture { api, thread, builder, .. } = Fixture::new(book_forks());
    let call_time_max = Some(Duration::from_millis(20));
    let node = Node { gas_max: 0, call_time_max, ..api.node.clone() };
    let fixture = Fixture::of(node, thread, builder);
    let other = Address::repeat_byte(9);
    let overrides = json!({other.to_string(): {"code": "0x5b600056"}});
    let answer = fixture.error("eth_call", json!([{"to": other}, "latest", overrides])).await;
    let aborted = (-32000, "execution aborted (timeout = 20ms)".to_owned());
    assert_eq!(answer, aborted);
    let endless = json!({"data": "0x5b600056", "gas": "0x7fffffffffffffff"});
    assert_eq!(fixture.error("eth_estimateGas", json!([endless])).await, aborted);
}

#[tokio::test]
async fn estimates_what_a_transaction_needs() {
    let mut fixture = Fixture::new(book_forks());
    let transfer =
        json!({"from": account(0).address(), "to": account(1).address(), "value": "0x1"});
    assert_eq!(fixture.result("eth_estimateGas", json!([transfer])).await, "0x5208");
    assert_eq!(fixture.result("eth_estimateGas", json!([transfer, "latest"])).await, "0x5208");
    let creation = json!({"from": account(0).address(), "data": init(&READ_SLOT)});
    let estimate = fixture.result("eth_estimateGas", json!([creation])).await;
    let gas_limit =
        u64::from_str_radix(estimate.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    for (gas_limit, status) in [(gas_limit, "0x1"), (gas_limit - 1, "0x0")] {
        let tx = account(u8::from(status == "0x0")).sign(TxLegacy {
            chain_id: Some(1337),
            nonce: 0,
            gas_price: 1_000_000_000,
            gas_limit,
            to: TxKind::Create,
            value: U256::ZERO,
            input: init(&READ_SLOT),
        });
        fixture.grow(vec![tx.clone()]).await;
        let receipt = fixture.result("eth_getTransactionReceipt", json!([tx.tx_hash()])).await;
        assert_eq!(receipt["status"], status, "{gas_limit}");
    }
    let failing = json!({"from": account(0).address(), "data": "0x600056"});
    let (code, _) = fixture.error("eth_estimateGas", json!([failing])).await;
    assert_eq!(code, -32000);
}

#[tokio::test]
async fn calls_are_refused_in_geths_words() {
    let fixture = Fixture::new(book_forks());
    for (params, text) in [
        (json!([]), "missing value for required argument 0"),
        (json!([{}]), "missing value for required argument 1"),
        (
            json!([{"data": "0x00", "input": "0x01"}, "latest"]),
            "invalid argument 0: both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data",
        ),
        (
            json!([{"gasPrice": "0x1", "maxFeePerGas": "0x1"}, "latest"]),
            "invalid argument 0: both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified",
        ),
    ] {
        assert_eq!(fixture.error("eth_call", params).await, (-32602, text.to_owned()));
    }
}
