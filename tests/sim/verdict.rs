//! What must be so, always and in the end.

use network::{gossip::blocks::BlockFault, protocol::Fault, protocol::Load, sync::SyncFault};
use primitives::{B256, map::HashMap};

use crate::{
    node::{Node, mined_nonce},
    world::World,
};

/// More than any node of these worlds may remember at any time.
const LOAD_MAX: Load = Load {
    peers: 16,
    passed_on: 1_024,
    wanted_blocks: 16 * 256,
    pending_blocks: 16 * 64,
    orphans: 32,
    wanted_transactions: 16 * 4_096,
    imports: 2,
};

/// Whether only time was the matter. That happens to the best, where connections are lost.
const fn is_timeout(fault: Fault) -> bool {
    matches!(fault, Fault::Sync(SyncFault::Timeout) | Fault::Block(BlockFault::Timeout))
}

/// Checks that a node remembers no more than it may.
pub(crate) fn is_within_bounds(node: &Node) {
    let load = node.protocol.load();
    let most = LOAD_MAX;
    let is_bounded = load.peers <= most.peers
        && load.passed_on <= most.passed_on
        && load.wanted_blocks <= most.wanted_blocks
        && load.pending_blocks <= most.pending_blocks
        && load.orphans <= most.orphans
        && load.wanted_transactions <= most.wanted_transactions
        && load.imports <= most.imports;
    assert!(is_bounded, "a node remembers too much: {load:?}");
}

impl World {
    /// Lets the world come to rest with one heaviest branch, and judges it. `lives_on` is somebody
    /// honest who puts the last block on it.
    pub(crate) fn conclude(&mut self, lives_on: usize) {
        for edge in 0..self.edges.len() {
            self.heal(edge);
        }
        // Until every connection is back and everybody has heard.
        self.run(120);
        self.is_mining = false;
        self.spend_seconds = None;
        self.run(90);
        for _ in 0..3 {
            self.seal(lives_on);
            self.run(20);
        }
        self.run(60);
        self.judge();
    }

    fn judge(&self) {
        let honest = self.honest();
        let heads: Vec<String> = honest
            .iter()
            .map(|node| {
                let view = self.nodes[*node].view();
                format!("{node}: {} {} td {}", view.head.number, view.head.hash(), view.td)
            })
            .collect();
        for node in &honest {
            let view = self.nodes[*node].view();
            assert_eq!(
                view.head.hash(),
                self.nodes[honest[0]].view().head.hash(),
                "the nodes do not agree: {heads:#?}, drops: {:#?}",
                self.drops
            );
            assert!(view.td >= self.heaviest, "there is a heavier branch: {heads:#?}");
        }
        let unjust = self.drops.iter().filter(|dropped| {
            honest.contains(&dropped.by)
                && honest.contains(&dropped.whom)
                && !(self.may_time_out && is_timeout(dropped.fault))
        });
        let unjust: Vec<_> = unjust.collect();
        assert!(unjust.is_empty(), "honest nodes were dropped by honest ones: {unjust:#?}");
        let senseless = self.nonsense.iter().filter(|(sender, _)| honest.contains(sender));
        assert_eq!(senseless.count(), 0, "honest nodes were not understood: {:?}", self.nonsense);
        for (node, liar) in self.nodes.iter().enumerate() {
            if liar.lie.is_some_and(|lie| lie.must_be_dropped()) {
                let is_caught =
                    self.drops.iter().any(|it| it.whom == node && honest.contains(&it.by));
                assert!(is_caught, "nobody dropped node {node}, which {:?}", liar.lie);
            }
        }
        for node in &honest {
            self.is_at_rest(*node);
        }
        self.every_transaction_is_somewhere(&honest);
    }

    fn is_at_rest(&self, node: usize) {
        let (load, progress) = (self.nodes[node].protocol.load(), self.nodes[node].progress);
        let has_liars = self.nodes.iter().any(|node| node.lie.is_some());
        if !has_liars {
            let rest = Load { peers: load.peers, orphans: load.orphans, ..Load::default() };
            assert_eq!(load, rest, "node {node} still waits for something");
            assert_eq!(progress, None, "node {node} still syncs");
        }
        let edges = self.edges.iter().filter(|edge| edge.nodes.contains(&node)).count();
        assert!(load.peers <= edges, "node {node} remembers peers that are gone");
    }

    /// Mined exactly once on the head's chain, or waiting in every pool.
    fn every_transaction_is_somewhere(&self, honest: &[usize]) {
        let view = self.nodes[honest[0]].view();
        let mut mined: HashMap<B256, usize> = HashMap::default();
        for number in 1..=view.head.number {
            let hash = view.db.canonical_hash(number).expect("it reads").expect("it is canonical");
            let body = view.db.body(hash).expect("it reads").expect("it is here");
            for tx in &body.transactions {
                *mined.entry(*tx.tx_hash()).or_default() += 1;
            }
        }
        for hash in &self.spent {
            match mined.get(hash) {
                Some(times) => assert_eq!(*times, 1, "transaction {hash} is mined again"),
                None => {
                    let lacks = |node: &&usize| self.nodes[**node].pool.get(*hash).is_none();
                    let lacking: Vec<_> = honest.iter().filter(lacks).collect();
                    assert!(lacking.is_empty(), "{lacking:?} lost transaction {hash}");
                }
            }
        }
        for node in honest {
            let node = &self.nodes[*node];
            let waiting = node.pool.content_of(node.account.address());
            let waiting = waiting.pending.len() + waiting.queued.len();
            let waiting = u64::try_from(waiting).expect("a few");
            assert_eq!(mined_nonce(&view, &node.account) + waiting, node.nonce);
        }
    }
}
