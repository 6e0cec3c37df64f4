//! Who gets in, and to what.

use std::{
    fs::{self, Permissions},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use serde_json::{Value, json};
use tests::harness::{
    gauge::RSS_DELTA_MAX,
    random::{is_long, say},
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use super::super::{
    arena::Arena,
    web::{Page, Web, call, post},
};
use crate::harness::{
    branches::write,
    node::{Node, fail},
};

/// Wrong secrets a second, and those of them that are looked at.
const TRIES_PER_SECOND: u32 = 100;
const TRIES_ALLOWED: u32 = 10;
/// For how long they come.
const PERIOD: Duration = Duration::from_secs(3);
const PERIOD_LONG: Duration = Duration::from_secs(20);
const VISIT_P99_MAX: Duration = Duration::from_millis(100);

/// RPC-14.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_a_password_is_slow_and_disturbs_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let logins = write(folder.path(), "logins", "alice:hidden-password\n");
    fs::set_permissions(&logins, Permissions::from_mode(0o600)).expect("it is ours");
    let node = Node::start(&["--dev", "--rpc.basicauth", &logins]);
    let address = node.rpc.address();
    let body = call("eth_chainId", json!([]));
    // "alice:hidden-password" and "alice:wrong-password".
    let basic =
        |login: &str| post(&format!("Authorization: Basic {login}\r\n"), body.len()) + &body;
    let (right, wrong) =
        (basic("YWxpY2U6aGlkZGVuLXBhc3N3b3Jk"), basic("YWxpY2U6d3JvbmctcGFzc3dvcmQ="));
    let period = if is_long() { PERIOD_LONG } else { PERIOD };
    let mut guesses = JoinSet::new();
    guesses.spawn(async move {
        let mut ticks = time::interval(Duration::from_secs(1) / TRIES_PER_SECOND);
        let (mut looked_at, mut told_to_wait, began) = (0_u32, 0_u32, Instant::now());
        while began.elapsed() < period {
            ticks.tick().await;
            let mut web = Web::from(Ipv4Addr::new(127, 0, 0, 66), address).await;
            web.send(wrong.as_bytes()).await;
            match web.page().await {
                Some(Page { status: 401, .. }) => looked_at += 1,
                Some(Page { status: 429, head, .. }) if head.contains("retry-after: 1") => {
                    told_to_wait += 1;
                }
                page => panic!("{page:?}"),
            }
        }
        (looked_at, told_to_wait, began.elapsed())
    });
    let mut visits = Vec::new();
    let guessed = loop {
        if let Some(guessed) = guesses.try_join_next() {
            break guessed.expect("every guess is answered");
        }
        let began = Instant::now();
        let mut web = Web::connect(address).await;
        web.send(right.as_bytes()).await;
        let page = web.page().await.expect("honest clients are answered");
        assert_eq!(page.status, 200, "{page:?}");
        visits.push(began.elapsed());
        time::sleep(Duration::from_millis(20)).await;
    };
    let (looked_at, told_to_wait, took) = guessed;
    visits.sort();
    let p99 = visits[(visits.len() * 99).div_ceil(100) - 1];
    say(&format!(
        "RPC-14: of {} wrong passwords {looked_at} are looked at in {took:.2?}; {} visitors, p99 {p99:.2?}",
        looked_at + told_to_wait,
        visits.len()
    ));
    let seconds = u32::try_from(took.as_secs()).expect("few") + 2;
    assert!(looked_at <= TRIES_ALLOWED * seconds, "{looked_at} in {took:?}");
    assert!(told_to_wait > 0 && (p99 <= VISIT_P99_MAX || !is_long()), "{p99:?}");
    let log = node.stop_well_and_read();
    assert!(!log.contains("password"), "{log}");
}

/// RPC-13.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_at_keys_or_levers_without_being_told_to() {
    let mut arena = Arena::by_default(&["--role", "miner", "--ws", "--ws.port", "0"]).await;
    let gauge = arena.gauge().await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let modules = web.call("rpc_modules", json!([])).await["result"].clone();
    assert_eq!(modules, json!({ "eth": "1.0", "net": "1.0", "rpc": "1.0", "web3": "1.0" }));
    for method in [
        "personal_listAccounts",
        "personal_newAccount",
        "personal_unlockAccount",
        "personal_sendTransaction",
        "personal_sign",
        "admin_addPeer",
        "admin_datadir",
        "admin_startHTTP",
        "admin_importChain",
        "miner_start",
        "miner_stop",
        "miner_setEtherbase",
        "debug_setHead",
        "debug_verbosity",
        "txpool_content",
    ] {
        let answer = web.call(method, json!([])).await;
        assert_eq!(answer["error"]["code"], -32_601, "{method}: {answer}");
    }
    // What is there signs with keys that are unlocked, and there are none.
    let from = "0x0000000000000000000000000000000000000001";
    for (method, params) in [
        ("eth_sendTransaction", json!([{ "from": from, "to": from }])),
        (
            "eth_signTransaction",
            json!([{ "from": from, "to": from, "gas": "0x5208", "gasPrice": "0x1", "nonce": "0x0" }]),
        ),
        ("eth_sign", json!([from, "0x00"])),
    ] {
        let answer: Value = web.call(method, params).await;
        assert!(answer.get("error").is_some(), "{method}: {answer}");
    }
    arena.judge(gauge, "RPC-13", RSS_DELTA_MAX).await;
    // Unlocked keys and strangers do not go together.
    let unlock = ["--dev", "--http", "--http.port", "0", "--unlock", from, "--ops.addr", "off"];
    fail(&unlock, 1, &["Account unlock with HTTP access is forbidden"]);
}

/// RPC-12.
#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_are_not_served() {
    let mut arena = Arena::by_default(&["--ws", "--ws.port", "0"]).await;
    let websocket = arena.node.wait_for_websocket();
    let gauge = arena.gauge().await;
    let address = arena.node.rpc.address();
    let body = call("eth_chainId", json!([]));
    let whole = post("", body.len()) + &body;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8545", 200),
        ("localhost.", 200),
        ("127.0.0.1:8545", 200),
        ("[::1]:8545", 200),
        ("geth-tx.chain.svc.cluster.local", 200),
        ("evil.example.com", 403),
        ("evil.example.com:8545", 403),
        ("localhost.evil", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("svc.cluster.local.evil.example.com", 403),
    ] {
        let request = whole.replace("Host: localhost", &format!("Host: {host}"));
        let mut web = Web::connect(address).await;
        web.send(request.as_bytes()).await;
        let page = web.page().await.expect("there is an answer");
        assert_eq!(page.status, status, "{host}");
    }
    for origin in ["null", "file://", "http://evil.example.com", "https://remix.ethereum.org"] {
        let headers = format!("Origin: {origin}\r\n");
        let mut web = Web::connect(address).await;
        web.send((post(&headers, body.len()) + &body).as_bytes()).await;
        let page = web.page().await.expect("there is an answer");
        assert!(!page.head.contains("access-control-allow"), "{origin}: {}", page.head);
        let preflight = format!(
            "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n{headers}Access-Control-Request-Method: POST\r\n\r\n"
        );
        let mut web = Web::connect(address).await;
        web.send(preflight.as_bytes()).await;
        let page = web.page().await.expect("there is an answer");
        assert!(!page.head.contains("access-control-allow"), "{origin}: {}", page.head);
        let upgrade = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\n{headers}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut web = Web::connect(websocket).await;
        web.send(upgrade.as_bytes()).await;
        assert_eq!(web.page().await.expect("there is an answer").status, 403, "{origin}");
    }
    // A form of a page may be sent without asking; it is no JSON.
    let form = whole.replace("application/json", "text/plain");
    let mut web = Web::connect(address).await;
    web.send(form.as_bytes()).await;
    assert_eq!(web.page().await.expect("there is an answer").status, 415);
    arena.judge(gauge, "RPC-12", RSS_DELTA_MAX).await;
}

/// RPC-19. What watches a node is told how it is, and nothing of whom it knows.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_nobody_and_memory_is_not_shown() {
    let mut arena = Arena::new(&["--ops.addr", "127.0.0.1:0"]).await;
    let probes = arena.node.wait_for_address("Started probes and metrics");
    assert!(probes.ip().is_loopback());
    let gauge = arena.gauge().await;
    let peer = arena.peer(7).await;
    let get = async |address, path: &str| {
        let mut web = Web::connect(address).await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        web.send(request.as_bytes()).await;
        web.page().await.expect("there is an answer")
    };
    let page = get(probes, "/metrics").await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body).expect("text");
    let id = arena.target.id.to_string();
    for told in ["127.0.0.99", "enode://", &id[..16]] {
        assert!(!text.contains(told), "{told} is in {text}");
    }
    drop(peer);
    for path in
        ["/debug/pprof", "/debug/pprof/heap", "/debug/pprof/profile", "/debug/vars", "/heap"]
    {
        assert_ne!(get(probes, path).await.status, 200, "{path}");
        let page = get(arena.node.rpc.address(), path).await;
        // A plain GET says that somebody is home, whatever its path.
        assert!(page.body.is_empty() || page.status != 200, "{path}");
    }
    arena.judge(gauge, "RPC-19", RSS_DELTA_MAX).await;
}
