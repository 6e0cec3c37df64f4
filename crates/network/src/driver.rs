//! The network's loop: sockets, chain and pool around the machines of [`crate::sync`] and
//! [`crate::gossip`].
//!
//! It waits for one thing only, the next event. Whatever takes time is a job of its own.

mod blocks;
mod transactions;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use chain::{ChainEvent, ChainHandle, ChainView};
use consensus::Engine;
use devp2p::{DialEvent, Dialer, DisconnectReason, NetRestrict, NodeRecord, PeerId};
use primitives::{B256, map::HashMap};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, broadcast, mpsc, watch},
    task::{self, JoinSet},
};
use txpool::Pool;

use blocks::Held;

use crate::{
    SessionId,
    connection::{self, Context, Joined, PeerEvent, Way},
    gossip::{
        blocks::BlockGossip,
        transactions::{self as tx, TransactionGossip},
    },
    import::{Importing, Outcome},
    peers::{PeerInfo, Peers},
    pending::Pending,
    recent::Recent,
    serve,
    sync::{self, Head, Sync},
    wire::{Message, Requester},
};

/// How often the machines are told that time passes.
const TICK: Duration = Duration::from_millis(100);
/// How long to wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What somebody wants of the network.
#[derive(Debug)]
pub(crate) enum Command {
    Add(NodeRecord),
    Remove(PeerId),
    /// Whether a node has a place always.
    Trust(PeerId, bool),
}

/// What a job brought.
pub(crate) enum Done {
    /// The answer to a peer's question.
    Answer(SessionId, Option<Message>),
    /// A part of the loop's own work, with what to do next.
    Block(blocks::Done),
    Transactions(transactions::Done),
    /// The database failed.
    Failed(storage::StorageError),
}

/// A connection, from the first packet on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    session: SessionId,
    /// Who was called, if we did.
    dialled: Option<PeerId>,
}

/// Where events come from.
pub(crate) struct Sources {
    pub(crate) listener: Option<TcpListener>,
    pub(crate) peers: mpsc::Receiver<PeerEvent>,
    pub(crate) found: mpsc::Receiver<NodeRecord>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) imported: mpsc::Receiver<Outcome>,
}

/// Everything the loop owns.
pub(crate) struct Driver {
    pub(crate) context: Arc<Context>,
    pub(crate) chain: ChainHandle,
    pub(crate) pool: Pool,
    pub(crate) engine: Arc<Engine>,
    pub(crate) peers: Peers,
    pub(crate) dialer: Dialer,
    pub(crate) sync: Sync,
    pub(crate) blocks: BlockGossip,
    pub(crate) transactions: TransactionGossip,
    pub(crate) importing: Importing,
    pub(crate) connections: JoinSet<String>,
    /// Every connection, until it is closed.
    pub(crate) open: HashMap<task::Id, Open>,
    /// Those of them who called and have not said who they are.
    pub(crate) pending: Pending,
    /// Networks to keep to.
    pub(crate) restrict: Option<NetRestrict>,
    pub(crate) jobs: JoinSet<Done>,
    pub(crate) sessions: u64,
    pub(crate) infos: watch::Sender<Arc<Vec<PeerInfo>>>,
    pub(crate) shown: Option<Instant>,
    /// Blocks that are passed on before they are in the chain.
    pub(crate) held: HashMap<B256, Held>,
    /// The share of the inbox of the message that is worked on. A job that keeps the message's
    /// content takes it along.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// Blocks that came from others.
    pub(crate) foreign: Recent,
}

impl Driver {
    /// Runs until the context's token is cancelled, then until every connection is closed.
    pub(crate) async fn run(mut self, mut sources: Sources) {
        let stop = self.context.stop.clone();
        let mut changes = self.chain.events();
        let mut pooled = self.pool.changes();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_open = self.pending.is_open(Instant::now());
            let listener = sources.listener.as_ref().filter(|_| is_open);
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = sources.peers.recv() => self.on_peer(event),
                Some(closed) = self.connections.join_next_with_id() => match closed {
                    Ok((id, reason)) => self.on_closed(id, &reason),
                    Err(error) => {
                        tracing::error!(%error, "A connection panicked");
                        self.on_closed(error.id(), "it panicked");
                    }
                },
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.on_done(done),
                    Err(error) => tracing::error!(%error, "Job of the network panicked"),
                },
                Some(outcome) = sources.imported.recv() => self.on_imported(outcome),
                change = changes.recv() => self.on_chain(change),
                hash = pooled.recv() => self.on_pooled(hash, &mut pooled),
                Some(node) = sources.found.recv() => self.dial(DialEvent::Found(node)),
                Some(command) = sources.commands.recv() => self.on_command(command),
                _ = tick.tick() => self.on_tick(),
                accepted = accept(listener) => match accepted {
                    Ok((stream, address)) => self.on_caller(stream, address),
                    Err(error) => tracing::debug!(%error, "Could not accept a peer"),
                },
            }
        }
        drop(sources);
        while self.connections.join_next().await.is_some() {}
        while self.jobs.join_next().await.is_some() {}
    }

    pub(crate) fn view(&self) -> Arc<ChainView> {
        self.chain.view()
    }

    fn allows(&self, ip: IpAddr) -> bool {
        self.restrict.as_ref().is_none_or(|networks| networks.contains(ip.to_canonical()))
    }

    fn on_caller(&mut self, stream: TcpStream, address: SocketAddr) {
        if !self.allows(address.ip()) {
            tracing::debug!(%address, "Refused caller from outside --netrestrict");
        } else if !self.pending.admits(address.ip()) {
            tracing::debug!(%address, "Refused caller whose address has too many handshakes");
        } else {
            self.connect(Way::In(stream), Some(address.ip()));
        }
    }

    /// Begins a connection, to a caller if there is one. Calls of our own take none of their
    /// places.
    fn connect(&mut self, way: Way, caller: Option<IpAddr>) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let dialled = match &way {
            Way::Out { id, .. } => Some(*id),
            Way::In(_) => None,
        };
        let running = connection::run(Arc::clone(&self.context), session, way);
        let id = match caller {
            Some(ip) => {
                let (stop, evicted) = self.pending.add(session, ip, Instant::now());
                if let Some((session, since)) = evicted {
                    tracing::debug!(%session, waited = ?since.elapsed(), "Silent caller gave way");
                }
                let running = Box::pin(running);
                let ended = async move { stop.run_until_cancelled(running).await };
                let gave_way = || "it gave way to another caller".to_owned();
                self.connections.spawn(async move { ended.await.unwrap_or_else(gave_way) }).id()
            }
            None => self.connections.spawn(running).id(),
        };
        self.open.insert(id, Open { session, dialled });
    }

    pub(crate) fn dial(&mut self, event: DialEvent) {
        let mut calls = Vec::new();
        self.dialer.on(event, Instant::now(), &mut calls);
        for node in calls {
            if !self.allows(node.ip) {
                tracing::debug!(peer = ?node.id, ip = %node.ip, "Did not call outside --netrestrict");
                let event = DialEvent::Answered { id: node.id, connected: false };
                self.dialer.on(event, Instant::now(), &mut Vec::new());
                continue;
            }
            self.connect(Way::Out { id: node.id, address: node.tcp_address() }, None);
        }
    }

    /// Nodes to be connected to always.
    pub(crate) fn name(&mut self, nodes: Vec<NodeRecord>) {
        for node in nodes {
            self.dial(DialEvent::Named(node));
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Add(node) => {
                self.dial(DialEvent::Named(node));
                self.peers.set_named(node.id, true);
                self.publish();
            }
            Command::Trust(id, trusted) => {
                self.peers.trust(id, trusted);
                self.publish();
            }
            Command::Remove(id) => {
                self.dial(DialEvent::Forgotten(id));
                if let Some(session) = self.peers.session_of(id) {
                    self.drop_peer(session, DisconnectReason::Requested, "the operator said so");
                }
            }
        }
    }

    fn on_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Joined(joined) => self.on_joined(&joined),
            PeerEvent::Message(session, message, room) if self.peers.has(session) => {
                self.room = Some(room);
                self.on_message(session, *message);
                self.room = None;
            }
            PeerEvent::Message(..) => {}
        }
    }

    fn on_joined(&mut self, joined: &Joined) {
        let (session, identity) = (joined.session, &joined.identity);
        let id = identity.id;
        self.pending.remove(session);
        if self.open.values().all(|open| open.session != session) {
            // It ended while its words were on their way; nobody would remove it again.
            return;
        }
        match self.peers.admit(joined, self.dialer.is_named(id), Instant::now()) {
            Ok(None) => {}
            Ok(Some(old)) => {
                self.drop_peer(old, DisconnectReason::AlreadyConnected, "it has a newer session");
                self.forget(old);
            }
            Err(reason) => {
                tracing::debug!(peer = ?id, %reason, "Refused peer");
                joined.sender.disconnect(reason);
                return;
            }
        }
        self.dial(match identity.dialled {
            true => DialEvent::Answered { id, connected: true },
            false => DialEvent::Accepted(id),
        });
        tracing::debug!(
            peer = ?id, address = %identity.address, name = %identity.name,
            version = %identity.version, "Added peer"
        );
        let (head, td) = (joined.status.head, joined.status.td);
        self.on_sync(sync::Event::PeerJoined { peer: session, head, td });
        self.greet_with_blocks(session, head);
        self.greet_with_transactions(session, identity.version);
        self.publish();
    }

    fn on_closed(&mut self, id: task::Id, reason: &str) {
        let Some(Open { session, dialled }) = self.open.remove(&id) else { return };
        self.pending.remove(session);
        if let Some(id) = self.forget(session) {
            tracing::debug!(peer = ?id, reason, "Removed peer");
            self.dial(DialEvent::Ended(id));
            self.publish();
        } else {
            tracing::debug!(peer = ?dialled, reason, "Could not connect");
            if let Some(id) = dialled {
                self.dial(DialEvent::Answered { id, connected: false });
            }
        }
    }

    /// Forgets a session that is over, and says whose it was.
    fn forget(&mut self, session: SessionId) -> Option<PeerId> {
        let peer = self.peers.remove(session)?;
        self.on_sync(sync::Event::PeerLeft { peer: session });
        self.forget_in_blocks(session);
        self.on_transactions(tx::Event::PeerLeft { peer: session });
        Some(peer.identity.id)
    }

    fn on_message(&mut self, session: SessionId, message: Message) {
        match message {
            Message::GetBlockHeaders { .. }
            | Message::GetBlockBodies { .. }
            | Message::GetReceipts { .. }
            | Message::GetNodeData { .. }
            | Message::GetPooledTransactions { .. } => self.on_question(session, message),
            Message::BlockHeaders { request, headers } => match request.requester() {
                Some(Requester::Blocks) => self.on_block_header(session, request, headers),
                _ => self.on_sync(sync::Event::Headers { peer: session, request, headers }),
            },
            Message::BlockBodies { request, bodies } => match request.requester() {
                Some(Requester::Blocks) => self.on_block_body(session, request, bodies),
                _ => self.on_sync(sync::Event::Bodies { peer: session, request, bodies }),
            },
            Message::NewBlock { block, td } => self.on_new_block(session, block, td),
            Message::NewBlockHashes(blocks) => self.on_announced_blocks(session, blocks),
            Message::Transactions(transactions) => {
                self.on_transactions(tx::Event::Received { peer: session, transactions });
            }
            Message::NewPooledTransactionHashes(transactions) => {
                self.on_transactions(tx::Event::Announced { peer: session, transactions });
            }
            Message::PooledTransactions { request, transactions } => {
                let event = tx::Event::Answered { peer: session, request, transactions };
                self.on_transactions(event);
            }
            // Never asked for.
            Message::NodeData { .. } | Message::Receipts { .. } | Message::Status(_) => {
                self.drop_peer(session, DisconnectReason::SubprotocolError, "unasked answer");
            }
        }
    }

    fn on_question(&mut self, session: SessionId, question: Message) {
        let Some(peer) = self.peers.with(session) else { return };
        match peer.ask(Box::new(question)) {
            Ok(Some(question)) => self.answer(session, question),
            Ok(None) => {}
            Err(()) => {
                self.drop_peer(session, DisconnectReason::SubprotocolError, "too many questions");
            }
        }
    }

    fn answer(&mut self, session: SessionId, question: Message) {
        let (view, pool) = (self.view(), self.pool.clone());
        self.jobs.spawn_blocking(move || match serve::answer(&view, &pool, question) {
            Ok(answer) => Done::Answer(session, answer),
            Err(error) => Done::Failed(error),
        });
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Answer(session, answer) => {
                if let Some(answer) = answer {
                    self.send(session, &answer);
                }
                let next = self.peers.with(session).and_then(|peer| peer.answered());
                if let Some(question) = next {
                    self.answer(session, question);
                }
            }
            Done::Block(done) => self.on_block_done(done),
            Done::Transactions(done) => self.on_transactions_done(done),
            // The chain will notice, too, and stop the node.
            Done::Failed(error) => tracing::error!(%error, "Could not answer a peer"),
        }
    }

    fn on_tick(&mut self) {
        self.dial(DialEvent::Tick);
        self.on_sync(sync::Event::Tick);
        self.tick_blocks();
        self.on_transactions(tx::Event::Tick);
    }

    fn on_chain(&mut self, change: Result<Arc<ChainEvent>, broadcast::error::RecvError>) {
        let view = self.view();
        self.on_sync(sync::Event::HeadChanged(head_of(&view)));
        if let Ok(change) = change {
            self.on_adopted(&change);
        }
    }

    /// Lets the sync decide, and does what it says.
    pub(crate) fn on_sync(&mut self, event: sync::Event) {
        let (view, mut actions) = (self.view(), Vec::new());
        let mut known = |number| view.db.canonical_hash(number).ok().flatten();
        self.sync.on(event, Instant::now(), &mut known, &mut actions);
        for action in actions {
            match action {
                sync::Action::Request { peer, message } => self.send(peer, &message),
                sync::Action::Import(blocks) => {
                    for fetched in &blocks {
                        self.foreign.insert(fetched.block.hash());
                    }
                    self.importing.start(blocks, &self.engine, &view.spec);
                }
                sync::Action::Drop { peer, reason } => {
                    let text = reason.to_string();
                    self.drop_peer(peer, DisconnectReason::UselessPeer, &text);
                }
                sync::Action::Progress { current, highest } => self.show(current, highest),
                sync::Action::Done => self.announce_head(&view),
            }
        }
    }

    fn on_imported(&mut self, outcome: Outcome) {
        let event = match outcome {
            Outcome::Imported => sync::Event::Imported(head_of(&self.view())),
            Outcome::Failed { hash, peer } => sync::Event::ImportFailed { hash, peer },
        };
        self.on_sync(event);
    }

    fn show(&mut self, current: u64, highest: u64) {
        let now = Instant::now();
        if self.shown.is_none_or(|shown| now - shown >= Duration::from_secs(8)) {
            self.shown = Some(now);
            tracing::info!(number = current, highest, "Syncing");
        }
    }

    pub(crate) fn send(&mut self, session: SessionId, message: &Message) {
        let Some(peer) = self.peers.with(session) else { return };
        if !peer.sender.send(message) {
            self.drop_peer(session, DisconnectReason::UselessPeer, "it does not read");
        }
    }

    /// Ends a connection; what is known of the peer goes when it is closed.
    pub(crate) fn drop_peer(&mut self, session: SessionId, reason: DisconnectReason, why: &str) {
        if let Some(peer) = self.peers.with(session) {
            tracing::debug!(peer = ?peer.identity.id, why, "Dropping peer");
            peer.sender.disconnect(reason);
        }
    }

    fn publish(&self) {
        self.infos.send_replace(self.peers.infos());
    }
}

/// The newest block of a view.
pub(crate) fn head_of(view: &ChainView) -> Head {
    Head { number: view.head.number, hash: view.head.hash(), td: view.td }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => {
            let accepted = listener.accept().await;
            if accepted.is_err() {
                // Without descriptors the next one fails at once, too.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            accepted
        }
        None => std::future::pending().await,
    }
}
