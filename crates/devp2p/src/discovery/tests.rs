use std::net::Ipv4Addr;

use tokio::task::JoinSet;

use super::*;
use crate::PeerId;

fn secret(number: u8) -> SecretKey {
    SecretKey::from_slice(&[number; 32]).unwrap()
}

/// A running node, what it finds, and what stops it.
struct Node {
    discovery: Discovery,
    found: mpsc::Receiver<NodeRecord>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

async fn node(number: u8, bootnodes: Vec<NodeRecord>) -> Node {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (sender, found) = mpsc::channel(16);
    let config = DiscoveryConfig {
        listen: SocketAddr::new(loopback, 0),
        tcp: 1,
        external: Some(loopback),
        guess: None,
        bootnodes,
        restrict: Some("127.0.0.0/8".parse().unwrap()),
        fork_id: None,
        seeds: Vec::new(),
        last_sequence: 0,
        v4: true,
        v5: None,
        found: sender,
    };
    let stop = CancellationToken::new();
    let (discovery, run) = Discovery::start(config, secret(number), stop.clone()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(run);
    Node { discovery, found, stop, tasks }
}

#[tokio::test]
async fn nodes_find_each_other_on_sockets() {
    let first = node(1, Vec::new()).await;
    let mut second = node(2, vec![first.discovery.node()]).await;
    let mut third = node(3, vec![first.discovery.node()]).await;
    // Every search reports at least the node that both know.
    while second.found.recv().await.unwrap() != third.discovery.node() {
        second.discovery.look_up().await.unwrap();
    }
    while third.found.recv().await.unwrap() != second.discovery.node() {
        third.discovery.look_up().await.unwrap();
    }
    assert!(first.discovery.nodes().await.unwrap().contains(&second.discovery.node()));
}

#[tokio::test]
async fn a_node_says_what_it_was_told() {
    let mut node = node(1, Vec::new()).await;
    let fork_id = ForkId { hash: [1; 4], next: 9 };
    assert_eq!(node.discovery.node().id, PeerId::of(&secret(1)));
    assert_eq!(node.discovery.enr().fork_id(), None);
    node.discovery.set_fork_id(fork_id).await.unwrap();
    node.discovery.own.0.changed().await.unwrap();
    assert_eq!(node.discovery.enr().fork_id(), Some(fork_id));
    assert_eq!(node.discovery.enr().node(), Some(node.discovery.node()));
}

#[tokio::test]
async fn a_loop_that_was_stopped_answers_no_handle() {
    let mut node = node(1, Vec::new()).await;
    node.stop.cancel();
    node.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(node.discovery.nodes().await, Err(DiscoveryStopped));
    assert_eq!(node.discovery.look_up().await, Err(DiscoveryStopped));
}

#[tokio::test]
async fn a_socket_for_ipv6_answers_ipv4() {
    let (found, _nodes) = mpsc::channel(16);
    let config = DiscoveryConfig {
        listen: "[::]:0".parse().unwrap(),
        tcp: 1,
        external: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        guess: None,
        bootnodes: Vec::new(),
        restrict: None,
        fork_id: None,
        seeds: Vec::new(),
        last_sequence: 0,
        v4: true,
        v5: None,
        found,
    };
    let stop = CancellationToken::new();
    let (discovery, run) = Discovery::start(config, secret(1), stop).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(run);
    let mut other = node(2, vec![discovery.node()]).await;
    assert_eq!(other.found.recv().await, Some(discovery.node()));
}

#[tokio::test]
async fn the_clock_of_a_node_is_read_and_only_from_itself() {
    let node = node(1, Vec::new()).await;
    let patience = Duration::from_secs(60);
    let seconds = clock_of(&node.discovery.node(), patience).await.unwrap();
    assert!(seconds.is_some_and(|seconds| seconds.abs() <= 5), "{seconds:?}");
    let other = NodeRecord { id: PeerId::of(&secret(2)), ..node.discovery.node() };
    assert_eq!(clock_of(&other, Duration::from_millis(30)).await.unwrap(), None);
    assert_eq!(node.discovery.skews().await, Ok(Vec::new()));
}
