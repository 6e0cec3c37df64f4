//! Clients that dawdle, and more of them than there are places.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tests::harness::{
    gauge::{Process, RSS_DELTA_MAX},
    random::{is_long, say},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{self, Instant},
};

use super::super::{
    arena::{Arena, PATIENCE, blocks_per_second},
    web::{Visitors, Web, post},
};

/// As many as there are places on a listener.
const SLOW: usize = 1_000;
/// Twice as many.
const SLOW_MANY: usize = 2_000;
/// How long visitors come in a test of seconds.
const SHORT_PERIOD: Duration = Duration::from_secs(4);
/// What a stranger may hold beyond the period of a phase: the node looks at its clock.
const LEEWAY: Duration = Duration::from_secs(3);
const HEADER_PERIOD_MAX: Duration = Duration::from_secs(10);
const BODY_PERIOD_MAX: Duration = Duration::from_secs(30);
const WRITE_PERIOD_MAX: Duration = Duration::from_secs(30);
const IDLE_PERIOD_MAX: Duration = Duration::from_secs(120);
/// Clients that do not read half a megabyte each; the memory for all answers bounds more of them.
const DEAF: usize = 60;
const DEAF_LONG: usize = 200;
/// What the node may hold for one of those.
const DEAF_BYTES_MAX: u64 = 768 * 1024;
/// The descriptors of a node that gets few, and those that strangers may not take.
const DESCRIPTORS: u32 = 512;
const DESCRIPTORS_RESERVED: usize = 64;
/// Those that come and go meanwhile.
const DESCRIPTORS_OF_VISITORS: usize = 20;
/// How long RPC may take to come back.
const RELEASE_PERIOD_MAX: Duration = Duration::from_secs(5);

/// Sends something, then a byte now and then; how long the node bears that.
async fn dawdle(address: SocketAddr, begin: String, pause: Duration) -> Duration {
    let began = Instant::now();
    let Ok(mut web) = Web::try_connect(address).await else {
        // The kernel's queue is full as well.
        time::sleep(Duration::from_secs(1)).await;
        return began.elapsed();
    };
    web.send(begin.as_bytes()).await;
    let (mut from, mut to) = web.stream.get_mut().split();
    let trickle = async {
        loop {
            time::sleep(pause).await;
            if to.write_all(b" ").await.is_err() {
                return;
            }
        }
    };
    let mut bytes = [0; 1024];
    let hear = async { while from.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    tokio::select! {
        () = trickle => {}
        () = hear => {}
    }
    began.elapsed()
}

/// Waits for all who dawdle where time does not matter, else for some seconds; how long the last was
/// borne, if one was not.
async fn outlast(slow: JoinSet<Duration>) -> Option<Duration> {
    if is_long() {
        let borne = time::timeout(PATIENCE, slow.join_all()).await.expect("all of them are cut");
        return borne.into_iter().max();
    }
    time::sleep(SHORT_PERIOD).await;
    None
}

/// RPC-01.
#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_keep_nobody_out() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let address = arena.node.rpc.address();
    let visitors = Visitors::start(&arena.node.rpc);
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        slow.spawn(dawdle(address, post("", 1_000) + "{", Duration::from_secs(10)));
    }
    let longest = outlast(slow).await;
    say(&format!("RPC-01: {SLOW} slow bodies borne for {longest:.2?}; {}", visitors.judge()));
    assert!(longest.is_none_or(|longest| longest <= BODY_PERIOD_MAX + LEEWAY), "{longest:?}");
    arena.judge(gauge, "RPC-01", RSS_DELTA_MAX).await;
}

/// RPC-02.
#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_keep_nobody_out() {
    let mut arena = Arena::new(&["--ops.addr", "127.0.0.1:0"]).await;
    let probes = arena.node.wait_for_address("Started probes and metrics");
    let gauge = arena.gauge().await;
    let address = arena.node.rpc.address();
    let visitors = Visitors::start(&arena.node.rpc);
    let mut slow = JoinSet::new();
    for _ in 0..SLOW_MANY {
        let begin = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow:".to_owned();
        slow.spawn(dawdle(address, begin, Duration::from_secs(5)));
    }
    // Probes have a door of their own.
    let mut probe = Web::connect(probes).await;
    assert!(probe.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
    assert_eq!(probe.page().await.expect("the probe is answered").status, 200);
    let longest = outlast(slow).await;
    say(&format!("RPC-02: {SLOW_MANY} slow headers borne for {longest:.2?}; {}", visitors.judge()));
    assert!(longest.is_none_or(|longest| longest <= HEADER_PERIOD_MAX + LEEWAY), "{longest:?}");
    arena.judge(gauge, "RPC-02 (headers)", RSS_DELTA_MAX).await;
}

/// RPC-02. Each is sent more than its socket holds. Who does not read learns of no end, so the
/// node's descriptors are counted.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_keep_nobody_out() {
    let readers = if is_long() { DEAF_LONG } else { DEAF };
    let mut arena = Arena::with_chain(&[]).await;
    let gauge = arena.gauge().await;
    let before = gauge.process().descriptors();
    let visitors = Visitors::start(&arena.node.rpc);
    let question = json!({ "id": 1, "method": "eth_getBlockByNumber", "params": ["0x1", true] });
    let batch = json!(vec![question; 300]).to_string();
    let request = post("", batch.len()) + &batch;
    let mut deaf = Vec::new();
    for _ in 0..readers {
        let mut web = Web::narrow(arena.node.rpc.address()).await;
        assert!(web.send(request.as_bytes()).await);
        deaf.push(web);
    }
    // The last of them is answered a while after it has asked.
    let borne = until_released(&mut arena, before, 2 * WRITE_PERIOD_MAX).await;
    say(&format!("RPC-02: {readers} deaf readers borne for {borne:.2?}; {}", visitors.judge()));
    let most = RSS_DELTA_MAX + DEAF_BYTES_MAX * u64::try_from(readers).expect("few");
    drop(deaf);
    arena.judge(gauge, "RPC-02 (readers)", most).await;
}

/// How long the node holds on to connections, if there is time to wait for that.
async fn until_released(arena: &mut Arena, before: usize, longest: Duration) -> Option<Duration> {
    if !is_long() {
        time::sleep(SHORT_PERIOD).await;
        return None;
    }
    let (process, began) = (Process::new(arena.node.id()), Instant::now());
    arena.node.wait("the connections are cut", longest, |_| {
        process.descriptors() <= before + DESCRIPTORS_OF_VISITORS
    });
    Some(began.elapsed())
}

/// RPC-02.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_keep_nobody_out() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let before = gauge.process().descriptors();
    let visitors = Visitors::start(&arena.node.rpc);
    let mut idle = Vec::new();
    for _ in 0..SLOW_MANY {
        let mut web = Web::connect(arena.node.rpc.address()).await;
        assert_eq!(web.call("eth_chainId", json!([])).await["result"], "0x6bc3");
        idle.push(web);
    }
    let held = gauge.process().descriptors().saturating_sub(before);
    assert!(held <= SLOW + DESCRIPTORS_OF_VISITORS, "{held} descriptors");
    let borne = until_released(&mut arena, before, IDLE_PERIOD_MAX + LEEWAY).await;
    say(&format!("RPC-02: {SLOW_MANY} idle ones borne for {borne:.2?}; {}", visitors.judge()));
    drop(idle);
    arena.judge(gauge, "RPC-02 (idle)", RSS_DELTA_MAX).await;
}

/// RPC-03. Strangers take all the connections they can get, on both ports, of a miner that may open
/// few files.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_leave_descriptors_to_the_node() {
    let args = ["--role", "miner", "--ws", "--ws.port", "0"];
    let mut arena = Arena::with_descriptors(DESCRIPTORS, &args).await;
    arena.node.wait_for_block(2, PATIENCE);
    let (http, websocket) = (arena.node.rpc.address(), arena.node.wait_for_websocket());
    let gauge = arena.gauge().await;
    let alone = blocks_per_second(&mut arena.node).await;
    let visitors = Visitors::start(&arena.node.rpc);
    let mut slow: JoinSet<()> = JoinSet::new();
    for number in 0..SLOW {
        let address = if number % 2 == 0 { http } else { websocket };
        slow.spawn(async move {
            loop {
                dawdle(address, String::new(), Duration::from_secs(60)).await;
            }
        });
    }
    let cpu = gauge.process().cpu();
    let beset = blocks_per_second(&mut arena.node).await;
    let cpu = gauge.process().cpu().saturating_sub(cpu);
    let held = gauge.process().descriptors();
    // Peers are met all the same.
    drop(arena.peer(77).await);
    slow.abort_all();
    let released = Instant::now();
    Web::connect(http).await.call("eth_blockNumber", json!([])).await;
    let released = released.elapsed();
    say(&format!(
        "RPC-03: {alone:.2} blocks/s alone, {beset:.2} beset, {held} of {DESCRIPTORS} descriptors, \
         {cpu:.2?} of CPU, back after {released:.2?}; {}",
        // Hundreds are before each of them in the queue.
        visitors.judge_within(RELEASE_PERIOD_MAX)
    ));
    assert!(held > DESCRIPTORS as usize / 3, "only {held} descriptors: nobody has attacked");
    assert!(held + DESCRIPTORS_RESERVED <= DESCRIPTORS as usize, "{held} descriptors");
    assert!(beset >= 0.9 * alone || !is_long(), "{beset} of {alone} blocks/s");
    assert!(released <= RELEASE_PERIOD_MAX || !is_long(), "{released:?}");
    arena.judge(gauge, "RPC-03", RSS_DELTA_MAX).await;
}
