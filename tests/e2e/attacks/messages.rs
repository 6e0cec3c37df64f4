//! Messages that are none: compression, RLP and codes.

use std::time::Duration;

use devp2p::DisconnectReason;
use network::wire::{EthVersion, HeaderQuery, MESSAGE_CODES, Message, Origin, RequestId};
use tests::harness::{
    attacker::{ETH_OFFSET, Encrypted, Heard, Peer, compress, key, source},
    gauge::{MIB, RSS_DELTA_MAX},
    random::{is_long, say},
};
use tokio::time::Instant;

use super::arena::Arena;

/// The longest payload of a message.
const MESSAGE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// The code of the answer that every session can be asked for.
const BLOCK_HEADERS: u8 = 0x04;
/// Messages that a peer may send unasked, and that carry lists.
const CARRIERS: [u8; 9] = [0x01, 0x02, 0x03, 0x05, 0x07, 0x08, 0x09, 0x0f, 0x00];

/// The length that compression begins with, as if so many bytes followed.
fn claimed(bytes: u64) -> Vec<u8> {
    let (mut rest, mut body) = (bytes, Vec::new());
    while rest >= 0x80 {
        body.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    body.push(u8::try_from(rest).expect("seven bits"));
    body.extend([0; 20]);
    body
}

/// P2P-09.
#[tokio::test(flavor = "multi_thread")]
async fn compression_bombs_end_the_session_before_they_unfold() {
    let mut arena = Arena::new(&[]).await;
    let good = compress(&[7; 100]);
    let stubs = [
        claimed(4 << 30),
        claimed(u64::from(u32::MAX)),
        claimed((16 << 20) + 1),
        claimed((10 << 20) + 1),
        claimed(u64::MAX),
        [&good[..], b"garbage"].concat(),
        good[..good.len() - 1].to_vec(),
        // Copies from before the beginning, and of nothing.
        vec![0x0a, 0x24, 0xff],
        vec![0x0a, 0x02, 0x00, 0x00],
        Vec::new(),
        vec![0xff; 12],
    ];
    let breach = Some(DisconnectReason::BreachOfProtocol.code());
    let gauge = arena.gauge().await;
    for (number, stub) in (0_u64..).zip(&stubs) {
        for code in [2, ETH_OFFSET + 2] {
            let mut peer = arena.peer(number).await;
            peer.send_raw(code, stub).await.expect("the node reads");
            assert_eq!(peer.hear_end().await, breach, "stub {number}, code {code}");
        }
    }
    arena.judge(gauge, "P2P-09 (stubs)", MIB).await;
    let gauge = arena.gauge().await;
    let bomb = compress(&vec![0; 15 << 20]);
    assert!(bomb.len() < 1 << 20);
    for number in 0..5 {
        let mut peer = arena.peer(number).await;
        peer.send_raw(ETH_OFFSET + 2, &bomb).await.expect("the node reads");
        assert_eq!(peer.hear_end().await, breach);
    }
    arena.judge(gauge, "P2P-09 (bombs)", 16 * MIB).await;
}

/// A list whose header is right.
fn list_of(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    alloy_rlp::Header { list: true, payload_length: content.len() }.encode(&mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// Lists in lists, so deep.
fn nested(depth: usize) -> Vec<u8> {
    // From the inside out, but written from the end: appending to the front would take for ever.
    let mut reversed = vec![0xc0_u8];
    for _ in 0..depth {
        let mut header = Vec::new();
        alloy_rlp::Header { list: true, payload_length: reversed.len() }.encode(&mut header);
        reversed.extend(header.iter().rev());
    }
    reversed.reverse();
    reversed
}

/// P2P-10.
#[tokio::test(flavor = "multi_thread")]
async fn rlp_bombs_end_the_session_and_take_little_more_than_their_bytes() {
    let mut arena = Arena::new(&[]).await;
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("a length of 2^63", [&[0xff, 0x80][..], &[0; 7]].concat()),
        ("a body that is not there", vec![0xf9, 0xff, 0xff, 1, 2]),
        ("a length with a zero", vec![0xf9, 0, 1, 0xc0]),
        ("a long form of a short length", [&[0xf8, 2][..], &[0xc0, 0xc0]].concat()),
        ("a byte in two", list_of(&[0x81, 5])),
        ("a number with a zero", list_of(&list_of(&[0x82, 0, 5]))),
        ("behind the end", [list_of(&[]), vec![0]].concat()),
        ("20 000 deep", nested(20_000)),
        ("1 000 000 deep", nested(1_000_000)),
    ];
    let crowd = compress(&list_of(&vec![0xc0; MESSAGE_BYTES_MAX - 4]));
    for code in CARRIERS {
        // One by one: the memory of the last may be kept for the next.
        let gauge = arena.gauge().await;
        let took = throw(&arena, 1, "ten MiB of lists", code, &crowd).await;
        say(&format!("P2P-10: code {code} took {took:.2?} from the first byte to the goodbye"));
        arena.judge(gauge, "P2P-10 (ten MiB of lists)", 20 * MIB).await;
    }
    let gauge = arena.gauge().await;
    for (number, (what, bomb)) in (2..).zip(&bombs) {
        let body = compress(bomb);
        for code in CARRIERS {
            throw(&arena, number, what, code, &body).await;
        }
    }
    arena.judge(gauge, "P2P-10", 20 * MIB).await;
}

/// Sends what must end a session, and how long that takes.
async fn throw(arena: &Arena, number: u64, what: &str, code: u8, body: &[u8]) -> Duration {
    let mut peer = arena.peer(number).await;
    let began = Instant::now();
    peer.send_raw(ETH_OFFSET + u64::from(code), body).await.expect("the node reads");
    let end = peer.hear_end().await;
    let took = began.elapsed();
    assert_eq!(end, Some(DisconnectReason::SubprotocolError.code()), "{what}, code {code}");
    took
}

/// What a session is, after a message that may have ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Goes,
    Over,
}

/// Asks something that a session in order answers.
async fn probe(peer: &mut Peer) -> Session {
    let query = HeaderQuery { origin: Origin::Number(0), amount: 1, skip: 0, reverse: false };
    let request = RequestId(77);
    if peer.tell(&Message::GetBlockHeaders { request, query }).await.is_err() {
        return Session::Over;
    }
    match peer.hear_eth(&[BLOCK_HEADERS]).await {
        Ok(_) => Session::Goes,
        Err(_) => Session::Over,
    }
}

/// P2P-13: each code, empty, as a list, and as garbage.
#[tokio::test(flavor = "multi_thread")]
async fn every_code_in_every_version_goes_on_or_ends_the_session() {
    let versions: &[EthVersion] =
        if is_long() { &EthVersion::ALL[1..] } else { &[EthVersion::Eth65, EthVersion::Eth68] };
    let codes: Vec<u64> = if is_long() {
        (0..256).collect()
    } else {
        (0..40).chain([0x7f, 0x80, 0xff, 0xffff, u64::MAX]).collect()
    };
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let (mut cases, mut over, mut number) = (0, 0, 0);
    for version in versions {
        let mut peer = arena.peer_of(number, *version).await;
        for code in &codes {
            for payload in [&b""[..], &[0xc0], &[0xde, 0xad, 0xbe, 0xef]] {
                // Pongs, and what comes after them, are counted and no fault before.
                peer.send(*code, payload).await.ok();
                cases += 1;
                if probe(&mut peer).await == Session::Over {
                    over += 1;
                    number += 1;
                    peer = arena.peer_of(number, *version).await;
                } else {
                    let is_eth = *code >= ETH_OFFSET;
                    assert!(!is_eth || payload == [0xc0], "{version} took code {code} {payload:?}");
                }
            }
        }
    }
    assert_eq!(cases, versions.len() * codes.len() * 3);
    say(&format!("P2P-13: {cases} cases, {over} sessions ended"));
    arena.judge(gauge, "P2P-13", RSS_DELTA_MAX).await;
}

/// P2P-13.
#[tokio::test(flavor = "multi_thread")]
async fn messages_before_their_time_or_of_another_version_end_the_session() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    // Before hello.
    for code in [2, ETH_OFFSET, ETH_OFFSET + 3] {
        let stream = arena.target.connect(source(code)).await.expect("the node listens");
        let mut link =
            Encrypted::dial(stream, &arena.target, &key(code)).await.expect("it answers");
        link.send(code, &[0xc0]).await.expect("the node reads");
        while let Heard::Message(..) = link.hear().await {}
    }
    // Before status, and status twice.
    for code in 1..MESSAGE_CODES {
        let number = 100 + u64::from(code);
        let stream = arena.target.connect(source(number)).await.expect("the node listens");
        let link = Encrypted::dial(stream, &arena.target, &key(number)).await.expect("it answers");
        let mut peer = link.greet(EthVersion::Eth66).await.expect("the node takes this hello");
        peer.send(ETH_OFFSET + u64::from(code), &[0xc0]).await.expect("the node reads");
        assert!(peer.hear_end().await.is_some(), "code {code}");
    }
    let mut peer = arena.peer(200).await;
    let status = peer_status(&arena).await;
    peer.send(ETH_OFFSET, &status).await.expect("the node reads");
    assert_eq!(peer.hear_end().await, Some(DisconnectReason::SubprotocolError.code()));
    // Node data after its last version; questions with and without an id in the wrong one.
    let hashes = || vec![primitives::B256::repeat_byte(1)];
    let node_data = Message::GetNodeData { request: RequestId(1), hashes: hashes() };
    let receipts = Message::GetReceipts { request: RequestId(1), hashes: hashes() };
    for (spoken, written, message) in [
        (EthVersion::Eth67, EthVersion::Eth66, &node_data),
        (EthVersion::Eth68, EthVersion::Eth66, &node_data),
        (EthVersion::Eth66, EthVersion::Eth65, &receipts),
        (EthVersion::Eth64, EthVersion::Eth66, &receipts),
        (EthVersion::Eth65, EthVersion::Eth66, &receipts),
    ] {
        let mut peer = arena.peer_of(201, spoken).await;
        let (code, payload) = message.encode(written);
        peer.send(ETH_OFFSET + u64::from(code), &payload).await.expect("the node reads");
        let end = peer.hear_end().await;
        assert_eq!(end, Some(DisconnectReason::SubprotocolError.code()), "{written} in {spoken}");
    }
    arena.judge(gauge, "P2P-13 (order)", RSS_DELTA_MAX).await;
}

/// The node's own Status, as it is sent.
async fn peer_status(arena: &Arena) -> Vec<u8> {
    let stream = arena.target.connect(source(202)).await.expect("the node listens");
    let link = Encrypted::dial(stream, &arena.target, &key(202)).await.expect("it answers");
    let mut peer = link.greet(EthVersion::Eth68).await.expect("the node takes this hello");
    match peer.hear().await {
        Heard::Message(ETH_OFFSET, payload) => payload,
        other => panic!("{other:?} where status belongs"),
    }
}
