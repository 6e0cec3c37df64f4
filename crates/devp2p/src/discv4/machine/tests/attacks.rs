//! What a hostile network sends.

use primitives::keccak256;
use proptest::{prelude::ProptestConfig, prop_assert, proptest};

use super::*;
use crate::discv4::{
    bonds::BONDS_MAX,
    limiter::{REQUESTS_PER_MINUTE_MAX, VERIFIES_PER_SECOND_MAX},
    request::{BOND_PINGS_MAX, BOND_PINGS_PER_ADDRESS_MAX, REQUESTS_MAX},
};

/// DSC-01.
#[test]
fn questions_without_a_proof_are_not_answered_by_a_single_byte() {
    let peer = Peer::new(1);
    let expiration = WALL + 20;
    for packet in
        [Packet::FindNode { target: [9; 64], expiration }, Packet::EnrRequest { expiration }]
    {
        let mut rig = Rig::new();
        rig.hear(peer, &packet);
        assert_eq!(rig.sent_bytes(), 0);
        rig.hear_ping(peer);
        rig.hear(peer, &packet);
        assert_eq!(rig.sent_bytes(), 0, "a ping is no proof");
        rig.bond(Peer::at(1, "10.0.5.5:30303"));
        rig.hear(peer, &packet);
        assert_eq!(rig.sent_bytes(), 0, "a proof is for one address");
        rig.bond(Peer { key: secret(2), ..peer });
        rig.hear(peer, &packet);
        assert_eq!(rig.sent_bytes(), 0, "a proof is for one key");
    }
}

/// DSC-01.
#[test]
fn pings_in_anothers_name_send_him_at_most_twice_their_bytes() {
    let mut rig = Rig::new();
    let (mut heard, mut sent) = (0, 0);
    let nobody = Endpoint { ip: None, udp: 0, tcp: 0 };
    let expiration = rig.expiration();
    let shortest = Packet::Ping { from: nobody, to: nobody, expiration, enr_sequence: None };
    for number in 1..=200 {
        let victim = Peer::at(number, "10.0.3.3:30303");
        heard += shortest.seal(&victim.key).0.len();
        rig.hear(victim, &shortest);
        sent += rig.sent_bytes();
    }
    assert!(sent <= 2 * heard, "{sent} for {heard}");
}

#[test]
fn a_pong_for_another_ping_proves_nothing() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let own = rig.hear_ping(peer);
    let ping = rig.sent_ping(peer).unwrap();
    rig.hear_pong(peer, B256::ZERO);
    rig.hear_pong(peer, own);
    rig.hear_pong(Peer { key: secret(2), ..peer }, ping);
    rig.hear_pong(Peer::at(1, "10.0.5.5:30303"), ping);
    rig.hear_find_node(peer);
    assert_eq!((rig.sent_bytes(), rig.machine.nodes()), (0, Vec::new()));
    rig.hear_pong(peer, ping);
    rig.hear_find_node(peer);
    assert_ne!(rig.sent_bytes(), 0);
}

#[test]
fn a_pong_that_is_late_proves_nothing() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    rig.hear_ping(peer);
    let ping = rig.sent_ping(peer).unwrap();
    rig.pass(REPLY_PERIOD);
    rig.hear_pong(peer, ping);
    assert_eq!(rig.machine.nodes(), []);
}

/// DSC-04.
#[test]
fn packets_outside_of_their_time_are_ignored() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let refused =
        [0, WALL - 1, WALL + EXPIRATION_AHEAD_SECONDS_MAX + 1, u64::MAX, 0_u64.wrapping_sub(WALL)];
    for expiration in refused {
        rig.hear(peer, &ping(expiration));
        assert_eq!(rig.sent_bytes(), 0, "{expiration}");
    }
    rig.hear(peer, &ping(WALL + EXPIRATION_AHEAD_SECONDS_MAX));
    assert_ne!(rig.sent_bytes(), 0);
    rig.hear(Peer::new(2), &ping(WALL));
    let ping_hash = rig.sent_ping(Peer::new(2)).unwrap();
    for expiration in refused {
        let to = endpoint(0);
        rig.hear(Peer::new(2), &Packet::Pong { to, ping_hash, expiration, enr_sequence: None });
    }
    assert_eq!(rig.machine.nodes(), []);
}

/// DSC-04.
#[test]
fn a_packet_that_is_sent_again_later_is_ignored() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let (bytes, _) = ping(rig.expiration()).seal(&peer.key);
    rig.on(Event::Datagram { from: peer.at, bytes: bytes.clone() });
    assert_ne!(rig.sent_bytes(), 0);
    rig.now += Duration::from_secs(21);
    rig.on(Event::Tick);
    rig.on(Event::Datagram { from: peer.at, bytes });
    assert_eq!(rig.sent_bytes(), 0);
}

/// DSC-04.
#[test]
fn neighbours_that_nobody_asked_for_change_nothing() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    rig.bond(peer);
    for number in 2..102 {
        let nodes = vec![Neighbor::from(Peer::new(number).record())];
        let expiration = rig.expiration();
        rig.hear(peer, &Packet::Neighbors { nodes, expiration });
    }
    assert_eq!(rig.machine.table.len(), 1);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let asked = Peer::new(1);
    let mut rig = asking(asked);
    let expiration = rig.expiration();
    for number in 0..100 {
        let nodes = (0..12).map(|n| Neighbor::from(Peer::new(2 + 12 * number + n).record()));
        rig.hear(asked, &Packet::Neighbors { nodes: nodes.collect(), expiration });
    }
    assert_eq!(rig.machine.table.len(), 1 + 16);
}

/// DSC-03.
#[test]
fn random_bytes_leave_nothing_behind_and_honest_pings_are_answered() {
    let mut rig = Rig::new();
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let mut bytes = vec![0; rng.random_range(1..1_500)];
        rng.fill(bytes.as_mut_slice());
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 9, 9)), rng.random());
        rig.on(Event::Datagram { from, bytes });
        assert_eq!(rig.sent_bytes(), 0);
    }
    assert_eq!((rig.machine.bonds.len(), rig.machine.requests.len()), (0, 0));
    rig.hear_ping(Peer::new(1));
    assert_eq!(rig.actions.len(), 2);
}

/// DSC-03.
#[test]
fn signatures_are_looked_at_five_hundred_times_a_second() {
    let mut rig = Rig::new();
    let (bytes, _) = ping(rig.expiration()).seal(&secret(1));
    // Well-formed and signed by nobody: dear to refuse.
    let rest = [&[0; 65], &bytes[97..]].concat();
    let forged = [keccak256(&rest).as_slice(), &rest].concat();
    for _ in 0..VERIFIES_PER_SECOND_MAX {
        rig.on(Event::Datagram { from: Peer::new(1).at, bytes: forged.clone() });
    }
    rig.hear_ping(Peer::new(2));
    assert_eq!(rig.sent_bytes(), 0, "that would be one too many");
    rig.now += Duration::from_millis(10);
    rig.hear_ping(Peer::new(2));
    assert_ne!(rig.sent_bytes(), 0);
}

/// DSC-03.
#[test]
fn answers_that_nobody_waits_for_cost_no_signature() {
    let mut rig = Rig::new();
    let peer = Peer::new(1);
    let expiration = rig.expiration();
    let (to, ping_hash) = (endpoint(0), B256::ZERO);
    let packets = [
        Packet::Pong { to, ping_hash, expiration, enr_sequence: None },
        Packet::Neighbors { nodes: Vec::new(), expiration },
        Packet::EnrResponse { request_hash: B256::ZERO, record: vec![0xc0] },
    ];
    for bytes in packets.map(|packet| packet.seal(&peer.key).0) {
        for _ in 0..VERIFIES_PER_SECOND_MAX {
            rig.on(Event::Datagram { from: peer.at, bytes: bytes.clone() });
        }
    }
    rig.hear_ping(peer);
    assert_ne!(rig.sent_bytes(), 0);
}

#[test]
fn an_address_outside_of_the_lan_is_answered_sixty_times_a_minute() {
    let mut rig = Rig::new();
    let mut answered = 0;
    for number in 1..=100 {
        rig.hear_ping(Peer::at(number, "8.8.8.8:30303"));
        answered += u32::from(rig.sent_bytes() > 0);
    }
    assert_eq!(answered, REQUESTS_PER_MINUTE_MAX);
    rig.hear_ping(Peer::at(1, "8.8.4.4:30303"));
    assert_ne!(rig.sent_bytes(), 0);
}

#[test]
fn pings_of_many_leave_room_for_our_own_questions() {
    let mut rig = Rig::new();
    for number in 1..=400 {
        let peer = Peer::at(number, &format!("10.0.1.1:{}", 1_000 + number));
        rig.hear_ping(peer);
    }
    assert_eq!(rig.machine.requests.len(), BOND_PINGS_MAX);
    let boot = Peer::at(500, "10.0.4.4:30303");
    rig.on(Event::AddBootnodes(vec![boot.record()]));
    assert!(rig.sent_ping(boot).is_some());
}

/// DSC-03.
#[test]
fn who_comes_after_a_flood_of_pings_is_bonded_with() {
    let mut rig = Rig::new();
    let peer = |number: u16| Peer::at(number, &format!("10.0.1.1:{}", 1_000 + number));
    let mut first = None;
    for number in 1..=u16::try_from(BOND_PINGS_MAX).unwrap() {
        rig.now += Duration::from_micros(1);
        rig.hear_ping(peer(number));
        first = first.or(rig.sent_ping(peer(number)));
    }
    rig.now += Duration::from_millis(100);
    let honest = peer(400);
    rig.hear_ping(honest);
    let ping = rig.sent_ping(honest).expect("there is always room for one more");
    assert_eq!(rig.machine.requests.len(), BOND_PINGS_MAX);
    rig.hear_pong(honest, ping);
    assert_eq!(rig.machine.nodes(), [honest.record()]);
    rig.hear_pong(peer(1), first.unwrap());
    assert_eq!(rig.machine.nodes(), [honest.record()], "it gave way");
}

#[test]
fn pings_in_anothers_name_leave_two_questions_to_him() {
    let mut rig = Rig::new();
    for number in 1..=100 {
        rig.hear_ping(Peer::at(number, "10.0.3.3:30303"));
    }
    assert_eq!(rig.machine.requests.len(), BOND_PINGS_PER_ADDRESS_MAX);
}

#[test]
fn whatever_strangers_do_the_state_is_bounded() {
    let mut rig = Rig::new();
    for number in 1..=2_000 {
        rig.now += Duration::from_millis(50);
        let peer = Peer::at(number, &format!("10.{}.1.1:30303", number % 200));
        rig.hear_ping(peer);
        if let Some(ping) = rig.sent_ping(peer) {
            rig.hear_pong(peer, ping);
        }
        rig.on(Event::Lookup);
    }
    let machine = &rig.machine;
    assert!(machine.table.len() <= 17 * 16);
    assert!(machine.requests.len() <= REQUESTS_MAX);
    assert!(machine.bonds.len() <= 4 * BONDS_MAX);
    assert!(machine.targets.len() <= LOOKUPS_MAX);
    let bootnodes = (1..=2_000).map(|number| Peer::new(number).record());
    rig.on(Event::AddBootnodes(bootnodes.collect()));
    assert_eq!(rig.machine.bootnodes.len(), BOOTNODES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No order of packets, answers and pauses breaks an invariant or names a node that did not
    /// answer.
    #[test]
    fn whatever_comes_in_whatever_order_is_survived(
        steps in proptest::collection::vec((0..8_u8, 1..9_u16, 0..700_u64), 0..150)
    ) {
        let mut rig = Rig::new();
        let mut answered = std::collections::HashSet::new();
        // The last packet to each that wants an answer by its hash.
        let mut asked: std::collections::HashMap<u16, B256> = std::collections::HashMap::new();
        for (step, number, millis) in steps {
            let peer = Peer::new(number);
            let expiration = rig.expiration();
            let record = LocalRecord::new(peer.key, peer.record(), None, millis).enr().to_rlp();
            let last = asked.get(&number).copied().unwrap_or_default();
            let nodes = (1..13).map(|n| Neighbor::from(Peer::new(number + n).record())).collect();
            match step {
                0 => { rig.hear_ping(peer); }
                1 | 2 => {
                    answered.insert(peer.record().id);
                    let enr_sequence = Some(millis);
                    let (to, ping_hash) = (endpoint(1), last);
                    rig.hear(peer, &Packet::Pong { to, ping_hash, expiration, enr_sequence });
                }
                3 => rig.hear_find_node(peer),
                4 => { rig.hear(peer, &Packet::Neighbors { nodes, expiration }); }
                5 => { rig.hear(peer, &Packet::EnrResponse { request_hash: last, record }); }
                6 => rig.on(Event::Lookup),
                _ => rig.pass(Duration::from_millis(millis)),
            }
            for number in 1..40 {
                let wants = |e: &&Envelope| {
                    matches!(e.packet, Packet::Ping { .. } | Packet::EnrRequest { .. })
                };
                if let Some(envelope) = rig.sent(Peer::new(number)).iter().rfind(wants) {
                    asked.insert(number, envelope.hash);
                }
            }
            let live = rig.machine.nodes();
            prop_assert!(live.iter().all(|node| answered.contains(&node.id)));
            prop_assert!(rig.found().iter().all(|(node, _)| answered.contains(&node.id)));
        }
    }
}
