use std::net::{IpAddr, Ipv4Addr};

use aes::Aes128;
use ctr::cipher::{KeyIvInit, StreamCipher};
use primitives::ForkId;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    Discovery, DiscoveryConfig, LocalRecord,
    discovery::V5Config,
    discv4::{Endpoint, Envelope, Packet as OldPacket},
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn secret(number: u8) -> SecretKey {
    SecretKey::from_slice(&[number; 32]).unwrap()
}

fn enr(number: u8, ip: &str, udp: u16, tcp: u16) -> Enr {
    let key = secret(number);
    let node = NodeRecord { id: PeerId::of(&key), ip: ip.parse().unwrap(), tcp, udp };
    LocalRecord::new(key, node, None, 1).enr().clone()
}

/// A running node and what it finds.
struct Node {
    discovery: Discovery,
    found: mpsc::Receiver<NodeRecord>,
    _tasks: JoinSet<()>,
}

impl Node {
    async fn start(number: u8, change: impl FnOnce(&mut DiscoveryConfig)) -> Self {
        let (sender, found) = mpsc::channel(16);
        let mut config = DiscoveryConfig {
            listen: SocketAddr::new(LOOPBACK, 0),
            tcp: 1,
            external: Some(LOOPBACK),
            guess: None,
            bootnodes: Vec::new(),
            seeds: Vec::new(),
            last_sequence: 0,
            v4: true,
            v5: Some(V5Config::default()),
            restrict: Some("127.0.0.0/8".parse().unwrap()),
            fork_id: None,
            found: sender,
        };
        change(&mut config);
        let stop = CancellationToken::new();
        let (discovery, run) = Discovery::start(config, secret(number), stop).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(run);
        Self { discovery, found, _tasks: tasks }
    }

    /// A node that knows the record of another, and nothing of version 4.
    async fn beside(number: u8, other: &Self) -> Self {
        let records = vec![other.discovery.enr()];
        Self::start(number, |config| {
            config.v5 = Some(V5Config { records, ..V5Config::default() });
        })
        .await
    }

    async fn finds(&mut self, other: &Self) {
        while self.found.recv().await.unwrap() != other.discovery.node() {
            self.discovery.look_up().await.unwrap();
        }
    }
}

#[tokio::test]
async fn nodes_find_each_other_by_records_alone() {
    let bootnode = Node::start(1, |config| config.tcp = 0).await;
    let mut second = Node::beside(2, &bootnode).await;
    let mut third = Node::beside(3, &bootnode).await;
    let (one, other) = (second.discovery.clone(), third.discovery.clone());
    tokio::join!(search(&mut second, &other), search(&mut third, &one));
}

/// Searches until a node is found, as the node does while it has few peers.
async fn search(node: &mut Node, other: &Discovery) {
    let mut again = time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            Some(found) = node.found.recv() => if found == other.node() { return },
            _ = again.tick() => node.discovery.look_up().await.unwrap(),
        }
    }
}

#[tokio::test]
async fn both_versions_share_one_port() {
    let mut first = Node::start(1, |_| {}).await;
    // One speaks the old version only, the other the new one only.
    let known = first.discovery.node();
    let mut old = Node::start(2, |config| {
        config.bootnodes.push(known);
        config.v5 = None;
    })
    .await;
    old.finds(&first).await;
    first.finds(&old).await;
    let new = Node::beside(3, &first).await;
    search(&mut first, &new.discovery).await;
}

#[tokio::test]
async fn a_bootnode_without_a_record_is_asked_for_it() {
    let bootnode = Node::start(1, |config| config.tcp = 0).await;
    let new = Node::beside(2, &bootnode).await;
    // Version 4 is not told of it, and yet it knows of `new`, of whom version 4 knows nothing.
    let mut third = Node::start(3, |config| config.bootnodes.push(bootnode.discovery.node())).await;
    search(&mut third, &new.discovery).await;
}

#[tokio::test]
async fn all_addresses_means_both_families() {
    let both = Node::start(1, |config| config.listen = "[::]:0".parse().unwrap()).await;
    let mut other = Node::beside(2, &both).await;
    other.finds(&both).await;
}

/// A message of nobody in a packet that is well-formed.
fn ordinary_packet(to: PeerId, rng: &mut StdRng) -> Vec<u8> {
    let mut packet = vec![0; 16];
    rng.fill(packet.as_mut_slice());
    let mut mask = ctr::Ctr128BE::<Aes128>::new_from_slices(&to.node_id()[..16], &packet).unwrap();
    packet.extend_from_slice(b"discv5\x00\x01\x00");
    packet.extend_from_slice(&[7; 12]);
    packet.extend_from_slice(&[0, 32]);
    packet.extend_from_slice(&[8; 32]);
    mask.apply_keystream(&mut packet[16..]);
    packet.extend_from_slice(&[9; 44]);
    packet
}

#[tokio::test]
async fn what_is_no_packet_is_not_answered_and_a_challenge_is_no_larger_than_its_cause() {
    let node = Node::start(1, |_| {}).await;
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    socket.connect(node.discovery.node().udp_address()).await.unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..20 {
        let mut junk = [0; 63];
        rng.fill(&mut junk);
        socket.send(&junk).await.unwrap();
    }
    let question = ordinary_packet(node.discovery.node().id, &mut rng);
    socket.send(&question).await.unwrap();
    let mut answer = [0; 2_000];
    let length = socket.recv(&mut answer).await.unwrap();
    assert_eq!(length, 63, "it is a challenge, and the first answer");
    assert!(length <= question.len());
    let ping = OldPacket::Ping {
        from: Endpoint::new(socket.local_addr().unwrap(), 1),
        to: Endpoint::new(node.discovery.node().udp_address(), 1),
        expiration: u64::MAX >> 30,
        enr_sequence: None,
    };
    // Version 4 is as strict as ever: this ping is of the far future.
    socket.send(&ping.seal(&secret(9)).0).await.unwrap();
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let OldPacket::Ping { from, to, .. } = ping else { unreachable!() };
    let expiration = soon.as_secs() + 20;
    let ping = OldPacket::Ping { from, to, expiration, enr_sequence: None };
    let (bytes, hash) = ping.seal(&secret(9));
    socket.send(&bytes).await.unwrap();
    let length = socket.recv(&mut answer).await.unwrap();
    match Envelope::open(&answer[..length]).unwrap().packet {
        OldPacket::Pong { ping_hash, .. } => assert_eq!(ping_hash, hash),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_of_other_chains_and_other_networks_are_not_reported() {
    let fork_id = |hash| ForkId { hash: [hash; 4], next: 0 };
    let record = |number, fork_id| {
        let node = enr(number, "10.0.0.1", 30_303, 30_303).node().unwrap();
        let local = LocalRecord::new(secret(number), node, fork_id, 1);
        Record::decode(&mut local.enr().to_rlp().as_slice()).unwrap()
    };
    let records = [
        record(2, Some(fork_id(1))),
        record(3, Some(fork_id(2))),
        record(4, None),
        record(1, None),
    ];
    let own = PeerId::of(&secret(1));
    let ids = |filter: Filter| -> Vec<PeerId> {
        filter.nodes(&records).into_iter().map(|node| node.id).collect()
    };
    let id = |number| PeerId::of(&secret(number));
    let filter = |restrict: Option<&str>, fork_hashes: &[[u8; 4]]| Filter {
        own,
        restrict: restrict.map(|networks| networks.parse().unwrap()),
        fork_hashes: fork_hashes.to_vec(),
    };
    assert_eq!(ids(filter(None, &[])), [id(2), id(3), id(4)]);
    assert_eq!(ids(filter(None, &[[1; 4], [9; 4]])), [id(2), id(4)]);
    assert_eq!(ids(filter(Some("10.0.0.0/8"), &[[2; 4]])), [id(3), id(4)]);
    assert_eq!(ids(filter(Some("11.0.0.0/8"), &[])), []);
}

#[test]
fn records_of_impossible_places_are_not_used() {
    let filter = Filter { own: PeerId::of(&secret(1)), restrict: None, fork_hashes: Vec::new() };
    for (ip, udp, tcp, is_used, is_reported) in [
        ("10.0.0.1", 30_303, 30_303, true, true),
        ("10.0.0.1", 30_303, 0, true, false),
        ("10.0.0.1", 0, 30_303, false, false),
        ("0.0.0.0", 30_303, 30_303, false, false),
        ("224.0.0.1", 30_303, 30_303, false, false),
        ("255.255.255.255", 30_303, 30_303, false, false),
        ("2001:db8::1", 30_303, 30_303, false, false),
        ("fd00::1", 30_303, 30_303, true, true),
    ] {
        let enr = enr(2, ip, udp, tcp);
        assert_eq!(filter.record(&enr).is_some(), is_used, "{ip} {udp}");
        let record = Record::decode(&mut enr.to_rlp().as_slice()).unwrap();
        assert_eq!(!filter.nodes(&[record]).is_empty(), is_reported, "{ip} {udp} {tcp}");
    }
}

#[test]
fn an_address_that_is_a_guess_is_not_said() {
    let own = enr(1, "127.0.0.1", 30_303, 30_303);
    let key = CombinedKey::secp256k1_from_bytes(&mut secret(1).secret_bytes()).unwrap();
    let told = own_record(&own, true, &key);
    assert_eq!(told.udp4_socket().map(|at| at.port()), Some(30_303));
    assert_eq!(alloy_rlp::encode(&told), own.to_rlp());
    let guessed = own_record(&own, false, &key);
    assert_eq!((guessed.udp4_socket(), guessed.seq()), (None, own.sequence()));
}

#[tokio::test]
async fn records_to_begin_with_are_bounded() {
    let own = enr(1, "127.0.0.1", 1, 1);
    let sockets = Sockets::apart("127.0.0.1:0".parse().unwrap()).unwrap();
    let records: Vec<Enr> = (2..=200).map(|number| enr(number, "127.0.0.1", 9, 9)).collect();
    let config = ServiceConfig {
        key: secret(1),
        records: vec![own.clone()],
        restrict: None,
        fork_hashes: Vec::new(),
        learns_address: false,
    };
    let mut service = Service::start(config, &own, true, &sockets).await.unwrap();
    assert_eq!(service.records.len(), 0, "we are no help to ourselves");
    service.add(&records[..RECORDS_MAX]);
    service.add(&records);
    assert_eq!(service.records.len(), RECORDS_MAX);
}

#[tokio::test]
async fn version_5_alone_answers_no_ping_of_version_4() {
    for speaks_v4 in [false, true] {
        let node = Node::start(1, |config| config.v4 = speaks_v4).await;
        let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        socket.connect(node.discovery.node().udp_address()).await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let ping = OldPacket::Ping {
            from: Endpoint::new(socket.local_addr().unwrap(), 1),
            to: Endpoint::new(node.discovery.node().udp_address(), 1),
            expiration: now.as_secs() + 20,
            enr_sequence: None,
        };
        socket.send(&ping.seal(&secret(9)).0).await.unwrap();
        let question = ordinary_packet(node.discovery.node().id, &mut StdRng::seed_from_u64(7));
        socket.send(&question).await.unwrap();
        let mut buffer = [0; 2_000];
        // Pong and ping of version 4, and the challenge of version 5.
        let mut answers = Vec::new();
        while answers.len() < if speaks_v4 { 3 } else { 1 } {
            let length = socket.recv(&mut buffer).await.unwrap();
            answers.push(Envelope::open(&buffer[..length]).is_ok());
        }
        // The loop has had its turn many times since the ping came.
        for _ in 0..100 {
            node.discovery.nodes().await.unwrap();
        }
        assert_eq!(answers.iter().filter(|is_v4| **is_v4).count(), 2 * usize::from(speaks_v4));
        assert!(speaks_v4 || socket.try_recv(&mut buffer).is_err());
    }
}

#[tokio::test]
async fn nodes_of_version_5_alone_find_each_other() {
    let only_v5 = |config: &mut DiscoveryConfig| config.v4 = false;
    let mut first = Node::start(1, only_v5).await;
    let records = vec![first.discovery.enr()];
    let second = Node::start(2, |config| {
        only_v5(config);
        config.v5 = Some(V5Config { records, ..V5Config::default() });
    })
    .await;
    search(&mut first, &second.discovery).await;
}

/// The answer to a challenge: flag 2, with whatever stands where signature and key should.
fn handshake_packet(
    (from, to): (&Enr, PeerId),
    (signature, key): (&[u8], &[u8]),
    record: &[u8],
) -> Vec<u8> {
    let mut packet = vec![5; 16];
    let mut mask = ctr::Ctr128BE::<Aes128>::new_from_slices(&to.node_id()[..16], &packet).unwrap();
    let mut auth = from.id().node_id().to_vec();
    auth.extend([signature, key].map(|part| u8::try_from(part.len()).unwrap()));
    auth.extend([signature, key, record].concat());
    packet.extend_from_slice(b"discv5\x00\x01\x02");
    packet.extend_from_slice(&[7; 12]);
    packet.extend_from_slice(&u16::try_from(auth.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(&auth);
    mask.apply_keystream(&mut packet[16..]);
    packet.extend_from_slice(&[9; 44]);
    packet
}

/// P2P-02.
#[tokio::test]
async fn handshakes_with_keys_that_are_no_points_or_bad_records_are_survived() {
    let node = Node::start(1, |_| {}).await;
    let to = node.discovery.node().id;
    let from = enr(9, "127.0.0.1", 9, 9);
    let good = secret(9).public_key(secp256k1::SECP256K1).serialize();
    let with_x = |prefix: u8, byte: u8| [&[prefix][..], &[byte; 32]].concat();
    let keys = [
        vec![],
        vec![2],
        good[..32].to_vec(),
        [&good[..], &[0]].concat(),
        vec![4; 65],
        with_x(2, 0),
        with_x(3, 0xff),
        with_x(5, 1),
        with_x(4, 1),
        good.to_vec(),
    ];
    let signatures = [vec![], vec![1; 63], vec![0; 64], vec![0xff; 64], vec![1; 255]];
    let record = from.to_rlp();
    let mut forged = record.clone();
    *forged.last_mut().unwrap() ^= 1;
    let records = [vec![], record.clone(), forged, record[..50].to_vec(), vec![0xff; 400]];
    let mut rng = StdRng::seed_from_u64(7);
    let mut buffer = [0; 2_000];
    for key in &keys {
        for signature in &signatures {
            for record in &records {
                let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
                socket.connect(node.discovery.node().udp_address()).await.unwrap();
                socket.send(&ordinary_packet(to, &mut rng)).await.unwrap();
                let length = socket.recv(&mut buffer).await.unwrap();
                assert_eq!(length, 63, "it is a challenge, so the node is well");
                let packet = handshake_packet((&from, to), (signature, key), record);
                socket.send(&packet).await.unwrap();
            }
        }
    }
    let mut other = Node::beside(2, &node).await;
    other.finds(&node).await;
}
