//! What a node does about what its peers send: the sync and both gossips, put together.
//!
//! Fed events, it answers with actions; it knows no socket, no clock and no thread. The network's
//! loop runs it on the real ones, and a simulation on others. What takes time is a [`Job`], whose
//! outcome comes back as an event.

mod blocks;
mod job;
#[cfg(test)]
mod tests;
mod transactions;

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use chain::{ChainEvent, ChainView};
use consensus::VerifiedBlock;
use devp2p::DisconnectReason;
use primitives::{B256, TotalDifficulty, map::HashMap};
use storage::StorageError;
use txpool::Pool;

pub(crate) use self::transactions::own_transactions;
pub use self::{
    blocks::Held,
    job::{Done, Job},
};
use crate::{
    SessionId,
    gossip::{
        blocks::{self as block_gossip, BlockFault, BlockGossip},
        replacements::Replacements,
        transactions::{self as tx_gossip, TransactionFault, TransactionGossip},
    },
    recent::Recent,
    serve::{self, Answer, Question},
    sync::{self, Head, Sync, SyncFault},
    wire::{EthVersion, Message, Requester},
};
pub use crate::{
    import::{Outcome, Verified},
    sync::Fetched,
};

/// Blocks that are remembered to have come from others.
const FOREIGN_MAX: usize = 4_096;
/// A peer that sent as many transactions without a valid signature is dropped.
const FORGERIES_MAX: usize = 100;

/// Sync and gossip of one node.
#[derive(Debug)]
pub struct Protocol {
    sync: Sync,
    blocks: BlockGossip,
    transactions: TransactionGossip,
    replacements: Replacements,
    /// The peers, and how many transactions without a valid signature each sent.
    forgeries: HashMap<SessionId, usize>,
    /// Blocks that are passed on before they are in the chain.
    held: HashMap<B256, Held>,
    /// Blocks that came from others.
    foreign: Recent,
    /// The head that the parts know.
    head: B256,
    progress: Option<SyncProgress>,
    /// Whether transactions of peers are taken: not before this node had their chain once, as in
    /// geth. The pool judges them by the head's state, and an old one is of no use.
    accepts: bool,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Event {
    /// A peer passed both handshakes.
    PeerJoined {
        /// The peer.
        peer: SessionId,
        /// What is spoken with it.
        version: EthVersion,
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
    /// A peer sent something that is no question.
    Message {
        /// The peer.
        peer: SessionId,
        /// What it sent.
        message: Message,
    },
    /// A job, or the import of a block, is done.
    Done(Done),
    /// The oldest import of several blocks that was not answered is done.
    Imported(Outcome),
    /// The chain changed.
    ChainChanged(Arc<ChainEvent>),
    /// The chain changed, and nobody knows any more by which steps.
    ChainSkipped,
    /// These became pending in the pool.
    Pooled(Vec<B256>),
    /// Some changes of the pool were missed.
    PoolSkipped,
    /// Time passed; several times a second.
    Tick,
}

/// What a node does.
#[derive(Debug)]
pub enum Action {
    /// Send a message.
    Send {
        /// To whom.
        peer: SessionId,
        /// What.
        message: Message,
    },
    /// End the connection.
    Drop {
        /// With whom.
        peer: SessionId,
        /// Why.
        fault: Fault,
    },
    /// Do work that takes time; answered by [`Event::Done`].
    Start(Job),
    /// Import a block that a peer gave; answered by [`Event::Done`] with [`Done::of_import`].
    Import(Box<VerifiedBlock>),
    /// Verify and import blocks, in order and after those of earlier actions like this one.
    /// Answered by [`Event::Imported`], in order.
    ImportMany(Vec<Fetched>),
    /// A peer has another head, as it says.
    PeerHead {
        /// The peer.
        peer: SessionId,
        /// The head.
        head: B256,
        /// Its work.
        td: TotalDifficulty,
    },
    /// How far the sync has come; `None` when it is over.
    Progress(Option<SyncProgress>),
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Noticed by the sync.
    #[error(transparent)]
    Sync(SyncFault),
    /// Noticed by the gossip of blocks.
    #[error(transparent)]
    Block(BlockFault),
    /// Noticed by the gossip of transactions.
    #[error(transparent)]
    Transaction(TransactionFault),
    /// Too many forgeries.
    #[error("transactions without valid signatures")]
    Forgeries,
}

/// How far a sync has come, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncProgress {
    /// The newest block here when it began.
    pub starting: u64,
    /// The newest block here.
    pub current: u64,
    /// The newest block there.
    pub highest: u64,
}

/// How much a node remembers about its peers; each of these is bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Peers.
    pub peers: usize,
    /// Blocks that are passed on before they are in the chain.
    pub passed_on: usize,
    /// Announced blocks that nobody has delivered.
    pub wanted_blocks: usize,
    /// Blocks that are being verified or imported.
    pub pending_blocks: usize,
    /// Blocks that wait for their parent.
    pub orphans: usize,
    /// Announced transactions that nobody has delivered.
    pub wanted_transactions: usize,
    /// Imports of the sync that are not answered.
    pub imports: usize,
}

/// What an event is judged by, and where the answers go.
struct Turn<'a> {
    now: Instant,
    view: &'a Arc<ChainView>,
    pool: &'a Pool,
    actions: &'a mut Vec<Action>,
}

impl Fault {
    /// What the peer is told.
    #[must_use]
    pub const fn disconnect_reason(self) -> DisconnectReason {
        match self {
            Self::Sync(_) => DisconnectReason::UselessPeer,
            Self::Block(_) | Self::Transaction(_) | Self::Forgeries => {
                DisconnectReason::SubprotocolError
            }
        }
    }
}

impl Protocol {
    /// A node without peers. The seed decides who gets what whole.
    #[must_use]
    pub fn new(view: &ChainView, seed: u64) -> Self {
        let head = head_of(view);
        let mut transactions = TransactionGossip::new(seed);
        transactions.listen(false);
        Self {
            sync: Sync::new(head),
            blocks: BlockGossip::new(head.number, seed),
            transactions,
            replacements: Replacements::default(),
            forgeries: HashMap::default(),
            held: HashMap::default(),
            foreign: Recent::new(FOREIGN_MAX),
            head: head.hash,
            progress: None,
            accepts: false,
        }
    }

    /// Takes transactions of peers from now on: of use to whoever mines.
    pub fn accept_transactions(&mut self) {
        self.accepts = true;
        self.transactions.listen(true);
    }

    /// Whether transactions of peers are taken.
    #[must_use]
    pub const fn accepts_transactions(&self) -> bool {
        self.accepts
    }

    /// Takes an event in. The view is the chain's newest, and no older than the event.
    pub fn on(
        &mut self,
        event: Event,
        now: Instant,
        (view, pool): (&Arc<ChainView>, &Pool),
        actions: &mut Vec<Action>,
    ) {
        let turn = &mut Turn { now, view, pool, actions };
        self.look(turn);
        if !self.accepts && self.sync.is_abreast() {
            // Nobody has more: there is nothing to wait for, even if there was no block yet.
            self.accept_transactions();
        }
        match event {
            Event::PeerJoined { peer, version, head, td } => {
                self.forgeries.insert(peer, 0);
                self.on_sync(sync::Event::PeerJoined { peer, head, td }, turn);
                self.on_blocks(block_gossip::Event::PeerJoined { peer, head, td }, turn);
                self.greet_with_transactions(peer, version, turn);
            }
            Event::PeerLeft { peer } => {
                self.forgeries.remove(&peer);
                self.on_sync(sync::Event::PeerLeft { peer }, turn);
                self.on_blocks(block_gossip::Event::PeerLeft { peer }, turn);
                self.on_transactions(tx_gossip::Event::PeerLeft { peer }, turn);
            }
            Event::Message { peer, message } => self.on_message(peer, message, turn),
            Event::Done(done) => self.on_done(done, turn),
            Event::Imported(outcome) => {
                let event = match outcome {
                    Outcome::Imported => sync::Event::Imported(head_of(view)),
                    Outcome::Failed { hash, peer } => sync::Event::ImportFailed { hash, peer },
                };
                self.on_sync(event, turn);
            }
            Event::ChainChanged(change) => self.on_adopted(&change, turn),
            Event::ChainSkipped => {}
            Event::Pooled(hashes) => self.on_pooled(&hashes, turn),
            Event::PoolSkipped => self.on_pool_skipped(turn),
            Event::Tick => {
                self.on_sync(sync::Event::Tick, turn);
                self.on_blocks(block_gossip::Event::Tick, turn);
                self.on_transactions(tx_gossip::Event::Tick, turn);
                let due = self.replacements.due(now);
                self.on_pooled(&due, turn);
            }
        }
    }

    /// Lets the parts know the head before anything else. They read the view, so a head that is
    /// older than that makes who is right look wrong.
    fn look(&mut self, turn: &mut Turn<'_>) {
        let head = head_of(turn.view);
        if self.head != head.hash {
            self.head = head.hash;
            self.on_sync(sync::Event::HeadChanged(head), turn);
            self.on_blocks(block_gossip::Event::HeadChanged { number: head.number }, turn);
        }
    }

    /// How much is remembered now.
    #[must_use]
    pub fn load(&self) -> Load {
        let (wanted_blocks, pending_blocks, orphans) = self.blocks.load();
        Load {
            peers: self.forgeries.len(),
            passed_on: self.held.len(),
            wanted_blocks,
            pending_blocks,
            orphans,
            wanted_transactions: self.transactions.wanted(),
            imports: self.sync.imports(),
        }
    }

    fn on_message(&mut self, peer: SessionId, message: Message, turn: &mut Turn<'_>) {
        match message {
            Message::BlockHeaders { request, headers } => match request.requester() {
                Some(Requester::Blocks) => {
                    let event = block_gossip::Event::Headers { peer, request, headers };
                    self.on_blocks(event, turn);
                }
                _ => self.on_sync(sync::Event::Headers { peer, request, headers }, turn),
            },
            Message::BlockBodies { request, bodies } => match request.requester() {
                Some(Requester::Blocks) => {
                    let event = block_gossip::Event::Bodies { peer, request, bodies };
                    self.on_blocks(event, turn);
                }
                _ => self.on_sync(sync::Event::Bodies { peer, request, bodies }, turn),
            },
            Message::NewBlock { block, td } => {
                self.on_blocks(block_gossip::Event::NewBlock { peer, block, td }, turn);
            }
            Message::NewBlockHashes(blocks) => {
                self.on_blocks(block_gossip::Event::Announced { peer, blocks }, turn);
            }
            Message::Transactions(transactions) => {
                let event = tx_gossip::Event::Received { peer, transactions };
                self.on_transactions(event, turn);
            }
            Message::NewPooledTransactionHashes(transactions) => {
                let event = tx_gossip::Event::Announced { peer, transactions };
                self.on_transactions(event, turn);
            }
            Message::PooledTransactions { request, transactions } => {
                let event = tx_gossip::Event::Answered { peer, request, transactions };
                self.on_transactions(event, turn);
            }
            // Questions, and answers that the loop has to do with.
            _ => {}
        }
    }

    fn on_done(&mut self, done: Done, turn: &mut Turn<'_>) {
        match done {
            Done::Verified(block, held) => self.on_verified(block, held, turn),
            Done::Imported(block) => {
                self.held.remove(&block.hash);
                self.accept_transactions();
                self.on_blocks(block_gossip::Event::Imported { block }, turn);
            }
            Done::Rejected { hash, is_invalid } => {
                self.held.remove(&hash);
                self.on_blocks(block_gossip::Event::Rejected { hash, is_invalid }, turn);
            }
            Done::Admitted { peer, refused, crowded, forged } => {
                self.on_transactions(tx_gossip::Event::Refused { hashes: refused }, turn);
                self.on_transactions(tx_gossip::Event::Crowded { peer, hashes: crowded }, turn);
                let Some(forgeries) = self.forgeries.get_mut(&peer) else { return };
                *forgeries += forged;
                if *forgeries >= FORGERIES_MAX {
                    turn.actions.push(Action::Drop { peer, fault: Fault::Forgeries });
                }
            }
            // The chain will notice, too, and stop the node.
            Done::Failed(error) => tracing::error!(%error, "Could not read the chain"),
        }
    }

    /// Lets the sync decide, and does what it says.
    fn on_sync(&mut self, event: sync::Event, turn: &mut Turn<'_>) {
        let mut decided = Vec::new();
        let mut known = |number| turn.view.db.canonical_hash(number).ok().flatten();
        self.sync.on(event, turn.now, &mut known, &mut decided);
        for action in decided {
            match action {
                sync::Action::Request { peer, message } => {
                    turn.actions.push(Action::Send { peer, message });
                }
                sync::Action::Import(blocks) => {
                    for fetched in &blocks {
                        self.foreign.insert(fetched.block.hash());
                    }
                    turn.actions.push(Action::ImportMany(blocks));
                }
                sync::Action::Drop { peer, reason } => {
                    turn.actions.push(Action::Drop { peer, fault: Fault::Sync(reason) });
                }
                sync::Action::Progress { current, highest } => {
                    let starting = self.progress.map_or(current, |progress| progress.starting);
                    self.progress = Some(SyncProgress { starting, current, highest });
                    turn.actions.push(Action::Progress(self.progress));
                }
                sync::Action::Done => {
                    self.accept_transactions();
                    self.announce_head(turn);
                }
            }
        }
        if self.progress.is_some() && !self.sync.is_syncing() && self.sync.imports() == 0 {
            self.progress = None;
            turn.actions.push(Action::Progress(None));
        }
    }
}

/// The newest block of a view.
pub(crate) fn head_of(view: &ChainView) -> Head {
    Head { number: view.head.number, hash: view.head.hash(), td: view.td }
}

/// The answer to a peer's question; `None` if the message is none.
///
/// # Errors
///
/// When the database fails.
pub fn answer(
    view: &ChainView,
    pool: &Pool,
    question: Message,
) -> Result<Option<Message>, StorageError> {
    // Nobody asks for trie nodes here, so there are no places to remember.
    let places = Mutex::default();
    let answer = serve::answer(view, pool, &places, Question::Eth(question))?;
    Ok(answer.and_then(|answer| match answer {
        Answer::Eth(message) => Some(message),
        Answer::Snap(_) => None,
    }))
}
