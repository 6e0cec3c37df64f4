//! Full sync: catching up with a peer whose chain is heavier.
//!
//! A total difficulty that a peer claims is a hint where to ask, and nothing else: headers come
//! from one peer at a time, the *lead*; it is replaced as soon as it hesitates, and dropped when it
//! cannot back its claim. Bodies come from every peer that has them. What an answer contains is
//! used only where it hangs together with what was asked; seals are checked by the importer.

mod ancestor;
mod cycle;
mod peer;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use primitives::{B256, BlockBody, SealedBlock, SealedHeader, TotalDifficulty};

use self::{
    cycle::{Cycle, Stage},
    peer::{OpenBodies, Peer},
};
use crate::{
    SessionId,
    recent::Recent,
    wire::{Message, RequestId, Requester},
};

/// How many headers are asked for at once; what geth 1.9 serves.
const HEADER_BATCH: usize = 192;
/// The most headers waiting for bodies or their import, in batches.
const HEADER_BATCHES_MAX: usize = 8;
/// The most bodies in one question; what geth 1.9 serves.
const BODY_BATCH_MAX: usize = 128;
/// The most blocks in one import.
const IMPORT_BATCH_MAX: usize = 256;
/// The most imports that wait for an answer.
const IMPORTS_MAX: usize = 2;
/// The most bytes of blocks that wait for an answer, and the most that wait for their turn.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A peer that failed this often is dropped.
const FAILURES_MAX: u8 = 3;
/// How long a lead may hesitate while there is one that hesitated no more often.
const HESITATION_SECONDS_MAX: u64 = 1;
/// How long a peer has to back its claim.
const PROOF_SECONDS_MAX: u64 = 15;
/// How long the oldest missing bodies are waited for before another peer is asked as well.
const OVERTAKE_SECONDS: u64 = 1;
/// How long a peer that failed does not lead, and how long everybody waits after an import failed
/// through nobody's fault.
const REST_SECONDS: u64 = 1;
/// How many invalid blocks are remembered.
const INVALID_MAX: usize = 64;

/// Catches up with the heaviest chain among the peers.
#[derive(Debug)]
pub struct Sync {
    local: Head,
    peers: BTreeMap<SessionId, Peer>,
    cycle: Option<Cycle>,
    cycles: u64,
    /// The bytes of each import that is not answered yet, in order.
    importing: VecDeque<usize>,
    invalid: Recent,
    requests: u64,
    /// No round begins before.
    rests_until: Option<Instant>,
}

/// The newest block of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The work up to and including it.
    pub td: TotalDifficulty,
}

/// What the sync learns.
#[derive(Debug, Clone)]
pub enum Event {
    /// A peer passed the handshake.
    PeerJoined {
        /// The peer.
        peer: SessionId,
        /// The head it claims.
        head: B256,
        /// The work it claims.
        td: TotalDifficulty,
    },
    /// A peer is gone, dropped or not.
    PeerLeft {
        /// The peer.
        peer: SessionId,
    },
    /// A peer claims a new head.
    PeerHead {
        /// The peer.
        peer: SessionId,
        /// The head it claims.
        hash: B256,
        /// The work it claims.
        td: TotalDifficulty,
    },
    /// A peer answered with headers.
    Headers {
        /// The peer.
        peer: SessionId,
        /// The answer's id.
        request: RequestId,
        /// The headers.
        headers: Vec<SealedHeader>,
    },
    /// A peer answered with bodies.
    Bodies {
        /// The peer.
        peer: SessionId,
        /// The answer's id.
        request: RequestId,
        /// The bodies.
        bodies: Vec<BlockBody>,
    },
    /// The oldest import that was not answered succeeded; this is its last block.
    Imported(Head),
    /// The oldest import that was not answered failed. If only because the one before it did, that
    /// is nobody's fault.
    ImportFailed {
        /// The block it failed at.
        hash: B256,
        /// Who vouched for it, if it is the block that is at fault.
        peer: Option<SessionId>,
    },
    /// The canonical head is another one. One with less work than before is ignored: it is late.
    HeadChanged(Head),
    /// Time passed; several times a second.
    Tick,
}

/// What the sync wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a question; its request id comes back with the answer.
    Request {
        /// To whom.
        peer: SessionId,
        /// `GetBlockHeaders` or `GetBlockBodies`.
        message: Message,
    },
    /// Import blocks, in order. Each of these is answered, in order, by one [`Event::Imported`] or
    /// [`Event::ImportFailed`].
    Import(Vec<Fetched>),
    /// End the connection.
    Drop {
        /// With whom.
        peer: SessionId,
        /// Why.
        reason: SyncFault,
    },
    /// Something for the operator to see.
    Progress {
        /// The newest block here.
        current: u64,
        /// The newest block there.
        highest: u64,
    },
    /// A round is over, and this node has the chain that was aimed at.
    Done,
}

/// A block that a peer vouches for: its header hangs together with that peer's chain, and its body
/// with the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Who gave the header.
    pub peer: SessionId,
    /// The block.
    pub block: SealedBlock,
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncFault {
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// An answer that nobody waits for.
    #[error("answer without a question")]
    Unsolicited,
    /// Nothing, where the peer must have something.
    #[error("empty answer about its own chain")]
    Empty,
    /// Headers that do not hang together with each other or the question.
    #[error("headers that were not asked for or do not follow each other")]
    WrongHeaders,
    /// Fewer headers than asked for, with more to come.
    #[error("fewer headers than asked for")]
    ShortAnswer,
    /// Bodies that do not belong to the blocks asked for.
    #[error("bodies of other blocks than asked for")]
    WrongBodies,
    /// Headers without bodies.
    #[error("headers of blocks that nobody has the bodies of")]
    Withheld,
    /// The chain changed while it was read.
    #[error("another chain than at the beginning")]
    ChainChanged,
    /// No common block within the depth that anybody reorganises.
    #[error("no common block within {} blocks", ancestor::DEPTH_MAX)]
    TooDeep,
    /// A chain with less work than claimed, or no chain at all.
    #[error("total difficulty is not backed by a chain")]
    Unproven,
    /// A block that breaks the rules.
    #[error("invalid block {hash}")]
    InvalidBlock {
        /// The block.
        hash: B256,
    },
}

impl Sync {
    /// A sync of a node with this head.
    #[must_use]
    pub fn new(local: Head) -> Self {
        Self {
            local,
            peers: BTreeMap::new(),
            cycle: None,
            cycles: 0,
            importing: VecDeque::new(),
            invalid: Recent::new(INVALID_MAX),
            requests: 0,
            rests_until: None,
        }
    }

    /// Whether blocks that a peer vouches for are on their way. A mere claim does not count.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        self.highest().is_some()
    }

    /// The number of the block that is aimed at, while there is one.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        match &self.cycle.as_ref()?.stage {
            Stage::Fill { target, .. } => Some(*target),
            Stage::Head | Stage::Ancestor(_) => None,
        }
    }

    /// Whether there are peers, and none of them claims a heavier chain.
    #[must_use]
    pub fn is_abreast(&self) -> bool {
        !self.peers.is_empty() && self.peers.values().all(|peer| peer.td <= self.local.td)
    }

    /// How many imports are not answered.
    #[must_use]
    pub fn imports(&self) -> usize {
        self.importing.len()
    }

    /// Takes an event in. `known` tells the hash of the canonical block with a number.
    pub fn on(
        &mut self,
        event: Event,
        now: Instant,
        known: &mut dyn FnMut(u64) -> Option<B256>,
        actions: &mut Vec<Action>,
    ) {
        match event {
            Event::PeerJoined { peer, head, td } => {
                self.peers.insert(peer, Peer::new(head, td));
            }
            Event::PeerLeft { peer } => self.forget(peer),
            Event::PeerHead { peer, hash, td } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    (peer.head, peer.td) = (hash, td);
                }
            }
            Event::Headers { peer, request, headers } => {
                self.on_headers((peer, request), headers, now, known, actions);
            }
            Event::Bodies { peer, request, bodies } => {
                self.on_bodies(peer, request, bodies, now, actions);
            }
            Event::Imported(head) => self.on_imported(head, actions),
            Event::ImportFailed { hash, peer } => {
                self.importing.pop_front();
                self.cycle = None;
                if let Some(peer) = peer {
                    self.invalid.insert(hash);
                    self.drop_peer(peer, SyncFault::InvalidBlock { hash }, actions);
                } else {
                    self.rests_until = Some(now + Duration::from_secs(REST_SECONDS));
                }
            }
            Event::HeadChanged(head) => self.adopt(head),
            Event::Tick => self.on_tick(now, actions),
        }
        self.advance(now, actions);
    }

    fn on_headers(
        &mut self,
        (id, request): (SessionId, RequestId),
        headers: Vec<SealedHeader>,
        now: Instant,
        known: &mut dyn FnMut(u64) -> Option<B256>,
        actions: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(open) = peer.headers.take_if(|open| request.answers(open.request)) else {
            if !peer.forgive(request) {
                self.fail(id, SyncFault::Unsolicited, now, actions);
            }
            return;
        };
        peer.answered(now - open.sent);
        let Some(cycle) = self.cycle.as_mut().filter(|cycle| cycle.id == open.cycle) else {
            // It answers; whoever lies in his answers does so again when he leads.
            peer.owes_since = None;
            return;
        };
        if let Some(invalid) =
            headers.iter().find(|header| self.invalid.contains(header.hash_ref()))
        {
            let hash = invalid.hash();
            self.drop_peer(id, SyncFault::InvalidBlock { hash }, actions);
            return;
        }
        let was_filling = matches!(cycle.stage, Stage::Fill { .. });
        match cycle.take_headers(&open.query, headers, self.local.number, known) {
            Ok(()) if matches!(cycle.stage, Stage::Fill { .. }) => peer.owes_since = None,
            Ok(()) => {}
            Err(SyncFault::TooDeep) => self.drop_peer(id, SyncFault::TooDeep, actions),
            Err(fault) => {
                // This counts instead. Its chain may have changed while it was read.
                peer.owes_since = None;
                self.fail(id, fault, now, actions);
            }
        }
        if !was_filling {
            self.report(actions);
        }
    }

    fn on_bodies(
        &mut self,
        id: SessionId,
        request: RequestId,
        bodies: Vec<BlockBody>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(open) = peer.bodies.take_if(|open| request.answers(open.request)) else {
            if !peer.forgive(request) {
                self.fail(id, SyncFault::Unsolicited, now, actions);
            }
            return;
        };
        let elapsed = now - open.sent;
        peer.answered(elapsed);
        let asked = open.asked.len();
        let matched = queue::matching(&open.asked, bodies);
        let is_wrong = matched.is_none();
        let matched = matched.unwrap_or_default();
        peer.delivered(asked, matched.len(), elapsed);
        let queue = self.cycle.as_mut().filter(|cycle| cycle.id == open.cycle);
        if let Some(queue) = queue.and_then(Cycle::queue_mut) {
            for (number, body) in matched {
                queue.put(number, body);
            }
            queue.release(open.request);
        }
        if is_wrong {
            self.fail(id, SyncFault::WrongBodies, now, actions);
        }
    }

    fn on_imported(&mut self, head: Head, actions: &mut Vec<Action>) {
        self.importing.pop_front();
        self.adopt(head);
        self.report(actions);
    }

    fn adopt(&mut self, head: Head) {
        if head.td > self.local.td {
            self.local = head;
        }
    }

    fn report(&self, actions: &mut Vec<Action>) {
        if let Some(highest) = self.highest() {
            // A heavier chain can be shorter.
            let current = self.local.number;
            actions.push(Action::Progress { current, highest: highest.max(current) });
        }
    }

    fn on_tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let ids: Vec<SessionId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let proof = Duration::from_secs(PROOF_SECONDS_MAX);
            if peer.td <= self.local.td {
                // What it claims came by another way.
                peer.owes_since = None;
            }
            if peer.owes_since.is_some_and(|since| now - since >= proof) {
                self.drop_peer(id, SyncFault::Unproven, actions);
                continue;
            }
            let patience = peer.patience;
            let headers = peer.headers.take_if(|open| now - open.sent >= patience);
            let bodies = peer.bodies.take_if(|open| now - open.sent >= patience);
            let late = headers.map(|open| open.request);
            for request in late.into_iter().chain(bodies.map(|open| open.request)) {
                let Some(peer) = self.peers.get_mut(&id) else { break };
                peer.expired(request);
                self.release(request);
                self.fail(id, SyncFault::Timeout, now, actions);
            }
        }
        self.replace_hesitant_lead(now);
    }

    /// Gives the lead to somebody else if it hesitates; its question stays open.
    fn replace_hesitant_lead(&mut self, now: Instant) {
        let Some(cycle) = &self.cycle else { return };
        let hesitates = self
            .peers
            .get(&cycle.lead)
            .and_then(|peer| peer.headers.as_ref())
            .is_some_and(|open| now - open.sent >= Duration::from_secs(HESITATION_SECONDS_MAX));
        let (lead, candidate) = (cycle.lead, self.candidate(now));
        // Where all are slow, the lead must not go round.
        let record = |id: SessionId| self.peers.get(&id).map(|peer| (peer.failures, peer.slow));
        let is_better = candidate.is_some_and(|other| record(other) <= record(lead));
        if hesitates && is_better {
            self.cycle = None;
            if let Some(peer) = self.peers.get_mut(&lead) {
                peer.overtaken();
            }
        }
    }

    /// Does whatever can be done now.
    fn advance(&mut self, now: Instant, actions: &mut Vec<Action>) {
        // As many rounds as there are peers to fail: each failure here drops or ranks one lower.
        for _ in 0..=self.peers.len() {
            self.start(now);
            self.import(actions);
            if !self.settle(now, actions) {
                break;
            }
        }
        self.ask_headers(now, actions);
        self.ask_bodies(now, actions);
    }

    /// The peer to follow: heavier than this node, failed least, claims most.
    fn candidate(&self, now: Instant) -> Option<SessionId> {
        let fit = |peer: &Peer| {
            peer.td > self.local.td
                && peer.headers.is_none()
                && peer.rests_until.is_none_or(|until| now >= until)
                && !self.invalid.contains(&peer.head)
        };
        let fit = self.peers.iter().filter(|(_, peer)| fit(peer));
        fit.min_by_key(|(id, peer)| (peer.rank(), **id)).map(|(id, _)| *id)
    }

    fn start(&mut self, now: Instant) {
        // Until the imports are answered, nobody knows where to go on from.
        let rests = self.rests_until.is_some_and(|until| now < until);
        if self.cycle.is_some() || !self.importing.is_empty() || rests {
            return;
        }
        let Some(lead) = self.candidate(now) else { return };
        for peer in self.peers.values_mut() {
            peer.lacks = false;
        }
        self.cycles += 1;
        let peer = &self.peers[&lead];
        self.cycle = Some(Cycle::new(self.cycles, lead, peer.head, peer.td));
    }

    /// Ends the round if it is over; whether another one should be tried.
    fn settle(&mut self, now: Instant, actions: &mut Vec<Action>) -> bool {
        let Some(cycle) = &self.cycle else { return false };
        if !self.importing.is_empty() {
            return false;
        }
        let (lead, was_filling) = (cycle.lead, self.highest().is_some());
        if self.local.td >= cycle.td {
            if let Some(peer) = self.peers.get_mut(&lead) {
                peer.failures = 0;
            }
            self.cycle = None;
            if was_filling {
                actions.push(Action::Done);
            }
            return true;
        }
        if cycle.is_exhausted() {
            if cycle.moved {
                self.fail(lead, SyncFault::ChainChanged, now, actions);
            } else {
                self.drop_peer(lead, SyncFault::Unproven, actions);
            }
            return true;
        }
        if cycle.misses_bodies() && !self.peers.values().any(|peer| self.has_bodies(peer)) {
            self.fail(lead, SyncFault::Withheld, now, actions);
            return true;
        }
        false
    }

    /// Hands over what is complete.
    fn import(&mut self, actions: &mut Vec<Action>) {
        let Some(cycle) = &mut self.cycle else { return };
        let lead = cycle.lead;
        let Some(queue) = cycle.queue_mut() else { return };
        while self.importing.len() < IMPORTS_MAX {
            let waiting: usize = self.importing.iter().sum();
            // A lone block is imported at once if nothing else is; behind an import they gather.
            let least = if self.importing.is_empty() { 1 } else { IMPORT_BATCH_MAX };
            let Some(batch) = queue.take_batch(least, WAITING_BYTES_MAX - waiting) else { break };
            self.importing.push_back(batch.bytes);
            let fetched = batch.blocks.into_iter().map(|block| Fetched { peer: lead, block });
            actions.push(Action::Import(fetched.collect()));
        }
    }

    fn ask_headers(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(cycle) = &self.cycle else { return };
        let Some(peer) = self.peers.get_mut(&cycle.lead) else { return };
        if peer.headers.is_some() {
            return;
        }
        let Some(query) = cycle.next_query() else { return };
        self.requests += 1;
        let request = RequestId::of(Requester::Sync, self.requests);
        peer.ask_headers(request, now, cycle.id, query);
        let message = Message::GetBlockHeaders { request, query };
        actions.push(Action::Request { peer: cycle.lead, message });
    }

    fn ask_bodies(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let mut ids: Vec<(SessionId, (u8, Duration))> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.bodies.is_none() && self.has_bodies(peer))
            .map(|(id, peer)| (*id, (peer.slow, peer.latency)))
            .collect();
        ids.sort_by_key(|(id, speed)| (*speed, *id));
        let Some(cycle) = &mut self.cycle else { return };
        let id = cycle.id;
        let Some(queue) = cycle.queue_mut() else { return };
        for (peer, _) in ids {
            let Some(record) = self.peers.get_mut(&peer) else { continue };
            let request = RequestId::of(Requester::Sync, self.requests + 1);
            // Who is slow itself gains nothing by overtaking.
            let late = Duration::from_secs(OVERTAKE_SECONDS).max(record.latency * 2);
            let (asked, overtaken) = queue.pick(record.capacity, request, now, late);
            if asked.is_empty() {
                break;
            }
            self.requests += 1;
            let hashes = asked.iter().map(|slot| slot.hash).collect();
            record.bodies = Some(OpenBodies { request, sent: now, cycle: id, asked });
            let message = Message::GetBlockBodies { request, hashes };
            actions.push(Action::Request { peer, message });
            if let Some(overtaken) = overtaken {
                let is_it = |open: &OpenBodies| open.request == overtaken;
                let slow = |peer: &&mut Peer| peer.bodies.as_ref().is_some_and(is_it);
                self.peers.values_mut().filter(slow).for_each(Peer::overtaken);
            }
        }
    }

    fn has_bodies(&self, peer: &Peer) -> bool {
        !peer.lacks && peer.td > self.local.td
    }

    /// Counts a failure; the third ends the connection. A lead loses the lead.
    fn fail(&mut self, id: SessionId, fault: SyncFault, now: Instant, actions: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.failures += 1;
        peer.rests_until = Some(now + Duration::from_secs(REST_SECONDS));
        if peer.failures >= FAILURES_MAX {
            self.drop_peer(id, fault, actions);
        } else if self.cycle.as_ref().is_some_and(|cycle| cycle.lead == id) {
            self.cycle = None;
        }
    }

    fn drop_peer(&mut self, peer: SessionId, reason: SyncFault, actions: &mut Vec<Action>) {
        if self.peers.contains_key(&peer) {
            self.forget(peer);
            actions.push(Action::Drop { peer, reason });
        }
    }

    fn forget(&mut self, id: SessionId) {
        let Some(peer) = self.peers.remove(&id) else { return };
        if let Some(open) = peer.bodies {
            self.release(open.request);
        }
        if self.cycle.as_ref().is_some_and(|cycle| cycle.lead == id) {
            self.cycle = None;
        }
    }

    /// Lets others be asked for what this question was about.
    fn release(&mut self, request: RequestId) {
        if let Some(queue) = self.cycle.as_mut().and_then(Cycle::queue_mut) {
            queue.release(request);
        }
    }
}
