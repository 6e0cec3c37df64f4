//! What strangers can write into a log, and how much.

use std::{sync::Arc, time::Duration};

use network::wire::{EthVersion, Message};
use primitives::{Block, BlockBody, Header, SealedBlock, TotalDifficulty, U256};
use serde_json::{Value, json};
use tests::harness::{
    attacker::{Encrypted, Target, key, source},
    gauge::{RSS_DELTA_MAX, check_log},
    random::{is_long, say},
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    arena::{Arena, CHAIN},
    web::{Web, call, post},
};
use crate::harness::{
    branches::CHAIN_ID,
    key::{Key, raw},
};

/// For how long bad requests come, as fast as they can.
const PERIOD: Duration = Duration::from_secs(3);
const PERIOD_LONG: Duration = Duration::from_secs(60);
/// Peers that come again and again, and what each brings that cannot be paid.
const PEERS: u64 = 4;
const PAUPERS: u64 = 200;
/// What may be written in a minute.
const LOG_BYTES_PER_MINUTE_MAX: usize = 1_000_000;
/// What one event may be, with several long fields.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Says everything that a stranger may say, with what a terminal obeys in it.
async fn speak_evil(arena: &mut Arena) {
    let evil = "\u{1b}[31mred\r\n\u{7}\u{202e}ERROR[01-01|00:00:00.000] forged key=value\u{9b}";
    let long = evil.repeat(10_000);
    let mut web = Web::connect(arena.node.rpc.address()).await;
    for (method, params) in [
        (evil, json!([])),
        (&long, json!([])),
        ("eth_getBlockByNumber", json!([evil, false])),
        ("eth_call", json!([{ "to": evil }, "latest"])),
        ("eth_getBlockByHash", json!([long, false])),
        ("eth_sendRawTransaction", json!([evil])),
        ("admin_addPeer", json!([evil])),
        ("eth_subscribe", json!([evil])),
    ] {
        web.call(method, params).await;
    }
    // Code whose revert says it; a revert's text goes back to whoever asked.
    let text: String = evil.bytes().map(|byte| format!("{byte:02x}")).collect();
    let reverting = format!("0x7f{text:0<64.64}60005260206000fd");
    web.call("eth_call", json!([{ "data": reverting }, "latest"])).await;
    let bytes = b"\x1b[31m\x07\xff\xc2\x9b";
    let body = call("eth_chainId", json!([]));
    for header in
        ["Authorization: Bearer ", "Origin: ", "Host: ", "User-Agent: ", "X-Forwarded-For: "]
    {
        let mut web = Web::connect(arena.node.rpc.address()).await;
        let head = post("", body.len());
        let (start, rest) = head.split_at(head.find("\r\n").expect("lines") + 2);
        let evil =
            [start.as_bytes(), header.as_bytes(), bytes, b"\r\n", rest.as_bytes(), body.as_bytes()];
        web.send(&evil.concat()).await;
        web.page().await;
    }
}

/// LOG-01, at the level at which most is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_say_is_escaped_and_cut_in_every_format() {
    for format in ["terminal", "json"] {
        let args = ["--verbosity", "5", "--log.format", format, "--ws", "--ws.port", "0"];
        let mut arena = Arena::new(&args).await;
        let gauge = arena.gauge().await;
        speak_evil(&mut arena).await;
        let log = arena.node.history();
        check_log("LOG-01", &log);
        for line in log.lines() {
            assert!(line.len() <= LINE_BYTES_MAX, "{} bytes: {line:.200}", line.len());
            assert!(!line.contains(['\u{202e}', '\u{9b}']), "{line:.200}");
            assert!(!line.starts_with("ERROR[01-01|00:00:00.000]"), "{line:.200}");
            if format == "json" {
                let event: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(event["level"].is_string() && event["message"].is_string(), "{line}");
            }
        }
        arena.judge(gauge, "LOG-01", RSS_DELTA_MAX).await;
    }
}

/// Joins as a peer with a name of its own, and sends transactions that nobody can pay and a block that
/// breaks a rule; how many that were. It may be told to come later.
async fn send_what_is_bad(target: &Target, number: u64) -> u64 {
    let name = key(10_000 + number);
    let Ok(stream) = target.connect(source(number % 200)).await else { return 0 };
    let Ok(link) = Encrypted::dial(stream, target, &name).await else { return 0 };
    let Ok(mut peer) = link.greet(EthVersion::Eth68).await else { return 0 };
    peer.tell_status(|_| {}).await;
    let pauper = Key::fixed(200);
    let poor = |nonce| pauper.transfer(CHAIN_ID, number * PAUPERS + nonce, pauper.address());
    let transactions = (0..PAUPERS).map(poor).collect();
    if peer.tell(&Message::Transactions(transactions)).await.is_err() {
        return 0;
    }
    let genesis = CHAIN.blocks[0].header();
    let header = Header {
        parent_hash: CHAIN.blocks[0].hash(),
        number: 1,
        timestamp: genesis.timestamp + number + 1,
        gas_limit: u64::MAX,
        ..genesis.clone()
    };
    let block = SealedBlock::seal_slow(Block { header, body: BlockBody::default() });
    let td = TotalDifficulty::new(U256::from(1) << 40);
    let block = Message::NewBlock { block: Arc::new(block), td };
    if peer.tell(&block).await.is_err() {
        return PAUPERS;
    }
    peer.hear_end().await;
    PAUPERS + 1
}

/// LOG-02, at the level that is the default.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_fill_a_log() {
    let mut arena = Arena::new(&["--ws", "--ws.port", "0"]).await;
    let websocket = arena.node.wait_for_websocket();
    let gauge = arena.gauge().await;
    let before = arena.node.history().len();
    let (period, began) = (if is_long() { PERIOD_LONG } else { PERIOD }, Instant::now());
    let key = Key::fixed(1);
    let refused = raw(&key.transfer(CHAIN_ID + 1, 0, key.address()));
    let mut attackers = JoinSet::new();
    let address = arena.node.rpc.address();
    for number in 0..8 {
        let refused = refused.clone();
        attackers.spawn(async move {
            let bodies = [
                "{".to_owned(),
                call(&"x".repeat(1_000), json!([])),
                call("eth_sendRawTransaction", json!([refused])),
                call("eth_sendRawTransaction", json!(["0x00"])),
                call("eth_call", json!([{ "data": "0xfe" }, "latest"])),
            ];
            let (mut count, mut web) = (0_u64, Web::connect(address).await);
            while began.elapsed() < period {
                if number == 0 {
                    // Pages from elsewhere, on connections that do not last.
                    let mut web = Web::connect(websocket).await;
                    let origin = "Origin: http://evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                    web.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{origin}\r\n").as_bytes()).await;
                    web.page().await;
                } else {
                    let at = usize::try_from(count).expect("few") % bodies.len();
                    web.ask(&bodies[at]).await.expect("it is answered");
                }
                count += 1;
            }
            count
        });
    }
    let target = arena.target;
    for number in 0..PEERS {
        attackers.spawn(async move {
            let mut count = 0;
            while began.elapsed() < period {
                count += send_what_is_bad(&target, number + PEERS * count).await;
            }
            count
        });
    }
    let count: u64 = attackers.join_all().await.iter().sum();
    let written = arena.node.history().len() - before;
    let minutes = usize::try_from(period.as_secs().div_ceil(60)).expect("short");
    say(&format!("LOG-02: {count} bad requests in {period:.2?} write {written} bytes"));
    assert!(written <= minutes * LOG_BYTES_PER_MINUTE_MAX, "{written} bytes");
    arena.judge(gauge, "LOG-02", RSS_DELTA_MAX).await;
}
