//! What is played.

use network::wire::EthVersion;
use rand::Rng;

use crate::{liar::Lie, only, with_seeds, world::World};

/// Everybody with everybody, in versions that differ.
fn full(seed: u64, lies: &[Option<Lie>]) -> World {
    let mut world = World::new(seed, lies);
    for one in 0..lies.len() {
        for other in one + 1..lies.len() {
            let version = any_version(&mut world);
            world.connect([one, other], version);
        }
    }
    world
}

/// Makes one node slow to answer and one connection slow to deliver.
fn slow_down(world: &mut World) {
    let node = world.rng.random_range(0..world.nodes.len());
    world.nodes[node].pace = world.millis(100, 2_500);
    let edge = world.rng.random_range(0..world.edges.len());
    let end = world.rng.random_range(0..2);
    world.edges[edge].delay[end] = world.millis(500, 2_000);
}

fn any_version(world: &mut World) -> EthVersion {
    let versions = EthVersion::ALL;
    versions[world.rng.random_range(0..versions.len())]
}

fn steady(seed: u64) {
    let count = 3 + usize::try_from(seed % 5).expect("small");
    let mut world = full(seed, &vec![None; count]);
    slow_down(&mut world);
    world.spend_every(7);
    world.mine(0..count);
    world.run(300);
    world.conclude(0);
    let view = world.nodes[0].view();
    assert!(view.head.number > 10 && !world.spent.is_empty());
}

#[test]
fn nodes_that_mine_agree_and_mine_what_their_users_send() {
    with_seeds("nodes_that_mine_agree_and_mine_what_their_users_send", 2, steady);
}

#[test]
fn a_seed_decides_everything() {
    let course = |seed| {
        let mut world = full(seed, &[None; 3]);
        world.spend_every(5);
        world.mine(0..3);
        world.run(120);
        world.trace()
    };
    assert_eq!(course(1), course(1));
    assert_ne!(course(1), course(2));
}

/// Two nodes and three mine apart until both sides have so many blocks of their own.
fn partition(seed: u64, depth: u64, spends: bool) {
    let mut world = full(seed, &[None; 5]);
    if spends {
        world.spend_every(9);
    }
    world.mine(0..5);
    world.run(60);
    let across = |nodes: [usize; 2]| (nodes[0] < 2) != (nodes[1] < 2);
    let cut: Vec<usize> =
        (0..world.edges.len()).filter(|edge| across(world.edges[*edge].nodes)).collect();
    for edge in &cut {
        world.cut(*edge);
    }
    let start = [0, 4].map(|node: usize| world.nodes[node].view().head.number);
    let is_deep = move |world: &World| {
        let height = |node: usize| world.nodes[node].view().head.number;
        height(0) >= start[0] + depth && height(4) >= start[1] + depth
    };
    assert!(world.run_until(200 + depth * 80, is_deep), "both sides mine");
    for edge in &cut {
        world.heal(*edge);
    }
    world.conclude(0);
}

#[test]
fn a_network_that_was_cut_in_two_is_one_again() {
    let name = "a_network_that_was_cut_in_two_is_one_again";
    with_seeds(name, 1, |seed| partition(seed, 1, true));
    with_seeds(name, 1, |seed| partition(seed, 7, true));
    with_seeds(name, 1, |seed| partition(seed, 30, true));
}

#[test]
fn a_network_that_was_cut_in_two_for_long_is_one_again() {
    let name = "a_network_that_was_cut_in_two_for_long_is_one_again";
    // The pool brings back what 64 blocks held, as geth's.
    with_seeds(name, 1, |seed| partition(seed, 64, false));
    with_seeds(name, 1, |seed| partition(seed, 130, false));
}

/// A node that knows nothing joins three that have a long chain and go on.
fn late(seed: u64) {
    let mut world = World::new(seed, &[None; 4]);
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        let version = any_version(&mut world);
        world.connect([one, other], version);
    }
    world.block_seconds = 2.0;
    world.mine(0..3);
    let is_long = |world: &World| world.nodes[0].view().head.number >= 300;
    assert!(world.run_until(2_000, is_long), "the chain grows");
    world.block_seconds = 13.0;
    let slow = world.millis(100, 3_000);
    world.nodes[2].pace = slow;
    for other in 0..3 {
        let version = any_version(&mut world);
        world.connect([3, other], version);
    }
    world.run(60);
    world.conclude(0);
    assert!(world.nodes[3].syncs > 0, "it was told how far it came");
}

#[test]
fn a_late_node_catches_up() {
    with_seeds("a_late_node_catches_up", 1, late);
}

const LIES: [Lie; 5] =
    [Lie::Withholds, Lie::WrongBodies, Lie::WrongTotalDifficulty, Lie::InvalidBlocks, Lie::Stalls];

/// Four honest nodes between two liars; one of the honest joins late.
fn liars(seed: u64) {
    let first = usize::try_from(seed % 5).expect("small");
    let lies = [None, None, None, None, Some(LIES[first]), Some(LIES[(first + 2) % 5])];
    let mut world = World::new(seed, &lies);
    let late: Vec<[usize; 2]> = (0..6).filter(|node| *node != 3).map(|node| [3, node]).collect();
    for one in 0..6 {
        for other in one + 1..6 {
            if one != 3 && other != 3 {
                let version = any_version(&mut world);
                world.connect([one, other], version);
            }
        }
    }
    world.spend_every(9);
    world.mine(0..3);
    world.run(200);
    for nodes in late {
        let version = any_version(&mut world);
        world.connect(nodes, version);
    }
    world.run(200);
    world.conclude(0);
}

#[test]
fn liars_are_dropped_and_change_nothing() {
    with_seeds("liars_are_dropped_and_change_nothing", 5, liars);
}

/// Two generations of nodes that only see each other through one in the middle.
fn star(seed: u64) {
    let mut world = World::new(seed, &[None; 5]);
    let versions = [EthVersion::Eth65, EthVersion::Eth65, EthVersion::Eth67, EthVersion::Eth67];
    for (leaf, version) in (1..).zip(versions) {
        world.connect([0, leaf], version);
    }
    slow_down(&mut world);
    world.spend_every(6);
    world.mine(1..5);
    world.run(300);
    world.conclude(2);
}

#[test]
fn two_generations_agree_through_a_node_in_the_middle() {
    with_seeds("two_generations_agree_through_a_node_in_the_middle", 2, star);
}

/// Connections come and go.
fn flapping(seed: u64) {
    let mut world = full(seed, &[None; 5]);
    slow_down(&mut world);
    world.may_time_out = true;
    world.spend_every(8);
    world.mine(0..5);
    for _ in 0..40 {
        let edge = world.rng.random_range(0..world.edges.len());
        world.lose(edge);
        world.run(10);
    }
    world.conclude(1);
}

#[test]
fn connections_that_come_and_go_do_no_harm() {
    with_seeds("connections_that_come_and_go_do_no_harm", 2, flapping);
}

// Worlds in which something was found.

#[test]
fn a_node_whose_only_peer_is_slow_gets_the_blocks_that_it_missed() {
    only(3, "two_generations", star);
}

#[test]
fn a_peer_that_was_read_while_its_chain_changed_is_not_taken_for_a_liar() {
    only(4, "a_late_node_catches_up", late);
}
