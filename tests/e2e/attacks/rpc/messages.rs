//! Bodies that no client sends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::harness::{
    gauge::{MIB, RSS_DELTA_MAX},
    random::{is_long, say},
};
use tokio::{net::TcpStream, time::Instant};
use tokio_tungstenite::tungstenite::Message;

use super::super::{
    arena::Arena,
    web::{Visitors, Web, call},
};

/// Bodies that the row wants, at least.
const CASES_MIN: usize = 400;
/// How long one of them may take; a program that is not optimised takes some times that.
const REFUSAL_PERIOD_MAX: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 150 } else { 50 });
/// Bytes of the longest value.
const LONG: usize = 1_000_000;
/// What is answered to one body, at most; and what its writer may put around the last part.
const ANSWER_BYTES_MAX: usize = 25 * 1024 * 1024 + 64 * 1024;

/// Values that have ended nodes before.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    let text = |value: &str| value.as_bytes().to_vec();
    vec![
        ("null", text("null")),
        ("true", text("true")),
        ("one", text("1")),
        ("below nothing", text("-1")),
        ("a fraction", text("1.5")),
        ("2^70", text("1180591620717411303424")),
        ("1e400", text("1e400")),
        ("-0", text("-0")),
        ("a million digits", vec![b'9'; LONG]),
        ("an empty string", text("\"\"")),
        ("0x", text("\"0x\"")),
        ("-0x1", text("\"-0x1\"")),
        ("0x of a megabyte of zeros", [b"\"0x", &vec![b'0'; LONG][..], b"\""].concat()),
        ("hex of an odd length", text("\"0xabc\"")),
        ("2^300", [b"\"0x1", &[b'0'; 75][..], b"\""].concat()),
        ("no hex", text("\"0xgg\"")),
        ("NUL", text("\"\\u0000\"")),
        ("a lone surrogate", text("\"\\ud800\"")),
        ("ESC", text("\"\\u001b[31m\\r\\n\"")),
        ("invalid UTF-8", b"\"\xff\xfe\xc0\x80\"".to_vec()),
        ("an empty list", text("[]")),
        ("a list in a list", text("[[]]")),
        ("a list of null", text("[null]")),
        ("a long list", [b"[", &b"0,".repeat(1_000)[..], b"0]"].concat()),
        ("an empty object", text("{}")),
        ("an object", text("{\"a\":{\"b\":[]}}")),
        ("the same name twice", text("{\"to\":\"0x\",\"to\":null}")),
    ]
}

/// Where such a value may stand.
fn places() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("body", "", ""),
        ("batch", "[", "]"),
        ("id", "{\"jsonrpc\":\"2.0\",\"method\":\"eth_chainId\",\"params\":[],\"id\":", "}"),
        ("version", "{\"id\":1,\"method\":\"eth_chainId\",\"params\":[],\"jsonrpc\":", "}"),
        ("method", "{\"jsonrpc\":\"2.0\",\"id\":1,\"params\":[],\"method\":", "}"),
        ("params", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_call\",\"params\":", "}"),
        ("eth_getBalance", CALL_BALANCE, "]}"),
        ("eth_getBalance, block", CALL_BALANCE_AT, "]}"),
        ("eth_call", "{\"id\":1,\"method\":\"eth_call\",\"params\":[", ",\"latest\"]}"),
        ("eth_call, data", "{\"id\":1,\"method\":\"eth_call\",\"params\":[{\"data\":", "}]}"),
        ("eth_call, gas", "{\"id\":1,\"method\":\"eth_call\",\"params\":[{\"gas\":", "}]}"),
        ("eth_call, list", "{\"id\":1,\"method\":\"eth_call\",\"params\":[{\"accessList\":", "}]}"),
        ("eth_call, state", "{\"id\":1,\"method\":\"eth_call\",\"params\":[{},\"latest\",", "]}"),
        ("eth_getLogs", "{\"id\":1,\"method\":\"eth_getLogs\",\"params\":[", "]}"),
        (
            "eth_getLogs, topics",
            "{\"id\":1,\"method\":\"eth_getLogs\",\"params\":[{\"topics\":",
            "}]}",
        ),
        (
            "eth_getLogs, from",
            "{\"id\":1,\"method\":\"eth_getLogs\",\"params\":[{\"fromBlock\":",
            "}]}",
        ),
        ("raw", "{\"id\":1,\"method\":\"eth_sendRawTransaction\",\"params\":[", "]}"),
        ("fees", "{\"id\":1,\"method\":\"eth_feeHistory\",\"params\":[\"0x1\",\"latest\",", "]}"),
        (
            "slot",
            "{\"id\":1,\"method\":\"eth_getStorageAt\",\"params\":[\"0x0000000000000000000000000000000000000000\",",
            "]}",
        ),
        ("filter", "{\"id\":1,\"method\":\"eth_getFilterChanges\",\"params\":[", "]}"),
    ]
}

const CALL_BALANCE: &str = "{\"id\":1,\"method\":\"eth_getBalance\",\"params\":[";
const CALL_BALANCE_AT: &str = "{\"id\":1,\"method\":\"eth_getBalance\",\"params\":[\"0x0000000000000000000000000000000000000000\",";

/// Every value at every place, and some that are no JSON at all.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut cases = Vec::new();
    for (what, value) in values() {
        for (place, before, after) in places() {
            let body = [before.as_bytes(), &value, after.as_bytes()].concat();
            cases.push((format!("{what} as {place}"), body));
        }
    }
    let chain_id = call("eth_chainId", json!([]));
    for (what, body) in [
        ("half an object", b"{\"id\":1".to_vec()),
        ("a byte order mark", [b"\xef\xbb\xbf", chain_id.as_bytes()].concat()),
        ("NUL before", [b"\0", chain_id.as_bytes()].concat()),
        ("NUL behind", [chain_id.as_bytes(), b"\0"].concat()),
        ("UTF-16", chain_id.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a comma too many", b"[1,]".to_vec()),
        ("quotes of another kind", b"{'id':1}".to_vec()),
        ("a comment", b"/**/{}".to_vec()),
        ("NaN", b"{\"id\":NaN}".to_vec()),
        ("closed before it was opened", b"]}".to_vec()),
        ("an escape of nothing", b"\"\\x\"".to_vec()),
        ("every byte", (0..=255).collect()),
    ] {
        cases.push((what.to_owned(), body));
    }
    cases
}

/// The errors in an answer, whatever its form.
fn codes(answer: &Value) -> Vec<i64> {
    let parts = answer.as_array().map_or(std::slice::from_ref(answer), Vec::as_slice);
    let codes = parts.iter().filter_map(|part| part.get("error"));
    codes.map(|error| error["code"].as_i64().expect("every error has a code")).collect()
}

/// An answer. An id goes back as it came, and half of a character is one of them.
fn read(answer: &[u8]) -> Value {
    let text = std::str::from_utf8(answer).expect("an answer is text").replace("\\ud800", "?");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What a client does wrong has these codes: the request's form, its parameters, what it names.
fn check(what: &str, answer: &Value) {
    for code in codes(answer) {
        let is_known = matches!(code, -32_700 | -32_602..=-32_600 | -32_000 | 3);
        assert!(is_known, "{what}: {answer}");
    }
}

/// RPC-05. One connection bears them all.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_are_refused_and_the_connection_stays() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let corpus = corpus();
    assert!(corpus.len() >= CASES_MIN, "{} cases", corpus.len());
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let mut slowest = (Duration::ZERO, "");
    for (what, body) in &corpus {
        let began = Instant::now();
        let page = web.ask_bytes(body).await.unwrap_or_else(|| panic!("{what} ends it"));
        slowest = slowest.max((began.elapsed(), what));
        assert_eq!(page.status, 200, "{what}");
        check(what, &read(&page.body));
    }
    assert_eq!(web.call("eth_chainId", json!([])).await["result"], "0x6bc3");
    say(&format!(
        "RPC-05: {} bodies, the slowest in {:.2?} ({})",
        corpus.len(),
        slowest.0,
        slowest.1
    ));
    assert!(slowest.0 <= REFUSAL_PERIOD_MAX || !is_long(), "{slowest:?}");
    arena.judge(gauge, "RPC-05", RSS_DELTA_MAX).await;
}

/// RPC-05. Text that is no UTF-8 ends a WebSocket, which its standard wants; everything else is
/// answered on one.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_refused_and_the_websocket_stays() {
    let mut arena = Arena::new(&["--ws", "--ws.port", "0"]).await;
    let gauge = arena.gauge().await;
    let address = arena.node.wait_for_websocket();
    let stream = TcpStream::connect(address).await.expect("the node listens");
    let agreed = tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await;
    let (mut socket, _) = agreed.expect("the node speaks WebSocket");
    let mut count = 0;
    for (what, body) in corpus() {
        let Ok(text) = String::from_utf8(body) else { continue };
        socket.send(Message::text(text)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        // A notification is not answered; what follows is.
        let probe = json!({ "id": "probe", "method": "eth_chainId" });
        socket.send(Message::text(probe.to_string())).await.expect("it stays open");
        loop {
            let answer = socket.next().await.unwrap_or_else(|| panic!("{what} ends it"));
            let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
            let Message::Text(text) = answer else { continue };
            let answer = read(text.as_bytes());
            if answer["id"] == "probe" {
                break;
            }
            check(&what, &answer);
        }
        count += 1;
    }
    assert!(count >= CASES_MIN, "{count} cases");
    arena.judge(gauge, "RPC-05 (WebSocket)", RSS_DELTA_MAX).await;
}

/// RPC-06. What nests deeper than any reader recurses, wherever somebody reads.
#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_is_refused_without_a_deep_stack() {
    const DEEP: usize = 100_000;
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let lists = "[".repeat(DEEP) + &"]".repeat(DEEP);
    let objects = "{\"a\":".repeat(DEEP) + "1" + &"}".repeat(DEEP);
    let mut bodies = vec![
        ("open lists".to_owned(), "[".repeat(DEEP)),
        ("two million open lists".to_owned(), "[".repeat(2_000_000)),
        ("open objects".to_owned(), "{\"a\":".repeat(DEEP)),
        ("closed lists".to_owned(), lists.clone()),
        ("closed objects".to_owned(), objects.clone()),
    ];
    for (place, before, after) in places() {
        for (what, nested) in [("lists", &lists), ("objects", &objects)] {
            bodies.push((format!("{what} as {place}"), format!("{before}{nested}{after}")));
        }
    }
    let tracer =
        "{\"id\":1,\"method\":\"debug_traceCall\",\"params\":[{},\"latest\",{\"tracerConfig\":";
    bodies.push(("lists as a tracer's".to_owned(), format!("{tracer}{lists}}}]}}")));
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let mut slowest = (Duration::ZERO, String::new());
    for (what, body) in bodies {
        let began = Instant::now();
        let page = web.ask(&body).await.unwrap_or_else(|| panic!("{what} ends it"));
        let took = began.elapsed();
        let answer = page.json();
        // As in geth, nobody looks at the version, nor at members that mean nothing.
        let is_refused = !what.starts_with("objects as") && !what.ends_with("as version");
        assert!(codes(&answer).len() == 1 || !is_refused, "{what}: {answer}");
        check(&what, &answer);
        slowest = slowest.max((took, what));
    }
    say(&format!("RPC-06: refused within {:.2?} ({})", slowest.0, slowest.1));
    assert!(slowest.0 <= REFUSAL_PERIOD_MAX || !is_long(), "{slowest:?}");
    arena.judge(gauge, "RPC-06", RSS_DELTA_MAX).await;
}

/// RPC-07.
#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_one_refusal_and_those_at_the_limit_delay_nobody() {
    let mut arena = Arena::with_chain(&[]).await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let gauge = arena.gauge().await;
    let visitors = Visitors::start(&arena.node.rpc);
    ask_for_batches(&mut web).await;
    say(&format!("RPC-07: {}", visitors.judge()));
    // The longest answer is put together once, and goes when it is sent.
    arena.judge(gauge, "RPC-07", RSS_DELTA_MAX + 32 * MIB).await;
}

/// Batches beyond the limit, and all kinds of them at it.
async fn ask_for_batches(web: &mut Web) {
    let light = json!({ "id": 1, "method": "eth_blockNumber" }).to_string();
    let batch = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    for (what, item, count) in [
        ("one too many", &*light, 1_001),
        ("ten times too many", &light, 10_000),
        ("90 000", &light, 90_000),
        ("100 000 of nothing", "{}", 100_000),
        ("a million numbers", "1", 1_000_000),
    ] {
        let page = web.ask(&batch(item, count)).await.unwrap_or_else(|| panic!("{what}"));
        let answer = page.json();
        assert_eq!(answer["error"]["message"], "batch too large", "{what}: {answer}");
    }
    let logs = json!({ "id": 1, "method": "eth_getLogs", "params": [{ "fromBlock": "0x0" }] });
    let large = json!({ "id": 1, "method": "eth_getBlockByNumber", "params": ["latest", true] });
    for (what, item, is_cut) in [
        ("blocks", light, false),
        ("logs", logs.to_string(), false),
        ("batches", "[1,2,3]".to_owned(), true),
        ("nothing", "{}".to_owned(), true),
        ("large blocks", large.to_string(), true),
    ] {
        let page = web.ask(&batch(&item, 1_000)).await.unwrap_or_else(|| panic!("{what}"));
        assert!(page.body.len() <= ANSWER_BYTES_MAX, "{what}: {} bytes", page.body.len());
        let answer = page.json();
        assert_eq!(answer.as_array().map(Vec::len), Some(1_000), "{what}");
        assert_eq!(!codes(&answer).is_empty(), is_cut, "{what}");
    }
}
