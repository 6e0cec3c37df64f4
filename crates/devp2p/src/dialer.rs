//! Whom to call, and when: nodes that were named are called until they answer, nodes that were
//! found fill the places kept for calls.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{NodeRecord, PeerId};

/// Nodes that wait to be called. The oldest gives way: discovery finds it again.
pub const CANDIDATES_MAX: usize = 256;
/// Calls under way at once.
pub const DIALS_MAX: usize = 16;
/// A node that was found is not called again sooner, as in geth.
const REDIAL_PERIOD: Duration = Duration::from_secs(35);
/// Nodes differ by up to this, so that two that called each other at once do not do so again.
const REDIAL_SPREAD: Duration = Duration::from_secs(10);
/// A node that was named is called again this soon after the first failure, and later each time.
const RETRY_PERIOD_MIN: Duration = Duration::from_secs(1);
/// But never later than this.
const RETRY_PERIOD_MAX: Duration = Duration::from_secs(20);
/// Nodes whose last call is remembered.
const RECENT_MAX: usize = 1_024;

/// What the dialer learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialEvent {
    /// The operator names a node.
    Named(NodeRecord),
    /// The operator takes a name back.
    Forgotten(PeerId),
    /// Discovery found a node.
    Found(NodeRecord),
    /// A call that was asked for became a session, or did not.
    Answered {
        /// Whom.
        id: PeerId,
        /// Whether it is connected now.
        connected: bool,
    },
    /// The node called us.
    Accepted(PeerId),
    /// A session is over.
    Ended(PeerId),
    /// Time passed.
    Tick,
}

/// Decides whom to call.
#[derive(Debug)]
pub struct Dialer {
    own: PeerId,
    /// Sessions with found nodes that calls may make.
    places: usize,
    named: HashMap<PeerId, Named>,
    found: VecDeque<NodeRecord>,
    dialling: HashSet<PeerId>,
    /// Whether we called.
    connected: HashMap<PeerId, bool>,
    recent: HashMap<PeerId, Instant>,
    redial_period: Duration,
}

#[derive(Debug)]
struct Named {
    node: NodeRecord,
    failures: u32,
    next: Instant,
}

impl Dialer {
    /// A dialer of this node, which makes up to `places` sessions with nodes that were found.
    #[must_use]
    pub fn new(own: PeerId, places: usize) -> Self {
        Self {
            own,
            places,
            named: HashMap::new(),
            found: VecDeque::new(),
            dialling: HashSet::new(),
            connected: HashMap::new(),
            recent: HashMap::new(),
            redial_period: REDIAL_PERIOD + REDIAL_SPREAD * u32::from(own.to_bytes()[0]) / 256,
        }
    }

    /// Whether the operator named the node.
    #[must_use]
    pub fn is_named(&self, id: PeerId) -> bool {
        self.named.contains_key(&id)
    }

    /// Takes an event in and adds whom to call now.
    pub fn on(&mut self, event: DialEvent, now: Instant, calls: &mut Vec<NodeRecord>) {
        match event {
            DialEvent::Named(node) if node.id != self.own => {
                self.named.insert(node.id, Named { node, failures: 0, next: now });
            }
            DialEvent::Forgotten(id) => drop(self.named.remove(&id)),
            DialEvent::Found(node) => self.remember(node),
            DialEvent::Answered { id, connected } => self.on_answer(id, connected, now),
            DialEvent::Accepted(id) => drop(self.connected.insert(id, false)),
            DialEvent::Ended(id) => {
                self.connected.remove(&id);
                if let Some(named) = self.named.get_mut(&id) {
                    named.next = now + RETRY_PERIOD_MIN;
                }
            }
            DialEvent::Named(_) | DialEvent::Tick => {}
        }
        self.call(now, calls);
    }

    fn remember(&mut self, node: NodeRecord) {
        let is_new = self.found.iter().all(|other| other.id != node.id);
        if node.id == self.own || node.tcp == 0 || !is_new || self.is_named(node.id) {
            return;
        }
        if self.found.len() == CANDIDATES_MAX {
            self.found.pop_front();
        }
        self.found.push_back(node);
    }

    fn on_answer(&mut self, id: PeerId, connected: bool, now: Instant) {
        self.dialling.remove(&id);
        if connected {
            self.connected.insert(id, true);
        }
        if let Some(named) = self.named.get_mut(&id) {
            named.failures = if connected { 0 } else { named.failures.saturating_add(1) };
            let wait = RETRY_PERIOD_MIN.saturating_mul(1 << named.failures.min(5));
            named.next = now + wait.min(RETRY_PERIOD_MAX);
        }
    }

    fn call(&mut self, now: Instant, calls: &mut Vec<NodeRecord>) {
        let period = self.redial_period;
        self.recent.retain(|_, called| now.duration_since(*called) < period);
        let Self { named, dialling, connected, .. } = self;
        for (id, named) in named.iter() {
            let is_free = !dialling.contains(id) && !connected.contains_key(id);
            if is_free && named.next <= now && dialling.len() < DIALS_MAX {
                dialling.insert(*id);
                calls.push(named.node);
            }
        }
        let mut taken = self.unnamed();
        let mut later = VecDeque::new();
        while let Some(node) = self.found.pop_front() {
            let is_free =
                !self.dialling.contains(&node.id) && !self.connected.contains_key(&node.id);
            if self.recent.contains_key(&node.id) || !is_free {
                continue;
            }
            let is_full = self.dialling.len() >= DIALS_MAX || self.recent.len() >= RECENT_MAX;
            if taken >= self.places || is_full {
                later.push_back(node);
                continue;
            }
            taken += 1;
            self.dialling.insert(node.id);
            self.recent.insert(node.id, now);
            calls.push(node);
        }
        self.found = later;
    }

    /// Calls to and sessions with nodes that nobody named.
    fn unnamed(&self) -> usize {
        let called = self.connected.iter().filter(|(_, called)| **called).map(|(id, _)| id);
        let ids = self.dialling.iter().chain(called);
        ids.filter(|id| !self.named.contains_key(id)).count()
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;

    fn node(number: u8) -> NodeRecord {
        let id = PeerId::of(&SecretKey::from_slice(&[number; 32]).unwrap());
        NodeRecord { id, ip: [127, 0, 0, 1].into(), tcp: 30_303, udp: 30_303 }
    }

    /// Whom the dialer calls after an event.
    fn calls(dialer: &mut Dialer, event: DialEvent, now: Instant) -> Vec<PeerId> {
        let mut calls = Vec::new();
        dialer.on(event, now, &mut calls);
        calls.into_iter().map(|node| node.id).collect()
    }

    #[test]
    fn a_named_node_is_called_until_it_answers_and_again_when_it_is_lost() {
        let (mut dialer, mut now) = (Dialer::new(node(1).id, 0), Instant::now());
        let id = node(2).id;
        assert_eq!(calls(&mut dialer, DialEvent::Named(node(2)), now), [id]);
        for _ in 0..8 {
            let failed = DialEvent::Answered { id, connected: false };
            assert_eq!(calls(&mut dialer, failed, now), []);
            now += RETRY_PERIOD_MAX;
            assert_eq!(calls(&mut dialer, DialEvent::Tick, now), [id]);
        }
        assert_eq!(calls(&mut dialer, DialEvent::Answered { id, connected: true }, now), []);
        now += RETRY_PERIOD_MAX;
        assert_eq!(calls(&mut dialer, DialEvent::Tick, now), []);
        assert_eq!(calls(&mut dialer, DialEvent::Ended(id), now), []);
        now += RETRY_PERIOD_MIN;
        assert_eq!(calls(&mut dialer, DialEvent::Tick, now), [id]);
    }

    #[test]
    fn found_nodes_are_called_as_long_as_there_are_places_and_not_again_soon() {
        let (mut dialer, mut now) = (Dialer::new(node(1).id, 1), Instant::now());
        let [first, second] = [node(2).id, node(3).id];
        assert_eq!(calls(&mut dialer, DialEvent::Found(node(2)), now), [first]);
        assert_eq!(calls(&mut dialer, DialEvent::Found(node(3)), now), []);
        let failed = DialEvent::Answered { id: first, connected: false };
        assert_eq!(calls(&mut dialer, failed, now), [second]);
        let failed = DialEvent::Answered { id: second, connected: false };
        assert_eq!(calls(&mut dialer, failed, now), []);
        assert_eq!(calls(&mut dialer, DialEvent::Found(node(2)), now), []);
        now += REDIAL_PERIOD + REDIAL_SPREAD;
        assert_eq!(calls(&mut dialer, DialEvent::Found(node(2)), now), [first]);
    }

    #[test]
    fn neither_itself_nor_a_node_that_takes_no_connections_is_called() {
        let (mut dialer, now) = (Dialer::new(node(1).id, 9), Instant::now());
        assert_eq!(calls(&mut dialer, DialEvent::Named(node(1)), now), []);
        assert_eq!(calls(&mut dialer, DialEvent::Found(node(1)), now), []);
        assert_eq!(calls(&mut dialer, DialEvent::Found(NodeRecord { tcp: 0, ..node(2) }), now), []);
    }

    #[test]
    fn no_flood_of_found_nodes_is_kept() {
        let (mut dialer, now) = (Dialer::new(node(1).id, 0), Instant::now());
        for number in 0..2 * u32::try_from(CANDIDATES_MAX).unwrap() {
            let mut key = [1; 32];
            key[..4].copy_from_slice(&(number + 1).to_be_bytes());
            let id = PeerId::of(&SecretKey::from_slice(&key).unwrap());
            calls(&mut dialer, DialEvent::Found(NodeRecord { id, ..node(2) }), now);
        }
        assert_eq!(dialer.found.len(), CANDIDATES_MAX);
    }
}
