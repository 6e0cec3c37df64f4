//! Calls that cost much more to answer than to ask.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tests::harness::{
    gauge::{MIB, RSS_DELTA_MAX},
    random::{is_long, say},
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use super::super::{
    arena::{Arena, CHAIN, PATIENCE, blocks_per_second, start},
    web::{Visitors, Web, call},
};
use crate::harness::branches::write;

/// Questions a second, and for how long they are asked.
const QUESTIONS_PER_SECOND: u64 = 150;
const PERIOD: Duration = Duration::from_secs(5);
const PERIOD_LONG: Duration = Duration::from_secs(40);
/// How long one call may run, and how long it may wait for that.
const CALL_PERIOD_MAX: Duration = Duration::from_secs(5);
const ANSWER_PERIOD_MAX: Duration = Duration::from_secs(30);
/// How long the refusal of what is too much may take.
const REFUSAL_PERIOD_MAX: Duration = Duration::from_millis(10);
/// How long one question about logs may take.
const LOGS_PERIOD_MAX: Duration = Duration::from_secs(2);
/// The largest answer there is, and what may be around it.
const ANSWER_BYTES_MAX: usize = 25 * 1024 * 1024 + 64 * 1024;

const CONTRACT: &str = "0x00000000000000000000000000000000000000cc";

/// Code without end: nothing; the largest exponentiation there is, again and again; copies of code
/// that is a megabyte long; words of memory further and further away; hashes of all of it.
fn endless() -> Vec<String> {
    let modexp = "602060005260206020526020604052 600019606052600019608052600019 60a052 \
                  5b 6020610100 60c06000 6000 6005 5a f1 50 6021 56";
    let codes = [
        "5b600056",
        modexp,
        "5b620fffff60006000303c600056",
        "60005b805150602001600256",
        "5b6201000060002050600056",
    ];
    codes.iter().map(|code| code.split_whitespace().collect()).collect()
}

/// Questions that take as long as they may.
fn questions() -> Vec<String> {
    let mut questions = Vec::new();
    for (number, code) in endless().into_iter().enumerate() {
        // A megabyte of state to pretend comes along now and then.
        let padding = if number == 2 { "00".repeat(1 << 19) } else { String::new() };
        let pretended = json!({ CONTRACT: { "code": format!("0x{code}{padding}") } });
        let request = json!({ "to": CONTRACT, "gas": "0x2faf080" });
        questions.push(call("eth_call", json!([request, "latest", pretended])));
        let create = json!({ "data": format!("0x{code}") });
        questions.push(call("eth_estimateGas", json!([create])));
    }
    questions
}

/// Asks all of it for a while; every answer, and how long it took.
pub(in super::super) async fn ask_for(
    period: Duration,
    targets: [SocketAddr; 2],
) -> Vec<(Value, Duration)> {
    let (questions, mut askers) = (Arc::new(questions()), JoinSet::new());
    let every = Duration::from_secs(1) / u32::try_from(QUESTIONS_PER_SECOND).expect("few");
    let mut ticks = time::interval(every);
    for number in 0..usize::try_from(QUESTIONS_PER_SECOND * period.as_secs()).expect("few") {
        ticks.tick().await;
        let (questions, target) = (Arc::clone(&questions), targets[usize::from(number % 5 == 0)]);
        askers.spawn(async move {
            let mut web = Web::connect(target).await;
            let began = Instant::now();
            let page = web.ask(&questions[number % questions.len()]).await;
            (page.expect("there is an answer").json(), began.elapsed())
        });
    }
    askers.join_all().await
}

/// RPC-08.
#[tokio::test(flavor = "multi_thread")]
async fn heavy_calls_stop_neither_the_sealing_nor_the_import() {
    let mut genesis = CHAIN.genesis.clone();
    for fork in ["byzantium", "constantinople", "petersburg", "istanbul"] {
        genesis["config"][format!("{fork}Block")] = json!(0);
    }
    let mut arena = Arena::of_genesis(&genesis, &["--role", "miner"]).await;
    arena.node.wait_for_block(2, PATIENCE);
    // Another node follows the attacked one, and is attacked itself.
    let folder = tempfile::tempdir().expect("a folder");
    let genesis = write(folder.path(), "genesis.json", genesis.to_string());
    let mut reader = start(&genesis, &folder.path().join("reader"), &[]);
    reader.rpc.call("admin_addPeer", json!([arena.node.enode()]));
    reader.wait_for_block(2, PATIENCE);
    let targets = [arena.node.rpc.address(), reader.rpc.address()];
    let gauge = arena.gauge().await;
    let alone = blocks_per_second(&mut reader).await;
    let visitors = Visitors::start(&arena.node.rpc);
    let mut attack = JoinSet::new();
    attack.spawn(ask_for(if is_long() { PERIOD_LONG } else { PERIOD }, targets));
    time::sleep(Duration::from_secs(1)).await;
    let beset = blocks_per_second(&mut reader).await;
    let ended = time::timeout(PATIENCE, attack.join_all()).await.expect("it ends");
    let answers = ended.concat();
    let (mut codes, mut refusals, mut longest) = (BTreeMap::new(), Vec::new(), Duration::ZERO);
    for (answer, took) in &answers {
        let code = answer["error"]["code"].as_i64().unwrap_or(0);
        *codes.entry(code).or_insert(0) += 1;
        if code == -32_005 {
            refusals.push(*took);
        }
        longest = longest.max(*took);
    }
    refusals.sort();
    let median = refusals.get(refusals.len() / 2).copied();
    say(&format!(
        "RPC-08: {alone:.2} blocks/s alone, {beset:.2} beset, answers {codes:?} within {longest:.2?}, \
         refused in {median:.2?}; {}",
        visitors.judge()
    ));
    assert!(
        codes.keys().all(|code| matches!(code, 0 | 3 | -32_000 | -32_002 | -32_005)),
        "{codes:?}"
    );
    assert!(codes.contains_key(&-32_005), "nothing was too much: {codes:?}");
    if is_long() {
        assert!(beset >= 0.9 * alone, "{beset} of {alone} blocks/s");
        assert!(longest <= ANSWER_PERIOD_MAX + CALL_PERIOD_MAX, "{longest:?}");
        assert!(median <= Some(REFUSAL_PERIOD_MAX), "{median:?}");
    }
    arena.judge(gauge, "RPC-08", RSS_DELTA_MAX).await;
}

/// Asks, and says how long that took.
async fn timed(web: &mut Web, method: &str, params: &Value) -> (Value, Duration) {
    let began = Instant::now();
    (web.call(method, params.clone()).await, began.elapsed())
}

/// RPC-09.
#[tokio::test(flavor = "multi_thread")]
async fn questions_about_too_many_logs_are_refused() {
    let mut arena = Arena::with_chain(&[]).await;
    let gauge = arena.gauge().await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let hash = format!("0x{}", "11".repeat(32));
    let address = CONTRACT;
    let mut slowest = Duration::ZERO;
    for (query, code) in [
        (json!({ "fromBlock": "0x0", "toBlock": "latest" }), None),
        (json!({ "fromBlock": "0x0", "toBlock": "0xffffffffffffffff" }), None),
        (json!({ "fromBlock": "0x10", "toBlock": "0x1" }), None),
        (json!({ "fromBlock": "pending" }), None),
        (json!({ "fromBlock": "0x0", "address": vec![address; 1_000] }), None),
        (json!({ "fromBlock": "0x0", "address": vec![address; 1_001] }), Some(-32_602)),
        (json!({ "topics": vec![json!(null); 5] }), Some(-32_602)),
        (json!({ "topics": [vec![&hash; 1_001]] }), Some(-32_602)),
        (json!({ "topics": vec![json!(vec![&hash; 1_000]); 4] }), None),
        (json!({ "blockHash": hash, "fromBlock": "0x0" }), Some(-32_602)),
        (json!({ "blockHash": hash }), Some(-32_000)),
        (json!({ "fromBlock": "0x10000000000000000" }), Some(-32_602)),
        (json!({ "fromBlock": -1 }), Some(-32_602)),
    ] {
        for method in ["eth_getLogs", "eth_newFilter"] {
            let (answer, took) = timed(&mut web, method, &json!([query])).await;
            let got = answer["error"]["code"].as_i64();
            let is_malformed = code == Some(-32_602);
            let shown = query.to_string().chars().take(100).collect::<String>();
            if is_malformed || method == "eth_getLogs" && code.is_some() {
                assert_eq!(got, code, "{method} {shown}: {answer}");
            }
            assert!(matches!(got, None | Some(-32_602 | -32_000)), "{method} {shown}: {answer}");
            slowest = slowest.max(took);
        }
    }
    say(&format!("RPC-09: answered within {slowest:.2?}"));
    assert!(slowest <= LOGS_PERIOD_MAX || !is_long(), "{slowest:?}");
    arena.judge(gauge, "RPC-09", RSS_DELTA_MAX).await;
}

/// RPC-10. Tracing is offered to those only who are told to have it, and is bounded for them, too.
#[tokio::test(flavor = "multi_thread")]
async fn traces_are_bounded_and_not_offered_unasked() {
    let mut arena = Arena::with_chain(&["--ws", "--ws.port", "0"]).await;
    let gauge = arena.gauge().await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    for method in ["debug_traceBlockByNumber", "debug_traceCall", "debug_setHead", "debug_memStats"]
    {
        let answer = web.call(method, json!(["0x1"])).await;
        assert_eq!(answer["error"]["code"], -32_601, "{method}: {answer}");
    }
    arena.judge(gauge, "RPC-10 (default)", RSS_DELTA_MAX).await;
    drop(arena);
    let mut arena = Arena::offering("debug,eth", &CHAIN.blocks).await;
    let gauge = arena.gauge().await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let mut longest = Duration::ZERO;
    for code in endless() {
        let traced = json!([
            { "to": CONTRACT, "gas": "0x1c9c380" },
            "latest",
            { "stateOverrides": { CONTRACT: { "code": format!("0x{code}") } } },
        ]);
        let began = Instant::now();
        let page = web.ask(&call("debug_traceCall", traced)).await.expect("there is an answer");
        longest = longest.max(began.elapsed());
        assert!(page.body.len() <= ANSWER_BYTES_MAX, "{} bytes", page.body.len());
    }
    for (method, params) in [
        ("debug_traceChain", json!(["0x10", "0x1"])),
        ("debug_traceBlockByNumber", json!(["0x0"])),
        ("debug_traceCall", json!([{}, "latest", { "tracer": "{step: function() { for(;;); }}" }])),
        ("debug_traceTransaction", json!([format!("0x{}", "22".repeat(32))])),
        ("debug_setHead", json!(["0x1"])),
    ] {
        let answer = web.call(method, params).await;
        assert!(answer.get("error").is_some(), "{method}: {answer}");
    }
    assert_eq!(arena.node.rpc.block_number(), CHAIN.head().number);
    say(&format!("RPC-10: traced for {longest:.2?} at most"));
    assert!(longest <= 2 * CALL_PERIOD_MAX || !is_long(), "{longest:?}");
    arena.judge(gauge, "RPC-10", RSS_DELTA_MAX + 64 * MIB).await;
}

/// RPC-18.
#[tokio::test(flavor = "multi_thread")]
async fn questions_with_endless_answers_are_refused_or_cut() {
    let mut arena = Arena::with_chain(&[]).await;
    let gauge = arena.gauge().await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let large = call("eth_getBlockByNumber", json!(["latest", true]));
    let page = web.ask(&format!("[{}]", vec![large; 1_000].join(","))).await.expect("an answer");
    assert!(page.body.len() <= ANSWER_BYTES_MAX, "{} bytes", page.body.len());
    let answers = page.json();
    let cut = answers.as_array().expect("a batch").iter();
    let cut = cut.filter(|answer| answer["error"]["message"] == "response too large").count();
    assert!(cut > 900, "{cut} of 1000 are cut");
    let percentiles: Vec<f64> = (0..100_000).map(f64::from).map(|n| n / 1_000.0).collect();
    let keys = vec!["0x1"; 500_000];
    let wide = "0x1".to_owned() + &"0".repeat(75);
    for (method, params, is_refused) in [
        ("eth_feeHistory", json!(["0xffffffffffffffff", "latest", []]), false),
        ("eth_feeHistory", json!(["0x10000000000000000", "latest", []]), true),
        ("eth_feeHistory", json!(["0x1", "latest", percentiles]), true),
        ("eth_feeHistory", json!(["0x1", "latest", [101.0]]), true),
        ("eth_getProof", json!([CONTRACT, keys, "latest"]), true),
        ("eth_getStorageAt", json!([CONTRACT, wide, "latest"]), true),
    ] {
        let answer = web.call(method, params).await;
        let shown: String = answer.to_string().chars().take(200).collect();
        assert_eq!(answer.get("error").is_some(), is_refused, "{method}: {shown}");
    }
    arena.judge(gauge, "RPC-18", RSS_DELTA_MAX + 32 * MIB).await;
}
