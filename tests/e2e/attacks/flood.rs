//! More connections, and more pings, than anybody needs.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use devp2p::{DisconnectReason, PeerId, testing};
use network::wire::EthVersion;
use serde_json::json;
use tests::harness::{
    attacker::{Encrypted, Heard, Peer, Target, enode, key, source},
    gauge::{MIB, RSS_DELTA_MAX},
    random::{is_long, say},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{self, Instant},
};

use super::arena::{Arena, PATIENCE};

/// Connections that never become sessions.
const STALLERS: u64 = 100;
/// The same when time does not matter.
const STALLERS_LONG: u64 = 1_000;
/// How often an honest node connects meanwhile, each way.
const ATTEMPTS: u64 = 5;
/// The same when time does not matter.
const ATTEMPTS_LONG: u64 = 20;
/// How long that may take.
const CONNECT_PERIOD_MAX: Duration = Duration::from_secs(2);
/// Descriptors that strangers may hold.
const DESCRIPTORS_MAX: usize = 60;
/// Connections of one staller, one after the other.
const ROUNDS_MAX: u64 = 1_000;
/// Pings at once, as one peer may have them.
const PINGS_ALLOWED: u64 = 10;
/// Pings that are sent and whose pongs are never read.
const PINGS: u64 = 400_000;

/// Ways of being in the way.
#[derive(Debug, Clone, Copy)]
enum Stall {
    Silent,
    /// A byte each second.
    Slow,
    /// The longest packet is promised.
    Promise,
}

/// P2P-05.
#[tokio::test(flavor = "multi_thread")]
async fn static_peers_connect_while_others_stall() {
    let (stallers, attempts) =
        if is_long() { (STALLERS_LONG, ATTEMPTS_LONG) } else { (STALLERS, ATTEMPTS) };
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let before = gauge.process().descriptors();
    let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..stallers {
        let way = [Stall::Silent, Stall::Slow, Stall::Promise]
            [usize::try_from(number % 3).expect("small")];
        tasks.spawn(stall(arena.target, number, way, stop.clone(), opened.clone()));
    }
    arena
        .node
        .wait("it is full of strangers", PATIENCE, |_| opened.load(Ordering::Relaxed) >= stallers);
    let (mut outward, mut inward, mut descriptors) = (Vec::new(), Vec::new(), 0);
    for number in 0..attempts {
        outward.push(be_called(&mut arena, 5_000 + number).await);
        descriptors = descriptors.max(gauge.process().descriptors().saturating_sub(before));
        let began = Instant::now();
        drop(arena.peer(6_000 + number).await);
        inward.push(began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    tasks.abort_all();
    let slowest = |times: &[Duration]| times.iter().copied().max().unwrap_or_default();
    let (out, inn) = (slowest(&outward), slowest(&inward));
    say(&format!(
        "P2P-05: {stallers} stallers, {} connections: called in {out:.2?} at most, calls in {inn:.2?}, {descriptors} descriptors",
        opened.load(Ordering::Relaxed)
    ));
    assert!(descriptors <= DESCRIPTORS_MAX, "{descriptors} descriptors");
    arena.judge(gauge, "P2P-05", RSS_DELTA_MAX).await;
    if is_long() {
        assert!(out <= CONNECT_PERIOD_MAX, "the node's own calls take {outward:?}");
        assert!(inn <= CONNECT_PERIOD_MAX, "calls to the node take {inward:?}");
    }
}

/// Connects, stalls until it is sent away, and begins anew.
async fn stall(
    target: Target,
    number: u64,
    way: Stall,
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
) {
    for _ in 0..ROUNDS_MAX {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = target.connect(source(number)).await else {
            time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        opened.fetch_add(1, Ordering::Relaxed);
        if matches!(way, Stall::Promise) && stream.write_all(&[0xff, 0xff, 1, 2, 3]).await.is_err()
        {
            continue;
        }
        let (mut from, mut to) = stream.split();
        let mut byte = [0];
        let trickle = async {
            if !matches!(way, Stall::Slow) {
                std::future::pending::<()>().await;
            }
            while to.write_all(&[1]).await.is_ok() {
                time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            _ = from.read(&mut byte) => {}
            () = trickle => {}
        }
    }
}

/// How long the node takes to call a peer that the operator names, up to its first question.
async fn be_called(arena: &mut Arena, number: u64) -> Duration {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let url = enode(&key(number), listener.local_addr().expect("it is bound"));
    let began = Instant::now();
    arena.node.rpc.call("admin_addPeer", json!([url]));
    let accepted = time::timeout(PATIENCE, listener.accept()).await.expect("it calls in time");
    let stream = accepted.expect("the socket works").0;
    let link = Encrypted::accept(stream, &key(number)).await.expect("the node shakes hands");
    let mut peer = link.greet(EthVersion::Eth68).await.expect("the node takes this hello");
    peer.tell_status(|_| {}).await;
    let took = began.elapsed();
    arena.node.rpc.call("admin_removePeer", json!([url]));
    took
}

/// P2P-07.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_ends_the_session_and_takes_no_memory() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    // Read: there is an answer for each that was allowed.
    let mut peer = arena.peer(1).await;
    let began = Instant::now();
    for _ in 0..3 * PINGS_ALLOWED {
        if peer.send(testing::PING, &[0xc0]).await.is_err() {
            break;
        }
    }
    let (mut pongs, mut reason) = (0, None);
    loop {
        match peer.hear().await {
            Heard::Message(testing::PONG, _) => pongs += 1,
            Heard::Message(..) => {}
            Heard::Disconnect(code) => reason = Some(code),
            Heard::Closed => break,
        }
    }
    let over_time = began.elapsed().as_secs() + 1;
    say(&format!("P2P-07: {pongs} pongs, then reason {reason:?}"));
    assert!(pongs <= PINGS_ALLOWED + over_time, "{pongs} pongs");
    if let Some(reason) = reason {
        assert_eq!(reason, DisconnectReason::SubprotocolError.code());
    }
    // Not read: the connection breaks all the same.
    let (stream, sender) = (arena.target.connect_narrow(source(2)).await, key(2));
    let stream = stream.expect("the node listens");
    let link = Encrypted::dial(stream, &arena.target, &sender).await.expect("it answers");
    let mut deaf: Peer = link.greet(EthVersion::Eth68).await.expect("the node takes this hello");
    deaf.tell_status(|_| {}).await;
    let mut sent = 0;
    while sent < PINGS && deaf.send(testing::PING, &[0xc0]).await.is_ok() {
        sent += 1;
    }
    say(&format!("P2P-07: {:?} is dropped after {sent} of {PINGS} pings", PeerId::of(&sender)));
    assert!(sent < PINGS, "never dropped");
    arena.judge(gauge, "P2P-07", 4 * MIB).await;
}
