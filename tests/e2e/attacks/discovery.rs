//! Datagrams.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use devp2p::{
    NodeRecord, PeerId,
    discv4::{Endpoint, Neighbor, Packet},
};
use primitives::B256;
use tests::harness::{
    attacker::{Target, key, source},
    gauge::{MIB, RSS_DELTA_MAX},
    packets::{Gun, SILENCE, expiration, rehash},
    random::{Random, is_long, say},
};

use super::arena::{Arena, PATIENCE};

/// Sources of a flood.
const SOURCES: u64 = 1_000;
/// Datagrams of a flood in a second, and for how long.
const FLOOD_PER_SECOND: u64 = 200_000;
const FLOOD_SECONDS: u64 = 3;
const FLOOD_SECONDS_LONG: u64 = 30;
/// Nodes that nobody asked for.
const NEIGHBORS: u64 = 100;

fn find_node() -> Packet {
    Packet::FindNode { target: [9; 64], expiration: expiration() }
}

/// What comes but for pings, with which a node may ask back.
fn answers(gun: &mut Gun) -> Vec<Packet> {
    let mut heard = gun.hear_all();
    heard.retain(|packet| !matches!(packet, Packet::Ping { .. }));
    heard
}

fn gun(arena: &Arena, number: u64) -> Gun {
    Gun::new(&arena.target, source(number), key(number))
}

/// DSC-01.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_proven_nothing_is_sent_no_more_than_he_sent() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    for packet in [find_node(), Packet::EnrRequest { expiration: expiration() }] {
        let mut stranger = gun(&arena, 1);
        for _ in 0..20 {
            stranger.send(&packet);
        }
        assert_eq!(stranger.hear_all(), [], "{packet:?}");
        // One who has proven to be there, and the same key from another address.
        let mut proven = gun(&arena, 2);
        proven.bond();
        let mut elsewhere = Gun::new(&arena.target, Ipv4Addr::new(127, 0, 9, 9), key(2));
        elsewhere.send(&packet);
        assert_eq!(elsewhere.hear_all(), [], "{packet:?}");
        // And another key from his address; he himself is answered.
        proven.send(&packet);
        let is_answer = |packet: &Packet| {
            matches!(packet, Packet::Neighbors { .. } | Packet::EnrResponse { .. })
        };
        assert!(proven.hear_for(is_answer).is_some(), "{packet:?}");
    }
    // Shortest pings from an address that never answers: a pong and a ping, at most twice the bytes.
    let mut victim = gun(&arena, 3);
    let nobody = Endpoint { ip: None, udp: 0, tcp: 0 };
    for _ in 0..50 {
        let ping =
            Packet::Ping { from: nobody, to: nobody, expiration: expiration(), enr_sequence: None };
        victim.send(&ping);
    }
    let answers = victim.hear_all();
    let pings = answers.iter().filter(|packet| matches!(packet, Packet::Ping { .. })).count();
    let (out, back) = (victim.bytes_out, victim.bytes_in);
    say(&format!("DSC-01: {back} bytes for {out}, {pings} pings among {} packets", answers.len()));
    assert!(back <= 2 * out, "{back} bytes for {out}");
    arena.judge(gauge, "DSC-01", RSS_DELTA_MAX).await;
}

/// DSC-02: the cases of hive's suite that one address can make.
#[tokio::test(flavor = "multi_thread")]
async fn pings_and_questions_are_answered_or_not_as_the_reference_suite_has_it() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    pings_are_answered(&arena);
    let is_neighbors = |packet: &Packet| matches!(packet, Packet::Neighbors { .. });
    // BondThenPingWithWrongFrom, FindnodeWithoutEndpointProof, FindnodeSpoofedSource.
    let mut node = gun(&arena, 20);
    node.send(&find_node());
    assert_eq!(answers(&mut node), []);
    node.bond();
    let wrong = Endpoint::new(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 0), 1)), 1);
    let Packet::Ping { to, .. } = node.ping() else { unreachable!("it is a ping") };
    let ping = Packet::Ping { from: wrong, to, expiration: expiration(), enr_sequence: None };
    let hash = node.send(&ping);
    assert!(
        node.hear_for(
            |packet| matches!(packet, Packet::Pong { ping_hash, .. } if *ping_hash == hash)
        )
        .is_some()
    );
    node.send(&find_node());
    assert!(node.hear_for(is_neighbors).is_some());
    // FindnodePastExpiration, UnsolicitedNeighbors: the named one is not told to others.
    node.send(&Packet::FindNode { target: [1; 64], expiration: 1 });
    assert_eq!(answers(&mut node), []);
    let named = PeerId::of(&key(21));
    let record = NodeRecord { id: named, ip: source(21).into(), tcp: 1, udp: 1 };
    node.send(&Packet::Neighbors { nodes: vec![Neighbor::from(record)], expiration: expiration() });
    node.send(&Packet::FindNode { target: named.to_bytes(), expiration: expiration() });
    let Some(Packet::Neighbors { nodes, .. }) = node.hear_for(is_neighbors) else {
        panic!("no neighbors");
    };
    assert!(nodes.iter().all(|node| node.id != named.to_bytes()));
    // FindnodeAmplificationInvalidPongHash, FindnodeAmplificationWrongIP.
    let mut liar = gun(&arena, 22);
    liar.send(&liar.ping());
    while let Some(envelope) = liar.hear(SILENCE) {
        if matches!(envelope.packet, Packet::Ping { .. }) {
            liar.pong(B256::repeat_byte(1));
        }
    }
    liar.send(&find_node());
    assert_eq!(answers(&mut liar), []);
    let mut mover = gun(&arena, 23);
    mover.bond();
    let mut moved = Gun::new(&arena.target, Ipv4Addr::new(127, 0, 8, 8), key(23));
    moved.send(&find_node());
    assert_eq!(answers(&mut moved), []);
    // ENRRequest.
    let mut asker = gun(&arena, 24);
    asker.bond();
    let hash = asker.send(&Packet::EnrRequest { expiration: expiration() });
    let answer = asker.hear_for(|packet| matches!(packet, Packet::EnrResponse { request_hash, .. } if *request_hash == hash));
    let Some(Packet::EnrResponse { record, .. }) = answer else { panic!("no record") };
    assert_eq!(devp2p::Enr::from_rlp(&record).map(|record| record.id()), Ok(arena.target.id));
    arena.judge(gauge, "DSC-02", RSS_DELTA_MAX).await;
}

/// Basic, WrongTo, WrongFrom, ExtraData, ExtraDataWrongFrom, PastExpiration, WrongPacketType.
fn pings_are_answered(arena: &Arena) {
    let wrong = Endpoint::new(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 0), 1)), 1);
    let mut gun = gun(arena, 10);
    assert!(gun.is_answered());
    let Packet::Ping { from, to, .. } = gun.ping() else { unreachable!("it is a ping") };
    let ping = |from, to, expiration| Packet::Ping { from, to, expiration, enr_sequence: None };
    let now = expiration();
    for (from, to, extra) in
        [(from, wrong, false), (wrong, to, false), (from, to, true), (wrong, to, true)]
    {
        let (mut datagram, _) = ping(from, to, now).seal(&key(10));
        if extra {
            datagram = with_extra(&ping(from, to, now));
        }
        gun.fire(&datagram);
        let hash = B256::from_slice(&datagram[..32]);
        let is_pong = |packet: &Packet| matches!(packet, Packet::Pong { ping_hash, .. } if *ping_hash == hash);
        assert!(gun.hear_for(is_pong).is_some(), "extra {extra}");
    }
    gun.hear_all();
    gun.send(&ping(from, to, 1));
    assert_eq!(answers(&mut gun), []);
    let (mut datagram, _) = ping(from, to, now).seal(&key(10));
    datagram[97] = 99;
    rehash(&mut datagram);
    gun.fire(&datagram);
    assert_eq!(answers(&mut gun), []);
}

/// The packet with bytes behind it that are signed, too.
fn with_extra(packet: &Packet) -> Vec<u8> {
    use secp256k1::{Message, SECP256K1};
    let (mut datagram, _) = packet.seal(&key(10));
    datagram.extend([0xc2, 1, 2]);
    let digest = primitives::keccak256(&datagram[97..]);
    let signature = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &key(10));
    let (recovery, compact) = signature.serialize_compact();
    datagram[32..96].copy_from_slice(&compact);
    datagram[96] = u8::try_from(i32::from(recovery)).expect("0 to 3");
    rehash(&mut datagram);
    datagram
}

/// DSC-03.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_random_datagrams_costs_little_and_pings_are_answered() {
    let seconds = if is_long() { FLOOD_SECONDS_LONG } else { FLOOD_SECONDS };
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let (process, before, began) = (gauge.process(), gauge.process().cpu(), Instant::now());
    let target = arena.target;
    let flood = thread::spawn(move || pour_datagrams(&target, Duration::from_secs(seconds), false));
    let mut slowest = Duration::ZERO;
    let mut honest = gun(&arena, 5_000);
    let mut missed = 0;
    while !flood.is_finished() {
        // A full buffer drops what is honest, too: each is asked again, as any node would.
        let asked = Instant::now();
        while !ping_once(&mut honest) {
            missed += 1;
        }
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    let sent = flood.join().expect("it ends");
    let cpu = process.cpu().saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    say(&format!(
        "DSC-03: {sent} datagrams in {:.1?}, {cpu:.2} cores, honest pings took {slowest:.2?} at most, {missed} were lost",
        began.elapsed()
    ));
    if is_long() {
        assert!(cpu <= 0.5, "{cpu} cores");
        assert!(slowest <= Duration::from_secs(1), "{slowest:?}");
    }
    arena.judge(gauge, "DSC-03", 8 * MIB).await;
    // Pings with signatures that have to be looked at: more than may be looked at in a second, so
    // that honest ones are lost, too, while it lasts.
    let gauge = arena.gauge().await;
    let (before, began) = (process.cpu(), Instant::now());
    let sent = pour_datagrams(&target, Duration::from_secs(seconds), true);
    let cpu = process.cpu().saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    say(&format!("DSC-03: {sent} datagrams, a third of them pings, {cpu:.2} cores"));
    assert!(cpu <= 0.5 || !is_long(), "{cpu} cores");
    // What was left in buffers is looked at first.
    let ended = Instant::now();
    while !ping_once(&mut honest) {
        assert!(ended.elapsed() < PATIENCE, "no pong after the flood");
    }
    arena.judge(gauge, "DSC-03 (signed)", 8 * MIB).await;
}

/// Sends a ping, and waits a little for its answer.
fn ping_once(gun: &mut Gun) -> bool {
    let hash = gun.send(&gun.ping());
    while let Some(envelope) = gun.hear(Duration::from_millis(200)) {
        match envelope.packet {
            Packet::Pong { ping_hash, .. } if ping_hash == hash => return true,
            Packet::Ping { .. } => {
                gun.pong(envelope.hash);
            }
            _ => {}
        }
    }
    false
}

/// Random bytes from many sources, half of them with a right hash, or a third of them, beside pings
/// with another's signature; how many.
fn pour_datagrams(target: &Target, period: Duration, with_packets: bool) -> u64 {
    let mut random = Random::seeded(3);
    let mut guns: Vec<Gun> =
        (0..SOURCES).map(|number| Gun::new(target, source(number), key(1))).collect();
    let (ping, _) = guns[0].ping().seal(&key(1));
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < period {
        for gun in &mut guns {
            let length = usize::try_from(random.within(1..1_500)).expect("short");
            let mut datagram = vec![u8::try_from(random.within(0..256)).expect("a byte"); length];
            match random.within(0..if with_packets { 3 } else { 2 }) {
                // As far as the check of the hash, of the packet, and of the signature.
                0 => {}
                1 => rehash(&mut datagram),
                _ => {
                    datagram.clone_from(&ping);
                    datagram[40] ^= u8::try_from(random.within(0..256)).expect("a byte");
                    rehash(&mut datagram);
                }
            }
            gun.fire(&datagram);
            sent += 1;
        }
        let due = Duration::from_secs(1) * u32::try_from(sent / 1_000).expect("few")
            / u32::try_from(FLOOD_PER_SECOND / 1_000).expect("few");
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
    sent
}

/// DSC-04.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_void_repeated_or_unasked_changes_nothing() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let mut gun = gun(&arena, 1);
    let to = Endpoint::new(arena.target.udp, 0);
    // Pongs that end in the past, or never, prove nothing.
    for end in [1, u64::MAX] {
        gun.send(&gun.ping());
        while let Some(envelope) = gun.hear(SILENCE) {
            if matches!(envelope.packet, Packet::Ping { .. }) {
                let ping_hash = envelope.hash;
                gun.send(&Packet::Pong { to, ping_hash, expiration: end, enr_sequence: None });
            }
        }
        gun.send(&find_node());
        assert_eq!(answers(&mut gun), [], "a pong until {end}");
    }
    // Nodes that nobody asked for, in packets that are valid, void and for ever.
    let mut proven = Gun::new(&arena.target, source(2), key(2));
    proven.bond();
    let named: Vec<PeerId> = (0..NEIGHBORS).map(|number| PeerId::of(&key(100 + number))).collect();
    for end in [expiration(), 1, u64::MAX] {
        for (number, ids) in (0_u64..).zip(named.chunks(12)) {
            let record =
                |id: &PeerId| NodeRecord { id: *id, ip: source(number).into(), tcp: 9, udp: 9 };
            let nodes = ids.iter().map(|id| Neighbor::from(record(id))).collect();
            proven.send(&Packet::Neighbors { nodes, expiration: end });
        }
    }
    for id in named.iter().step_by(10) {
        proven.send(&Packet::FindNode { target: id.to_bytes(), expiration: expiration() });
        let answer = proven.hear_for(|packet| matches!(packet, Packet::Neighbors { .. }));
        let Some(Packet::Neighbors { nodes, .. }) = answer else { panic!("no neighbors") };
        assert!(nodes.iter().all(|node| named.iter().all(|id| id.to_bytes() != node.id)));
    }
    if is_long() {
        replay(&mut arena);
    }
    arena.judge(gauge, "DSC-04", RSS_DELTA_MAX).await;
}

/// A captured packet is void when its time is over.
fn replay(arena: &mut Arena) {
    let mut gun = gun(arena, 3);
    gun.bond();
    let (datagram, _) = find_node().seal(&key(3));
    gun.fire(&datagram);
    assert!(gun.hear_for(|packet| matches!(packet, Packet::Neighbors { .. })).is_some());
    thread::sleep(Duration::from_secs(21));
    gun.hear_all();
    gun.fire(&datagram);
    assert_eq!(answers(&mut gun), []);
}
