//! Before there is a session: packets, keys, frames and introductions.

use std::{net::Ipv4Addr, time::Duration};

use devp2p::{DisconnectReason, PeerId, testing};
use network::wire::EthVersion;
use serde_json::json;
use tests::harness::{
    attacker::{Encrypted, Heard, Hello, Peer, auth_body, compress, enode, key, list, source},
    gauge::{MIB, RSS_DELTA_MAX, check_log},
    packets::Gun,
    random::{is_long, say},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};

use super::arena::{Arena, PATIENCE, silence};

/// Connections that promise a large frame.
const BOMBS: u64 = 60;
/// How many ways there are to be no point.
const BAD_POINTS: usize = 6;

/// P2P-01.
#[tokio::test(flavor = "multi_thread")]
async fn handshake_packets_of_any_length_and_fill_end_in_silence() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let point = PeerId::of(&key(1)).to_bytes();
    let mut cases = 0;
    for length in 0..=400_u16 {
        let body = vec![0; usize::from(length)];
        let with_point = [&[4], &point[..], &[7; 400]].concat();
        let fills = [body.clone(), vec![0xff; body.len()], with_point[..body.len()].to_vec()];
        for fill in fills {
            let mut stream = arena.target.connect(source(cases)).await.expect("the node listens");
            let packet = [&length.to_be_bytes()[..], &fill].concat();
            stream.write_all(&packet).await.expect("the node reads");
            assert_eq!(silence(&mut stream).await, 0, "length {length}");
            cases += 1;
        }
    }
    assert_eq!(cases, 1_203);
    arena.judge(gauge, "P2P-01", RSS_DELTA_MAX).await;
}

/// Off the curve, either coordinate beyond the field, nothing, one of nothing, and everything.
fn bad_points() -> [[u8; 64]; BAD_POINTS] {
    let good = PeerId::of(&key(9)).to_bytes();
    let mut prime = [0xff; 32];
    prime[27..].copy_from_slice(&[0xfe, 0xff, 0xff, 0xfc, 0x2f]);
    let mut points = [good; BAD_POINTS];
    points[0][63] ^= 1;
    points[1][..32].copy_from_slice(&prime);
    points[2][32..].copy_from_slice(&prime);
    points[3] = [0; 64];
    points[4][..32].fill(0);
    points[5] = [0xff; 64];
    points
}

/// P2P-02: six points in five places.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_points_are_met_with_the_silence_of_any_bad_packet() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    for (number, point) in (0_u64..).zip(bad_points()) {
        // In the dialler's packet: its ephemeral key, and its own.
        let sender = key(100 + number);
        let good = auth_body(&sender, &PeerId::of(&sender).to_bytes(), None);
        let mut outer = testing::seal(&arena.target.id, &good);
        outer[3..67].copy_from_slice(&point);
        let inner = testing::seal(&arena.target.id, &auth_body(&sender, &point, None));
        for packet in [outer, inner] {
            let mut stream = arena.target.connect(source(number)).await.expect("it listens");
            stream.write_all(&packet).await.expect("the node reads");
            assert_eq!(silence(&mut stream).await, 0, "point {number}");
        }
        // In the answer to the node's own call.
        for is_outer in [true, false] {
            answer_with(&mut arena, 200 + 2 * number + u64::from(is_outer), &point, is_outer).await;
        }
        spoil_discovery(&arena, number, &point);
    }
    arena.judge(gauge, "P2P-02", RSS_DELTA_MAX).await;
}

/// Has the node call, and answers with a key that is none.
async fn answer_with(arena: &mut Arena, number: u64, point: &[u8; 64], is_outer: bool) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let url = enode(&key(number), listener.local_addr().expect("it is bound"));
    arena.node.rpc.call("admin_addPeer", json!([url]));
    let mut stream = accept(&listener).await;
    let mut auth = [0; 2];
    stream.read_exact(&mut auth).await.expect("the node calls");
    let mut auth = vec![0; usize::from(u16::from_be_bytes(auth))];
    stream.read_exact(&mut auth).await.expect("the node calls");
    let good = PeerId::of(&key(number)).to_bytes();
    let ephemeral = if is_outer { &good } else { point };
    let fields = [&ephemeral[..], &[7; 32]].map(alloy_rlp::encode);
    let body = list(&[&fields[..], &[vec![4]]].concat());
    let mut ack = testing::seal(&arena.target.id, &body);
    if is_outer {
        ack[3..67].copy_from_slice(point);
    }
    stream.write_all(&ack).await.expect("the node reads");
    assert_eq!(silence(&mut stream).await, 0, "key {number}");
    arena.node.rpc.call("admin_removePeer", json!([url]));
}

/// A signature from which no key follows, and the node still answers others.
fn spoil_discovery(arena: &Arena, number: u64, point: &[u8; 64]) {
    let mut gun = Gun::new(&arena.target, source(number), key(300 + number));
    let (mut datagram, _) = gun.ping().seal(&key(300 + number));
    datagram[32..96].copy_from_slice(point);
    // Whatever the last byte says, no key may follow that fits.
    datagram[96] = 4;
    tests::harness::packets::rehash(&mut datagram);
    gun.fire(&datagram);
    assert_eq!(gun.hear_all(), [], "point {number}");
    assert!(gun.is_answered());
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let accepted = time::timeout(PATIENCE, listener.accept()).await;
    accepted.expect("the node calls in time").expect("the socket works").0
}

/// P2P-04.
#[tokio::test(flavor = "multi_thread")]
async fn a_promised_frame_takes_no_memory_and_ends_the_connection() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let mut bombs = JoinSet::new();
    for number in 0..BOMBS {
        let target = arena.target;
        bombs.spawn(async move {
            let stream = target.connect(source(number)).await.expect("the node listens");
            let sender = key(number);
            // The node may have too many strangers at the moment.
            let link = time::timeout(PATIENCE, Encrypted::dial(stream, &target, &sender)).await;
            let mut link = link.expect("there is room in time").expect("the node answers");
            let promised = time::Instant::now();
            link.writer.promise(0xff_ffff).await.expect("the node reads");
            while let Heard::Message(..) = link.hear().await {}
            promised.elapsed()
        });
    }
    let longest = bombs.join_all().await.into_iter().max().expect("there are bombs");
    say(&format!("P2P-04: {BOMBS} connections closed, the last after {longest:.2?}"));
    assert!(longest <= Duration::from_secs(5) || !is_long(), "closed after {longest:?}");
    // The same in a session, where longer frames are allowed, but none of 16 MiB.
    let mut peer = arena.peer(100).await;
    peer.writer().promise(0xff_ffff).await.expect("the node reads");
    let breach = DisconnectReason::BreachOfProtocol.code();
    assert_eq!(peer.hear_end().await, Some(breach));
    arena.judge(gauge, "P2P-04", 8 * MIB).await;
}

/// Makes an introduction strange.
type Bend = Box<dyn Fn(&mut Hello)>;

/// What becomes of an introduction.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is a peer.
    Taken,
    /// It is told why not.
    Told(DisconnectReason),
    /// One of the two.
    Refused,
}

fn named(name: &[u8]) -> impl Fn(&mut Hello) {
    move |hello| hello.name = name.to_vec()
}

fn capable(count: usize) -> impl Fn(&mut Hello) {
    move |hello| {
        let other = |number: usize| (format!("x{number:04}").into_bytes(), 1);
        let others = (1..count).map(other);
        let eth = (count > 0).then(|| (b"eth".to_vec(), 68));
        hello.capabilities = eth.into_iter().chain(others).collect();
    }
}

/// P2P-11.
#[tokio::test(flavor = "multi_thread")]
async fn strange_introductions_are_taken_or_refused_and_never_printed_raw() {
    use DisconnectReason::{
        BreachOfProtocol, IncompatibleVersion, InvalidIdentity, UnexpectedIdentity, UselessPeer,
    };
    let mut arena = Arena::new(&["--verbosity", "5"]).await;
    let gauge = arena.gauge().await;
    let version = |version| move |hello: &mut Hello| hello.version = version;
    let spoken = |version| move |hello: &mut Hello| hello.capabilities[0].1 = version;
    let cases: Vec<(&str, Bend, Fate)> = vec![
        ("no capability", Box::new(capable(0)), Fate::Told(UselessPeer)),
        ("10 capabilities", Box::new(capable(10)), Fate::Taken),
        ("100 capabilities", Box::new(capable(100)), Fate::Taken),
        ("1000 capabilities", Box::new(capable(1_000)), Fate::Refused),
        ("5000 capabilities", Box::new(capable(5_000)), Fate::Refused),
        (
            "doubled",
            Box::new(|hello| hello.capabilities = vec![(b"eth".to_vec(), 68); 20]),
            Fate::Taken,
        ),
        ("eth/0", Box::new(spoken(0)), Fate::Told(UselessPeer)),
        ("eth/89", Box::new(spoken(89)), Fate::Told(UselessPeer)),
        ("a long name", Box::new(named(&[b'x'; 1_000])), Fate::Taken),
        ("a raw name", Box::new(named(b"\x1b[31mred\r\nlines\0\xff\xc3\x7f")), Fate::Taken),
        (
            "another's key",
            Box::new(|hello| hello.id[..].copy_from_slice(&PeerId::of(&key(9)).to_bytes())),
            Fate::Told(UnexpectedIdentity),
        ),
        ("no key", Box::new(|hello| hello.id.fill(0)), Fate::Told(InvalidIdentity)),
        ("version 3", Box::new(version(3)), Fate::Told(IncompatibleVersion)),
        ("version 4", Box::new(version(4)), Fate::Taken),
        ("version 6", Box::new(version(6)), Fate::Taken),
    ];
    assert_eq!(cases.len(), 15);
    let mut peers = Vec::new();
    for (number, (what, bend, fate)) in (10_u64..).zip(&cases) {
        let (peer, found) = introduce(&arena, number, bend).await;
        match fate {
            Fate::Refused => assert_ne!(found, Fate::Taken, "{what}"),
            fate => assert_eq!(found, *fate, "{what}"),
        }
        peers.extend(peer);
    }
    let infos = arena.node.rpc.call("admin_peers", json!([]));
    let infos = infos.as_array().expect("a list");
    let names: Vec<&str> =
        infos.iter().map(|peer| peer["name"].as_str().expect("a name")).collect();
    assert!(names.contains(&"?[31mred??lines????"), "{names:?}");
    for name in names {
        assert!(name.len() <= 128 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
    drop(peers);
    // Twice, and compressed.
    let sender = key(50);
    let hello = Hello::of(PeerId::of(&sender), EthVersion::Eth68).encode();
    let mut peer = arena.peer(51).await;
    peer.send(testing::HELLO, &hello).await.expect("the node reads");
    assert_eq!(peer.hear_end().await, Some(BreachOfProtocol.code()));
    let stream = arena.target.connect(source(50)).await.expect("the node listens");
    let mut link = Encrypted::dial(stream, &arena.target, &sender).await.expect("it answers");
    link.send(testing::HELLO, &compress(&hello)).await.expect("the node reads");
    while let Heard::Message(..) = link.hear().await {}
    arena.judge(gauge, "P2P-11", RSS_DELTA_MAX).await;
    check_log("P2P-11", &arena.node.history());
}

async fn introduce(arena: &Arena, number: u64, bend: &dyn Fn(&mut Hello)) -> (Option<Peer>, Fate) {
    let sender = key(number);
    let stream = arena.target.connect(source(number)).await.expect("the node listens");
    let link = Encrypted::dial(stream, &arena.target, &sender).await.expect("it answers");
    let mut hello = Hello::of(PeerId::of(&sender), EthVersion::Eth68);
    bend(&mut hello);
    let mut peer = match link.greet_with(&hello).await {
        Ok(peer) => peer,
        Err(heard) => panic!("{heard:?} where hello belongs"),
    };
    let heard = peer.hear().await;
    match heard {
        Heard::Disconnect(code) => (None, Fate::Told(reason_of(code))),
        Heard::Closed => (None, Fate::Refused),
        Heard::Message(..) => {
            assert!(matches!(heard, Heard::Message(16, _)), "{heard:?} where status belongs");
            (Some(answer_status(arena, peer, heard).await), Fate::Taken)
        }
    }
}

/// The node's Status back to it, so that it is a peer; listed when it answers a question.
async fn answer_status(arena: &Arena, mut peer: Peer, status: Heard) -> Peer {
    let Heard::Message(code, payload) = status else { panic!("{status:?} is no status") };
    peer.send(code, &payload).await.expect("the node reads");
    super::questions::assert_is_peer(arena, &mut peer).await;
    peer
}

fn reason_of(code: u8) -> DisconnectReason {
    DisconnectReason::decode(&alloy_rlp::encode(code))
}
