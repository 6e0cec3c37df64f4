//! What others ask us.

use std::net::SocketAddr;

use primitives::{B256, keccak256};

use super::{Machine, Turn};
use crate::{
    NodeRecord, PeerId, check_relayed,
    discv4::{
        packet::{Endpoint, NEIGHBORS_MAX, Neighbor, Packet},
        request::{Kind, Purpose},
        table::Node,
    },
};

impl Machine {
    /// Answers a ping, and asks back unless its sender has proven to be there.
    pub(super) fn on_ping(&mut self, record: NodeRecord, ping_hash: B256, turn: &mut Turn<'_>) {
        let at = record.udp_address();
        let pong = Packet::Pong {
            to: Endpoint::new(at, record.tcp),
            ping_hash,
            expiration: turn.expiration(),
            enr_sequence: Some(self.local.enr().sequence()),
        };
        turn.send(at, pong.seal(&self.key).0);
        self.bonds.pinged(record.id, at, turn.now);
        let node = Node::new(record);
        if !self.bonds.is_proven(record.id, at, turn.now) {
            if !self.requests.has_ping(record.id, at) {
                self.ping(node, Purpose::Bond, turn);
            }
        } else if self.allows(&record) {
            self.table.prove(node);
        }
        for request in self.requests.take_settled(record.id, at) {
            if let Kind::Settle { purpose, enr_sequence } = request.kind {
                self.settled(request.node, purpose, enr_sequence, turn);
            }
        }
    }

    /// Names the nearest nodes, to those only who have proven to be where they ask from: the answer
    /// is larger than the question.
    pub(super) fn on_find_node(
        &mut self,
        sender: PeerId,
        from: SocketAddr,
        target: [u8; 64],
        turn: &mut Turn<'_>,
    ) {
        if !self.bonds.is_proven(sender, from, turn.now) {
            return;
        }
        let closest = self.table.closest(keccak256(target), true);
        let nodes: Vec<Neighbor> = closest
            .iter()
            .map(|node| node.record)
            .filter(|node| node.id != sender && check_relayed(from.ip(), node.ip).is_ok())
            .map(Neighbor::from)
            .collect();
        let expiration = turn.expiration();
        // Nobody is an answer, too.
        for place in (0..nodes.len().max(1)).step_by(NEIGHBORS_MAX) {
            let part = nodes.iter().skip(place).take(NEIGHBORS_MAX).copied().collect();
            let packet = Packet::Neighbors { nodes: part, expiration };
            turn.send(from, packet.seal(&self.key).0);
        }
    }

    /// Sends our record to those who have proven to be where they ask from.
    pub(super) fn on_enr_request(
        &self,
        sender: PeerId,
        from: SocketAddr,
        request_hash: B256,
        turn: &mut Turn<'_>,
    ) {
        if self.bonds.is_proven(sender, from, turn.now) {
            let record = self.local.enr().to_rlp();
            turn.send(from, Packet::EnrResponse { request_hash, record }.seal(&self.key).0);
        }
    }
}
