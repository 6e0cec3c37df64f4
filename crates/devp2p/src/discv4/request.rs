//! What we asked, and whose answer we wait for.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use primitives::B256;

use super::{
    packet::Packet,
    table::{BUCKET_NODES_MAX, Node},
};
use crate::PeerId;

/// How long we wait for an answer.
pub(super) const REPLY_PERIOD: Duration = Duration::from_millis(500);
/// Requests under way.
pub const REQUESTS_MAX: usize = 512;
/// Pings under way that strangers' pings made us send; the oldest gives way to a new one. The rest
/// is for our own questions.
pub const BOND_PINGS_MAX: usize = 256;
/// Of these, to one address: whoever sends pings in another's name makes us send him little more
/// than was sent to us.
pub const BOND_PINGS_PER_ADDRESS_MAX: usize = 2;
/// Packets of neighbours read for one question.
const NEIGHBORS_PACKETS_MAX: usize = 16;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Requests(Vec<Request>);

#[derive(Debug)]
pub(super) struct Request {
    pub(super) node: Node,
    pub(super) deadline: Instant,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A ping waits for its pong.
    Ping { hash: B256, purpose: Purpose },
    /// They answered, but know nothing of us before they have pinged us in turn.
    Settle { purpose: Purpose, enr_sequence: Option<u64> },
    /// A question for neighbours.
    FindNode { nodes: Vec<Node>, named: usize, packets: usize },
    /// A question for a record.
    Enr { hash: B256 },
}

/// Why we ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// They pinged us, and may not be where they seem to be.
    Bond,
    /// A lookup wants to ask them.
    Question,
    /// To see whether they are still there.
    Check,
}

impl Request {
    fn is_with(&self, id: PeerId, at: SocketAddr) -> bool {
        self.node.record.id == id && self.is_at(at)
    }

    fn is_at(&self, at: SocketAddr) -> bool {
        self.node.record.udp_address() == at
    }

    /// Whether a stranger's ping made us send it.
    const fn is_bond(&self) -> bool {
        matches!(self.kind, Kind::Ping { purpose: Purpose::Bond, .. })
    }
}

impl Requests {
    /// Makes room for another ping; false if there can be none. Of the pings that strangers made us
    /// send the oldest gives way: whoever pings us in many names does not keep out those who come
    /// after him.
    pub(super) fn make_room(&mut self, purpose: Purpose, at: SocketAddr) -> bool {
        let bonds = || self.0.iter().filter(|request| request.is_bond());
        let is_bond = purpose == Purpose::Bond;
        if is_bond
            && bonds().filter(|request| request.is_at(at)).count() >= BOND_PINGS_PER_ADDRESS_MAX
        {
            return false;
        }
        let is_full =
            self.0.len() >= REQUESTS_MAX || (is_bond && bonds().count() >= BOND_PINGS_MAX);
        !is_full || self.forget_oldest_bond()
    }

    fn forget_oldest_bond(&mut self) -> bool {
        let bonds = self.0.iter().enumerate().filter(|(_, request)| request.is_bond());
        let oldest = bonds.min_by_key(|(_, request)| request.deadline).map(|(place, _)| place);
        oldest.map(|place| self.0.swap_remove(place)).is_some()
    }

    /// Adds a request; false if there are too many.
    pub(super) fn add(&mut self, node: Node, kind: Kind, now: Instant) -> bool {
        let admits = self.0.len() < REQUESTS_MAX;
        if admits {
            self.0.push(Request { node, deadline: now + REPLY_PERIOD, kind });
        }
        admits
    }

    /// Whether a ping to this node is under way.
    pub(super) fn has_ping(&self, id: PeerId, at: SocketAddr) -> bool {
        let is_ping = |request: &&Request| matches!(request.kind, Kind::Ping { .. });
        self.0.iter().filter(is_ping).any(|request| request.is_with(id, at))
    }

    /// Whether somebody at an address may say this: asked before it is known who does.
    pub(super) fn expects(&self, packet: &Packet, from: SocketAddr) -> bool {
        self.0.iter().filter(|request| request.is_at(from)).any(|request| {
            match (&request.kind, packet) {
                (Kind::Ping { hash, .. }, Packet::Pong { ping_hash, .. }) => hash == ping_hash,
                (Kind::FindNode { .. }, Packet::Neighbors { .. }) => true,
                (Kind::Enr { hash }, Packet::EnrResponse { request_hash, .. }) => {
                    hash == request_hash
                }
                _ => false,
            }
        })
    }

    /// The ping that a pong answers.
    pub(super) fn take_ping(
        &mut self,
        id: PeerId,
        from: SocketAddr,
        ping_hash: B256,
    ) -> Option<(Node, Purpose)> {
        let place = self.0.iter().position(|request| {
            request.is_with(id, from)
                && matches!(request.kind, Kind::Ping { hash, .. } if hash == ping_hash)
        })?;
        match self.0.swap_remove(place) {
            Request { node, kind: Kind::Ping { purpose, .. }, .. } => Some((node, purpose)),
            _ => None,
        }
    }

    /// The request for a record that a response answers.
    pub(super) fn take_enr(
        &mut self,
        id: PeerId,
        from: SocketAddr,
        request_hash: B256,
    ) -> Option<Node> {
        let place = self.0.iter().position(|request| {
            request.is_with(id, from)
                && matches!(request.kind, Kind::Enr { hash } if hash == request_hash)
        })?;
        Some(self.0.swap_remove(place).node)
    }

    /// What waited for a node's ping.
    pub(super) fn take_settled(&mut self, id: PeerId, from: SocketAddr) -> Vec<Request> {
        let is_settled = |request: &mut Request| {
            request.is_with(id, from) && matches!(request.kind, Kind::Settle { .. })
        };
        self.0.extract_if(.., is_settled).collect()
    }

    /// Adds neighbours to the answer of the node that was asked; all of them once it is complete.
    pub(super) fn add_neighbors(
        &mut self,
        id: PeerId,
        from: SocketAddr,
        named_now: usize,
        accepted: Vec<Node>,
    ) -> Option<Vec<Node>> {
        let place = self.0.iter().position(|request| {
            request.is_with(id, from) && matches!(request.kind, Kind::FindNode { .. })
        })?;
        let Kind::FindNode { nodes, named, packets } = &mut self.0[place].kind else {
            return None;
        };
        let room = BUCKET_NODES_MAX - nodes.len();
        nodes.extend(accepted.into_iter().take(room));
        *named += named_now;
        *packets += 1;
        if *named < BUCKET_NODES_MAX && *packets < NEIGHBORS_PACKETS_MAX {
            return None;
        }
        let nodes = std::mem::take(nodes);
        self.0.swap_remove(place);
        Some(nodes)
    }

    /// What nobody answered in time.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Request> {
        self.0.extract_if(.., |request| request.deadline <= now).collect()
    }

    /// When the next one expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|request| request.deadline).min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;
    use crate::NodeRecord;

    fn node(port: u16) -> Node {
        let id = PeerId::of(&SecretKey::from_slice(&[1; 32]).unwrap());
        Node::new(NodeRecord { id, ip: [10, 0, 0, 1].into(), tcp: 1, udp: port })
    }

    const fn ping(purpose: Purpose) -> Kind {
        Kind::Ping { hash: B256::ZERO, purpose }
    }

    #[test]
    fn requests_are_bounded_and_those_for_strangers_more_so() {
        let now = Instant::now();
        let mut requests = Requests::default();
        for port in (1..=1_000).map(|n| n * 2) {
            let at = node(port).record.udp_address();
            let now = now + Duration::from_micros(port.into());
            assert!(requests.make_room(Purpose::Bond, at));
            assert!(requests.add(node(port), ping(Purpose::Bond), now));
        }
        assert_eq!(requests.len(), BOND_PINGS_MAX);
        let is_awaited = |requests: &Requests, port: u16| {
            let NodeRecord { id, .. } = node(port).record;
            requests.has_ping(id, node(port).record.udp_address())
        };
        let kept = 2_000 - 2 * u16::try_from(BOND_PINGS_MAX).unwrap();
        assert!(!is_awaited(&requests, kept), "the oldest gave way");
        assert!(is_awaited(&requests, kept + 2) && is_awaited(&requests, 2_000));
        let at = node(1).record.udp_address();
        for _ in 0..REQUESTS_MAX {
            assert!(requests.make_room(Purpose::Check, at));
            assert!(requests.add(node(1), ping(Purpose::Check), now));
        }
        assert_eq!(requests.len(), REQUESTS_MAX);
        assert!(!requests.make_room(Purpose::Check, at), "our own questions do not give way");
        assert!(!requests.make_room(Purpose::Bond, node(3).record.udp_address()));
        assert!(!requests.add(node(1), ping(Purpose::Check), now));
    }

    #[test]
    fn an_answer_of_no_neighbours_is_read_sixteen_times() {
        let now = Instant::now();
        let mut requests = Requests::default();
        let NodeRecord { id, .. } = node(1).record;
        let at = node(1).record.udp_address();
        requests.add(node(1), Kind::FindNode { nodes: Vec::new(), named: 0, packets: 0 }, now);
        for _ in 1..NEIGHBORS_PACKETS_MAX {
            assert_eq!(requests.add_neighbors(id, at, 0, Vec::new()), None);
        }
        assert_eq!(requests.add_neighbors(id, at, 0, Vec::new()), Some(Vec::new()));
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn a_request_expires_after_half_a_second() {
        let now = Instant::now();
        let mut requests = Requests::default();
        requests.add(node(1), ping(Purpose::Check), now);
        assert_eq!(requests.deadline(), Some(now + REPLY_PERIOD));
        assert!(requests.take_expired(now + REPLY_PERIOD - Duration::from_millis(1)).is_empty());
        assert_eq!(requests.take_expired(now + REPLY_PERIOD).len(), 1);
        assert_eq!(requests.deadline(), None);
    }
}
