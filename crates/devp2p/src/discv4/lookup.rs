//! Kademlia's search: ask the nearest nodes for nearer ones until there are none.

use std::collections::HashSet;

use primitives::{B256, keccak256};

use super::table::{BUCKET_NODES_MAX, Node};

/// Questions under way at a time: Kademlia's alpha.
pub const ALPHA: usize = 3;
/// Questions of one lookup: whoever invents ever nearer nodes does not keep us busy for longer.
pub const QUESTIONS_MAX: usize = 128;

/// One search.
#[derive(Debug)]
pub(super) struct Lookup {
    target: [u8; 64],
    target_hash: B256,
    asked: HashSet<B256>,
    seen: HashSet<B256>,
    /// The nearest first.
    closest: Vec<Node>,
    under_way: usize,
}

impl Lookup {
    /// Begins with the nodes that we know.
    pub(super) fn new(target: [u8; 64], own: B256, known: &[Node]) -> Self {
        let mut lookup = Self {
            target,
            target_hash: keccak256(target),
            asked: HashSet::new(),
            seen: HashSet::from([own]),
            closest: Vec::new(),
            under_way: 0,
        };
        lookup.add(known);
        lookup
    }

    pub(super) const fn target(&self) -> [u8; 64] {
        self.target
    }

    /// The nearest nodes found so far.
    pub(super) fn closest(&self) -> &[Node] {
        &self.closest
    }

    /// The next node to ask, if another question may be asked.
    pub(super) fn next(&mut self) -> Option<Node> {
        if self.under_way >= ALPHA || self.asked.len() >= QUESTIONS_MAX {
            return None;
        }
        let node = *self.closest.iter().find(|node| !self.asked.contains(&node.hash))?;
        self.asked.insert(node.hash);
        self.under_way += 1;
        Some(node)
    }

    /// A node answered, or did not.
    pub(super) fn answered(&mut self, nodes: &[Node]) {
        self.under_way -= 1;
        self.add(nodes);
    }

    /// Whether nothing is under way; asked after [`Self::next`] had nobody left.
    pub(super) const fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    fn add(&mut self, nodes: &[Node]) {
        for node in nodes {
            if self.seen.insert(node.hash) {
                let distance = node.hash ^ self.target_hash;
                let place = self.closest.partition_point(|n| n.hash ^ self.target_hash < distance);
                self.closest.insert(place, *node);
                self.closest.truncate(BUCKET_NODES_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use secp256k1::SecretKey;

    use super::*;
    use crate::{NodeRecord, PeerId};

    fn node(number: u32) -> Node {
        let mut key = [1; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let id = PeerId::of(&SecretKey::from_slice(&key).unwrap());
        Node::new(NodeRecord { id, ip: IpAddr::V4(Ipv4Addr::LOCALHOST), tcp: 1, udp: 1 })
    }

    fn nodes(numbers: std::ops::Range<u32>) -> Vec<Node> {
        numbers.map(node).collect()
    }

    #[test]
    fn three_questions_are_under_way_at_a_time() {
        let mut lookup = Lookup::new([7; 64], B256::ZERO, &nodes(0..10));
        assert!((0..ALPHA).all(|_| lookup.next().is_some()));
        assert_eq!(lookup.next(), None);
        lookup.answered(&[]);
        assert!(lookup.next().is_some());
        assert_eq!(lookup.next(), None);
    }

    #[test]
    fn a_lookup_finds_the_nearest_of_all_nodes() {
        let all = nodes(0..200);
        let target = [7; 64];
        let nearest = |count: usize, of: &[Node]| {
            let mut of = of.to_vec();
            of.sort_by_key(|node| node.hash ^ keccak256(target));
            of.truncate(count);
            of
        };
        let mut lookup = Lookup::new(target, B256::ZERO, &all[..3]);
        // Each node knows those that follow it, so that all are known in steps only.
        while let Some(asked) = lookup.next() {
            let place = all.iter().position(|node| *node == asked).unwrap();
            let known: Vec<Node> = (1..17).map(|step| all[(place + step * step) % 200]).collect();
            lookup.answered(&known);
        }
        assert!(lookup.is_idle());
        assert_eq!(lookup.closest()[0], nearest(1, &all)[0]);
        assert_eq!(lookup.closest(), nearest(BUCKET_NODES_MAX, lookup.closest()));
    }

    #[test]
    fn nobody_is_asked_twice_and_we_are_not_asked() {
        let all = nodes(0..5);
        let mut lookup = Lookup::new([7; 64], all[0].hash, &all);
        let mut asked = HashSet::new();
        while let Some(node) = lookup.next() {
            assert!(asked.insert(node.hash));
            lookup.answered(&all);
        }
        assert_eq!(asked.len(), 4);
        assert!(!asked.contains(&all[0].hash));
    }

    #[test]
    fn ever_nearer_nodes_do_not_keep_a_lookup_going() {
        let target = [7; 64];
        let mut invented = nodes(0..4_000);
        invented.sort_by_key(|node| node.hash ^ keccak256(target));
        let mut lookup = Lookup::new(target, B256::ZERO, &[invented.pop().unwrap()]);
        let mut questions = 0;
        while lookup.next().is_some() {
            questions += 1;
            let next: Vec<Node> = invented.split_off(invented.len() - 16);
            lookup.answered(&next);
        }
        assert_eq!(questions, QUESTIONS_MAX);
        assert_eq!(lookup.closest().len(), BUCKET_NODES_MAX);
    }
}
