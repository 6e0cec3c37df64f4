//! One connection: from the socket to messages, and to the reason why it ended.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_rlp::Bytes;
use chain::ChainHandle;
use devp2p::{Capability, DisconnectReason, Local, Outgoing, PeerId, Session, Traffic};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    SessionId,
    handshake::Handshake,
    serve::Answer,
    trouble,
    wire::{EthVersion, Message, Questions, SnapQuestion, Status},
};

/// The name of the capability that every peer must have.
pub(crate) const ETH: &str = "eth";
/// The name of the capability that tells states.
pub(crate) const SNAP: &str = "snap";
/// Its only version.
pub(crate) const SNAP_VERSION: u32 = 1;
/// How long a peer has to say who it is.
const STATUS_PERIOD_MAX: Duration = Duration::from_secs(5);
/// How long a call may take to be answered at all.
const DIAL_PERIOD_MAX: Duration = Duration::from_secs(15);
/// Messages that wait for a peer. Who lets them pile up is dropped.
pub(crate) const OUTGOING_MAX: usize = 64;
/// Answers that wait for a peer to read them, one of which is being written. A peer chooses how large
/// they are, so whoever does not read gets no more of them.
const ANSWERS_MAX: usize = 2;
/// Messages that were read and wait to be decoded. Then the socket has to wait.
const INCOMING_MAX: usize = 1;
/// Bytes of messages that wait for the network's loop, in KiB, of all peers together.
pub(crate) const INBOX_KIB_MAX: usize = 32 * 1024;

/// What every connection needs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) local: Local,
    pub(crate) chain: ChainHandle,
    pub(crate) network_id: u64,
    pub(crate) events: mpsc::Sender<PeerEvent>,
    pub(crate) inbox: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

/// What a connection tells the loop.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// The handshakes are done.
    Joined(Box<Joined>),
    /// A message, and its share of the inbox.
    Message(SessionId, Box<Message>, OwnedSemaphorePermit),
    /// A question about a state, and its share of the inbox.
    Question(SessionId, Box<SnapQuestion>, OwnedSemaphorePermit),
}

/// A peer that may stay, if there is room.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) session: SessionId,
    pub(crate) identity: Identity,
    pub(crate) status: Status,
    pub(crate) sender: Sender,
    pub(crate) traffic: Arc<Traffic>,
}

/// Who a peer is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: PeerId,
    pub(crate) name: String,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) address: SocketAddr,
    pub(crate) local_address: SocketAddr,
    pub(crate) dialled: bool,
    pub(crate) version: EthVersion,
}

/// The way out to a peer.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    outgoing: mpsc::Sender<Outgoing>,
    stop: CancellationToken,
    /// Place of the eth protocol.
    capability: usize,
    version: EthVersion,
    /// Place of the snap protocol, if the peer speaks it.
    snap: Option<usize>,
    /// What the peer has not answered yet. Locked for a moment only, by whoever sends or receives.
    questions: Arc<Mutex<Questions>>,
    /// Room for answers.
    answers: Arc<Semaphore>,
}

/// An answer, and its place, which is free again when it is written.
struct Placed {
    payload: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

/// Whom a connection goes to.
#[derive(Debug)]
pub(crate) enum Way {
    /// We call.
    Out { id: PeerId, address: SocketAddr },
    /// We are called.
    In(TcpStream),
}

impl Sender {
    /// Sends a message, unless too many wait already: then the peer is to be dropped.
    #[must_use]
    pub(crate) fn send(&self, message: &Message) -> bool {
        self.questions().ask(message);
        let (id, payload) = message.encode(self.version);
        self.queue(self.capability, id, payload.into())
    }

    /// Sends messages one by one, each when the peer has taken those before it. Whether all of them
    /// were written, and whatever waited already.
    pub(crate) async fn send_all(self, messages: Arc<Vec<Message>>) -> bool {
        if !self.is_written().await {
            return false;
        }
        for message in messages.iter() {
            let (id, payload) = message.encode(self.version);
            let payload = payload.into();
            let message = devp2p::Message { capability: self.capability, id, payload };
            let sent = self.outgoing.send(Outgoing::Message(message)).await;
            if sent.is_err() || !self.is_written().await {
                return false;
            }
        }
        true
    }

    /// Waits until everything that was sent before is written; false if it never will be.
    async fn is_written(&self) -> bool {
        let (mark, written) = oneshot::channel();
        self.outgoing.send(Outgoing::Mark(mark)).await.is_ok() && written.await.is_ok()
    }

    /// Where to wait until an answer is worth its work: until the peer has read most of the others.
    pub(crate) fn answers(&self) -> Arc<Semaphore> {
        Arc::clone(&self.answers)
    }

    /// As [`Self::send`], of an answer that waited for its place.
    #[must_use]
    pub(crate) fn send_answer(&self, answer: &Answer, place: OwnedSemaphorePermit) -> bool {
        let (capability, (id, payload)) = match answer {
            Answer::Eth(answer) => (self.capability, answer.encode(self.version)),
            Answer::Snap(answer) => {
                let Some(snap) = self.snap else { return false };
                (snap, answer.encode())
            }
        };
        self.queue(capability, id, Bytes::from_owner(Placed { payload, _place: place }))
    }

    fn queue(&self, capability: usize, id: u8, payload: Bytes) -> bool {
        let message = devp2p::Message { capability, id, payload: payload.into() };
        self.outgoing.try_send(Outgoing::Message(message)).is_ok()
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection, with the reason if there is room to say it.
    pub(crate) fn disconnect(&self, reason: DisconnectReason) {
        if self.outgoing.try_send(Outgoing::Disconnect(reason)).is_err() {
            self.stop.cancel();
        }
    }
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

/// Runs one connection to its end, and says in words what that was.
pub(crate) async fn run(context: Arc<Context>, session: SessionId, way: Way) -> String {
    let dialled = matches!(way, Way::Out { .. });
    match connect(&context, way).await {
        Ok((established, addresses)) => {
            talk(&context, session, established, addresses, dialled).await
        }
        Err(reason) => reason,
    }
}

async fn connect(
    context: &Context,
    way: Way,
) -> Result<(Session, (SocketAddr, SocketAddr)), String> {
    let (stream, remote) = match way {
        Way::In(stream) => (stream, None),
        Way::Out { id, address } => {
            let connecting = time::timeout(DIAL_PERIOD_MAX, TcpStream::connect(address));
            let connected = context
                .stop
                .run_until_cancelled(connecting)
                .await
                .ok_or_else(|| "stopping".to_owned())?;
            let connected = connected.map_err(|_| trouble::unreachable(address, None))?;
            let stream = connected.map_err(|error| trouble::unreachable(address, Some(&error)))?;
            (stream, Some(id))
        }
    };
    // A socket for both families shows IPv4 addresses in the clothes of IPv6.
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let addresses = stream
        .peer_addr()
        .and_then(|peer| stream.local_addr().map(|local| (plain(peer), plain(local))))
        .map_err(|error| format!("connection was lost: {error}"))?;
    let session = match remote {
        Some(id) => devp2p::dial(stream, &id, &context.local).await,
        None => devp2p::accept(stream, &context.local).await,
    };
    session
        .map(|session| (session, addresses))
        .map_err(|error| trouble::handshake(&error, remote.is_some()))
}

async fn talk(
    context: &Context,
    number: SessionId,
    session: Session,
    (address, local_address): (SocketAddr, SocketAddr),
    dialled: bool,
) -> String {
    let eth = session.shared().iter().enumerate().find(|(_, shared)| shared.capability.name == ETH);
    let eth = eth.and_then(|(place, shared)| {
        Some((place, EthVersion::from_number(u64::from(shared.capability.version))?))
    });
    let Some((capability, version)) = eth else {
        session.disconnect(DisconnectReason::UselessPeer).await;
        return "peer does not speak eth; it is no node of a chain".to_owned();
    };
    let snap = session.shared().iter().position(|shared| shared.capability.name == SNAP);
    let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
    let (received, incoming) = mpsc::channel(INCOMING_MAX);
    let stop = context.stop.child_token();
    let identity = Identity {
        id: session.id(),
        name: session.hello().name.clone(),
        capabilities: session.hello().capabilities.clone(),
        address,
        local_address,
        dialled,
        version,
    };
    let answers = Arc::new(Semaphore::new(ANSWERS_MAX));
    let questions = Arc::default();
    let sender =
        Sender { outgoing, stop: stop.clone(), capability, version, snap, questions, answers };
    let traffic = session.traffic();
    let listener = Listener { context, number, sender, incoming, traffic };
    let mut running = std::pin::pin!(session.run(to_send, received, stop));
    let mut listening = std::pin::pin!(listener.run(identity));
    tokio::select! {
        ended = &mut running => {
            // What the peer said before it left may tell why: its status, above all.
            listening.await.unwrap_or_else(|| trouble::ended(&ended))
        }
        fault = &mut listening => {
            // The last words are on their way.
            let ended = running.await;
            fault.unwrap_or_else(|| trouble::ended(&ended))
        }
    }
}

/// The receiving end of a session.
struct Listener<'a> {
    context: &'a Context,
    number: SessionId,
    sender: Sender,
    incoming: mpsc::Receiver<devp2p::Message>,
    traffic: Arc<Traffic>,
}

impl Listener<'_> {
    /// Exchanges status, then hands messages on until there are no more. Returns what was wrong
    /// with the peer, if it was that.
    async fn run(mut self, identity: Identity) -> Option<String> {
        let status = match self.exchange_status().await {
            Ok(status) => status,
            Err((told, reason)) => {
                self.sender.disconnect(told);
                return reason;
            }
        };
        let (sender, traffic) = (self.sender.clone(), Arc::clone(&self.traffic));
        let joined = Joined { session: self.number, identity, status, sender, traffic };
        if self.context.events.send(PeerEvent::Joined(Box::new(joined))).await.is_err() {
            return None;
        }
        while let Some(message) = self.incoming.recv().await {
            if let Err(reason) = self.pass_on(message).await {
                self.sender.disconnect(DisconnectReason::SubprotocolError);
                return Some(reason);
            }
        }
        None
    }

    async fn exchange_status(&mut self) -> Result<Status, (DisconnectReason, Option<String>)> {
        let view = self.context.chain.view();
        let ours = Handshake {
            chain: &view.spec,
            network_id: self.context.network_id,
            number: view.head.number,
            head: view.head.hash(),
            td: view.td,
        };
        let version = self.sender.version;
        if !self.sender.send(&Message::Status(ours.status(version))) {
            return Err((DisconnectReason::Requested, None));
        }
        let first = time::timeout(STATUS_PERIOD_MAX, self.incoming.recv()).await.map_err(|_| {
            (DisconnectReason::ReadTimeout, Some("peer did not say its status in time".to_owned()))
        })?;
        let first = first.ok_or((DisconnectReason::Requested, None))?;
        let wrong = |reason: String| (DisconnectReason::SubprotocolError, Some(reason));
        let message = self.decode(&first).map_err(wrong)?;
        ours.accept(version, &message).map_err(|error| wrong(error.to_string()))
    }

    fn decode(&self, message: &devp2p::Message) -> Result<Message, String> {
        if message.capability != self.sender.capability {
            return Err("message of a capability that is not spoken".to_owned());
        }
        Message::decode(self.sender.version, message.id, &message.payload)
            .map_err(|error| format!("message {:#04x} is malformed: {error}", message.id))
    }

    async fn pass_on(&self, message: devp2p::Message) -> Result<(), String> {
        let kib = u32::try_from(message.payload.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.context.inbox).acquire_many_owned(kib).await;
        let room = room.map_err(|_| "stopping".to_owned())?;
        if Some(message.capability) == self.sender.snap {
            let question = SnapQuestion::decode(message.id, &message.payload).map_err(|error| {
                format!("message {:#04x} of snap is refused: {error}", message.id)
            })?;
            let event = PeerEvent::Question(self.number, Box::new(question), room);
            return self.context.events.send(event).await.map_err(|_| "stopping".to_owned());
        }
        if !self.sender.questions().may_come(message.id) {
            return Err(format!("message {:#04x} answers no question", message.id));
        }
        let mut message = Box::new(self.decode(&message)?);
        if !self.sender.questions().answer(self.sender.version, &mut message) {
            return Err("answer to another question".to_owned());
        }
        if matches!(*message, Message::Status(_)) {
            return Err("peer said its status twice".to_owned());
        }
        let event = PeerEvent::Message(self.number, message, room);
        self.context.events.send(event).await.map_err(|_| "stopping".to_owned())
    }
}
