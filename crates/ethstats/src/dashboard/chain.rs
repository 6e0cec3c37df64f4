//! The blocks that nodes told of, all branches of them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use primitives::{B256, U256};
use serde_json::{Value, json};

use super::{
    forecast::{self, Forecast, Rule},
    trust::is_plausible,
};
use crate::message::BlockSeen;

/// Heights that are kept.
pub(crate) const HEIGHTS_MAX: usize = 1_000;
/// Heights that a page gets; the newest.
pub(crate) const HEIGHTS_SHOWN: u64 = 200;
/// Branches at one height.
const BRANCHES_MAX: usize = 16;
/// Nodes that are noted with one block.
const REPORTS_MAX: usize = 1_024;
/// Reorganisations that are kept.
const REORGS_MAX: usize = 32;
/// Nodes that are named with a reorganisation.
const REORG_NODES_MAX: usize = 16;
/// Blocks whose mean is the hashrate, as on the dashboard before.
const MEAN_BLOCKS: usize = 64;

/// Blocks by height, and which of them is the heaviest.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    heights: BTreeMap<u64, Vec<Kept>>,
    index: HashMap<B256, u64>,
    head: Option<B256>,
    reorgs: VecDeque<Reorg>,
    pub(crate) reorgs_changed: bool,
}

/// A block, and who told of it when.
#[derive(Debug)]
struct Kept {
    seen: BlockSeen,
    /// When the first node told of it as its head, in milliseconds since 1970; `None` if it came
    /// with a history.
    first: Option<u64>,
    /// Who told of it, and how long after the first.
    reports: Vec<(Arc<str>, u64)>,
    changed: bool,
}

/// A branch that was left for another.
#[derive(Debug)]
struct Reorg {
    at: u64,
    from: (u64, B256),
    to: (u64, B256),
    depth: u64,
    nodes: Vec<Arc<str>>,
    count: u64,
}

impl Chain {
    /// Takes a block that a node has as its head; returns how long after the first, in
    /// milliseconds, unless it has told of it before.
    pub(crate) fn reported(
        &mut self,
        seen: BlockSeen,
        (by, is_trusted): (&Arc<str>, bool),
        now: u64,
    ) -> Option<u64> {
        let hash = seen.hash;
        let kept = self.insert(seen)?;
        let first = *kept.first.get_or_insert(now);
        if kept.reports.len() >= REPORTS_MAX || kept.reports.iter().any(|(node, _)| node == by) {
            return None;
        }
        let delay = now.saturating_sub(first);
        kept.reports.push((by.clone(), delay));
        kept.changed = true;
        if is_trusted {
            self.choose(hash, now);
        }
        Some(delay)
    }

    /// Takes a block of a history; says whether it is new.
    pub(crate) fn learned(&mut self, seen: BlockSeen) -> bool {
        let hash = seen.hash;
        let is_new = !self.index.contains_key(&hash);
        // It is older than a head that somebody has told of, and nobody's head itself.
        is_new && self.insert(seen).is_some()
    }

    fn insert(&mut self, seen: BlockSeen) -> Option<&mut Kept> {
        let (number, hash) = (seen.number, seen.hash);
        let is_full = self.heights.len() >= HEIGHTS_MAX;
        if is_full && self.heights.first_key_value().is_some_and(|(lowest, _)| number < *lowest) {
            return None;
        }
        let height = self.heights.entry(number).or_default();
        if let Some(place) = height.iter().position(|kept| kept.seen.hash == hash) {
            return self.heights.get_mut(&number)?.get_mut(place);
        }
        if height.len() >= BRANCHES_MAX {
            return None;
        }
        height.push(Kept { seen, first: None, reports: Vec::new(), changed: true });
        self.index.insert(hash, number);
        while self.heights.len() > HEIGHTS_MAX {
            let Some((_, gone)) = self.heights.pop_first() else { break };
            for kept in gone {
                self.index.remove(&kept.seen.hash);
            }
        }
        self.heights.get_mut(&number)?.last_mut()
    }

    fn block(&self, hash: B256) -> Option<&Kept> {
        let height = self.heights.get(self.index.get(&hash)?)?;
        height.iter().find(|kept| kept.seen.hash == hash)
    }

    /// Heavier wins, if it can be that heavy; nodes that do not say how heavy are compared by
    /// height.
    fn choose(&mut self, candidate: B256, now: u64) {
        let Some(new) = self.block(candidate).map(|kept| &kept.seen) else { return };
        let is_better = self.head.and_then(|head| self.block(head)).is_none_or(|head| {
            (new.td, new.number) > (head.seen.td, head.seen.number)
                && is_plausible(&head.seen, new, now)
        });
        if is_better {
            self.head = Some(candidate);
        }
    }

    /// Whether a block claims to be heavier than the head, and is not believed.
    pub(crate) fn doubts(&self, hash: B256) -> bool {
        let weight = |hash| self.block(hash).map(|kept| (kept.seen.td, kept.seen.number));
        self.head.is_some_and(|head| weight(hash) > weight(head))
    }

    /// Whether the head descends from a block, or is it.
    pub(crate) fn is_on_branch(&self, head: B256, hash: B256) -> bool {
        let Some(lowest) = self.block(hash).map(|kept| kept.seen.number) else { return false };
        let mut branch = self.ancestry(head).take_while(|kept| kept.seen.number >= lowest);
        branch.any(|kept| kept.seen.hash == hash)
    }

    /// Takes a block for the head that most nodes have, then the heaviest of these that follows.
    pub(crate) fn believe(&mut self, hash: B256, heads: &[B256], now: u64) {
        self.head = Some(hash);
        for head in heads {
            if self.is_on_branch(*head, hash) {
                self.choose(*head, now);
            }
        }
    }

    /// The heaviest block's height and hash.
    pub(crate) fn head(&self) -> Option<(u64, B256)> {
        let kept = self.block(self.head?)?;
        Some((kept.seen.number, kept.seen.hash))
    }

    /// The block's ancestors, itself first, as far as they are known.
    fn ancestry(&self, hash: B256) -> impl Iterator<Item = &Kept> {
        std::iter::successors(self.block(hash), |kept| {
            let parent = self.block(kept.seen.parent)?;
            // A block of a liar may claim any parent: only downwards, so that there is an end.
            (parent.seen.number < kept.seen.number).then_some(parent)
        })
    }

    /// Notes that a node left one head for another, if that was no step forward.
    pub(crate) fn moved(&mut self, from: B256, to: B256, by: &Arc<str>, now: u64) {
        let Some((ancestor, old)) = self.left(from, to) else { return };
        let Some(new) = self.block(to).map(|kept| kept.seen.number) else { return };
        self.reorgs_changed = true;
        if let Some(known) = self.reorgs.iter_mut().find(|reorg| reorg.from.1 == from) {
            known.count += 1;
            if known.nodes.len() < REORG_NODES_MAX && !known.nodes.contains(by) {
                known.nodes.push(by.clone());
            }
            return;
        }
        self.reorgs.push_front(Reorg {
            at: now,
            from: (old, from),
            to: (new, to),
            depth: old - ancestor,
            nodes: vec![by.clone()],
            count: 1,
        });
        self.reorgs.truncate(REORGS_MAX);
    }

    /// Heights of the last block in common and of the block that was left, if it was left.
    fn left(&self, from: B256, to: B256) -> Option<(u64, u64)> {
        let old = self.block(from)?.seen.number;
        let mut left = self.ancestry(from).peekable();
        for kept in self.ancestry(to) {
            while left.next_if(|other| other.seen.number > kept.seen.number).is_some() {}
            let other = left.peek()?;
            if other.seen.hash == kept.seen.hash {
                // Back to an ancestor is an old word that came late, not another branch.
                let is_other = kept.seen.hash != from && kept.seen.hash != to;
                return is_other.then_some((kept.seen.number, old));
            }
        }
        None
    }

    /// Heights that pages show and nobody has told of, highest first.
    pub(crate) fn missing(&self, most: usize) -> Vec<u64> {
        let Some((head, hash)) = self.head() else { return Vec::new() };
        let lowest = head.saturating_sub(HEIGHTS_SHOWN);
        let mut have = self.ancestry(hash).map(|kept| kept.seen.number).peekable();
        let mut missing = Vec::new();
        for number in (lowest..=head).rev() {
            while have.next_if(|had| *had > number).is_some() {}
            if have.peek() != Some(&number) && missing.len() < most {
                missing.push(number);
            }
        }
        missing
    }

    /// When the ice age makes blocks slow.
    pub(crate) fn forecast(&self, told: Option<u64>) -> Option<Forecast> {
        let (number, hash) = self.head()?;
        // The genesis has no time of its own.
        let mined = self.ancestry(hash).map(|kept| &kept.seen).take_while(|seen| seen.number > 0);
        let recent: Vec<&BlockSeen> = mined.take(MEAN_BLOCKS + 1).collect();
        let (newest, oldest) = (recent.first()?, recent.last()?);
        let steps = u32::try_from(recent.len() - 1).ok().filter(|steps| *steps >= 8)?;
        let seconds = newest.timestamp.saturating_sub(oldest.timestamp);
        let mean = f64::from(u32::try_from(seconds).ok()?) / f64::from(steps);
        let work: U256 = recent[..recent.len() - 1]
            .iter()
            .map(|seen| seen.difficulty)
            .fold(U256::ZERO, |sum, difficulty| sum.saturating_add(difficulty));
        let hashrate = f64::from(work) / f64::from(u32::try_from(seconds.max(1)).ok()?);
        let rule = Rule::of(&recent, told)?;
        forecast::forecast(rule, number, hashrate, mean)
    }

    fn newest(&self) -> impl Iterator<Item = &Kept> {
        let head = self.head().map_or(0, |(number, _)| number);
        let lowest = head.saturating_sub(HEIGHTS_SHOWN);
        self.heights.range(lowest..).flat_map(|(_, height)| height)
    }

    /// All that a page shows.
    pub(crate) fn blocks(&self) -> Vec<Value> {
        self.newest().map(Kept::json).collect()
    }

    /// What changed of it since this was asked last.
    pub(crate) fn take_changed(&mut self) -> Vec<Value> {
        let head = self.head().map_or(0, |(number, _)| number);
        let lowest = head.saturating_sub(HEIGHTS_SHOWN);
        let mut changed = Vec::new();
        for kept in self.heights.range_mut(lowest..).flat_map(|(_, height)| height) {
            if std::mem::take(&mut kept.changed) {
                changed.push(kept.json());
            }
        }
        changed
    }

    pub(crate) fn reorgs(&self) -> Vec<Value> {
        self.reorgs.iter().map(Reorg::json).collect()
    }

    /// A block, its siblings, and what each node told of it and when.
    pub(crate) fn details(&self, hash: B256) -> Option<Value> {
        let kept = self.block(hash)?;
        let mut json = kept.json();
        let reports = kept.reports.iter();
        let first = kept.first.unwrap_or(0);
        json["reports"] = reports
            .map(|(node, delay)| json!({ "node": **node, "at": first.saturating_add(*delay), "delay": delay }))
            .collect();
        let siblings = self.heights.get(&kept.seen.number).map(Vec::as_slice).unwrap_or_default();
        json["siblings"] = siblings
            .iter()
            .filter(|other| other.seen.hash != hash)
            .map(|other| {
                let nodes: Vec<&str> = other.reports.iter().map(|(node, _)| &**node).collect();
                json!({ "hash": other.seen.hash, "miner": other.seen.miner, "nodes": nodes })
            })
            .collect();
        Some(json)
    }
}

impl Kept {
    fn json(&self) -> Value {
        let seen = &self.seen;
        let uncles: Vec<Value> = seen
            .uncles
            .iter()
            .map(|uncle| {
                json!({
                    "hash": uncle.hash,
                    "miner": uncle.miner,
                    "number": uncle.number,
                    "parent": uncle.parent,
                })
            })
            .collect();
        json!({
            "number": seen.number,
            "hash": seen.hash,
            "parent": seen.parent,
            "timestamp": seen.timestamp,
            "miner": seen.miner,
            "gasUsed": seen.gas_used,
            "gasLimit": seen.gas_limit,
            "difficulty": seen.difficulty.to_string(),
            "td": seen.td.to_string(),
            "transactions": seen.transactions,
            "transactionsRoot": seen.transactions_root,
            "stateRoot": seen.state_root,
            "uncles": uncles,
            "first": self.first,
            "by": self.reports.first().map(|(node, _)| &**node),
            "nodes": self.reports.len(),
        })
    }
}

impl Reorg {
    fn json(&self) -> Value {
        let nodes: Vec<&str> = self.nodes.iter().map(|node| &**node).collect();
        json!({
            "at": self.at,
            "from": { "number": self.from.0, "hash": self.from.1 },
            "to": { "number": self.to.0, "hash": self.to.1 },
            "depth": self.depth,
            "nodes": nodes,
            "count": self.count,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
