//! The machine against peers that are keys, and against itself.

mod attacks;
mod network;

use std::net::{IpAddr, Ipv4Addr};

use primitives::B256;
use rand::SeedableRng;

use super::*;
use crate::discv4::{
    packet::{Endpoint, NEIGHBORS_MAX, Neighbor},
    request::REPLY_PERIOD,
    table::FAILURES_MAX,
};

const WALL: u64 = 1_700_000_000;

/// A machine, its time, and what it did last.
struct Rig {
    machine: Machine,
    start: Instant,
    now: Instant,
    actions: Vec<Action>,
}

/// Somebody else.
#[derive(Clone, Copy)]
struct Peer {
    key: SecretKey,
    at: SocketAddr,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut MachineConfig)) -> Self {
        let now = Instant::now();
        let mut config = MachineConfig {
            is_silent: false,
            external: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
            guess: None,
            udp: 30303,
            tcp: 30303,
            restrict: None,
            fork_id: None,
            last_sequence: 0,
        };
        change(&mut config);
        let machine = Machine::new(secret(0), config, StdRng::seed_from_u64(1), now, WALL);
        Self { machine, start: now, now, actions: Vec::new() }
    }

    fn wall(&self) -> u64 {
        WALL + (self.now - self.start).as_secs()
    }

    fn expiration(&self) -> u64 {
        self.wall() + 20
    }

    fn on(&mut self, event: Event) {
        self.actions.clear();
        self.machine.on(event, self.now, self.wall(), &mut self.actions);
    }

    /// Lets time pass, with a tick whenever one is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut actions = Vec::new();
        while self.machine.wake_at() <= end {
            self.now = self.now.max(self.machine.wake_at());
            self.on(Event::Tick);
            actions.append(&mut self.actions);
        }
        self.now = end;
        self.actions = actions;
    }

    /// Gives the machine a packet; its hash.
    fn hear(&mut self, peer: Peer, packet: &Packet) -> B256 {
        let (bytes, hash) = packet.seal(&peer.key);
        self.on(Event::Datagram { from: peer.at, bytes });
        hash
    }

    fn hear_ping(&mut self, peer: Peer) -> B256 {
        self.hear(peer, &ping(self.expiration()))
    }

    fn hear_pong(&mut self, peer: Peer, ping_hash: B256) {
        let (to, expiration) = (endpoint(30303), self.expiration());
        self.hear(peer, &Packet::Pong { to, ping_hash, expiration, enr_sequence: None });
    }

    fn hear_find_node(&mut self, peer: Peer) {
        let expiration = self.expiration();
        self.hear(peer, &Packet::FindNode { target: [9; 64], expiration });
    }

    /// Both prove to each other where they are.
    fn bond(&mut self, peer: Peer) {
        self.hear_ping(peer);
        let ping = self.sent_ping(peer).expect("it asks back");
        self.hear_pong(peer, ping);
    }

    /// What was sent to a peer.
    fn sent(&self, peer: Peer) -> Vec<Envelope> {
        let to_peer = |action: &Action| match action {
            Action::Send { to, bytes } if *to == peer.at => Some(Envelope::open(bytes).unwrap()),
            Action::Send { .. } | Action::Found(..) | Action::Record(_) | Action::OwnClock(_) => {
                None
            }
        };
        self.actions.iter().filter_map(to_peer).collect()
    }

    /// The hash of a ping that was sent to a peer.
    fn sent_ping(&self, peer: Peer) -> Option<B256> {
        let sent = self.sent(peer);
        sent.iter().find(|e| matches!(e.packet, Packet::Ping { .. })).map(|e| e.hash)
    }

    fn sent_find_node(&self, peer: Peer) -> bool {
        self.sent(peer).iter().any(|e| matches!(e.packet, Packet::FindNode { .. }))
    }

    fn sent_bytes(&self) -> usize {
        let bytes = |action: &Action| match action {
            Action::Send { bytes, .. } => bytes.len(),
            Action::Found(..) | Action::Record(_) | Action::OwnClock(_) => 0,
        };
        self.actions.iter().map(bytes).sum()
    }

    fn found(&self) -> Vec<(NodeRecord, Option<ForkId>)> {
        let found = |action: &Action| match action {
            Action::Found(node, fork_id) => Some((*node, *fork_id)),
            Action::Send { .. } | Action::Record(_) | Action::OwnClock(_) => None,
        };
        self.actions.iter().filter_map(found).collect()
    }
}

impl Peer {
    fn new(number: u16) -> Self {
        Self::at(number, &format!("10.0.1.{}:30303", number % 250 + 1))
    }

    fn at(number: u16, address: &str) -> Self {
        Self { key: secret(number), at: address.parse().unwrap() }
    }

    fn id(&self) -> PeerId {
        PeerId::of(&self.key)
    }

    /// As it is known after it said that it takes connections at port 30303.
    fn record(&self) -> NodeRecord {
        NodeRecord { id: self.id(), ip: self.at.ip(), tcp: 30303, udp: self.at.port() }
    }
}

fn secret(number: u16) -> SecretKey {
    let mut key = [1; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_slice(&key).unwrap()
}

fn endpoint(tcp: u16) -> Endpoint {
    Endpoint { ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0))), udp: 7, tcp }
}

fn ping(expiration: u64) -> Packet {
    Packet::Ping { from: endpoint(30303), to: endpoint(0), expiration, enr_sequence: None }
}

#[test]
fn a_ping_is_answered_and_asked_back() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let hash = rig.hear_ping(peer);
    let sent = rig.sent(peer);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|envelope| envelope.sender().unwrap() == PeerId::of(&secret(0))));
    let Packet::Pong { to, ping_hash, expiration, enr_sequence } = &sent[0].packet else {
        panic!("the answer comes first");
    };
    assert_eq!((*ping_hash, *expiration), (hash, WALL + 20));
    assert_eq!(*to, Endpoint::new(peer.at, 30303));
    assert_eq!(*enr_sequence, Some(rig.machine.enr().sequence()));
    let Packet::Ping { from, to, .. } = &sent[1].packet else { panic!("then the question") };
    assert_eq!(*from, Endpoint::new("10.0.0.1:30303".parse().unwrap(), 30303));
    assert_eq!(*to, Endpoint::new(peer.at, 0));
    rig.hear_pong(peer, sent[1].hash);
    assert_eq!(rig.found(), [(peer.record(), None)]);
    assert_eq!(rig.machine.nodes(), [peer.record()]);
    rig.hear_ping(peer);
    assert_eq!(rig.sent(peer).len(), 1, "it has proven to be there");
}

#[test]
fn sixteen_neighbours_are_named_in_two_packets() {
    let mut rig = Rig::new();
    for number in 1..=40 {
        rig.bond(Peer::new(number));
        rig.pass(REPLY_PERIOD);
    }
    rig.hear_find_node(Peer::new(1));
    let counts: Vec<usize> = rig
        .sent(Peer::new(1))
        .iter()
        .map(|envelope| match &envelope.packet {
            Packet::Neighbors { nodes, .. } => nodes.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [NEIGHBORS_MAX, 4]);
}

#[test]
fn nobody_known_is_an_answer_too() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    rig.bond(peer);
    rig.hear_find_node(peer);
    let expected = Packet::Neighbors { nodes: Vec::new(), expiration: WALL + 20 };
    assert_eq!(rig.sent(peer).into_iter().map(|e| e.packet).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_proof_holds_for_a_day() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    rig.bond(peer);
    rig.now += Duration::from_hours(24) - Duration::from_secs(1);
    rig.hear_find_node(peer);
    assert!(rig.sent(peer).iter().any(|e| matches!(e.packet, Packet::Neighbors { .. })));
    rig.now += Duration::from_secs(1);
    rig.hear_find_node(peer);
    assert!(!rig.sent(peer).iter().any(|e| matches!(e.packet, Packet::Neighbors { .. })));
}

#[test]
fn our_record_is_sent_to_those_who_have_proven_to_be_there() {
    let fork_id = ForkId { hash: [1, 2, 3, 4], next: 5 };
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let before = rig.machine.enr().sequence();
    rig.on(Event::SetForkId(fork_id));
    rig.bond(peer);
    let expiration = rig.expiration();
    let hash = rig.hear(peer, &Packet::EnrRequest { expiration });
    let Packet::EnrResponse { request_hash, record } = rig.sent(peer).remove(0).packet else {
        panic!("it asked for the record");
    };
    assert_eq!(request_hash, hash);
    let enr = Enr::from_rlp(&record).unwrap();
    assert_eq!((enr.fork_id(), enr.sequence()), (Some(fork_id), before + 1));
}

/// Bonds with a peer that says a sequence; the hash of the request for its record.
fn asked_record(rig: &mut Rig, peer: Peer, sequence: u64) -> Option<B256> {
    rig.hear_ping(peer);
    let ping_hash = rig.sent_ping(peer).unwrap();
    let (to, expiration, enr_sequence) = (endpoint(0), rig.expiration(), Some(sequence));
    rig.hear(peer, &Packet::Pong { to, ping_hash, expiration, enr_sequence });
    let sent = rig.sent(peer);
    sent.iter().find(|e| matches!(e.packet, Packet::EnrRequest { .. })).map(|e| e.hash)
}

#[test]
fn a_node_is_reported_with_the_fork_id_and_the_port_of_its_record() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let fork_id = ForkId { hash: [1, 2, 3, 4], next: 5 };
    let record = NodeRecord { tcp: 777, ..peer.record() };
    let enr = LocalRecord::new(peer.key, record, Some(fork_id), 9).enr().to_rlp();
    let request_hash = asked_record(&mut rig, peer, 9).unwrap();
    assert_eq!(rig.found(), [], "its record may say more");
    rig.hear(peer, &Packet::EnrResponse { request_hash, record: enr });
    assert_eq!(rig.found(), [(record, Some(fork_id))]);
    assert_eq!(rig.machine.nodes(), [record]);
}

#[test]
fn a_node_that_has_no_record_is_reported_without() {
    let mut rig = Rig::new();
    asked_record(&mut rig, Peer::new(1), 9).unwrap();
    rig.pass(REPLY_PERIOD);
    assert_eq!(rig.found(), [(Peer::new(1).record(), None)]);
}

#[test]
fn a_record_of_somebody_else_is_not_believed() {
    for (signer, damage) in [(2, 0), (1, 1)] {
        let mut rig = Rig::new();
        let peer = Peer::new(1);
        let request_hash = asked_record(&mut rig, peer, 9).unwrap();
        let local = LocalRecord::new(secret(signer), peer.record(), None, 9);
        let mut record = local.enr().to_rlp();
        *record.last_mut().unwrap() ^= damage;
        rig.hear(peer, &Packet::EnrResponse { request_hash, record });
        assert_eq!(rig.found(), []);
    }
}

#[test]
fn a_record_older_than_the_one_that_is_known_is_not_taken() {
    let fork_id = |next| Some(ForkId { hash: [1; 4], next });
    let mut rig = Rig::new();
    // It moves, so that it has to prove each time where it is.
    let moved = |said: u64| Peer::at(1, &format!("10.0.1.{said}:30303"));
    for (said, sent, taken) in [(9, 9, fork_id(9)), (10, 8, fork_id(9)), (11, 11, fork_id(11))] {
        let peer = moved(said);
        let request_hash = asked_record(&mut rig, peer, said).unwrap();
        let local = LocalRecord::new(peer.key, peer.record(), fork_id(sent), sent);
        rig.hear(peer, &Packet::EnrResponse { request_hash, record: local.enr().to_rlp() });
        let entry = rig.machine.table.entry(peer.id().node_id()).unwrap();
        assert_eq!(entry.enr.unwrap().fork_id, taken);
    }
    assert_eq!(asked_record(&mut rig, moved(12), 11), None, "it is known");
}

#[test]
fn bootnodes_are_tried_until_they_answer_and_then_asked() {
    let mut rig = Rig::new();
    let boot = Peer::new(1);
    rig.on(Event::AddBootnodes(vec![boot.record()]));
    assert!(rig.sent_ping(boot).is_some());
    rig.pass(Duration::from_mins(5));
    let pings = rig.sent(boot).len();
    assert_eq!(pings, 20);
    rig.pass(BOOTNODE_PERIOD);
    let ping_hash = rig.sent_ping(boot).unwrap();
    rig.hear_pong(boot, ping_hash);
    rig.hear_ping(boot);
    assert!(!rig.sent_find_node(boot), "our answer may not be there yet");
    rig.pass(REPLY_PERIOD);
    assert!(rig.sent_find_node(boot));
}

#[test]
fn a_bootnode_that_moved_is_tried_at_its_new_address() {
    let mut rig = Rig::new();
    let (old, new) = (Peer::new(1), Peer::at(1, "10.0.9.9:30303"));
    rig.on(Event::AddBootnodes(vec![old.record()]));
    let ping = rig.sent_ping(old).unwrap();
    rig.hear_pong(old, ping);
    rig.on(Event::AddBootnodes(vec![new.record()]));
    assert!(rig.sent_ping(new).is_some());
}

#[test]
fn bootnodes_that_were_replaced_make_room_for_those_in_their_place() {
    let mut rig = Rig::new();
    let peers: Vec<Peer> = (1..=100).map(Peer::new).collect();
    for peer in &peers {
        rig.on(Event::AddBootnodes(vec![peers[0].record(), peer.record()]));
    }
    let known = |peer: &Peer| rig.machine.bootnodes.contains(&peer.record());
    assert!(known(&peers[0]) && known(&peers[99]) && !known(&peers[1]));
    assert_eq!(rig.machine.bootnodes.len(), BOOTNODES_MAX);
}

#[test]
fn a_node_that_is_gone_is_not_named_and_leaves() {
    let mut rig = Rig::new();
    let (peer, gone) = (Peer::new(1), Peer::new(2));
    rig.bond(gone);
    assert_eq!(rig.machine.nodes().len(), 1);
    rig.pass(Duration::from_secs(11));
    assert!(rig.sent_ping(gone).is_some());
    assert_eq!(rig.machine.nodes(), []);
    assert_eq!(rig.machine.table.len(), 1);
    rig.pass(Duration::from_secs(11) * (FAILURES_MAX + 1));
    assert_eq!(rig.machine.table.len(), 0);
    rig.bond(peer);
    assert_eq!(rig.machine.nodes(), [peer.record()]);
}

#[test]
fn our_address_is_what_three_nodes_say() {
    let mut rig = Rig::with(|config| config.external = None);
    assert!(!rig.machine.knows_address());
    assert_eq!(rig.machine.node().to_string().rsplit('@').next(), Some("127.0.0.1:30303"));
    let sequence = rig.machine.enr().sequence();
    for number in 1..=3 {
        assert_eq!(rig.machine.enr().sequence(), sequence);
        let peer = Peer::new(number);
        rig.hear_ping(peer);
        let ping_hash = rig.sent_ping(peer).unwrap();
        let to = Endpoint::new("10.7.7.7:4444".parse().unwrap(), 0);
        let expiration = rig.expiration();
        rig.hear(peer, &Packet::Pong { to, ping_hash, expiration, enr_sequence: None });
    }
    assert_eq!(rig.machine.enr().sequence(), sequence + 1);
    assert_eq!(rig.machine.node().udp_address(), "10.7.7.7:4444".parse().unwrap());
    assert_eq!(rig.machine.enr().node(), Some(*rig.machine.node()));
    assert!(rig.machine.knows_address());
}

#[test]
fn an_address_that_was_told_stays_and_one_that_was_guessed_does_not() {
    let [told, guess] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let mut rig = Rig::with(|config| (config.external, config.guess) = (None, Some(guess)));
    assert_eq!((rig.machine.node().ip, rig.machine.knows_address()), (guess, true));
    assert!(rig.machine.learns_address);
    let sequence = rig.machine.enr().sequence();
    rig.on(Event::SetAddress(told));
    assert_eq!((rig.machine.node().ip, rig.machine.learns_address), (told, false));
    assert_eq!(rig.machine.enr().sequence(), sequence + 1);
    rig.on(Event::SetAddress(told));
    assert_eq!(rig.machine.enr().sequence(), sequence + 1);
    assert!(!Rig::new().machine.learns_address);
}

#[test]
fn the_sequence_never_goes_back_though_the_clock_does() {
    for (last, first) in [(0, WALL * 1_000), (WALL * 2_000, WALL * 2_000 + 1), (u64::MAX, u64::MAX)]
    {
        let rig = Rig::with(|config| config.last_sequence = last);
        assert_eq!(rig.machine.enr().sequence(), first);
    }
}

#[test]
fn nodes_of_an_earlier_run_are_asked_at_once() {
    let mut rig = Rig::new();
    let seeds: Vec<Peer> = (1..=u16::try_from(SEEDS_MAX).unwrap() + 5).map(Peer::new).collect();
    rig.on(Event::Seed(seeds.iter().map(|peer| peer.record()).collect()));
    let asked = |rig: &Rig| seeds.iter().any(|peer| rig.sent_ping(*peer).is_some());
    assert!(asked(&rig));
    let knows = |peer: &Peer| rig.machine.table.entry(peer.id().node_id()).is_some();
    assert!(seeds[..5].iter().all(knows));
    assert!(!seeds[SEEDS_MAX..].iter().any(knows));
    assert_eq!(rig.machine.nodes(), [], "none has proven to be there");
}

#[test]
fn a_node_outside_of_the_networks_is_answered_but_not_kept() {
    let restrict = "10.0.1.0/24".parse().unwrap();
    let mut rig = Rig::with(|config| config.restrict = Some(restrict));
    rig.bond(Peer::at(1, "10.0.2.1:30303"));
    assert_eq!((rig.machine.table.len(), rig.found()), (0, Vec::new()));
    rig.bond(Peer::at(2, "10.0.1.1:30303"));
    assert_eq!((rig.machine.table.len(), rig.found().len()), (1, 1));
}

#[test]
fn a_node_that_takes_no_connections_is_kept_but_not_reported() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let expiration = rig.expiration();
    let from = endpoint(0);
    rig.hear(peer, &Packet::Ping { from, to: from, expiration, enr_sequence: None });
    let ping = rig.sent_ping(peer).unwrap();
    rig.hear_pong(peer, ping);
    assert_eq!((rig.machine.nodes().len(), rig.found()), (1, Vec::new()));
}

/// A rig that has just asked a peer for neighbours.
fn asking(peer: Peer) -> Rig {
    let mut rig = Rig::new();
    rig.bond(peer);
    rig.on(Event::Lookup);
    assert!(rig.sent_find_node(peer));
    rig
}

#[test]
fn only_neighbours_that_can_be_there_are_taken() {
    let good = Peer::at(9, "8.8.4.4:30303");
    for (from, at, taken) in [
        ("8.8.8.8:30303", "8.8.4.4:30303", true),
        ("8.8.8.8:30303", "8.8.4.4:1025", true),
        ("8.8.8.8:30303", "8.8.4.4:1024", false),
        ("8.8.8.8:30303", "10.0.0.7:30303", false),
        ("8.8.8.8:30303", "127.0.0.1:30303", false),
        ("10.0.0.2:30303", "10.0.0.7:30303", true),
        ("10.0.0.2:30303", "127.0.0.1:30303", false),
        ("10.0.0.2:30303", "0.0.0.0:30303", false),
        ("10.0.0.2:30303", "224.0.0.1:30303", false),
        ("10.0.0.2:30303", "10.0.0.1:30303", false),
    ] {
        let asked = Peer::at(1, from);
        let mut rig = asking(asked);
        let named = NodeRecord { id: good.id(), ..Peer::at(9, at).record() };
        let nodes = vec![Neighbor::from(named)];
        let expiration = rig.expiration();
        rig.hear(asked, &Packet::Neighbors { nodes, expiration });
        rig.pass(REPLY_PERIOD);
        assert_eq!(rig.machine.table.entry(good.id().node_id()).is_some(), taken, "{at} by {from}");
    }
}

#[test]
fn neighbours_with_our_id_or_with_no_key_are_not_taken() {
    let asked = Peer::new(1);
    let mut rig = asking(asked);
    let named = Neighbor::from(Peer::at(0, "10.0.0.8:30303").record());
    let no_key = Neighbor { id: [1; 64], ..named };
    let expiration = rig.expiration();
    rig.hear(asked, &Packet::Neighbors { nodes: vec![named, no_key], expiration });
    rig.pass(REPLY_PERIOD);
    assert_eq!(rig.machine.table.len(), 1);
}

#[test]
fn a_lie_about_where_a_node_is_does_not_harm_the_node() {
    let (liar, honest) = (Peer::new(1), Peer::new(2));
    let mut rig = Rig::new();
    rig.bond(honest);
    rig.bond(liar);
    rig.on(Event::Lookup);
    let lie = NodeRecord { ip: "10.0.77.7".parse().unwrap(), ..honest.record() };
    let expiration = rig.expiration();
    rig.hear(liar, &Packet::Neighbors { nodes: vec![Neighbor::from(lie)], expiration });
    rig.hear(honest, &Packet::Neighbors { nodes: Vec::new(), expiration });
    rig.now += REPLY_PERIOD;
    rig.on(Event::Tick);
    rig.now += REPLY_PERIOD;
    rig.on(Event::Tick);
    assert!(rig.machine.nodes().contains(&honest.record()));
}

#[test]
fn a_silent_machine_keeps_its_record_and_says_nothing() {
    let mut rig = Rig::with(|config| (config.is_silent, config.external) = (true, None));
    rig.on(Event::AddBootnodes(vec![Peer::new(1).record()]));
    rig.on(Event::Seed(vec![Peer::new(2).record()]));
    rig.on(Event::Lookup);
    rig.now += Duration::from_hours(1);
    rig.on(Event::Tick);
    assert_eq!(rig.actions, []);
    rig.hear_ping(Peer::new(3));
    assert_eq!((rig.actions.len(), rig.machine.nodes()), (0, Vec::new()));
    let sequence = rig.machine.enr().sequence();
    rig.on(Event::SetForkId(ForkId { hash: [1; 4], next: 5 }));
    rig.on(Event::Seen("127.0.0.1:30303".parse().unwrap()));
    assert_eq!(rig.machine.enr().sequence(), sequence + 2, "the address was a guess before");
    assert!(rig.machine.knows_address());
    rig.on(Event::Seen("10.7.7.7:4444".parse().unwrap()));
    assert_eq!(rig.machine.node().udp_address(), "10.7.7.7:4444".parse().unwrap());
    rig.on(Event::SetAddress("10.0.0.9".parse().unwrap()));
    rig.on(Event::Seen("10.7.7.8:4444".parse().unwrap()));
    assert_eq!(rig.machine.node().ip, "10.0.0.9".parse::<IpAddr>().unwrap(), "we were told");
    assert_eq!(rig.actions, []);
}

#[test]
fn clocks_that_are_off_are_noticed_though_nothing_is_answered() {
    let mut rig = Rig::new();
    let (behind, ahead, well) = (Peer::new(1), Peer::new(2), Peer::new(3));
    rig.on(Event::AddBootnodes(vec![ahead.record()]));
    rig.hear(behind, &ping(WALL + 20 - 62));
    assert_eq!(rig.sent_bytes(), 0);
    rig.hear(ahead, &ping(WALL + 20 + 300));
    rig.hear_ping(well);
    let skews = rig.machine.skews(rig.now);
    let seen: Vec<_> = skews.iter().map(|skew| (skew.id, skew.seconds, skew.is_bootnode)).collect();
    assert_eq!(seen, [(ahead.id(), 300, true), (behind.id(), -62, false)]);
    // What nobody signed says nothing.
    let (mut bytes, _) = ping(WALL + 20 - 99).seal(&behind.key);
    bytes[32..96].fill(0);
    let hash = primitives::keccak256(&bytes[32..]);
    bytes[..32].copy_from_slice(hash.as_slice());
    rig.on(Event::Datagram { from: Peer::new(4).at, bytes });
    assert_eq!(rig.machine.skews(rig.now).len(), 2);
    rig.hear_ping(behind);
    assert_eq!(rig.machine.skews(rig.now).len(), 1, "it runs NTP now");
}

#[test]
fn a_pong_that_ended_tells_a_clock_and_proves_nothing() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    rig.on(Event::AddBootnodes(vec![peer.record()]));
    let ping_hash = rig.sent_ping(peer).unwrap();
    let (to, expiration) = (endpoint(0), WALL - 100);
    rig.hear(peer, &Packet::Pong { to, ping_hash, expiration, enr_sequence: None });
    assert_eq!(rig.machine.nodes(), []);
    assert_eq!(rig.machine.skews(rig.now)[0].seconds, -120);
}

#[test]
fn our_own_clock_is_said_to_be_off_once() {
    let mut rig = Rig::new();
    let mut said = Vec::new();
    assert_eq!(rig.machine.own_clock(rig.now), None);
    for number in 1..=10 {
        rig.hear(Peer::new(number), &ping(WALL + 20 - 90));
        said.append(&mut rig.actions);
    }
    assert_eq!(said, [Action::OwnClock(90)]);
    assert_eq!(rig.machine.own_clock(rig.now), Some(90));
}
