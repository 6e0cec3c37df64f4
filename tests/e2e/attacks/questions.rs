//! Questions whose answers are large, odd or many.

use std::time::Duration;

use network::wire::{EthVersion, HeaderQuery, Message, Origin, RequestId};
use primitives::B256;
use tests::harness::{
    attacker::{ETH_OFFSET, Encrypted, Peer, key, list, source},
    gauge::MIB,
    random::{is_long, say},
};
use tokio::time::Instant;

use super::arena::{Arena, CHAIN, HEIGHT, PATIENCE};
use crate::harness::node::Node;

/// Codes of answers.
const BLOCK_HEADERS: u8 = 0x04;
const BLOCK_BODIES: u8 = 0x06;
const RECEIPTS: u8 = 0x10;
/// Questions for headers of one peer.
const QUESTIONS: u64 = 10_000;
/// Questions that are sent and never listened to.
const DEAF_QUESTIONS: u64 = 1_000_000;
/// Questions that a node keeps, so that it does not drop who asks them at once.
const QUESTIONS_KEPT: u64 = 16;
/// How long somebody who does not read may stay.
const DROP_PERIOD_MAX: Duration = Duration::from_secs(25);
/// What waits for a peer that does not read: 8 MiB, and as much again that the allocator keeps for
/// threads that made an answer for the first time.
const HELD_BYTES_MAX: u64 = 2 * 8 * MIB;

/// The node has taken a peer in: it answers a question.
pub(super) async fn assert_is_peer(arena: &Arena, peer: &mut Peer) {
    let genesis = CHAIN.blocks[0].hash();
    assert_eq!(
        headers(peer, 1, by(Origin::Hash(genesis), 1, 0, false)).await,
        Some(1),
        "{}",
        arena.node.history()
    );
}

fn by(origin: Origin, amount: u64, skip: u64, reverse: bool) -> HeaderQuery {
    HeaderQuery { origin, amount, skip, reverse }
}

/// How many headers answer a question; none if the node hangs up.
async fn headers(peer: &mut Peer, number: u64, query: HeaderQuery) -> Option<usize> {
    let request = RequestId(number);
    peer.tell(&Message::GetBlockHeaders { request, query }).await.ok()?;
    match peer.hear_eth(&[BLOCK_HEADERS]).await {
        Ok(Message::BlockHeaders { request: answered, headers }) => {
            assert_eq!(answered, request);
            Some(headers.len())
        }
        Ok(_) | Err(_) => None,
    }
}

/// ETH-01.
#[tokio::test(flavor = "multi_thread")]
async fn questions_for_headers_are_answered_exactly_whatever_their_numbers() {
    let mut arena = Arena::with_chain(&[]).await;
    let (genesis, head) = (CHAIN.blocks[0].hash(), CHAIN.head().hash());
    let (hash, number, max) = (Origin::Hash, Origin::Number, u64::MAX);
    let vectors = [
        (by(hash(genesis), 0, 0, false), 0),
        (by(hash(head), 0, 0, false), 0),
        (by(number(0), 0, 0, false), 0),
        (by(number(max), 1_024, 0, false), 0),
        (by(number(max), max, 0, true), 0),
        (by(number(1), max, 0, false), 86),
        (by(number(1), max, max, false), 1),
        (by(number(5), 10, max - 4, false), 1),
        (by(hash(genesis), 10, max - 1, false), 1),
        (by(hash(head), max, max, true), 1),
        (by(hash(head), max, 0, true), 87),
        (by(number(HEIGHT), 10, 7, true), 10),
        (by(hash(B256::repeat_byte(9)), 10, 0, false), 0),
    ];
    let mut peer = arena.peer(1).await;
    let gauge = arena.gauge().await;
    for (query, count) in vectors {
        assert_eq!(headers(&mut peer, 7, query).await, Some(count), "{query:?}");
    }
    let (process, before) = (gauge.process(), gauge.process().cpu());
    for number in 0..QUESTIONS {
        let (query, count) = vectors[usize::try_from(number % 5).expect("a place")];
        assert_eq!(headers(&mut peer, number, query).await, Some(count), "{query:?}");
    }
    let cpu = process.cpu().saturating_sub(before);
    say(&format!("ETH-01: {QUESTIONS} questions took {cpu:.2?} of CPU"));
    if is_long() {
        assert!(cpu <= Duration::from_secs(2), "{cpu:?}");
    }
    arena.judge(gauge, "ETH-01", 4 * MIB).await;
}

/// ETH-02, of somebody who listens.
#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_one_block_are_sent_once_however_often_they_are_asked_for() {
    let mut arena = Arena::with_chain(&[]).await;
    let mut peer = arena.peer_of(1, EthVersion::Eth66).await;
    let gauge = arena.gauge().await;
    let hashes = vec![CHAIN.head().hash(); 1_024];
    for number in 0..20 {
        let request = RequestId(number);
        peer.tell(&Message::GetReceipts { request, hashes: hashes.clone() })
            .await
            .expect("it reads");
        let answer = peer.hear_eth(&[RECEIPTS]).await.expect("the node answers");
        let Message::Receipts { request: answered, receipts } = answer else {
            panic!("{answer:?} is no answer");
        };
        assert_eq!((answered, receipts.len()), (request, 1));
    }
    // One more than there may be: dropped unread.
    let hash = alloy_rlp::encode(CHAIN.head().hash());
    let many = list(&[alloy_rlp::encode(1_u64), list(&vec![hash; 1_025])]);
    peer.send(ETH_OFFSET + 0x0f, &many).await.expect("the node reads");
    assert!(peer.hear_end().await.is_some());
    arena.judge(gauge, "ETH-02 (listening)", 16 * MIB).await;
}

/// ETH-02 and P2P-08, of somebody who asks for much and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_without_reading_is_dropped_before_much_waits_for_him() {
    let mut arena = Arena::with_chain(&[]).await;
    let gauge = arena.gauge().await;
    let hashes = vec![CHAIN.head().hash(); 1_024];
    let query = by(Origin::Number(1), 1_024, 0, false);
    let request = RequestId(1);
    let receipts = Message::GetReceipts { request, hashes };
    let headers = Message::GetBlockHeaders { request, query };
    for (number, question) in (1_u64..).zip([&receipts, &headers]) {
        let mut peer = deaf(&arena, number).await;
        let sent = pour(&mut peer, question, DEAF_QUESTIONS).await;
        say(&format!("ETH-02, P2P-08: dropped after {sent} of {DEAF_QUESTIONS} questions"));
        assert!(sent < DEAF_QUESTIONS, "never dropped");
    }
    arena.judge(gauge, "ETH-02, P2P-08", HELD_BYTES_MAX).await;
}

/// P2P-08: questions that come slowly, so that as many answers as possible wait.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_his_answers_has_few_of_them_waiting() {
    let mut arena = Arena::with_chain(&[]).await;
    let question = warm(&arena).await;
    let gauge = arena.gauge().await;
    let mut peer = deaf(&arena, 1).await;
    arena.node.wait("it is listed", PATIENCE, |node| is_listed(node, 1));
    let (began, mut sent) = (Instant::now(), 0);
    while is_listed(&mut arena.node, 1) && began.elapsed() < PATIENCE {
        for _ in 0..QUESTIONS_KEPT / 2 {
            sent += u32::from(peer.tell(&question).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let took = began.elapsed();
    assert!(!is_listed(&mut arena.node, 1), "never dropped");
    say(&format!("P2P-08: dropped after {took:.2?} and {sent} questions"));
    assert!(took <= DROP_PERIOD_MAX || !is_long(), "{took:?}");
    arena.judge(gauge, "P2P-08", HELD_BYTES_MAX).await;
}

/// P2P-08: no more questions than a node keeps, so that only the time is up.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_his_answers_is_dropped_in_time() {
    if !is_long() {
        return;
    }
    let mut arena = Arena::with_chain(&[]).await;
    let question = warm(&arena).await;
    let gauge = arena.gauge().await;
    let mut peer = deaf(&arena, 1).await;
    arena.node.wait("it is listed", PATIENCE, |node| is_listed(node, 1));
    let began = Instant::now();
    for _ in 0..QUESTIONS_KEPT {
        peer.tell(&question).await.expect("the node reads");
    }
    arena.node.wait("it is dropped", PATIENCE, |node| !is_listed(node, 1));
    let took = began.elapsed();
    say(&format!("P2P-08: dropped after {took:.2?}"));
    assert!(took <= DROP_PERIOD_MAX || !is_long(), "{took:?}");
    arena.judge(gauge, "P2P-08 (time)", HELD_BYTES_MAX).await;
}

/// A question with a large answer, after a peer that reads got it as often as may be: caches are there
/// already.
async fn warm(arena: &Arena) -> Message {
    let hashes = vec![CHAIN.head().hash()];
    let question = Message::GetBlockBodies { request: RequestId(1), hashes };
    let mut reader = arena.peer_of(2, EthVersion::Eth66).await;
    for _ in 0..2 {
        for _ in 0..QUESTIONS_KEPT / 2 {
            reader.tell(&question).await.expect("the node reads");
        }
        for _ in 0..QUESTIONS_KEPT / 2 {
            reader.hear_eth(&[BLOCK_BODIES]).await.expect("the node answers");
        }
    }
    question
}

/// The answers of the largest block are so large that the deaf one's window does not hold them.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_block_is_answered_whole() {
    let arena = Arena::with_chain(&[]).await;
    let mut peer = arena.peer(1).await;
    let (request, hashes) = (RequestId(3), vec![CHAIN.head().hash(); 9]);
    peer.tell(&Message::GetBlockBodies { request, hashes }).await.expect("the node reads");
    let answer = peer.hear_eth(&[BLOCK_BODIES]).await.expect("the node answers");
    let Message::BlockBodies { bodies, .. } = answer else { panic!("{answer:?} is no answer") };
    assert_eq!(bodies, [CHAIN.head().body().clone()]);
    assert!(alloy_rlp::encode(&bodies).len() > 1_500_000);
}

fn is_listed(node: &mut Node, number: u64) -> bool {
    let peers = node.rpc.call("admin_peers", serde_json::json!([]));
    let id = devp2p::PeerId::of(&key(number)).to_string();
    let peers = peers.as_array().expect("a list");
    peers.iter().any(|peer| peer["enode"].as_str().is_some_and(|url| url.contains(&id)))
}

/// A peer with a narrow window, that has read Status and will read nothing more.
async fn deaf(arena: &Arena, number: u64) -> Peer {
    let stream = arena.target.connect_narrow(source(number)).await.expect("the node listens");
    let link = Encrypted::dial(stream, &arena.target, &key(number)).await.expect("it answers");
    let mut peer = link.greet(EthVersion::Eth66).await.expect("the node takes this hello");
    peer.tell_status(|_| {}).await;
    peer
}

/// Sends a message again and again until the connection breaks; how often.
pub(super) async fn pour(peer: &mut Peer, message: &Message, times: u64) -> u64 {
    let (code, payload) = message.encode(peer.version);
    for sent in 0..times {
        let sending = peer.send(ETH_OFFSET + u64::from(code), &payload);
        let sending = tokio::time::timeout(PATIENCE, sending).await;
        if !sending.is_ok_and(|sent| sent.is_ok()) {
            return sent;
        }
    }
    times
}
