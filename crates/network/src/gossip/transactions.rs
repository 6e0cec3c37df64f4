//! Transactions: passing on those of the pool, fetching those that are announced.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use primitives::{
    B256, Transaction,
    map::{HashMap, HashSet},
};
use rand::{SeedableRng, rngs::StdRng};

use super::split_by_root;
use crate::{
    SessionId,
    recent::Recent,
    wire::{
        AnnouncedTransaction, EthVersion, Message, POOLED_TRANSACTIONS_MAX, RequestId, Requester,
        TRANSACTION_HASHES_MAX, TransactionMetadata,
    },
};

/// How many transactions a peer is remembered to have; geth's.
const KNOWN_MAX: usize = 32_768;
/// How many transactions that the pool refused are remembered, so that they are not fetched again.
const REFUSED_MAX: usize = 32_768;
/// How many transactions are remembered to have been passed on.
const SPREAD_MAX: usize = 32_768;
/// How many announced transactions of a peer wait to be fetched; geth's.
const ANNOUNCED_MAX: usize = 4096;
/// How many bytes of transactions go into one message, if there is more than one; geth's.
const PACK_BYTES_MAX: usize = 100 * 1024;
/// How many of this node's own transactions are announced again and again.
const OWN_MAX: usize = 4096;
/// How long a transaction may still come whole before it is asked for.
const ARRIVAL: Duration = Duration::from_millis(500);
/// How long an answer is waited for before others are asked.
const ANSWER: Duration = Duration::from_secs(5);
/// How long an answer may still come; its peer is asked nothing meanwhile. geth waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// A peer that left as many questions in a row without an answer is asked for one transaction at a
/// time, and no other announcement of its own is remembered.
const SILENCES_TRUSTED_MAX: u8 = 2;
/// A peer that left as many questions in a row without an answer is dropped.
const SILENCES_MAX: u8 = 4;
/// How many transactions that the pool had no room for are remembered.
const POSTPONED_MAX: usize = 4096;
/// How soon one of them is asked for again; twice as long each time.
const POSTPONEMENT: Duration = Duration::from_secs(1);
/// How often one of them is asked for again.
const POSTPONEMENTS_MAX: u32 = 5;
/// How often this node's own transactions are announced.
const REPEAT: Duration = Duration::from_secs(60);
/// How far an announced size may be off, in bytes; geth's.
const SIZE_TOLERANCE: u32 = 8;
/// A peer with as many faults is dropped.
const FAULTS_MAX: u8 = 3;

/// Spreads and fetches transactions.
#[derive(Debug)]
pub struct TransactionGossip {
    peers: BTreeMap<SessionId, Peer>,
    wanted: HashMap<B256, Wanted>,
    own: BTreeMap<B256, Own>,
    refused: Recent,
    /// What the pool had no room for, and how often it was asked for again.
    postponed: HashMap<B256, u32>,
    /// What was passed on.
    spread: Recent,
    rng: StdRng,
    requests: u64,
    /// Whether transactions of others are wanted now.
    listens: bool,
}

/// What the gossip learns.
#[derive(Debug, Clone)]
pub enum Event {
    /// A peer passed the handshake.
    PeerJoined {
        /// The peer.
        peer: SessionId,
        /// What it speaks.
        version: EthVersion,
        /// What is pending in the pool.
        pending: Vec<AnnouncedTransaction>,
    },
    /// A peer is gone.
    PeerLeft {
        /// The peer.
        peer: SessionId,
    },
    /// A peer says what it has.
    Announced {
        /// The peer.
        peer: SessionId,
        /// What it has.
        transactions: Vec<AnnouncedTransaction>,
    },
    /// A peer sent transactions unasked.
    Received {
        /// The peer.
        peer: SessionId,
        /// The transactions.
        transactions: Vec<Transaction>,
    },
    /// A peer answered.
    Answered {
        /// The peer.
        peer: SessionId,
        /// The answer's id.
        request: RequestId,
        /// The transactions.
        transactions: Vec<Transaction>,
    },
    /// Transactions became pending in the pool, or were given to this node and wait there for an
    /// earlier one of their sender.
    Pooled {
        /// The transactions, with their metadata.
        transactions: Vec<AnnouncedTransaction>,
        /// Whether they are this node's own: announced every minute while the pool has them.
        own: bool,
    },
    /// The pool refused these, and always will.
    Refused {
        /// Their hashes.
        hashes: Vec<B256>,
    },
    /// The pool has no room for these now: a sender may have so many behind a nonce that is missing.
    Crowded {
        /// Who has them.
        peer: SessionId,
        /// Their hashes.
        hashes: Vec<B256>,
    },
    /// Time passed; several times a second.
    Tick,
}

/// What the gossip wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these, whole, in one message; those that left the pool are left out.
    Send {
        /// To whom.
        peer: SessionId,
        /// Their hashes.
        hashes: Vec<B256>,
    },
    /// Announce these in one message.
    Announce {
        /// To whom.
        peer: SessionId,
        /// The transactions.
        transactions: Vec<AnnouncedTransaction>,
    },
    /// Send a question; its request id comes back with the answer.
    Request {
        /// To whom.
        peer: SessionId,
        /// `GetPooledTransactions`.
        message: Message,
    },
    /// Offer these to the pool.
    Admit {
        /// Who sent them.
        peer: SessionId,
        /// The transactions.
        transactions: Vec<Transaction>,
    },
    /// End the connection.
    Drop {
        /// With whom.
        peer: SessionId,
        /// Why.
        reason: TransactionFault,
    },
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionFault {
    /// An answer that nobody waits for, or with something that was not asked for.
    #[error("transactions that were not asked for")]
    Unsolicited,
    /// Announcements, and no answer to question after question.
    #[error("transactions that were announced and never sent")]
    Silent,
    /// Another type or size than announced.
    #[error("transactions of another type or size than announced")]
    Metadata,
}

#[derive(Debug)]
struct Peer {
    version: EthVersion,
    known: Recent,
    /// What it announced and nobody has delivered.
    announced: BTreeSet<B256>,
    open: Option<Open>,
    /// The last question that was given up. Its answer is welcome even so.
    given_up: Option<RequestId>,
    /// How many questions in a row were given up.
    silences: u8,
    faults: u8,
}

/// A question that is not answered.
#[derive(Debug)]
struct Open {
    request: RequestId,
    hashes: HashSet<B256>,
    sent: Instant,
    /// The answer is late: others are asked, and this peer is not until it comes.
    is_late: bool,
}

/// A transaction that somebody announced.
#[derive(Debug)]
struct Wanted {
    since: Instant,
    asked: Option<SessionId>,
    /// Who announced it, and as what. No longer than there are peers.
    sources: Vec<(SessionId, Option<TransactionMetadata>)>,
}

/// A transaction of this node's own.
#[derive(Debug)]
struct Own {
    tx: AnnouncedTransaction,
    due: Instant,
}

impl TransactionGossip {
    /// A gossip without peers. The seed decides who gets transactions whole.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            peers: BTreeMap::new(),
            wanted: HashMap::default(),
            own: BTreeMap::new(),
            refused: Recent::new(REFUSED_MAX),
            postponed: HashMap::default(),
            spread: Recent::new(SPREAD_MAX),
            rng: StdRng::seed_from_u64(seed),
            requests: 0,
            listens: true,
        }
    }

    /// Whether transactions of others are wanted. What is announced meanwhile is asked for later.
    pub fn listen(&mut self, listens: bool) {
        self.listens = listens;
    }

    /// Whether a transaction was passed on, as far back as that is remembered.
    pub(crate) fn has_spread(&self, hash: &B256) -> bool {
        self.spread.contains(hash)
    }

    /// How many announced transactions nobody has delivered.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// Takes an event in. `pooled` tells whether the pool has a transaction.
    pub fn on(
        &mut self,
        event: Event,
        now: Instant,
        pooled: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        match event {
            Event::PeerJoined { peer, version, pending } => {
                self.peers.insert(peer, Peer::new(version));
                let all = pending.into_iter().map(|tx| (peer, tx)).collect();
                self.tell(vec![], all, actions);
            }
            Event::PeerLeft { peer } => self.forget(peer),
            Event::Announced { peer, transactions } => {
                self.on_announced(peer, &transactions, now, pooled);
            }
            Event::Received { peer, transactions } => {
                if self.listens && self.peers.contains_key(&peer) {
                    self.deliver(peer, transactions, pooled, actions);
                }
            }
            Event::Answered { peer, request, transactions } => {
                self.on_answered((peer, request), transactions, pooled, actions);
                self.fetch(peer, now, pooled, actions);
            }
            Event::Pooled { transactions, own } => {
                if own {
                    self.adopt(&transactions, now);
                }
                self.spread(&transactions, actions);
            }
            Event::Refused { hashes } => {
                for hash in hashes {
                    self.refused.insert(hash);
                    self.postponed.remove(&hash);
                    self.settle(&hash);
                }
            }
            Event::Crowded { peer, hashes } => self.postpone(peer, &hashes, now),
            Event::Tick => self.on_tick(now, pooled, actions),
        }
    }

    fn on_announced(
        &mut self,
        id: SessionId,
        transactions: &[AnnouncedTransaction],
        now: Instant,
        pooled: &mut dyn FnMut(&B256) -> bool,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for tx in transactions {
            peer.known.insert(tx.hash);
            let is_full = peer.announced.len() >= peer.announced_max();
            if is_full || self.refused.contains(&tx.hash) || pooled(&tx.hash) {
                continue;
            }
            if peer.announced.insert(tx.hash) {
                let wanted = self.wanted.entry(tx.hash).or_insert_with(|| Wanted::new(now));
                wanted.sources.push((id, tx.metadata));
            }
        }
    }

    fn on_answered(
        &mut self,
        (id, request): (SessionId, RequestId),
        transactions: Vec<Transaction>,
        pooled: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(open) = peer.open.take_if(|open| request.answers(open.request)) else {
            if peer.given_up.take_if(|given_up| request.answers(*given_up)).is_some() {
                peer.silences = 0;
                self.deliver(id, transactions, pooled, actions);
                return;
            }
            self.fault(id, TransactionFault::Unsolicited, actions);
            return;
        };
        (peer.given_up, peer.silences) = (None, 0);
        let asked = |tx: &Transaction| open.hashes.contains(tx.tx_hash());
        let (asked, foreign): (Vec<_>, Vec<_>) = transactions.into_iter().partition(asked);
        self.deliver(id, asked, pooled, actions);
        // What it did not deliver it has not got any more; others may.
        self.release(id, &open);
        if !foreign.is_empty() {
            self.fault(id, TransactionFault::Unsolicited, actions);
        }
    }

    /// Transactions came: nobody needs to be asked for them.
    fn deliver(
        &mut self,
        id: SessionId,
        mut transactions: Vec<Transaction>,
        pooled: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let mut liars = vec![];
        for tx in &transactions {
            let actual = AnnouncedTransaction::of(tx);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.known.insert(actual.hash);
            }
            let Some(wanted) = self.settle(&actual.hash) else { continue };
            let lies = |claim: &Option<TransactionMetadata>| differ(*claim, actual.metadata);
            let sources = wanted.sources.into_iter();
            liars.extend(sources.filter(|(_, claim)| lies(claim)).map(|(peer, _)| peer));
        }
        for liar in liars {
            self.fault(liar, TransactionFault::Metadata, actions);
        }
        transactions.retain(|tx| !pooled(tx.tx_hash()));
        if !transactions.is_empty() {
            actions.push(Action::Admit { peer: id, transactions });
        }
    }

    /// Nobody needs to deliver this any more.
    fn settle(&mut self, hash: &B256) -> Option<Wanted> {
        let wanted = self.wanted.remove(hash)?;
        for (source, _) in &wanted.sources {
            if let Some(peer) = self.peers.get_mut(source) {
                peer.announced.remove(hash);
            }
        }
        Some(wanted)
    }

    /// Lets others be asked for what is left of this question, and its peer no more.
    fn release(&mut self, id: SessionId, open: &Open) {
        for hash in &open.hashes {
            self.withdraw(id, hash);
        }
    }

    /// This peer is no source of this transaction.
    fn withdraw(&mut self, id: SessionId, hash: &B256) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.announced.remove(hash);
        }
        let Some(wanted) = self.wanted.get_mut(hash) else { return };
        wanted.sources.retain(|(source, _)| *source != id);
        if wanted.asked == Some(id) {
            wanted.asked = None;
        }
        if wanted.sources.is_empty() {
            self.wanted.remove(hash);
        }
    }

    /// Asks for these again, a few times: the nonce that is missing is on its way, too, and who
    /// announced them does so once.
    fn postpone(&mut self, id: SessionId, hashes: &[B256], now: Instant) {
        let has_pooled = |peer: &&mut Peer| peer.version.has_pooled_transactions();
        let Some(peer) = self.peers.get_mut(&id).filter(has_pooled) else { return };
        for hash in hashes {
            let times = self.postponed.remove(hash).unwrap_or_default();
            if times == POSTPONEMENTS_MAX || peer.announced.len() >= peer.announced_max() {
                continue;
            }
            if self.postponed.len() == POSTPONED_MAX {
                // Some are asked for more often, then.
                self.postponed.clear();
            }
            self.postponed.insert(*hash, times + 1);
            if peer.announced.insert(*hash) {
                let since = now + POSTPONEMENT * 2_u32.pow(times);
                let wanted = self.wanted.entry(*hash).or_insert_with(|| Wanted::new(since));
                wanted.sources.push((id, None));
            }
        }
    }

    fn adopt(&mut self, transactions: &[AnnouncedTransaction], now: Instant) {
        for tx in transactions {
            if self.own.len() < OWN_MAX {
                self.own.insert(tx.hash, Own { tx: *tx, due: now + REPEAT });
            }
        }
    }

    /// Whole to the square root of those who lack it, by hash to the rest. By hash to everybody if
    /// it comes again: after a reorg, when who was told of it may have asked while it was mined, and
    /// got nothing; or when it became pending, and who had no room for it before has now.
    fn spread(&mut self, transactions: &[AnnouncedTransaction], actions: &mut Vec<Action>) {
        let (mut whole, mut by_hash) = (vec![], vec![]);
        for tx in transactions {
            self.postponed.remove(&tx.hash);
            self.settle(&tx.hash);
            if !self.spread.insert(tx.hash) {
                let peers = self.peers.iter();
                let fit = peers.filter(|(_, peer)| {
                    peer.version.has_pooled_transactions() || !peer.known.contains(&tx.hash)
                });
                by_hash.extend(fit.map(|(id, _)| (*id, *tx)));
                continue;
            }
            let lacks = |(_, peer): &(&SessionId, &Peer)| !peer.known.contains(&tx.hash);
            let lacking = self.peers.iter().filter(lacks).map(|(id, _)| *id).collect();
            let (few, rest) = split_by_root(lacking, &mut self.rng);
            whole.extend(few.into_iter().map(|peer| (peer, *tx)));
            by_hash.extend(rest.into_iter().map(|peer| (peer, *tx)));
        }
        self.tell(whole, by_hash, actions);
    }

    /// Sends and announces, in messages of a fair size. Before eth/65 nothing can be announced, so
    /// all of it is sent.
    fn tell(
        &mut self,
        whole: Vec<(SessionId, AnnouncedTransaction)>,
        by_hash: Vec<(SessionId, AnnouncedTransaction)>,
        actions: &mut Vec<Action>,
    ) {
        let mut sent: BTreeMap<SessionId, Vec<AnnouncedTransaction>> = BTreeMap::new();
        let mut announced: BTreeMap<SessionId, Vec<AnnouncedTransaction>> = BTreeMap::new();
        let kinds = [(whole, true), (by_hash, false)];
        for (id, tx, is_whole) in kinds
            .into_iter()
            .flat_map(|(told, is_whole)| told.into_iter().map(move |(id, tx)| (id, tx, is_whole)))
        {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.known.insert(tx.hash);
            let is_whole = is_whole || !peer.version.has_pooled_transactions();
            (if is_whole { &mut sent } else { &mut announced }).entry(id).or_default().push(tx);
        }
        for (peer, transactions) in sent {
            let packs = packs(&transactions).into_iter();
            actions.extend(packs.map(|hashes| Action::Send { peer, hashes }));
        }
        for (peer, transactions) in announced {
            let packs = transactions.chunks(TRANSACTION_HASHES_MAX).map(<[_]>::to_vec);
            actions.extend(packs.map(|transactions| Action::Announce { peer, transactions }));
        }
    }

    fn on_tick(
        &mut self,
        now: Instant,
        pooled: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        // Asking the pool misses nothing: there are many ways out of it.
        self.own.retain(|hash, own| now < own.due || pooled(hash));
        let due: Vec<AnnouncedTransaction> =
            self.own.values_mut().filter_map(|own| own.repeat(now)).collect();
        let all = self.peers.keys().flat_map(|peer| due.iter().map(|tx| (*peer, *tx))).collect();
        self.tell(vec![], all, actions);

        let ids: Vec<SessionId> = self.peers.keys().copied().collect();
        for id in ids {
            let late = self.peers.get_mut(&id).and_then(|peer| {
                let open = peer.open.as_mut()?;
                let is_due = !open.is_late && now - open.sent >= ANSWER;
                open.is_late |= is_due;
                is_due.then(|| open.hashes.clone())
            });
            for hash in late.into_iter().flatten() {
                self.withdraw(id, &hash);
            }
            self.give_up(id, now, actions);
        }
        let ids: Vec<SessionId> = self.peers.keys().copied().collect();
        for id in ids {
            self.fetch(id, now, pooled, actions);
        }
    }

    /// Waits no longer for an answer that does not come.
    fn give_up(&mut self, id: SessionId, now: Instant, actions: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(open) = peer.open.take_if(|open| now - open.sent >= PATIENCE) else { return };
        peer.given_up = Some(open.request);
        peer.silences += 1;
        if peer.silences >= SILENCES_MAX {
            self.forget(id);
            actions.push(Action::Drop { peer: id, reason: TransactionFault::Silent });
        } else if peer.silences >= SILENCES_TRUSTED_MAX {
            let announced = std::mem::take(&mut peer.announced);
            announced.iter().for_each(|hash| self.withdraw(id, hash));
        }
    }

    /// Asks a peer for what it announced, if nobody is asked for it and it did not come by itself.
    fn fetch(
        &mut self,
        id: SessionId,
        now: Instant,
        pooled: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let may_ask = |peer: &&Peer| self.listens && peer.open.is_none();
        let Some(peer) = self.peers.get(&id).filter(may_ask) else { return };
        let is_free = |hash: &&B256| {
            let wanted = self.wanted.get(*hash);
            wanted.is_some_and(|wanted| {
                wanted.asked.is_none() && now.saturating_duration_since(wanted.since) >= ARRIVAL
            })
        };
        let mut hashes: Vec<B256> =
            peer.announced.iter().filter(is_free).take(POOLED_TRANSACTIONS_MAX).copied().collect();
        // It may have come by another way since it was announced.
        hashes.retain(|hash| {
            let is_pooled = pooled(hash);
            if is_pooled {
                self.settle(hash);
            }
            !is_pooled
        });
        if hashes.is_empty() {
            return;
        }
        for hash in &hashes {
            if let Some(wanted) = self.wanted.get_mut(hash) {
                wanted.asked = Some(id);
            }
        }
        self.requests += 1;
        let request = RequestId::of(Requester::Transactions, self.requests);
        if let Some(peer) = self.peers.get_mut(&id) {
            let hashes = hashes.iter().copied().collect();
            peer.open = Some(Open { request, hashes, sent: now, is_late: false });
        }
        let message = Message::GetPooledTransactions { request, hashes };
        actions.push(Action::Request { peer: id, message });
    }

    fn fault(&mut self, id: SessionId, reason: TransactionFault, actions: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.faults += 1;
        if peer.faults >= FAULTS_MAX {
            self.forget(id);
            actions.push(Action::Drop { peer: id, reason });
        }
    }

    fn forget(&mut self, id: SessionId) {
        let Some(peer) = self.peers.remove(&id) else { return };
        for hash in &peer.announced {
            self.withdraw(id, hash);
        }
    }
}

impl Peer {
    fn new(version: EthVersion) -> Self {
        let known = Recent::new(KNOWN_MAX);
        Self {
            version,
            known,
            announced: BTreeSet::new(),
            open: None,
            given_up: None,
            silences: 0,
            faults: 0,
        }
    }

    /// How many of its announcements are remembered.
    const fn announced_max(&self) -> usize {
        if self.silences < SILENCES_TRUSTED_MAX { ANNOUNCED_MAX } else { 1 }
    }
}

impl Wanted {
    const fn new(since: Instant) -> Self {
        Self { since, asked: None, sources: vec![] }
    }
}

impl Own {
    fn repeat(&mut self, now: Instant) -> Option<AnnouncedTransaction> {
        (now >= self.due).then(|| {
            self.due = now + REPEAT;
            self.tx
        })
    }
}

/// Whether a claim is not what the transaction is.
fn differ(claim: Option<TransactionMetadata>, actual: Option<TransactionMetadata>) -> bool {
    let (Some(claim), Some(actual)) = (claim, actual) else { return false };
    claim.tx_type != actual.tx_type || claim.size.abs_diff(actual.size) > SIZE_TOLERANCE
}

/// Cuts transactions into messages.
fn packs(transactions: &[AnnouncedTransaction]) -> Vec<Vec<B256>> {
    let mut packs: Vec<Vec<B256>> = vec![];
    let mut bytes = 0;
    for tx in transactions {
        let size = tx.metadata.map_or(0, |metadata| metadata.size);
        bytes += usize::try_from(size).unwrap_or(PACK_BYTES_MAX);
        match packs.last_mut() {
            Some(pack) if bytes <= PACK_BYTES_MAX && pack.len() < TRANSACTION_HASHES_MAX => {
                pack.push(tx.hash);
            }
            Some(_) | None => {
                packs.push(vec![tx.hash]);
                bytes = usize::try_from(size).unwrap_or(PACK_BYTES_MAX);
            }
        }
    }
    packs
}
