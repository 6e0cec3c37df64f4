use std::sync::Arc;

use accounts::Keystore;
use primitives::{Address, U256};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Fixture, Node, account, london_forks, post};
use crate::{HttpConfig, RpcConfig, RpcServer};

const PASSWORD: &str = "a secret for tests";

/// A node with an empty keystore; new keys in it are weak, and quick to open.
fn with_keystore() -> (Fixture, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let Fixture { api, thread, builder, .. } = Fixture::new(london_forks());
    let keystore = Arc::new(Keystore::open(directory.path()).unwrap());
    let node = Node { keystore: Some(keystore), ..api.node.clone() };
    (Fixture::of(node, thread, builder), directory)
}

/// Takes in the key of an account that has ether.
async fn import_rich(fixture: &Fixture) -> Address {
    let key = primitives::hex::encode(account(0).secret());
    let address = fixture.result("personal_importRawKey", json!([key, PASSWORD])).await;
    assert_eq!(address, json!(account(0).address()));
    account(0).address()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_and_unlocked() {
    let (fixture, _directory) = with_keystore();
    let made = fixture.result("personal_newAccount", json!([PASSWORD])).await;
    assert_eq!(fixture.result("personal_listAccounts", json!([])).await, json!([made]));
    assert_eq!(fixture.result("eth_accounts", json!([])).await, json!([made]));
    let wallets = fixture.result("personal_listWallets", json!([])).await;
    assert_eq!(wallets[0]["status"], "Locked");
    assert_eq!(wallets[0]["accounts"][0]["address"], made);
    assert!(wallets[0]["url"].as_str().unwrap().starts_with("keystore:///"));
    let locked = (-32000, "authentication needed: password or unlock".to_owned());
    assert_eq!(fixture.error("eth_sign", json!([made, "0x01"])).await, locked);
    let wrong = (-32000, "could not decrypt key with given password".to_owned());
    assert_eq!(fixture.error("personal_unlockAccount", json!([made, "no"])).await, wrong);
    let long = json!([made, PASSWORD, 9_223_372_037_u64]);
    let too_long = (-32000, "unlock duration too large".to_owned());
    assert_eq!(fixture.error("personal_unlockAccount", long).await, too_long);
    let unlock = json!([made, PASSWORD, 0]);
    assert_eq!(fixture.result("personal_unlockAccount", unlock).await, true);
    let signature = fixture.result("eth_sign", json!([made, "0x01"])).await;
    let signer = fixture.result("personal_ecRecover", json!(["0x01", signature])).await;
    assert_eq!(signer, made);
    assert_eq!(fixture.result("personal_lockAccount", json!([made])).await, true);
    assert_eq!(fixture.error("eth_sign", json!([made, "0x01"])).await, locked);
    let by_password = fixture.result("personal_sign", json!(["0x01", made, PASSWORD])).await;
    assert_eq!(by_password, signature);
    let stranger = json!([Address::repeat_byte(1), "0x01"]);
    let unknown = (-32000, "unknown account".to_owned());
    assert_eq!(fixture.error("eth_sign", stranger).await, unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_completed_signed_and_sent() {
    let (fixture, _directory) = with_keystore();
    let from = import_rich(&fixture).await;
    let again = primitives::hex::encode(account(0).secret());
    let exists = (-32000, "account already exists".to_owned());
    let twice = fixture.error("personal_importRawKey", json!([again, PASSWORD])).await;
    assert_eq!(twice, exists);
    let to = Address::repeat_byte(9);
    let args = json!({"from": from, "to": to, "value": "0x1"});
    let locked = (-32000, "authentication needed: password or unlock".to_owned());
    assert_eq!(fixture.error("eth_sendTransaction", json!([args])).await, locked);
    let hash = fixture.result("personal_sendTransaction", json!([args, PASSWORD])).await;
    fixture.result("personal_unlockAccount", json!([from, PASSWORD])).await;
    let next = fixture.result("eth_sendTransaction", json!([args])).await;
    let waiting = fixture.result("eth_pendingTransactions", json!([])).await;
    assert_eq!(waiting.as_array().unwrap().len(), 2);
    let first = fixture.result("eth_getTransactionByHash", json!([hash])).await;
    let second = fixture.result("eth_getTransactionByHash", json!([next])).await;
    assert_eq!((&first["nonce"], &second["nonce"]), (&json!("0x0"), &json!("0x1")));
    assert_eq!((&first["type"], &first["gas"]), (&json!("0x2"), &json!("0x5208")));
    assert_eq!(first["maxPriorityFeePerGas"], "0x3b9aca00");
    let nobody = json!([{"from": to, "to": to}]);
    let unknown = (-32000, "unknown account".to_owned());
    assert_eq!(fixture.error("eth_sendTransaction", nobody).await, unknown);
    let empty = json!([{"from": from}]);
    let (_, text) = fixture.error("eth_sendTransaction", empty).await;
    assert_eq!(text, "contract creation without any data provided");
    let other_chain = json!([{"from": from, "to": to, "chainId": "0x1"}]);
    let (_, text) = fixture.error("eth_sendTransaction", other_chain).await;
    assert_eq!(text, "chainId does not match node's (have=1, want=1337)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_transaction_is_sent_again_at_another_price() {
    let (fixture, _directory) = with_keystore();
    let from = import_rich(&fixture).await;
    fixture.result("personal_unlockAccount", json!([from, PASSWORD])).await;
    let to = Address::repeat_byte(9);
    let args = json!({
        "from": from, "to": to, "nonce": "0x0", "gas": "0x5208", "gasPrice": "0x77359400",
    });
    let hash = fixture.result("eth_sendTransaction", json!([args])).await;
    let resent = fixture.result("eth_resend", json!([args, "0xee6b2800"])).await;
    assert_ne!(resent, hash);
    assert_eq!(fixture.result("eth_getTransactionByHash", json!([hash])).await, Value::Null);
    let missing = json!([{"from": from, "to": to, "gas": "0x5208"}]);
    let (_, text) = fixture.error("eth_resend", missing).await;
    assert_eq!(text, "missing transaction nonce in transaction spec");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_without_sending_needs_everything_said() {
    let (fixture, _directory) = with_keystore();
    let from = import_rich(&fixture).await;
    let to = Address::repeat_byte(9);
    let mut args = json!({"from": from, "to": to});
    for (member, value, text) in [
        ("gas", "0x5208", "gas not specified"),
        ("gasPrice", "0x77359400", "missing gasPrice or maxFeePerGas/maxPriorityFeePerGas"),
        ("nonce", "0x0", "nonce not specified"),
    ] {
        let (_, said) = fixture.error("eth_signTransaction", json!([args])).await;
        assert_eq!(said, text);
        args[member] = json!(value);
    }
    let signed = fixture.result("personal_signTransaction", json!([args, PASSWORD])).await;
    assert_eq!(signed["tx"]["to"], json!(to));
    let hash = fixture.result("eth_sendRawTransaction", json!([signed["raw"]])).await;
    assert_eq!(hash, signed["tx"]["hash"]);
    let filled = fixture.result("eth_fillTransaction", json!([{"from": from, "to": to}])).await;
    assert_eq!(filled["tx"]["nonce"], "0x1");
    assert_eq!(filled["tx"]["r"], "0x0");
    let fee = filled["tx"]["maxFeePerGas"].as_str().unwrap().trim_start_matches("0x");
    assert!(U256::from_str_radix(fee, 16).unwrap() > U256::from(1_000_000_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_not_unlocked_where_strangers_could_use_them() {
    for (allowed, want) in [(false, None), (true, Some(true))] {
        let (fixture, _directory) = with_keystore();
        let from = import_rich(&fixture).await;
        let node = Node { allow_insecure_unlock: allowed, ..fixture.api.node.clone() };
        let mut http = HttpConfig::new("127.0.0.1:0".parse().unwrap());
        http.modules = vec!["personal".to_owned()];
        let config = RpcConfig { http: Some(http), ..RpcConfig::default() };
        let shutdown = CancellationToken::new();
        let server = RpcServer::start(config, node, shutdown.clone()).await.unwrap();
        let call = json!({"id": 1, "method": "personal_unlockAccount", "params": [from, PASSWORD]});
        let answer = post(server.http_address().unwrap(), &call.to_string()).await;
        assert_eq!(answer["result"].as_bool(), want, "{answer}");
        if !allowed {
            let text = "account unlock with HTTP access is forbidden";
            assert_eq!(answer["error"]["message"], text);
        }
        shutdown.cancel();
        server.stopped().await;
    }
}
