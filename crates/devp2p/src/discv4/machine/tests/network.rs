//! Machines that talk to each other.

use std::collections::{HashMap, HashSet};

use super::*;

/// Machines, one time, and what each has found.
struct Network {
    start: Instant,
    now: Instant,
    machines: HashMap<SocketAddr, Machine>,
    found: HashMap<SocketAddr, HashSet<PeerId>>,
}

impl Network {
    fn new(size: u8) -> Self {
        let now = Instant::now();
        let machines = (1..=size).map(|number| {
            let at = address(number);
            let config = MachineConfig {
                is_silent: false,
                external: Some(at.ip()),
                guess: None,
                udp: at.port(),
                tcp: at.port(),
                restrict: None,
                fork_id: None,
                last_sequence: 0,
            };
            let rng = StdRng::seed_from_u64(u64::from(number));
            (at, Machine::new(secret(number.into()), config, rng, now, WALL))
        });
        let machines = machines.collect();
        Self { start: now, now, machines, found: HashMap::new() }
    }

    fn on(&mut self, at: SocketAddr, event: Event) {
        let wall = WALL + (self.now - self.start).as_secs();
        let mut events = vec![(at, event)];
        while let Some((at, event)) = events.pop() {
            let Some(machine) = self.machines.get_mut(&at) else { continue };
            let mut actions = Vec::new();
            machine.on(event, self.now, wall, &mut actions);
            let mut sent = Vec::new();
            for action in actions {
                match action {
                    Action::Send { to, bytes } => {
                        sent.push((to, Event::Datagram { from: at, bytes }));
                    }
                    Action::Found(node, _) => {
                        self.found.entry(at).or_default().insert(node.id);
                    }
                    Action::Record(_) | Action::OwnClock(_) => {}
                }
            }
            events.extend(sent.into_iter().rev());
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.machines.iter().map(|(at, machine)| (machine.wake_at(), *at)).min();
            let Some((time, at)) = next.filter(|(time, _)| *time <= end) else { break };
            self.now = self.now.max(time);
            self.on(at, Event::Tick);
        }
        self.now = end;
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)), 30303)
}

fn record(number: u8) -> NodeRecord {
    let at = address(number);
    let id = PeerId::of(&secret(number.into()));
    NodeRecord { id, ip: at.ip(), tcp: at.port(), udp: at.port() }
}

#[test]
fn nodes_find_each_other_through_one_that_all_know() {
    let size = 12;
    let mut network = Network::new(size);
    for number in 2..=size {
        network.on(address(number), Event::AddBootnodes(vec![record(1)]));
        network.pass(Duration::from_millis(100));
    }
    network.pass(Duration::from_secs(60));
    for number in 1..=size {
        let found = &network.found[&address(number)];
        assert_eq!(found.len(), usize::from(size) - 1, "node {number}");
    }
}

#[test]
fn nodes_that_came_first_find_the_bootnode_that_comes_late() {
    let mut network = Network::new(4);
    let late = network.machines.remove(&address(1)).unwrap();
    for number in 2..=4 {
        network.on(address(number), Event::AddBootnodes(vec![record(1)]));
    }
    network.pass(Duration::from_mins(10));
    assert!(network.found.is_empty());
    network.machines.insert(address(1), late);
    network.pass(Duration::from_secs(60));
    for number in 1..=4 {
        assert_eq!(network.found[&address(number)].len(), 3, "node {number}");
    }
}

#[test]
fn a_node_that_went_away_is_forgotten_by_all() {
    let mut network = Network::new(6);
    for number in 2..=6 {
        network.on(address(number), Event::AddBootnodes(vec![record(1)]));
    }
    network.pass(Duration::from_mins(1));
    network.machines.remove(&address(6));
    network.pass(Duration::from_mins(20));
    for number in 1..=5 {
        let nodes = network.machines[&address(number)].nodes();
        assert_eq!(nodes.len(), 4, "node {number}");
        assert!(!nodes.contains(&record(6)));
    }
}
