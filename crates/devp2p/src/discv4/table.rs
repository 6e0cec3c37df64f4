//! Which nodes we know: geth's table of buckets by distance.

use std::{collections::HashMap, net::IpAddr};

use primitives::{B256, ForkId};
use rand::{Rng, seq::IndexedRandom};

use crate::{NodeRecord, PeerId, is_lan};

/// Nodes in a bucket: Kademlia's k.
pub const BUCKET_NODES_MAX: usize = 16;
/// Buckets: one for each of the largest distances, the nearest one for all that are smaller.
pub const BUCKETS: usize = 17;
/// Nodes that wait for a place in a full bucket.
pub const REPLACEMENTS_MAX: usize = 10;
/// Nodes of one /24 in a bucket, replacements included; a LAN is exempt.
pub const BUCKET_SUBNET_NODES_MAX: usize = 2;
/// Nodes of one /24 in the table, replacements included; a LAN is exempt.
pub const TABLE_SUBNET_NODES_MAX: usize = 10;
/// Failures in a row after which a node leaves although nobody waits for its place.
pub const FAILURES_MAX: u32 = 5;

/// The smallest distance, in bits, that has a bucket of its own.
const DISTANCE_MIN: usize = 256 - BUCKETS + 1;

/// Nodes by distance from us.
#[derive(Debug)]
pub(super) struct Table {
    own: B256,
    buckets: Vec<Bucket>,
    subnets: Subnets,
}

/// A node and its id in Kademlia's space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) record: NodeRecord,
    pub(super) hash: B256,
}

/// A node in a bucket.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) node: Node,
    /// Whether it has answered, and has not failed since. Others hear of it only then.
    pub(super) is_live: bool,
    /// The newest record that we have of it.
    pub(super) enr: Option<Known>,
    failures: u32,
}

/// What a node's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) sequence: u64,
    pub(super) fork_id: Option<ForkId>,
}

#[derive(Debug)]
struct Bucket {
    /// Those heard from last come first.
    entries: Vec<Entry>,
    /// Newest first.
    replacements: Vec<Node>,
    subnets: Subnets,
}

/// Counts nodes by /24.
#[derive(Debug)]
struct Subnets {
    limit: usize,
    counts: HashMap<(bool, [u8; 3]), usize>,
}

impl Node {
    pub(super) fn new(record: NodeRecord) -> Self {
        Self { record, hash: record.id.node_id() }
    }

    /// Whether both are one node at one place.
    fn is_same(&self, other: &Self) -> bool {
        self.hash == other.hash && self.record.udp_address() == other.record.udp_address()
    }
}

impl Table {
    pub(super) fn new(own: PeerId) -> Self {
        let bucket = || Bucket {
            entries: Vec::new(),
            replacements: Vec::new(),
            subnets: Subnets::new(BUCKET_SUBNET_NODES_MAX),
        };
        Self {
            own: own.node_id(),
            buckets: (0..BUCKETS).map(|_| bucket()).collect(),
            subnets: Subnets::new(TABLE_SUBNET_NODES_MAX),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    pub(super) fn entry(&self, hash: B256) -> Option<&Entry> {
        self.buckets[self.index(hash)].entries.iter().find(|entry| entry.node.hash == hash)
    }

    fn entry_mut(&mut self, hash: B256) -> Option<&mut Entry> {
        let index = self.index(hash);
        self.buckets[index].entries.iter_mut().find(|entry| entry.node.hash == hash)
    }

    /// Notes a node that others named.
    pub(super) fn see(&mut self, node: Node) {
        if node.hash != self.own && self.entry(node.hash).is_none() {
            self.insert(node, false);
        }
    }

    /// Notes a node that answered; true if it was not known to be live.
    pub(super) fn prove(&mut self, node: Node) -> bool {
        if node.hash == self.own {
            return false;
        }
        let index = self.index(node.hash);
        let bucket = &mut self.buckets[index];
        let Some(place) = bucket.entries.iter().position(|entry| entry.node.hash == node.hash)
        else {
            self.make_room(index);
            self.insert(node, true);
            return true;
        };
        let old = bucket.entries[place].node.record.ip;
        if old != node.record.ip {
            self.release(index, old);
            if !self.claim(index, node.record.ip) {
                assert!(self.claim(index, old), "its place was free a moment ago");
                return false;
            }
        }
        let entries = &mut self.buckets[index].entries;
        let mut entry = entries.remove(place);
        let was_live = entry.is_live;
        // The port of RLPx is better known from a record than from what somebody says.
        if entry.enr.is_none() || !entry.node.is_same(&node) {
            entry.node = node;
        }
        entry.is_live = true;
        entry.failures = 0;
        entries.insert(0, entry);
        !was_live
    }

    /// Notes that a node did not answer: it is not named any more, and goes if another waits for
    /// its place or it has failed too often. That it is not where somebody said it was means
    /// nothing.
    pub(super) fn fail(&mut self, node: &Node, rng: &mut impl Rng) {
        let index = self.index(node.hash);
        let bucket = &mut self.buckets[index];
        let Some(place) = bucket.entries.iter().position(|entry| entry.node.is_same(node)) else {
            return;
        };
        let entry = &mut bucket.entries[place];
        entry.is_live = false;
        entry.failures += 1;
        if entry.failures <= FAILURES_MAX && bucket.replacements.is_empty() {
            return;
        }
        let ip = bucket.entries.remove(place).node.record.ip;
        if !bucket.replacements.is_empty() {
            let chosen = rng.random_range(0..bucket.replacements.len());
            let node = bucket.replacements.remove(chosen);
            bucket.entries.push(Entry::new(node, false));
        }
        self.release(index, ip);
    }

    /// Notes a node's record.
    pub(super) fn learn(&mut self, hash: B256, known: Known, tcp: Option<u16>) {
        if let Some(entry) = self.entry_mut(hash) {
            entry.enr = Some(known);
            entry.node.record.tcp = tcp.unwrap_or(entry.node.record.tcp);
        }
    }

    /// At most [`BUCKET_NODES_MAX`] nodes, the nearest to a target first.
    pub(super) fn closest(&self, target: B256, live_only: bool) -> Vec<Node> {
        let entries = self.entries().filter(|entry| entry.is_live || !live_only);
        let mut nodes: Vec<Node> = entries.map(|entry| entry.node).collect();
        nodes.sort_unstable_by_key(|node| node.hash ^ target);
        nodes.truncate(BUCKET_NODES_MAX);
        nodes
    }

    /// The node of a random bucket that was not heard from for longest.
    pub(super) fn stalest(&self, rng: &mut impl Rng) -> Option<Node> {
        let filled: Vec<&Entry> =
            self.buckets.iter().filter_map(|bucket| bucket.entries.last()).collect();
        filled.choose(rng).map(|entry| entry.node)
    }

    fn index(&self, hash: B256) -> usize {
        let distance = 256 - leading_zeros(self.own ^ hash);
        distance.saturating_sub(DISTANCE_MIN)
    }

    /// A node that answered goes before one that never did: whoever names us nodes that do not
    /// exist cannot keep out those that do.
    fn make_room(&mut self, index: usize) {
        let entries = &mut self.buckets[index].entries;
        if entries.len() < BUCKET_NODES_MAX {
            return;
        }
        if let Some(place) = entries.iter().rposition(|entry| !entry.is_live) {
            let ip = entries.remove(place).node.record.ip;
            self.release(index, ip);
        }
    }

    fn insert(&mut self, node: Node, is_live: bool) {
        let index = self.index(node.hash);
        let bucket = &mut self.buckets[index];
        if let Some(place) = bucket.replacements.iter().position(|other| other.hash == node.hash) {
            if bucket.entries.len() >= BUCKET_NODES_MAX {
                return;
            }
            let ip = bucket.replacements.remove(place).record.ip;
            self.release(index, ip);
        }
        if !self.claim(index, node.record.ip) {
            return;
        }
        let bucket = &mut self.buckets[index];
        if bucket.entries.len() < BUCKET_NODES_MAX {
            let place = if is_live { 0 } else { bucket.entries.len() };
            bucket.entries.insert(place, Entry::new(node, is_live));
            return;
        }
        bucket.replacements.insert(0, node);
        if bucket.replacements.len() > REPLACEMENTS_MAX {
            let oldest = bucket.replacements.pop().expect("it is above its limit");
            self.release(index, oldest.record.ip);
        }
    }

    fn claim(&mut self, index: usize, ip: IpAddr) -> bool {
        if !self.subnets.claim(ip) {
            return false;
        }
        let claimed = self.buckets[index].subnets.claim(ip);
        if !claimed {
            self.subnets.release(ip);
        }
        claimed
    }

    fn release(&mut self, index: usize, ip: IpAddr) {
        self.subnets.release(ip);
        self.buckets[index].subnets.release(ip);
    }
}

impl Entry {
    const fn new(node: Node, is_live: bool) -> Self {
        Self { node, is_live, enr: None, failures: 0 }
    }
}

impl Subnets {
    fn new(limit: usize) -> Self {
        Self { limit, counts: HashMap::new() }
    }

    fn claim(&mut self, ip: IpAddr) -> bool {
        if is_lan(ip) {
            return true;
        }
        let count = self.counts.entry(subnet(ip)).or_default();
        let is_free = *count < self.limit;
        *count += usize::from(is_free);
        is_free
    }

    fn release(&mut self, ip: IpAddr) {
        if is_lan(ip) {
            return;
        }
        let count = self.counts.get_mut(&subnet(ip)).expect("only what was claimed is released");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&subnet(ip));
        }
    }
}

/// The first 24 bits, as geth counts for IPv6 too.
fn subnet(ip: IpAddr) -> (bool, [u8; 3]) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => (false, [ip.octets()[0], ip.octets()[1], ip.octets()[2]]),
        IpAddr::V6(ip) => (true, [ip.octets()[0], ip.octets()[1], ip.octets()[2]]),
    }
}

fn leading_zeros(hash: B256) -> usize {
    let Some(place) = hash.iter().position(|byte| *byte != 0) else { return 256 };
    let within = usize::try_from(hash[place].leading_zeros()).expect("at most 7");
    place * 8 + within
}

#[cfg(test)]
mod tests;
