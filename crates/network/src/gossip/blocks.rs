//! Blocks: passing on new ones, fetching those that are announced.

mod fetch;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use primitives::{
    B256, BlockBody, BlockNumHash, SealedBlock, SealedHeader, TotalDifficulty, map::HashMap,
    ommers_hash, transactions_root,
};
use rand::{SeedableRng, rngs::StdRng};

use self::fetch::{Open, Wanted};
use super::split_by_root;
use crate::{
    SessionId,
    recent::Recent,
    wire::{BLOCK_HASHES_MAX, Message, RequestId},
};

/// How many blocks a peer is remembered to have; geth's.
const KNOWN_MAX: usize = 1024;
/// How many announced blocks of a peer are remembered; geth's.
const ANNOUNCED_MAX: usize = 256;
/// How many blocks of a peer wait to be verified or imported; geth's.
const PENDING_MAX: usize = 64;
/// How many blocks wait for their parents, and how many of them from one peer.
const HELD_MAX: usize = 32;
const HELD_PER_PEER_MAX: usize = 8;
/// The most bytes of blocks that wait for their parents.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How far below the head a block is still of use, as an ommer; geth's.
const BELOW_MAX: u64 = 7;
/// How far above the head a block is still of use; geth's. Beyond is for the sync.
const ABOVE_MAX: u64 = 32;
/// How many invalid blocks are remembered.
const INVALID_MAX: usize = 64;
/// A peer with as many faults is dropped.
const FAULTS_MAX: u8 = 3;

/// Spreads and fetches blocks.
#[derive(Debug)]
pub struct BlockGossip {
    /// The number of this node's head.
    number: u64,
    peers: BTreeMap<SessionId, Peer>,
    wanted: HashMap<B256, Wanted>,
    /// What is being verified or imported.
    pending: HashMap<B256, Pending>,
    /// What came before its parent was imported.
    held: Vec<Held>,
    invalid: Recent,
    rng: StdRng,
    requests: u64,
}

/// What the gossip learns.
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
    /// A peer is gone.
    PeerLeft {
        /// The peer.
        peer: SessionId,
    },
    /// A peer sent a whole block unasked.
    NewBlock {
        /// The peer.
        peer: SessionId,
        /// The block.
        block: Arc<SealedBlock>,
        /// The work up to and including it, as the peer says.
        td: TotalDifficulty,
    },
    /// A peer says which blocks it has.
    Announced {
        /// The peer.
        peer: SessionId,
        /// The blocks.
        blocks: Vec<BlockNumHash>,
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
    /// A block's header and seal are right; it is not executed yet.
    Verified {
        /// The block.
        hash: B256,
    },
    /// A block is in the chain, by whichever way. Of those that the sync brought only the newest
    /// is worth telling others.
    Imported {
        /// The block.
        block: BlockNumHash,
    },
    /// A block of [`Action::Verify`] did not get into the chain. Its giver is to blame for what
    /// shows before [`Event::Verified`]; what only its execution shows, nobody knows who passes a
    /// block on.
    Rejected {
        /// The block.
        hash: B256,
        /// Whether it breaks the rules; if not, it came too early, or its parent is unknown.
        is_invalid: bool,
    },
    /// This node sealed a block, and it is in the chain.
    Sealed {
        /// The block.
        block: BlockNumHash,
    },
    /// The canonical head has this number.
    HeadChanged {
        /// The number.
        number: u64,
    },
    /// Time passed; several times a second.
    Tick,
}

/// What the gossip wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Verify a block and import it. Answered by [`Event::Verified`] and then
    /// [`Event::Imported`], or by [`Event::Rejected`].
    Verify {
        /// Who gave it.
        peer: SessionId,
        /// The block; its body belongs to its header.
        block: Arc<SealedBlock>,
    },
    /// Send a block whole.
    Relay {
        /// To whom.
        peers: Vec<SessionId>,
        /// Which.
        hash: B256,
    },
    /// Announce a block.
    Announce {
        /// To whom.
        peers: Vec<SessionId>,
        /// Which.
        block: BlockNumHash,
    },
    /// Send a question; its request id comes back with the answer.
    Request {
        /// To whom.
        peer: SessionId,
        /// `GetBlockHeaders` or `GetBlockBodies`.
        message: Message,
    },
    /// Tell the sync that a peer claims a new head.
    HintSync {
        /// The peer.
        peer: SessionId,
        /// The parent of the block that it sent: it surely has that.
        hash: B256,
        /// The parent's work, as the peer says.
        td: TotalDifficulty,
    },
    /// End the connection.
    Drop {
        /// With whom.
        peer: SessionId,
        /// Why.
        reason: BlockFault,
    },
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// More announcements than anybody can have.
    #[error("more than {BLOCK_HASHES_MAX} block announcements at once")]
    Flood,
    /// An answer that nobody waits for.
    #[error("answer without a question")]
    Unsolicited,
    /// Another block than announced or asked for.
    #[error("another block than announced or asked for")]
    WrongAnswer,
    /// No answer in time, again and again.
    #[error("no answer in time")]
    Timeout,
    /// Whole blocks with bodies that are not theirs.
    #[error("blocks with other blocks' bodies")]
    WrongBody,
    /// Less work than the block alone stands for.
    #[error("total difficulty is less than the block's own difficulty")]
    TotalDifficulty,
    /// A block that breaks the rules.
    #[error("invalid block {hash}")]
    InvalidBlock {
        /// The block.
        hash: B256,
    },
}

#[derive(Debug)]
struct Peer {
    td: TotalDifficulty,
    known: Recent,
    /// What it announced and nobody has delivered.
    announced: BTreeSet<B256>,
    open: Option<Open>,
    faults: u8,
    /// How often it did not answer in time since it last gave what was asked for.
    late: u8,
}

/// A block that is being verified or imported.
#[derive(Debug)]
struct Pending {
    /// Who gave it.
    peer: SessionId,
    is_verified: bool,
}

/// A block that waits for its parent.
#[derive(Debug)]
struct Held {
    peer: SessionId,
    block: Arc<SealedBlock>,
    bytes: usize,
}

impl BlockGossip {
    /// A gossip without peers, of a node whose head has this number. The seed decides who gets
    /// blocks whole.
    #[must_use]
    pub fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            peers: BTreeMap::new(),
            wanted: HashMap::default(),
            pending: HashMap::default(),
            held: vec![],
            invalid: Recent::new(INVALID_MAX),
            rng: StdRng::seed_from_u64(seed),
            requests: 0,
        }
    }

    /// How many blocks are wanted, pending and orphaned.
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        (self.wanted.len(), self.pending.len(), self.held.len())
    }

    /// Takes an event in. `stored` tells whether this node has a block, canonical or not.
    pub fn on(
        &mut self,
        event: Event,
        now: Instant,
        stored: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        match event {
            Event::PeerJoined { peer, head, td } => {
                self.peers.insert(peer, Peer::new(head, td));
            }
            Event::PeerLeft { peer } => self.forget(peer),
            Event::NewBlock { peer, block, td } => {
                self.on_block((peer, block, td), (now, stored), actions);
            }
            Event::Announced { peer, blocks } => {
                self.on_announced(peer, &blocks, now, stored, actions);
            }
            Event::Headers { peer, request, headers } => {
                self.on_headers((peer, request), headers, (now, stored), actions);
            }
            Event::Bodies { peer, request, bodies } => {
                self.on_bodies((peer, request), bodies, (now, stored), actions);
            }
            Event::Verified { hash } => {
                if let Some(pending) = self.pending.get_mut(&hash) {
                    pending.is_verified = true;
                }
                let (few, _) = self.split(hash);
                self.relay(few, hash, actions);
            }
            Event::Imported { block } => {
                self.settle(&block.hash);
                self.pending.remove(&block.hash);
                let lacking = self.lacking(block.hash);
                self.announce(lacking, block, actions);
                self.let_go(block.hash, actions);
            }
            Event::Rejected { hash, is_invalid } => {
                self.on_rejected(hash, is_invalid, actions);
            }
            Event::Sealed { block } => {
                let (few, rest) = self.split(block.hash);
                self.relay(few, block.hash, actions);
                self.announce(rest, block, actions);
                self.let_go(block.hash, actions);
            }
            Event::HeadChanged { number } => self.on_head(number),
            Event::Tick => self.on_tick(now, stored, actions),
        }
    }

    fn on_block(
        &mut self,
        (id, block, td): (SessionId, Arc<SealedBlock>, TotalDifficulty),
        (now, stored): (Instant, &mut dyn FnMut(&B256) -> bool),
        actions: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let hash = block.hash();
        peer.known.insert(hash);
        let Some(parent_td) = td.get().checked_sub(block.header().difficulty) else {
            self.drop_peer(id, BlockFault::TotalDifficulty, actions);
            return;
        };
        let is_known = self.is_pending(&hash) || self.invalid.contains(&hash) || stored(&hash);
        let is_wanted = self.is_near(block.header().number) && !is_known;
        // A wrong body says nothing about the block: somebody else may have the right one.
        if is_wanted && !fits(block.header(), block.body()) {
            self.fault(id, BlockFault::WrongBody, actions);
            return;
        }
        let td = TotalDifficulty::new(parent_td);
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| td > peer.td) {
            peer.td = td;
            actions.push(Action::HintSync { peer: id, hash: block.header().parent_hash, td });
        }
        if is_wanted {
            self.take(id, block, (now, stored), actions);
        }
    }

    /// Takes a block whose body is right: at once, or when its parent is imported.
    fn take(
        &mut self,
        peer: SessionId,
        block: Arc<SealedBlock>,
        (now, stored): (Instant, &mut dyn FnMut(&B256) -> bool),
        actions: &mut Vec<Action>,
    ) {
        if self.is_pending(&block.hash()) {
            return;
        }
        self.settle(&block.hash());
        if self.invalid.contains(&block.header().parent_hash) {
            self.invalid.insert(block.hash());
            return;
        }
        if stored(&block.header().parent_hash) {
            self.verify(peer, block, actions);
            return;
        }
        let bytes = block.rlp_length();
        let theirs = self.held.iter().filter(|held| held.peer == peer).count();
        let waiting: usize = self.held.iter().map(|held| held.bytes).sum();
        let is_room = self.held.len() < HELD_MAX && waiting + bytes <= HELD_BYTES_MAX;
        if is_room && theirs < HELD_PER_PEER_MAX {
            let (parent, number) = self.missing(&block);
            self.held.push(Held { peer, block, bytes });
            if stored(&parent) {
                self.let_go(parent, actions);
            } else if !self.is_pending(&parent) && self.is_near(number) {
                // Nobody may announce it again, and without a block that comes whole the sync
                // knows nothing of a heavier chain. Whoever has a block has its parents.
                self.want(peer, BlockNumHash { number, hash: parent }, now);
            }
        }
    }

    /// The newest ancestor of a block that does not wait here as well.
    fn missing(&self, block: &SealedBlock) -> (B256, u64) {
        let mut header = block.header();
        for _ in 0..self.held.len() {
            let parent = self.held.iter().find(|held| held.block.hash() == header.parent_hash);
            let Some(parent) = parent else { break };
            header = parent.block.header();
        }
        (header.parent_hash, header.number.saturating_sub(1))
    }

    /// Notes that a peer has a block, to be asked for.
    fn want(&mut self, id: SessionId, block: BlockNumHash, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.known.insert(block.hash);
        if peer.announced.len() < ANNOUNCED_MAX && peer.announced.insert(block.hash) {
            let wanted = || Wanted::new(block.number, now);
            self.wanted.entry(block.hash).or_insert_with(wanted).sources.push((id, block.number));
        }
    }

    /// Verifies what waited for this block.
    fn let_go(&mut self, parent: B256, actions: &mut Vec<Action>) {
        let is_child = |held: &mut Held| held.block.header().parent_hash == parent;
        let children: Vec<Held> = self.held.extract_if(.., is_child).collect();
        for child in children {
            self.verify(child.peer, child.block, actions);
        }
    }

    fn is_pending(&self, hash: &B256) -> bool {
        self.pending.contains_key(hash) || self.held.iter().any(|held| held.block.hash() == *hash)
    }

    fn verify(&mut self, peer: SessionId, block: Arc<SealedBlock>, actions: &mut Vec<Action>) {
        let theirs = self.pending.values().filter(|pending| pending.peer == peer).count();
        if theirs >= PENDING_MAX {
            return;
        }
        self.pending.insert(block.hash(), Pending { peer, is_verified: false });
        actions.push(Action::Verify { peer, block });
    }

    fn on_announced(
        &mut self,
        id: SessionId,
        blocks: &[BlockNumHash],
        now: Instant,
        stored: &mut dyn FnMut(&B256) -> bool,
        actions: &mut Vec<Action>,
    ) {
        if blocks.len() > BLOCK_HASHES_MAX {
            self.drop_peer(id, BlockFault::Flood, actions);
            return;
        }
        for block in blocks {
            let is_near = self.is_near(block.number);
            let is_here = self.is_pending(&block.hash)
                || self.invalid.contains(&block.hash)
                || stored(&block.hash);
            let Some(peer) = self.peers.get_mut(&id) else { return };
            peer.known.insert(block.hash);
            if is_near && !is_here {
                self.want(id, *block, now);
            }
        }
    }

    fn on_rejected(&mut self, hash: B256, is_invalid: bool, actions: &mut Vec<Action>) {
        let pending = self.pending.remove(&hash);
        if is_invalid {
            self.invalid.insert(hash);
            self.held.retain(|held| held.block.header().parent_hash != hash);
            if let Some(Pending { peer, is_verified: false }) = pending {
                self.drop_peer(peer, BlockFault::InvalidBlock { hash }, actions);
            }
        }
    }

    fn on_head(&mut self, number: u64) {
        self.number = number;
        let (least, most) = (number.saturating_sub(BELOW_MAX), number.saturating_add(ABOVE_MAX));
        self.held.retain(|held| (least..=most).contains(&held.block.header().number));
        let gone = self.wanted.iter().filter(|(_, wanted)| !self.is_near(wanted.number));
        let gone: Vec<B256> = gone.map(|(hash, _)| *hash).collect();
        for hash in gone {
            self.settle(&hash);
        }
    }

    const fn is_near(&self, number: u64) -> bool {
        number >= self.number.saturating_sub(BELOW_MAX)
            && number <= self.number.saturating_add(ABOVE_MAX)
    }

    fn lacking(&self, hash: B256) -> Vec<SessionId> {
        let lacks = |(_, peer): &(&SessionId, &Peer)| !peer.known.contains(&hash);
        self.peers.iter().filter(lacks).map(|(id, _)| *id).collect()
    }

    fn split(&mut self, hash: B256) -> (Vec<SessionId>, Vec<SessionId>) {
        let lacking = self.lacking(hash);
        split_by_root(lacking, &mut self.rng)
    }

    fn relay(&mut self, peers: Vec<SessionId>, hash: B256, actions: &mut Vec<Action>) {
        if !peers.is_empty() {
            self.mark_known(&peers, hash);
            actions.push(Action::Relay { peers, hash });
        }
    }

    fn announce(&mut self, peers: Vec<SessionId>, block: BlockNumHash, actions: &mut Vec<Action>) {
        if !peers.is_empty() {
            self.mark_known(&peers, block.hash);
            actions.push(Action::Announce { peers, block });
        }
    }

    fn mark_known(&mut self, peers: &[SessionId], hash: B256) {
        for id in peers {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.known.insert(hash);
            }
        }
    }

    fn fault(&mut self, id: SessionId, reason: BlockFault, actions: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.faults += 1;
        if peer.faults >= FAULTS_MAX {
            self.drop_peer(id, reason, actions);
        }
    }

    fn drop_peer(&mut self, peer: SessionId, reason: BlockFault, actions: &mut Vec<Action>) {
        if self.peers.contains_key(&peer) {
            self.forget(peer);
            actions.push(Action::Drop { peer, reason });
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
    fn new(head: B256, td: TotalDifficulty) -> Self {
        let mut known = Recent::new(KNOWN_MAX);
        known.insert(head);
        Self { td, known, announced: BTreeSet::new(), open: None, faults: 0, late: 0 }
    }
}

/// Whether a body belongs to a header.
fn fits(header: &primitives::Header, body: &BlockBody) -> bool {
    ommers_hash(&body.ommers) == header.ommers_hash
        && transactions_root(&body.transactions) == header.transactions_root
}
