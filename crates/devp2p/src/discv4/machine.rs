//! The protocol: events in, actions out.

mod answers;
mod questions;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use primitives::ForkId;
use rand::{Rng, rngs::StdRng};
use secp256k1::SecretKey;

use super::{
    EXPIRATION_SECONDS,
    bonds::Bonds,
    clocks::{Clocks, Skew, seconds_ahead},
    limiter::Limiter,
    lookup::Lookup,
    packet::{Envelope, Packet},
    request::Requests,
    statements::Statements,
    table::{Node, Table},
};
use crate::{Enr, LocalRecord, NetRestrict, NodeRecord, PeerId};

/// Nodes to begin with.
pub const BOOTNODES_MAX: usize = 64;
/// Nodes of an earlier run that are tried at the start, as in geth.
pub const SEEDS_MAX: usize = 30;
/// Lookups that wait for the one under way.
pub const LOOKUPS_MAX: usize = 8;

/// How far ahead the end of a packet may be. Clocks differ, but nobody may make a packet that can
/// be sent again for ever.
const EXPIRATION_AHEAD_SECONDS_MAX: u64 = 3_600;
/// How often the table is filled.
const REFRESH_PERIOD: Duration = Duration::from_mins(30);
/// Random lookups of a refresh.
const REFRESH_LOOKUPS: usize = 3;
/// Longest pause between two checks whether a node is still there.
const CHECK_MILLIS_MAX: u64 = 10_000;
/// How often bootnodes that do not answer are tried again.
const BOOTNODE_PERIOD: Duration = Duration::from_secs(15);

/// What can happen to discovery.
#[derive(Debug, Clone)]
pub enum Event {
    /// A datagram came.
    Datagram {
        /// Where from, as the system says.
        from: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Time has passed; see [`Machine::wake_at`].
    Tick,
    /// Nodes to begin with. One that is known moves to its new address.
    AddBootnodes(Vec<NodeRecord>),
    /// Nodes that were there in an earlier run: the first [`SEEDS_MAX`] are tried.
    Seed(Vec<NodeRecord>),
    /// More nodes are wanted.
    Lookup,
    /// The fork id of our chain.
    SetForkId(ForkId),
    /// Our address, from somebody who knows.
    SetAddress(IpAddr),
    /// Where others see us, as version 5 has learnt; counts if nobody told us.
    Seen(SocketAddr),
}

/// What discovery wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// A node that has proven to be there and takes connections, and the fork id of its record.
    /// Known nodes are reported again now and then.
    Found(NodeRecord, Option<ForkId>),
    /// The record of a node that has proven to be where the record says.
    Record(Enr),
    /// Our own clock seems to be ahead by so many seconds; behind, if negative. Most nodes say so.
    OwnClock(i64),
}

/// What the protocol is told once.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// Only keeps our record: says nothing, and hears nobody.
    pub is_silent: bool,
    /// Our address as others see it; learnt from their answers if `None`.
    pub external: Option<IpAddr>,
    /// What it may be, as long as nothing better is known.
    pub guess: Option<IpAddr>,
    /// Our port of discovery.
    pub udp: u16,
    /// Our port of RLPx; 0 if we take no connections.
    pub tcp: u16,
    /// Networks to keep to.
    pub restrict: Option<NetRestrict>,
    /// The fork id of our chain.
    pub fork_id: Option<ForkId>,
    /// The sequence of our first record is above this.
    pub last_sequence: u64,
}

/// Discovery without a socket or a clock.
#[derive(Debug)]
pub struct Machine {
    key: SecretKey,
    id: PeerId,
    is_silent: bool,
    local: LocalRecord,
    learns_address: bool,
    knows_address: bool,
    restrict: Option<NetRestrict>,
    rng: StdRng,
    table: Table,
    bonds: Bonds,
    limiter: Limiter,
    statements: Statements,
    clocks: Clocks,
    requests: Requests,
    bootnodes: Vec<NodeRecord>,
    lookup: Option<Lookup>,
    /// Targets of the next lookups.
    targets: VecDeque<[u8; 64]>,
    refresh_at: Instant,
    check_at: Instant,
    bootnodes_at: Instant,
}

/// One event's time, and what is to be done about it.
struct Turn<'a> {
    now: Instant,
    /// Unix time in seconds.
    wall: u64,
    actions: &'a mut Vec<Action>,
}

impl Machine {
    /// Begins with nobody. `wall` is the Unix time in seconds.
    #[must_use]
    pub fn new(
        key: SecretKey,
        config: MachineConfig,
        rng: StdRng,
        now: Instant,
        wall: u64,
    ) -> Self {
        let MachineConfig {
            is_silent,
            external,
            guess,
            udp,
            tcp,
            restrict,
            fork_id,
            last_sequence,
        } = config;
        let id = PeerId::of(&key);
        let ip = external.or(guess).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let node = NodeRecord { id, ip, tcp, udp };
        Self {
            key,
            id,
            is_silent,
            // The time is above all that were signed before, even those that nobody wrote down.
            local: LocalRecord::new(
                key,
                node,
                fork_id,
                wall.saturating_mul(1_000).max(last_sequence.saturating_add(1)),
            ),
            learns_address: external.is_none(),
            knows_address: external.or(guess).is_some(),
            restrict,
            rng,
            table: Table::new(id),
            bonds: Bonds::default(),
            limiter: Limiter::new(now),
            statements: Statements::default(),
            clocks: Clocks::default(),
            requests: Requests::default(),
            bootnodes: Vec::new(),
            lookup: None,
            targets: VecDeque::new(),
            refresh_at: now + REFRESH_PERIOD,
            check_at: now,
            bootnodes_at: now,
        }
    }

    /// Takes one event and appends what to do about it. `wall` is the Unix time in seconds.
    pub fn on(&mut self, event: Event, now: Instant, wall: u64, actions: &mut Vec<Action>) {
        let turn = &mut Turn { now, wall, actions };
        match event {
            // Only our record is kept.
            Event::Datagram { .. }
            | Event::Tick
            | Event::AddBootnodes(_)
            | Event::Seed(_)
            | Event::Lookup
                if self.is_silent => {}
            Event::Datagram { from, bytes } => self.receive(from, &bytes, turn),
            Event::Tick => {}
            Event::AddBootnodes(nodes) => self.add_bootnodes(nodes, now),
            Event::Seed(nodes) => self.seed(&nodes, now),
            Event::Lookup => {
                let target = self.random_target();
                self.add_target(target);
            }
            Event::SetForkId(fork_id) => self.local.set_fork_id(fork_id),
            Event::SetAddress(ip) => {
                let udp = self.local.node().udp;
                self.local.set_address(ip, udp);
                (self.learns_address, self.knows_address) = (false, true);
            }
            Event::Seen(address) => {
                if self.learns_address {
                    let before = self.local.enr().sequence();
                    self.local.set_address(address.ip(), address.port());
                    if !self.knows_address && self.local.enr().sequence() == before {
                        // What was not said yet is said now.
                        self.local.renew();
                    }
                    self.knows_address = true;
                }
            }
        }
        if !self.is_silent {
            self.advance(turn);
        }
    }

    /// When the next [`Event::Tick`] is due; for one that is silent that is of no use.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        let next = self.refresh_at.min(self.check_at).min(self.bootnodes_at);
        self.requests.deadline().map_or(next, |deadline| deadline.min(next))
    }

    /// Our own record.
    #[must_use]
    pub const fn enr(&self) -> &Enr {
        self.local.enr()
    }

    /// Our id and address.
    #[must_use]
    pub const fn node(&self) -> &NodeRecord {
        self.local.node()
    }

    /// Whether we were told our address, or learnt it; else our record says this host's own.
    #[must_use]
    pub const fn knows_address(&self) -> bool {
        self.knows_address
    }

    /// Nodes whose clock is far from ours, bootnodes first; at most [`CLOCKS_MAX`](super::CLOCKS_MAX).
    #[must_use]
    pub fn skews(&self, now: Instant) -> Vec<Skew> {
        let is_bootnode = |id: PeerId| self.bootnodes.iter().any(|node| node.id == id);
        let skews = self.clocks.skews(now).into_iter();
        let mut skews: Vec<Skew> =
            skews.map(|skew| Skew { is_bootnode: is_bootnode(skew.id), ..skew }).collect();
        skews.sort_by_key(|skew| (!skew.is_bootnode, skew.at));
        skews
    }

    /// By how many seconds our own clock seems to be ahead, behind if negative, if most nodes say so.
    #[must_use]
    pub fn own_clock(&self, now: Instant) -> Option<i64> {
        self.clocks.own_seconds(now)
    }

    /// Whether others tell us our address.
    #[must_use]
    pub const fn learns_address(&self) -> bool {
        self.learns_address
    }

    /// The nodes of the table that are there.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeRecord> {
        let live = self.table.entries().filter(|entry| entry.is_live);
        live.map(|entry| entry.node.record).collect()
    }

    fn receive(&mut self, from: SocketAddr, bytes: &[u8], turn: &mut Turn<'_>) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some((sender, envelope)) = self.admit(from, bytes, turn) else { return };
        let hash = envelope.hash;
        match envelope.packet {
            Packet::Ping { from: claimed, .. } => {
                // Its address is where the ping came from, whatever it says.
                let ip = from.ip();
                let node = NodeRecord { id: sender, ip, tcp: claimed.tcp, udp: from.port() };
                self.on_ping(node, hash, turn);
            }
            Packet::Pong { to, ping_hash, enr_sequence, .. } => {
                let seen = to.ip.map(|ip| SocketAddr::new(ip.to_canonical(), to.udp));
                let Some((node, purpose)) = self.requests.take_ping(sender, from, ping_hash) else {
                    return;
                };
                self.learn_address(from, seen, turn.now);
                self.on_pong(node, purpose, enr_sequence, turn);
            }
            Packet::FindNode { target, .. } => self.on_find_node(sender, from, target, turn),
            Packet::Neighbors { nodes, .. } => self.on_neighbors(sender, from, &nodes),
            Packet::EnrRequest { .. } => self.on_enr_request(sender, from, hash, turn),
            Packet::EnrResponse { request_hash, record } => {
                if let Some(node) = self.requests.take_enr(sender, from, request_hash) {
                    self.on_enr_response(node, &record, turn);
                }
            }
        }
    }

    /// Lets a datagram in, if it is worth its work: the dearest check, whose it is, comes last.
    fn admit(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        turn: &mut Turn<'_>,
    ) -> Option<(PeerId, Envelope)> {
        // What could not be looked at to the end is not looked at, in a flood.
        if !self.limiter.may_verify(turn.now) {
            return None;
        }
        let envelope = match Envelope::open(bytes) {
            Ok(envelope) if from.port() != 0 => envelope,
            Ok(_) => return None,
            Err(error) => {
                tracing::trace!(%from, %error, "Dropped datagram");
                return None;
            }
        };
        let is_wanted = match &envelope.packet {
            Packet::Ping { .. } | Packet::FindNode { .. } | Packet::EnrRequest { .. } => {
                self.limiter.allows_request(from.ip(), turn.now)
            }
            answer @ (Packet::Pong { .. }
            | Packet::Neighbors { .. }
            | Packet::EnrResponse { .. }) => self.requests.expects(answer, from),
        };
        if !is_wanted || !self.limiter.allows_verify(turn.now) {
            return None;
        }
        let sender = envelope.sender().ok().filter(|sender| *sender != self.id)?;
        // What comes outside of its time is not answered, but tells whose clock is off.
        let Some(expiration) = envelope.packet.expiration() else {
            return Some((sender, envelope));
        };
        if let Some(seconds) = seconds_ahead(expiration, turn.wall)
            && let Some(own) = self.clocks.note(sender, from, seconds, turn.now)
        {
            turn.actions.push(Action::OwnClock(own));
        }
        let last = turn.wall.saturating_add(EXPIRATION_AHEAD_SECONDS_MAX);
        (turn.wall..=last).contains(&expiration).then_some((sender, envelope))
    }

    /// Whether a node may be in the table.
    fn allows(&self, node: &NodeRecord) -> bool {
        let ip = node.ip;
        let is_in_networks = self.restrict.as_ref().is_none_or(|restrict| restrict.contains(ip));
        is_in_networks
            && !ip.is_unspecified()
            && !ip.is_multicast()
            && node.udp != 0
            && node.udp_address() != self.local.node().udp_address()
    }

    fn learn_address(&mut self, from: SocketAddr, seen: Option<SocketAddr>, now: Instant) {
        let Some(seen) = seen.filter(|seen| self.learns_address && seen.port() != 0) else {
            return;
        };
        self.statements.add(from, seen, now);
        if let Some(address) = self.statements.majority() {
            self.local.set_address(address.ip(), address.port());
            self.knows_address = true;
        }
    }

    fn add_bootnodes(&mut self, nodes: Vec<NodeRecord>, now: Instant) {
        for node in nodes.into_iter().filter(|node| node.id != self.id) {
            if let Some(known) = self.bootnodes.iter_mut().find(|known| known.id == node.id) {
                *known = node;
            } else {
                // Whoever names bootnodes names those that are there again and again, so it is the
                // ones that were replaced which make room.
                if self.bootnodes.len() == BOOTNODES_MAX {
                    self.bootnodes.remove(0);
                }
                self.bootnodes.push(node);
            }
        }
        self.bootnodes_at = now;
    }

    fn seed(&mut self, nodes: &[NodeRecord], now: Instant) {
        for node in nodes.iter().take(SEEDS_MAX) {
            if node.id != self.id && self.allows(node) {
                self.table.see(Node::new(*node));
            }
        }
        self.refresh_at = now;
    }

    fn random_target(&mut self) -> [u8; 64] {
        let mut target = [0; 64];
        self.rng.fill(&mut target);
        target
    }

    fn add_target(&mut self, target: [u8; 64]) {
        if self.targets.len() < LOOKUPS_MAX {
            self.targets.push_back(target);
        }
    }
}

impl Turn<'_> {
    /// When a packet sent now ends, in Unix time.
    const fn expiration(&self) -> u64 {
        self.wall.saturating_add(EXPIRATION_SECONDS)
    }

    fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.actions.push(Action::Send { to, bytes });
    }
}

#[cfg(test)]
mod tests;
