//! What we ask others, and when.

use std::{net::SocketAddr, time::Duration};

use primitives::{ForkId, keccak256};
use rand::Rng;

use super::{
    Action, BOOTNODE_PERIOD, CHECK_MILLIS_MAX, Machine, REFRESH_LOOKUPS, REFRESH_PERIOD, Turn,
};
use crate::{
    Enr, NodeRecord, PeerId, check_relayed,
    discv4::{
        lookup::Lookup,
        packet::{Endpoint, Neighbor, Packet},
        request::{Kind, Purpose, REPLY_PERIOD, Request},
        table::{BUCKET_NODES_MAX, Known, Node},
    },
};

/// Neighbours that are said to be at a system's port are not asked: discovery is no scanner.
const SYSTEM_PORT_MAX: u16 = 1_024;

impl Machine {
    /// Does what is due.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) {
        for request in self.requests.take_expired(turn.now) {
            self.on_silence(request, turn);
        }
        if self.bootnodes_at <= turn.now {
            self.bootnodes_at = turn.now + BOOTNODE_PERIOD;
            self.try_bootnodes(turn);
        }
        if self.check_at <= turn.now {
            let pause = self.rng.random_range(1..=CHECK_MILLIS_MAX);
            self.check_at = turn.now + Duration::from_millis(pause);
            if let Some(node) = self.table.stalest(&mut self.rng) {
                self.ping_once(node, Purpose::Check, turn);
            }
        }
        if self.refresh_at <= turn.now {
            self.refresh_at = turn.now + REFRESH_PERIOD;
            self.add_target(self.id.to_bytes());
            for _ in 0..REFRESH_LOOKUPS {
                let target = self.random_target();
                self.add_target(target);
            }
        }
        self.search(turn);
    }

    /// Pings; false if too many requests are under way.
    pub(super) fn ping(&mut self, node: Node, purpose: Purpose, turn: &mut Turn<'_>) -> bool {
        let at = node.record.udp_address();
        if !self.requests.make_room(purpose, at) {
            return false;
        }
        let own = self.local.node();
        let ping = Packet::Ping {
            from: Endpoint::new(own.udp_address(), own.tcp),
            to: Endpoint::new(at, 0),
            expiration: turn.expiration(),
            enr_sequence: Some(self.local.enr().sequence()),
        };
        let (bytes, hash) = ping.seal(&self.key);
        let added = self.requests.add(node, Kind::Ping { hash, purpose }, turn.now);
        if added {
            turn.send(at, bytes);
        }
        added
    }

    pub(super) fn on_pong(
        &mut self,
        node: Node,
        purpose: Purpose,
        enr_sequence: Option<u64>,
        turn: &mut Turn<'_>,
    ) {
        let record = node.record;
        let at = record.udp_address();
        self.bonds.answered(record.id, at, turn.now);
        if self.allows(&record) {
            let is_new = self.table.prove(node);
            if is_new && self.bootnodes.iter().any(|known| known.id == record.id) {
                // Once it knows us, it can be asked.
                self.refresh_at = self.refresh_at.min(turn.now + REPLY_PERIOD);
            }
        }
        if self.bonds.trusts_us(record.id, at, turn.now) {
            self.settled(node, purpose, enr_sequence, turn);
        } else if !self.requests.add(node, Kind::Settle { purpose, enr_sequence }, turn.now) {
            self.give_up(node, purpose);
        }
    }

    /// Goes on with a node that answers and knows us.
    pub(super) fn settled(
        &mut self,
        node: Node,
        purpose: Purpose,
        enr_sequence: Option<u64>,
        turn: &mut Turn<'_>,
    ) {
        match purpose {
            Purpose::Question => self.find_node(node, turn),
            Purpose::Bond | Purpose::Check => {}
        }
        let known = self.table.entry(node.hash).and_then(|entry| entry.enr);
        let is_newer = enr_sequence > known.map(|known| known.sequence);
        if is_newer && self.allows(&node.record) {
            let (bytes, hash) =
                Packet::EnrRequest { expiration: turn.expiration() }.seal(&self.key);
            if self.requests.add(node, Kind::Enr { hash }, turn.now) {
                turn.send(node.record.udp_address(), bytes);
                return;
            }
        }
        self.report(&node.record, known.and_then(|known| known.fork_id), turn);
    }

    pub(super) fn on_neighbors(&mut self, sender: PeerId, from: SocketAddr, named: &[Neighbor]) {
        let accepted: Vec<Node> = named
            .iter()
            .take(BUCKET_NODES_MAX)
            .filter_map(|neighbor| self.accept(from, neighbor))
            .collect();
        if let Some(nodes) = self.requests.add_neighbors(sender, from, named.len(), accepted) {
            self.answered(&nodes);
        }
    }

    pub(super) fn on_enr_response(&mut self, node: Node, record: &[u8], turn: &mut Turn<'_>) {
        let enr = match Enr::from_rlp(record) {
            Ok(enr) if enr.id() == node.record.id => enr,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(node = ?node.record.id, %error, "Received invalid node record");
                return;
            }
        };
        let known = self.table.entry(node.hash).and_then(|entry| entry.enr);
        if known.is_some_and(|known| known.sequence > enr.sequence()) {
            return;
        }
        // Where it is, it has proven; what its record adds is the port of RLPx and the chain.
        let known = Known { sequence: enr.sequence(), fork_id: enr.fork_id() };
        self.table.learn(node.hash, known, enr.tcp());
        let tcp = enr.tcp().unwrap_or(node.record.tcp);
        self.report(&NodeRecord { tcp, ..node.record }, known.fork_id, turn);
        let says = enr.node().map(|says| says.udp_address());
        if says == Some(node.record.udp_address()) && self.allows(&node.record) {
            turn.actions.push(Action::Record(enr));
        }
    }

    fn on_silence(&mut self, request: Request, turn: &mut Turn<'_>) {
        let Request { node, kind, .. } = request;
        match kind {
            Kind::Ping { purpose: Purpose::Bond, .. } => {}
            Kind::Ping { purpose, .. } => {
                self.table.fail(&node, &mut self.rng);
                self.give_up(node, purpose);
            }
            // They did not ping us: perhaps they know us from before.
            Kind::Settle { purpose, enr_sequence } => {
                self.settled(node, purpose, enr_sequence, turn);
            }
            Kind::FindNode { nodes, packets, .. } => {
                if packets == 0 {
                    self.table.fail(&node, &mut self.rng);
                    self.bonds.forget_ping(node.record.id, node.record.udp_address());
                }
                self.answered(&nodes);
            }
            Kind::Enr { .. } => self.report(&node.record, None, turn),
        }
    }

    /// Ends what a ping was for.
    fn give_up(&mut self, node: Node, purpose: Purpose) {
        match purpose {
            Purpose::Question => {
                self.bonds.forget_ping(node.record.id, node.record.udp_address());
                self.answered(&[]);
            }
            Purpose::Bond | Purpose::Check => {}
        }
    }

    /// Begins lookups, and asks their next questions.
    fn search(&mut self, turn: &mut Turn<'_>) {
        loop {
            let mut lookup = match self.lookup.take() {
                Some(lookup) => lookup,
                None => {
                    let Some(target) = self.targets.pop_front() else { return };
                    let known = self.table.closest(keccak256(target), false);
                    Lookup::new(target, self.id.node_id(), &known)
                }
            };
            let next = lookup.next();
            let is_done = next.is_none() && lookup.is_idle();
            if is_done {
                self.report_all(lookup.closest(), turn);
                continue;
            }
            self.lookup = Some(lookup);
            match next {
                Some(node) => self.question(node, turn),
                None => return,
            }
        }
    }

    fn question(&mut self, node: Node, turn: &mut Turn<'_>) {
        if self.bonds.trusts_us(node.record.id, node.record.udp_address(), turn.now) {
            self.find_node(node, turn);
        } else if !self.ping(node, Purpose::Question, turn) {
            self.answered(&[]);
        }
    }

    fn find_node(&mut self, node: Node, turn: &mut Turn<'_>) {
        let Some(lookup) = &self.lookup else { return };
        let question = Packet::FindNode { target: lookup.target(), expiration: turn.expiration() };
        let kind = Kind::FindNode { nodes: Vec::new(), named: 0, packets: 0 };
        if self.requests.add(node, kind, turn.now) {
            turn.send(node.record.udp_address(), question.seal(&self.key).0);
        } else {
            self.answered(&[]);
        }
    }

    /// Ends one question of the lookup.
    fn answered(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.table.see(*node);
        }
        if let Some(lookup) = &mut self.lookup {
            lookup.answered(nodes);
        }
    }

    /// A node that another named, if there may be one.
    fn accept(&self, from: SocketAddr, neighbor: &Neighbor) -> Option<Node> {
        if neighbor.endpoint.udp <= SYSTEM_PORT_MAX {
            return None;
        }
        check_relayed(from.ip(), neighbor.endpoint.ip?).ok()?;
        let record = neighbor.record()?;
        (record.id != self.id && self.allows(&record)).then(|| Node::new(record))
    }

    fn try_bootnodes(&mut self, turn: &mut Turn<'_>) {
        for record in self.bootnodes.clone() {
            let node = Node::new(record);
            let is_live = |entry: &crate::discv4::table::Entry| {
                entry.is_live && entry.node.record.udp_address() == record.udp_address()
            };
            if !self.table.entry(node.hash).is_some_and(is_live) {
                self.ping_once(node, Purpose::Check, turn);
            }
        }
    }

    fn ping_once(&mut self, node: Node, purpose: Purpose, turn: &mut Turn<'_>) {
        let NodeRecord { id, .. } = node.record;
        if !self.requests.has_ping(id, node.record.udp_address()) {
            self.ping(node, purpose, turn);
        }
    }

    /// Reports those that have proven to be there.
    fn report_all(&self, nodes: &[Node], turn: &mut Turn<'_>) {
        for node in nodes {
            let entry = self.table.entry(node.hash).filter(|entry| entry.is_live);
            if let Some(entry) = entry {
                let fork_id = entry.enr.and_then(|known| known.fork_id);
                self.report(&entry.node.record, fork_id, turn);
            }
        }
    }

    fn report(&self, node: &NodeRecord, fork_id: Option<ForkId>, turn: &mut Turn<'_>) {
        let is_proven = self.bonds.is_proven(node.id, node.udp_address(), turn.now);
        if node.tcp != 0 && is_proven && self.allows(node) {
            turn.actions.push(Action::Found(*node, fork_id));
        }
    }
}
