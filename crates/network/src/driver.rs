//! The network's loop: sockets, chain and pool around the machine of [`crate::protocol`].
//!
//! It waits for one thing only, the next event. Whatever takes time is a job of its own.

mod fresh;
mod hand_over;
mod progress;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use chain::{ChainEvent, ChainHandle, ChainView, ImportError, Origin};
use consensus::{Engine, VerifiedBlock};
use devp2p::{DialEvent, Dialer, DisconnectReason, NetRestrict, NodeRecord, PeerId};
use primitives::{
    B256,
    map::{HashMap, HashSet},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{
        OwnedSemaphorePermit,
        broadcast::{self, error::TryRecvError},
        mpsc, oneshot, watch,
    },
    task::{self, JoinSet},
};
use txpool::Pool;

use fresh::Fresh;
pub use hand_over::HandOver;
use progress::ProgressLog;

use crate::{
    SessionId,
    connection::{self, Context, Joined, PeerEvent, Way},
    import::{Importing, Outcome},
    metrics::NetworkMetrics,
    node::EVENTS_MAX,
    peers::{PeerInfo, Peers},
    pending::Pending,
    protocol::{self, Action, Event, Job, Protocol, SyncProgress},
    serve::{self, Answer, Places, Question},
    trouble::{self, Troubles},
    wire::Message,
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
    /// A word, to see that the loop runs.
    Ping(oneshot::Sender<()>),
    /// Leave to the peers what only this node has.
    HandOver(oneshot::Sender<HandOver>),
    /// A node's clock differs from ours.
    Clock {
        id: PeerId,
        at: SocketAddr,
        /// How far it is ahead.
        seconds: i64,
        /// Whether it is a trouble though nobody called the node.
        matters: bool,
    },
}

/// What a job brought.
pub(crate) enum Done {
    /// The answer to a peer's question, and its place on the way out.
    Answer(SessionId, Option<(Answer, OwnedSemaphorePermit)>),
    /// A part of the protocol's own work.
    Protocol(protocol::Done),
    /// Peers have what only this node had.
    HandedOver,
    /// The database failed.
    Failed(storage::StorageError),
}

/// A connection, from the first packet on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    session: SessionId,
    /// Who was called, if we did.
    dialled: Option<PeerId>,
    address: Option<SocketAddr>,
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
    pub(crate) protocol: Protocol,
    pub(crate) importing: Importing,
    pub(crate) connections: JoinSet<String>,
    /// Every connection, until it is closed.
    pub(crate) open: HashMap<task::Id, Open>,
    /// Those of them who called and have not said who they are.
    pub(crate) pending: Pending,
    /// Networks to keep to.
    pub(crate) restrict: Option<NetRestrict>,
    pub(crate) jobs: JoinSet<Done>,
    /// The jobs that answer a question, and whose it is.
    pub(crate) answering: HashMap<task::Id, SessionId>,
    /// Where the trie nodes lie that peers may ask for next.
    pub(crate) places: Arc<Mutex<Places>>,
    pub(crate) sessions: u64,
    pub(crate) infos: watch::Sender<Arc<Vec<PeerInfo>>>,
    pub(crate) progress: watch::Sender<Option<SyncProgress>>,
    pub(crate) progress_log: ProgressLog,
    /// What went wrong lately.
    pub(crate) troubles: watch::Sender<Troubles>,
    /// The jobs that take transactions into the pool.
    pub(crate) admitting: HashSet<task::Id>,
    /// Hashes of what is new in the pool.
    pub(crate) pooled: broadcast::Receiver<B256>,
    /// Hashes of what users gave to this node that is not pending yet.
    pub(crate) waiting_own: broadcast::Receiver<B256>,
    pub(crate) fresh: Fresh,
    pub(crate) metrics: NetworkMetrics,
    /// The share of the inbox of the message that is worked on. A job that keeps the message's
    /// content takes it along.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Driver {
    /// Runs until the context's token is cancelled, then until every connection is closed.
    pub(crate) async fn run(mut self, mut sources: Sources) {
        let stop = self.context.stop.clone();
        let mut changes = self.chain.events();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What the pool's journal held, to be announced again and again as all that is this node's
        // own.
        self.on_event(Event::PoolSkipped);
        loop {
            let is_open = self.pending.is_open(Instant::now());
            let listener = sources.listener.as_ref().filter(|_| is_open);
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = sources.peers.recv() => self.on_peer(event),
                Some(closed) = self.connections.join_next_with_id() => {
                    self.hear_last_words(&mut sources.peers);
                    match closed {
                        Ok((id, reason)) => self.on_closed(id, &reason),
                        Err(error) => {
                            tracing::error!(%error, "A connection panicked");
                            self.on_closed(error.id(), "it panicked");
                        }
                    }
                }
                Some(done) = self.jobs.join_next_with_id() => match done {
                    Ok((id, done)) => {
                        if matches!(done, Done::Failed(_)) {
                            self.on_unanswered(id);
                        }
                        self.answering.remove(&id);
                        self.admitting.remove(&id);
                        self.on_done(done);
                        self.announce();
                    }
                    Err(error) => {
                        tracing::error!(%error, "Job of the network panicked");
                        self.admitting.remove(&error.id());
                        self.on_unanswered(error.id());
                    }
                },
                Some(outcome) = sources.imported.recv() => self.on_event(Event::Imported(outcome)),
                change = changes.recv() => self.on_chain(change),
                hash = recv_from(self.fresh.next_at(), &mut self.pooled) => match hash {
                    Ok(hash) => {
                        self.fresh.add(hash, Instant::now());
                        self.announce();
                    }
                    Err(_) => self.on_pool_skipped(),
                },
                Some(node) = sources.found.recv() => self.dial(DialEvent::Found(node)),
                Some(command) = sources.commands.recv() => {
                    if matches!(command, Command::HandOver(_)) {
                        self.tell_changes(&mut changes);
                    }
                    self.on_command(command);
                }
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
            self.metrics.accepted_calls_total.increment(1);
            self.connect(Way::In(stream), Some(address));
        }
    }

    /// Begins a connection, to a caller if there is one. Calls of our own take none of their
    /// places.
    fn connect(&mut self, way: Way, caller: Option<SocketAddr>) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let (dialled, address) = match &way {
            Way::Out { id, address } => (Some(*id), Some(*address)),
            Way::In(_) => (None, caller),
        };
        let running = connection::run(Arc::clone(&self.context), session, way);
        let id = match caller {
            Some(caller) => {
                let (stop, evicted) = self.pending.add(session, caller.ip(), Instant::now());
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
        self.open.insert(id, Open { session, dialled, address });
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
            self.metrics.dials_total.increment(1);
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
            // Whoever asked may have left.
            Command::Ping(answer) => {
                let _ = answer.send(());
            }
            Command::HandOver(answer) => self.hand_over(answer),
            Command::Trust(id, trusted) => {
                self.peers.trust(id, trusted);
                self.publish();
            }
            Command::Clock { id, at, seconds, matters } => {
                let is_wanted =
                    matters || self.dialer.is_named(id) || self.troubles.borrow().has_dialled(id);
                if is_wanted && self.peers.session_of(id).is_none() {
                    self.trouble((Some(id), Some(at)), true, &trouble::clock(seconds));
                }
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
            PeerEvent::Question(session, question, room) => {
                self.room = Some(room);
                self.on_question(session, Question::Snap(*question));
                self.room = None;
            }
            PeerEvent::Message(..) => {}
        }
    }

    /// What a peer sent before it left is in the queue when its connection is closed, and is worth
    /// as much as any other: transactions above all, which nobody may have but who left.
    fn hear_last_words(&mut self, peers: &mut mpsc::Receiver<PeerEvent>) {
        for _ in 0..EVENTS_MAX {
            let Ok(event) = peers.try_recv() else { break };
            self.on_peer(event);
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
                if reason == DisconnectReason::TooManyPeers {
                    let why = "this node is full; raise --maxpeers, or name the peer among the \
                               trusted nodes";
                    self.trouble((Some(id), Some(identity.address)), identity.dialled, why);
                }
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
        self.troubles.send_modify(|troubles| troubles.settle(id));
        let (head, td) = (joined.status.head, joined.status.td);
        let version = identity.version;
        self.on_event(Event::PeerJoined { peer: session, version, head, td });
        self.publish();
    }

    fn on_closed(&mut self, id: task::Id, reason: &str) {
        let Some(Open { session, dialled, address }) = self.open.remove(&id) else { return };
        self.pending.remove(session);
        if let Some(id) = self.forget(session) {
            tracing::debug!(peer = ?id, reason, "Removed peer");
            self.dial(DialEvent::Ended(id));
            self.publish();
        } else {
            tracing::debug!(peer = ?dialled, reason, "Could not connect");
            let is_over = dialled.is_some_and(|id| self.peers.session_of(id).is_some());
            if !is_over && !self.context.stop.is_cancelled() {
                self.trouble((dialled, address), dialled.is_some(), reason);
            }
            if let Some(id) = dialled {
                self.dial(DialEvent::Answered { id, connected: false });
            }
        }
    }

    /// Remembers what went wrong, and warns if the operator wants this peer.
    fn trouble(&mut self, about: (Option<PeerId>, Option<SocketAddr>), dialled: bool, why: &str) {
        let is_named = about.0.is_some_and(|id| self.dialer.is_named(id));
        let mut is_new = false;
        self.troubles.send_modify(|troubles| {
            is_new = troubles.add(about, dialled, why, SystemTime::now());
        });
        if is_named && is_new {
            tracing::warn!(peer = ?about.0, address = ?about.1, reason = why, "Cannot connect to named node");
        }
    }

    /// Forgets a session that is over, and says whose it was.
    fn forget(&mut self, session: SessionId) -> Option<PeerId> {
        let mut peer = self.peers.remove(session)?;
        self.metrics.carried(peer.carried());
        self.on_event(Event::PeerLeft { peer: session });
        Some(peer.identity.id)
    }

    fn on_message(&mut self, session: SessionId, message: Message) {
        match message {
            Message::GetBlockHeaders { .. }
            | Message::GetBlockBodies { .. }
            | Message::GetReceipts { .. }
            | Message::GetNodeData { .. }
            | Message::GetPooledTransactions { .. } => {
                self.on_question(session, Question::Eth(message));
            }
            // Never asked for.
            Message::NodeData { .. } | Message::Receipts { .. } | Message::Status(_) => {
                self.drop_peer(session, DisconnectReason::SubprotocolError, "unasked answer");
            }
            message => self.on_event(Event::Message { peer: session, message }),
        }
    }

    fn on_question(&mut self, session: SessionId, question: Question) {
        let Some(peer) = self.peers.with(session) else { return };
        match peer.ask(Box::new(question)) {
            Ok(Some(question)) => self.answer(session, question),
            Ok(None) => {}
            Err(()) => {
                self.drop_peer(session, DisconnectReason::SubprotocolError, "too many questions");
            }
        }
    }

    fn answer(&mut self, session: SessionId, question: Question) {
        let Some(free) = self.peers.with(session).map(|peer| peer.sender.answers()) else {
            return;
        };
        let (chain, pool, places) =
            (self.chain.clone(), self.pool.clone(), Arc::clone(&self.places));
        let job = self.jobs.spawn(async move {
            // A peer that has left gives its places back, too.
            let place = free.acquire_owned().await.ok();
            let view = chain.view();
            let is_brief = serve::is_brief(&view, &question);
            let serving = move || serve::answer(&view, &pool, &places, question);
            let answer = if is_brief { Ok(serving()) } else { task::spawn_blocking(serving).await };
            match answer {
                Ok(Ok(answer)) => Done::Answer(session, answer.zip(place)),
                Ok(Err(error)) => Done::Failed(error),
                // Whoever waits for this job learns of a panic as of its own.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Done::Answer(session, None),
                },
            }
        });
        self.answering.insert(job.id(), session);
    }

    /// If the job was to answer a peer, the peer goes: its next questions wait behind this one.
    fn on_unanswered(&mut self, id: task::Id) {
        if let Some(session) = self.answering.remove(&id) {
            self.drop_peer(session, DisconnectReason::Requested, "its question has no answer");
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Answer(session, answer) => {
                if let Some((answer, place)) = answer {
                    self.send_answer(session, &answer, place);
                }
                let next = self.peers.with(session).and_then(|peer| peer.answered());
                if let Some(question) = next {
                    self.answer(session, question);
                }
            }
            Done::Protocol(done) => self.on_event(Event::Done(done)),
            Done::HandedOver => {}
            // The chain will notice, too, and stop the node.
            Done::Failed(error) => tracing::error!(%error, "Could not answer a peer"),
        }
    }

    fn on_tick(&mut self) {
        self.metrics.carried(self.peers.carried());
        self.dial(DialEvent::Tick);
        self.on_event(Event::Tick);
        self.announce();
    }

    fn on_chain(&mut self, change: Result<Arc<ChainEvent>, broadcast::error::RecvError>) {
        self.on_event(change.map_or(Event::ChainSkipped, Event::ChainChanged));
    }

    /// Takes what is new in the pool, and announces it unless more of it is coming.
    fn announce(&mut self) {
        let now = Instant::now();
        loop {
            let pending = self.pooled.try_recv();
            let is_over = matches!(pending, Err(TryRecvError::Empty | TryRecvError::Closed));
            match if is_over { self.waiting_own.try_recv() } else { pending } {
                Ok(hash) => self.fresh.add(hash, now),
                Err(TryRecvError::Lagged(_)) => self.on_pool_skipped(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if let Some(hashes) = self.fresh.take(!self.admitting.is_empty(), now) {
            self.on_event(Event::Pooled(hashes));
        }
    }

    /// Changes came faster than they were read: the pool itself has to be looked through.
    fn on_pool_skipped(&mut self) {
        self.pooled = self.pooled.resubscribe();
        self.waiting_own = self.waiting_own.resubscribe();
        self.fresh = Fresh::default();
        self.on_event(Event::PoolSkipped);
    }

    /// Lets the protocol decide, and does what it says.
    fn on_event(&mut self, event: Event) {
        let (view, mut actions) = (self.view(), Vec::new());
        self.protocol.on(event, Instant::now(), (&view, &self.pool), &mut actions);
        for action in actions {
            self.perform(action, &view);
        }
    }

    fn perform(&mut self, action: Action, view: &ChainView) {
        match action {
            Action::Send { peer, message } => self.send(peer, &message),
            Action::Drop { peer, fault } => {
                self.drop_peer(peer, fault.disconnect_reason(), &fault.to_string());
            }
            Action::Start(job) => self.start(job),
            Action::Import(block) => {
                let chain = self.chain.clone();
                self.jobs.spawn(async move { Done::Protocol(import(*block, chain).await) });
            }
            Action::ImportMany(blocks) => self.importing.start(blocks, &self.engine, &view.spec),
            Action::PeerHead { peer, head, td } => {
                if let Some(known) = self.peers.with(peer) {
                    (known.head, known.td) = (head, td);
                }
            }
            Action::Progress(progress) => self.show(progress),
        }
    }

    fn start(&mut self, job: Job) {
        let (engine, pool) = (Arc::clone(&self.engine), self.pool.clone());
        let (room, admits) = (self.room.take(), matches!(job, Job::Admit { .. }));
        let running = self.jobs.spawn_blocking(move || {
            // Held until the work is done.
            let _held = room;
            Done::Protocol(job.run(&engine, &pool))
        });
        if admits {
            self.admitting.insert(running.id());
        }
    }

    fn show(&mut self, progress: Option<SyncProgress>) {
        self.progress.send_replace(progress);
        if let Some(line) = self.progress_log.line(progress, Instant::now()) {
            tracing::info!(
                number = line.current,
                highest = line.highest,
                blocks_per_second = line.rate,
                eta = line.eta,
                "Syncing"
            );
        }
    }

    pub(crate) fn send(&mut self, session: SessionId, message: &Message) {
        let Some(peer) = self.peers.with(session) else { return };
        if !peer.sender.send(message) {
            self.drop_peer(session, DisconnectReason::UselessPeer, "it does not read");
        }
    }

    fn send_answer(&mut self, session: SessionId, answer: &Answer, place: OwnedSemaphorePermit) {
        let Some(peer) = self.peers.with(session) else { return };
        if !peer.sender.send_answer(answer, place) {
            self.drop_peer(session, DisconnectReason::UselessPeer, "it does not read");
        }
    }

    /// Ends a connection; what is known of the peer goes when it is closed.
    pub(crate) fn drop_peer(&mut self, session: SessionId, reason: DisconnectReason, why: &str) {
        if let Some(peer) = self.peers.with(session) {
            tracing::debug!(peer = ?peer.identity.id, why, "Dropping peer");
            peer.sender.disconnect(reason);
            NetworkMetrics::dropped(reason);
        }
    }

    fn publish(&self) {
        self.infos.send_replace(self.peers.infos());
    }
}

/// Imports a block that a peer gave.
async fn import(block: VerifiedBlock, chain: ChainHandle) -> protocol::Done {
    let id = block.block().num_hash();
    let started = Instant::now();
    let result = chain.import(block, Origin::Other).await;
    let (number, hash) = (id.number, id.hash);
    match &result {
        Ok(_) => {
            let elapsed = started.elapsed();
            tracing::info!(number, %hash, ?elapsed, "Imported new chain segment");
        }
        Err(ImportError::Stopped) => {}
        Err(error) => tracing::debug!(number, %hash, %error, "Could not import block"),
    }
    protocol::Done::of_import(id, &result)
}

/// What a channel has next, once that time has come.
async fn recv_from(
    time: Option<Instant>,
    channel: &mut broadcast::Receiver<B256>,
) -> Result<B256, broadcast::error::RecvError> {
    if let Some(time) = time {
        tokio::time::sleep_until(time.into()).await;
    }
    channel.recv().await
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
