use std::net::Ipv4Addr;

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use secp256k1::SecretKey;

use super::*;

fn id(number: u32) -> PeerId {
    let mut key = [1; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::of(&SecretKey::from_slice(&key).unwrap())
}

fn node(number: u32, ip: [u8; 4]) -> Node {
    let ip = IpAddr::V4(Ipv4Addr::from(ip));
    Node::new(NodeRecord { id: id(number), ip, tcp: 30303, udp: 30303 })
}

/// The first nodes that fall into the last bucket of a table.
fn far(table: &Table, count: usize, ip: impl Fn(u8) -> [u8; 4]) -> Vec<Node> {
    let all = (1..).map(|number| node(number, [10, 0, 0, 1]));
    let far = all.filter(|node| table.index(node.hash) == BUCKETS - 1).take(count);
    far.zip(0..)
        .map(|(node, place)| {
            let ip = IpAddr::from(ip(place));
            Node { record: NodeRecord { ip, ..node.record }, ..node }
        })
        .collect()
}

fn lan(place: u8) -> [u8; 4] {
    [10, 0, 0, place]
}

#[test]
fn buckets_are_by_distance() {
    let table = Table::new(id(0));
    let at = |bit: usize| {
        let mut hash = table.own;
        hash.0[bit / 8] ^= 0x80 >> (bit % 8);
        hash
    };
    assert_eq!(table.index(at(0)), 16);
    assert_eq!(table.index(at(1)), 15);
    assert_eq!(table.index(at(15)), 1);
    assert_eq!(table.index(at(16)), 0);
    assert_eq!(table.index(at(255)), 0);
    assert_eq!(table.index(table.own), 0);
}

#[test]
fn we_are_not_in_our_own_table() {
    let mut table = Table::new(id(0));
    table.see(node(0, [10, 0, 0, 1]));
    assert!(!table.prove(node(0, [10, 0, 0, 1])));
    assert_eq!(table.len(), 0);
}

#[test]
fn a_full_bucket_keeps_its_nodes_and_ten_that_wait() {
    let mut table = Table::new(id(0));
    let nodes = far(&table, 40, lan);
    for node in &nodes {
        table.prove(*node);
    }
    let bucket = &table.buckets[BUCKETS - 1];
    assert_eq!(bucket.entries.len(), BUCKET_NODES_MAX);
    assert_eq!(bucket.replacements.len(), REPLACEMENTS_MAX);
    assert!(nodes[..BUCKET_NODES_MAX].iter().all(|node| table.entry(node.hash).is_some()));
    assert_eq!(bucket.replacements[0], nodes[39]);
}

#[test]
fn a_node_that_fails_is_replaced_by_one_that_waits() {
    let mut table = Table::new(id(0));
    let nodes = far(&table, 17, lan);
    for node in &nodes {
        table.prove(*node);
    }
    let mut rng = StdRng::seed_from_u64(0);
    table.fail(&nodes[3], &mut rng);
    assert!(table.entry(nodes[3].hash).is_none());
    assert!(!table.entry(nodes[16].hash).unwrap().is_live);
    assert_eq!(table.len(), BUCKET_NODES_MAX);
}

#[test]
fn a_node_without_replacement_leaves_after_more_than_five_failures() {
    let mut table = Table::new(id(0));
    let mut rng = StdRng::seed_from_u64(0);
    let node = node(1, [10, 0, 0, 1]);
    assert!(table.prove(node));
    for _ in 0..FAILURES_MAX {
        table.fail(&node, &mut rng);
    }
    assert!(!table.entry(node.hash).unwrap().is_live);
    assert!(table.prove(node), "it was not live");
    for _ in 0..FAILURES_MAX {
        table.fail(&node, &mut rng);
    }
    assert!(table.entry(node.hash).is_some(), "failures count in a row");
    table.fail(&node, &mut rng);
    assert_eq!(table.len(), 0);
}

#[test]
fn one_subnet_has_two_places_in_a_bucket() {
    let mut table = Table::new(id(0));
    let nodes = far(&table, 4, |place| [8, 8, 8, place]);
    for node in &nodes {
        table.see(*node);
    }
    assert_eq!(table.len(), BUCKET_SUBNET_NODES_MAX);
    let mut rng = StdRng::seed_from_u64(0);
    for _ in 0..=FAILURES_MAX {
        table.fail(&nodes[0], &mut rng);
    }
    table.see(nodes[2]);
    assert!(table.entry(nodes[2].hash).is_some(), "the place is free again");
    table.see(nodes[3]);
    assert_eq!(table.len(), BUCKET_SUBNET_NODES_MAX);
}

#[test]
fn one_subnet_has_ten_places_in_the_table() {
    let mut table = Table::new(id(0));
    for number in 1..2_000 {
        table.see(node(number, [8, 8, 8, 1]));
    }
    assert_eq!(table.len(), TABLE_SUBNET_NODES_MAX);
}

#[test]
fn nodes_that_never_answered_make_room_for_those_that_do() {
    let mut table = Table::new(id(0));
    let nodes = far(&table, 20, lan);
    for node in &nodes[..16] {
        table.see(*node);
    }
    for node in &nodes[16..] {
        assert!(table.prove(*node));
        assert!(table.entry(node.hash).unwrap().is_live);
    }
    assert_eq!(table.len(), BUCKET_NODES_MAX);
}

#[test]
fn only_live_nodes_are_named_and_the_nearest_come_first() {
    let mut table = Table::new(id(0));
    for number in 1..60 {
        let node = node(number, [10, 0, 0, 1]);
        if number % 2 == 0 { table.see(node) } else { assert!(table.prove(node)) }
    }
    let target = id(1_000).node_id();
    let closest = table.closest(target, true);
    assert_eq!(closest.len(), BUCKET_NODES_MAX);
    assert!(closest.iter().all(|node| table.entry(node.hash).unwrap().is_live));
    assert!(closest.windows(2).all(|pair| pair[0].hash ^ target < pair[1].hash ^ target));
    assert!(table.closest(target, false).iter().any(|n| !table.entry(n.hash).unwrap().is_live));
}

#[test]
fn a_node_may_move_but_not_into_a_full_subnet() {
    let mut table = Table::new(id(0));
    let nodes = far(&table, 3, |place| [8, 8, 8, place]);
    table.prove(nodes[0]);
    table.prove(nodes[1]);
    let elsewhere = NodeRecord { ip: "9.9.9.9".parse().unwrap(), ..nodes[2].record };
    table.prove(Node::new(elsewhere));
    assert!(!table.prove(nodes[2]));
    assert_eq!(table.entry(nodes[2].hash).unwrap().node.record, elsewhere);
    table.prove(Node::new(NodeRecord { ip: "7.7.7.7".parse().unwrap(), ..nodes[0].record }));
    table.prove(nodes[2]);
    assert_eq!(table.entry(nodes[2].hash).unwrap().node, nodes[2]);
}

proptest! {
    /// Whatever happens, the counts of subnets are those of the nodes, and no limit is passed.
    #[test]
    fn counts_agree_with_nodes(steps in proptest::collection::vec((0..3_u8, 1..60_u32, 0..4_u8), 0..300)) {
        let mut table = Table::new(id(0));
        let mut rng = StdRng::seed_from_u64(0);
        for (step, number, subnet) in steps {
            let node = node(number, [8, 8, subnet, 1]);
            match step {
                0 => table.see(node),
                1 => { table.prove(node); }
                _ => table.fail(&node, &mut rng),
            }
        }
        let mut total: HashMap<(bool, [u8; 3]), usize> = HashMap::new();
        for bucket in &table.buckets {
            let mut counts: HashMap<(bool, [u8; 3]), usize> = HashMap::new();
            let entries = bucket.entries.iter().map(|entry| &entry.node);
            for node in entries.chain(&bucket.replacements) {
                *counts.entry(super::subnet(node.record.ip)).or_default() += 1;
                *total.entry(super::subnet(node.record.ip)).or_default() += 1;
            }
            prop_assert!(counts.values().all(|count| *count <= BUCKET_SUBNET_NODES_MAX));
            prop_assert_eq!(&counts, &bucket.subnets.counts);
        }
        prop_assert!(total.values().all(|count| *count <= TABLE_SUBNET_NODES_MAX));
        total.retain(|_, count| *count > 0);
        let mut held = table.subnets.counts.clone();
        held.retain(|_, count| *count > 0);
        prop_assert_eq!(total, held);
    }
}
