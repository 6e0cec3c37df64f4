//! Fetching an announced block: its header, then its body.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use primitives::{
    B256, BlockBody, EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, SealedBlock, SealedHeader,
};

use super::{Action, BlockFault, BlockGossip, FAULTS_MAX, fits};
use crate::{
    SessionId,
    wire::{HeaderQuery, Message, Origin, RequestId, Requester},
};

/// How long a block may still come whole before it is asked for, and how long one announcer is
/// waited for before another is asked as well.
const ARRIVAL: Duration = Duration::from_millis(500);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// How often a peer is at fault that still does not answer. Everybody answers, if with nothing.
const SILENCE: Duration = Duration::from_secs(20);

/// A block that somebody announced.
#[derive(Debug)]
pub(super) struct Wanted {
    /// As its first announcer says.
    pub(super) number: u64,
    since: Instant,
    /// The last question.
    asked: Option<Instant>,
    /// It came, and the body did not.
    header: Option<SealedHeader>,
    /// Who announced it, and with which number. No longer than there are peers.
    pub(super) sources: Vec<(SessionId, u64)>,
}

/// A question that is not answered.
#[derive(Debug)]
pub(super) struct Open {
    request: RequestId,
    hash: B256,
    part: Part,
    /// When not to have answered is a fault, once more.
    due: Instant,
}

/// What of a block is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Body,
}

impl Wanted {
    pub(super) const fn new(number: u64, since: Instant) -> Self {
        Self { number, since, asked: None, header: None, sources: vec![] }
    }

    /// Whether it is time to ask somebody, or somebody else.
    fn is_due(&self, now: Instant) -> bool {
        now - self.asked.unwrap_or(self.since) >= ARRIVAL
    }
}

impl BlockGossip {
    pub(super) fn on_tick(
        &mut self,
        now: Instant,
        stored: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let mut late = vec![];
        for (id, peer) in &mut self.peers {
            let Some(open) = peer.open.as_mut() else { continue };
            // Until the answer comes, the peer is not asked anything.
            if now >= open.due {
                open.due = now + SILENCE;
                peer.late += 1;
                late.push((*id, open.hash, peer.late));
            }
        }
        for (id, hash, times) in late {
            self.withdraw(id, &hash);
            if times >= FAULTS_MAX {
                self.drop_peer(id, BlockFault::Timeout, actions);
            }
        }
        let due = self.wanted.iter().filter(|(_, wanted)| wanted.is_due(now));
        let mut due: Vec<(u64, B256)> = due.map(|(hash, wanted)| (wanted.number, *hash)).collect();
        due.sort_unstable();
        for (_, hash) in due {
            if stored(&hash) {
                self.settle(&hash);
            } else {
                self.ask(hash, now, actions);
            }
        }
    }

    /// Asks an announcer that is not busy for what is missing of the block.
    fn ask(&mut self, hash: B256, now: Instant, actions: &mut Vec<Action>) {
        let Some(wanted) = self.wanted.get_mut(&hash) else { return };
        let is_free = |id: &SessionId| self.peers.get(id).is_some_and(|peer| peer.open.is_none());
        let Some(id) = wanted.sources.iter().map(|(id, _)| *id).find(is_free) else { return };
        wanted.asked = Some(now);
        self.requests += 1;
        let request = RequestId::of(Requester::Blocks, self.requests);
        let (part, message) = if wanted.header.is_some() {
            (Part::Body, Message::GetBlockBodies { request, hashes: vec![hash] })
        } else {
            let origin = Origin::Hash(hash);
            let query = HeaderQuery { origin, amount: 1, skip: 0, reverse: false };
            (Part::Header, Message::GetBlockHeaders { request, query })
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.open = Some(Open { request, hash, part, due: now + ANSWER });
        }
        actions.push(Action::Request { peer: id, message });
    }

    pub(super) fn on_headers(
        &mut self,
        (id, request): (SessionId, RequestId),
        headers: Vec<SealedHeader>,
        (now, stored): (Instant, &mut dyn FnMut(&B256) -> bool),
        actions: &mut Vec<Action>,
    ) {
        let Some(hash) = self.take_open(id, request, Part::Header, actions) else { return };
        let mut headers = headers.into_iter();
        let Some(header) = headers.next() else {
            self.withdraw(id, &hash);
            return;
        };
        let claimed = self.wanted.get(&hash).and_then(|wanted| {
            let claim = wanted.sources.iter().find(|(source, _)| *source == id);
            claim.map(|(_, number)| *number)
        });
        let is_other = header.hash() != hash || headers.next().is_some();
        if is_other || claimed.is_some_and(|number| number != header.number) {
            self.drop_peer(id, BlockFault::WrongAnswer, actions);
            return;
        }
        self.forgive(id);
        let is_near = self.is_near(header.number);
        let Some(wanted) = self.wanted.get_mut(&hash) else { return };
        if !is_near {
            // Its announcer was believed about the number, and lied; this one did not.
            self.settle(&hash);
            return;
        }
        let is_empty = header.transactions_root == EMPTY_ROOT_HASH
            && header.ommers_hash == EMPTY_OMMER_ROOT_HASH;
        if is_empty {
            let block = SealedBlock::from_sealed_parts(header, BlockBody::default());
            self.take(id, Arc::new(block), (now, stored), actions);
            return;
        }
        wanted.number = header.number;
        wanted.header = Some(header);
        // Whoever has the header has the body.
        wanted.sources.sort_by_key(|(source, _)| *source != id);
        self.ask(hash, now, actions);
    }

    pub(super) fn on_bodies(
        &mut self,
        (id, request): (SessionId, RequestId),
        bodies: Vec<BlockBody>,
        (now, stored): (Instant, &mut dyn FnMut(&B256) -> bool),
        actions: &mut Vec<Action>,
    ) {
        let Some(hash) = self.take_open(id, request, Part::Body, actions) else { return };
        let mut bodies = bodies.into_iter();
        let (body, more) = (bodies.next(), bodies.next());
        let header = self.wanted.get(&hash).and_then(|wanted| wanted.header.clone());
        let (Some(body), Some(header)) = (body, header) else {
            self.withdraw(id, &hash);
            return;
        };
        if more.is_some() || !fits(&header, &body) {
            self.withdraw(id, &hash);
            self.fault(id, BlockFault::WrongAnswer, actions);
            return;
        }
        self.forgive(id);
        let block = Arc::new(SealedBlock::from_sealed_parts(header, body));
        self.take(id, block, (now, stored), actions);
    }

    /// Who gives what was asked for is slow at worst.
    fn forgive(&mut self, id: SessionId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.late = 0;
        }
    }

    /// Which block an answer is about, if anybody waits for it.
    fn take_open(
        &mut self,
        id: SessionId,
        request: RequestId,
        part: Part,
        actions: &mut Vec<Action>,
    ) -> Option<B256> {
        let peer = self.peers.get_mut(&id)?;
        let open = peer.open.take_if(|open| open.part == part && request.answers(open.request));
        if open.is_none() {
            self.fault(id, BlockFault::Unsolicited, actions);
        }
        open.map(|open| open.hash)
    }

    /// Nobody needs to deliver this any more.
    pub(super) fn settle(&mut self, hash: &B256) {
        let Some(wanted) = self.wanted.remove(hash) else { return };
        for (source, _) in &wanted.sources {
            if let Some(peer) = self.peers.get_mut(source) {
                peer.announced.remove(hash);
            }
        }
    }

    /// This peer is no source of this block.
    pub(super) fn withdraw(&mut self, id: SessionId, hash: &B256) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.announced.remove(hash);
        }
        let Some(wanted) = self.wanted.get_mut(hash) else { return };
        wanted.sources.retain(|(source, _)| *source != id);
        if wanted.sources.is_empty() {
            self.wanted.remove(hash);
        }
    }
}
