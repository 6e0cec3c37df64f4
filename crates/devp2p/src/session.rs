//! One connection to a peer: from the handshake to the reason why it ended.

mod inbound;
mod message;

use std::{fmt, ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use primitives::Bytes;
use secp256k1::SecretKey;
use tokio::{
    io::BufReader,
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Capability, DisconnectReason, Hello, HelloError, PeerId, Protocol, RlpxError, Shared,
    base::{DISCONNECT, HELLO, NOTHING, PING, PONG, VERSION, VERSION_MIN, shared},
    rlpx::{self, FrameReader, FrameWriter, Secrets},
};
use inbound::{Action, Event, Inbound};
#[cfg(feature = "testing")]
pub(crate) use message::open as open_message;
pub use message::{MESSAGE_BYTES_MAX, Traffic};
use message::{MessageError, MessageReader, MessageWriter};

/// How long a connection may take to become a session, both handshakes included.
pub const HANDSHAKE_SECONDS_MAX: u64 = 5;
/// A peer that was quiet for this long is asked for a sign of life.
const PING_PERIOD: Duration = Duration::from_secs(15);
/// How long nothing is sent before a sign of life is, so that the peer's deadline is kept too.
/// Longer than [`PING_PERIOD`], so that a ping for the one reason also serves the other.
const IDLE_PERIOD_MAX: Duration = Duration::from_secs(20);
/// How long a message may take to come.
const READ_PERIOD_MAX: Duration = Duration::from_secs(30);
/// How long a message may take to go.
const WRITE_PERIOD_MAX: Duration = Duration::from_secs(20);
/// How long the reason for a disconnect may take to go.
const DISCONNECT_PERIOD_MAX: Duration = Duration::from_secs(1);
/// How long the peer may take to close its side afterwards.
const LINGER_PERIOD_MAX: Duration = Duration::from_secs(1);
/// Pings and pongs that wait for a peer that does not read.
const SIGNS_MAX: usize = 4;
/// What is read from a socket at once.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// An established connection.
pub struct Session {
    /// Boxed, because the states of ciphers and compression are thousands of bytes, and move.
    link: Box<Link>,
    hello: Hello,
    shared: Vec<Shared>,
}

/// What we say about ourselves, and the key that proves it.
#[derive(Clone)]
pub struct Local {
    /// The node's key.
    pub key: SecretKey,
    /// The software's name.
    pub name: String,
    /// The port that takes connections; 0 if none.
    pub port: u16,
    /// What we speak.
    pub protocols: Vec<Protocol>,
}

/// A message of a capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which capability: its place in [`Session::shared`].
    pub capability: usize,
    /// Which message of it, from 0.
    pub id: u8,
    /// Its payload, not compressed.
    pub payload: Bytes,
}

/// What is to be sent.
#[derive(Debug)]
pub enum Outgoing {
    /// A message, of at most [`MESSAGE_BYTES_MAX`].
    Message(Message),
    /// Nothing: answered when everything before it is written.
    Mark(oneshot::Sender<()>),
    /// The last one.
    Disconnect(DisconnectReason),
}

/// Why a session is over.
#[derive(Debug)]
pub enum Ended {
    /// The peer said that it leaves.
    Remote(DisconnectReason),
    /// We left, and tried to say why.
    Local(DisconnectReason),
    /// It was cut short.
    Error(SessionError),
}

/// Why a session was cut short.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection failed.
    #[error("transport failed")]
    Rlpx(#[from] RlpxError),
    /// The peer does not read.
    #[error("peer did not take a message in time")]
    WriteTimeout,
    /// We meant to send a message that the capability does not have.
    #[error("no message {id} in capability {capability}")]
    NoSuchMessage {
        /// Place of the capability.
        capability: usize,
        /// The message.
        id: u8,
    },
    /// We meant to send a message that no peer takes.
    #[error("message of {bytes} bytes exceeds {MESSAGE_BYTES_MAX}")]
    MessageTooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("handshake took longer than {HANDSHAKE_SECONDS_MAX} s")]
    Timeout,
    /// The connection failed, or the peer has not the key that was dialled.
    #[error("transport failed")]
    Rlpx(#[from] RlpxError),
    /// The first message was none that may be it.
    #[error("peer did not begin with hello")]
    NoHello,
    /// The peer's introduction was not understood.
    #[error("hello was not accepted")]
    Hello(#[from] HelloError),
    /// The peer does not want to talk to us.
    #[error("disconnected by peer: {0}")]
    Disconnected(DisconnectReason),
    /// We do not want to talk to the peer.
    #[error("disconnected: {0}")]
    Refused(DisconnectReason),
}

/// A connection that is encrypted, and whose other end is known.
struct Link {
    id: PeerId,
    reader: MessageReader,
    writer: MessageWriter,
    traffic: Arc<Traffic>,
}

/// Does what the receiving side's machine wants done.
struct Receiver {
    id: PeerId,
    inbound: Inbound,
    incoming: mpsc::Sender<Message>,
    /// Codes of pings and pongs.
    signs: mpsc::Sender<u64>,
}

/// Sends what is due, from whichever source.
struct Sender {
    id: PeerId,
    outgoing: mpsc::Receiver<Outgoing>,
    signs: mpsc::Receiver<u64>,
    dismissed: oneshot::Receiver<DisconnectReason>,
}

/// What it sends next.
enum Next {
    Sign(u64),
    Outgoing(Outgoing),
}

impl Session {
    /// The peer's key, which it has proved to have.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.link.id
    }

    /// How the peer introduced itself.
    #[must_use]
    pub const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The capabilities of both sides, by name. There is at least one.
    #[must_use]
    pub fn shared(&self) -> &[Shared] {
        &self.shared
    }

    /// What the connection has carried, and will.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.link.traffic)
    }

    /// Ends a session that never ran, within two seconds.
    pub async fn disconnect(mut self, reason: DisconnectReason) {
        self.link.disconnect(reason).await;
    }

    /// Sends and receives until the session is over, and says why it is.
    ///
    /// When `incoming` is full, nothing more is read from the connection; when its receiver is
    /// gone or the last sender of `outgoing` is, the session ends, as it does with `stop`, which
    /// does not wait for what is left in `outgoing`. From there to the return are two seconds at
    /// most.
    pub async fn run(
        self,
        outgoing: mpsc::Receiver<Outgoing>,
        incoming: mpsc::Sender<Message>,
        stop: CancellationToken,
    ) -> Ended {
        let Self { mut link, hello: _, shared } = self;
        let (signs, signs_due) = mpsc::channel(SIGNS_MAX);
        let (dismiss, dismissed) = oneshot::channel();
        let inbound = Inbound::new(shared.clone(), Instant::now());
        let receiver = Receiver { id: link.id, inbound, incoming, signs };
        let sender = Sender { id: link.id, outgoing, signs: signs_due, dismissed };
        let ended = {
            let mut receiving = pin!(receiver.run(&mut link.reader));
            let mut sending = pin!(sender.run(&mut link.writer, &shared));
            let reason = tokio::select! {
                ended = &mut receiving => match ended {
                    Ended::Local(reason) => Err(reason),
                    Ended::Remote(_) | Ended::Error(_) => Ok(ended),
                },
                ended = &mut sending => match ended {
                    Ended::Error(SessionError::Rlpx(error)) => {
                        Ok(last_word(error, receiving).await)
                    }
                    Ended::Local(_) | Ended::Remote(_) | Ended::Error(_) => Ok(ended),
                },
                () = stop.cancelled() => Err(DisconnectReason::ClientQuitting),
            };
            match reason {
                Ok(ended) => ended,
                Err(reason) => {
                    // A message under way has to be finished before the last one.
                    if dismiss.send(reason).is_err()
                        || time::timeout(DISCONNECT_PERIOD_MAX, sending).await.is_err()
                    {
                        tracing::trace!(peer = ?link.id, %reason, "Could not say why we left");
                    }
                    Ended::Local(reason)
                }
            }
        };
        if matches!(ended, Ended::Local(_)) {
            link.close().await;
        }
        tracing::debug!(peer = ?link.id, ?ended, "Ended session");
        ended
    }
}

/// For logs.
impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, hello, shared } = self;
        formatter
            .debug_struct("Session")
            .field("id", &link.id)
            .field("hello", hello)
            .field("shared", shared)
            .finish_non_exhaustive()
    }
}

impl Local {
    /// Our own id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        PeerId::of(&self.key)
    }

    fn hello(&self) -> Hello {
        let capabilities: Vec<Capability> =
            self.protocols.iter().map(|protocol| protocol.capability.clone()).collect();
        let (name, port) = (self.name.clone(), self.port);
        Hello { version: VERSION, name, capabilities, port, id: self.id() }
    }

    /// What we have in common with a peer, if it is one to talk to.
    fn judge(&self, id: PeerId, hello: &Hello) -> Result<Vec<Shared>, DisconnectReason> {
        if hello.id != id {
            return Err(DisconnectReason::UnexpectedIdentity);
        }
        if hello.version < VERSION_MIN {
            return Err(DisconnectReason::IncompatibleVersion);
        }
        let shared = shared(&self.protocols, &hello.capabilities);
        if shared.is_empty() { Err(DisconnectReason::UselessPeer) } else { Ok(shared) }
    }
}

/// Without the key.
impl fmt::Debug for Local {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: _, name, port, protocols } = self;
        formatter
            .debug_struct("Local")
            .field("id", &self.id())
            .field("name", name)
            .field("port", port)
            .field("protocols", protocols)
            .finish_non_exhaustive()
    }
}

impl HandshakeError {
    /// What the peer is told about it.
    const fn reason(&self) -> Option<DisconnectReason> {
        match self {
            Self::Refused(reason) => Some(*reason),
            Self::Hello(error) => Some(error.reason()),
            // What is too large to be read is on its way, and has to be taken off the wire, or the
            // peer learns nothing but that the connection was reset.
            Self::NoHello | Self::Rlpx(RlpxError::FrameTooLarge { .. }) => {
                Some(DisconnectReason::BreachOfProtocol)
            }
            Self::Timeout | Self::Rlpx(_) | Self::Disconnected(_) => None,
        }
    }
}

impl Link {
    fn new(stream: TcpStream, id: PeerId, secrets: &Secrets) -> Self {
        let (read_half, write_half) = stream.into_split();
        let traffic = Arc::new(Traffic::default());
        let buffered = BufReader::with_capacity(READ_BUFFER_BYTES, read_half);
        let reader = MessageReader::new(FrameReader::new(buffered, secrets), Arc::clone(&traffic));
        let writer =
            MessageWriter::new(FrameWriter::new(write_half, secrets), Arc::clone(&traffic));
        Self { id, reader, writer, traffic }
    }

    async fn dial(
        mut stream: TcpStream,
        remote: &PeerId,
        key: &SecretKey,
    ) -> Result<Self, RlpxError> {
        // Small messages must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        let secrets = rlpx::dial(&mut stream, key, remote).await?;
        Ok(Self::new(stream, *remote, &secrets))
    }

    async fn accept(mut stream: TcpStream, key: &SecretKey) -> Result<Self, RlpxError> {
        stream.set_nodelay(true)?;
        let (remote, secrets) = rlpx::accept(&mut stream, key).await?;
        Ok(Self::new(stream, remote, &secrets))
    }

    /// Both sides introduce themselves.
    async fn greet(mut self, ours: &Local) -> Result<Session, HandshakeError> {
        match self.exchange(ours).await {
            Ok((hello, shared)) => Ok(Session { link: Box::new(self), hello, shared }),
            Err(error) => {
                if let Some(reason) = error.reason() {
                    self.disconnect(reason).await;
                }
                Err(error)
            }
        }
    }

    async fn exchange(&mut self, ours: &Local) -> Result<(Hello, Vec<Shared>), HandshakeError> {
        if self.id == ours.id() {
            return Err(HandshakeError::Refused(DisconnectReason::ConnectedToSelf));
        }
        self.writer.write(HELLO, &ours.hello().encode()).await?;
        let hello = match self.reader.read_greeting().await {
            Ok((HELLO, payload)) => Hello::decode(&payload)?,
            Ok((DISCONNECT, payload)) => {
                return Err(HandshakeError::Disconnected(DisconnectReason::decode(&payload)));
            }
            Err(MessageError::Rlpx(error)) => return Err(error.into()),
            Err(MessageError::TooLarge { code: HELLO, .. }) => {
                return Err(HelloError::TooLarge.into());
            }
            Ok(_) | Err(_) => return Err(HandshakeError::NoHello),
        };
        if hello.version >= VERSION {
            // A refusal is compressed already.
            self.reader.compress();
            self.writer.compress();
        }
        let shared = ours.judge(self.id, &hello).map_err(HandshakeError::Refused)?;
        Ok((hello, shared))
    }

    async fn disconnect(&mut self, reason: DisconnectReason) {
        let payload = reason.encode();
        let written = self.writer.write(DISCONNECT, &payload);
        if let Ok(Ok(())) = time::timeout(DISCONNECT_PERIOD_MAX, written).await {
            self.close().await;
        }
    }

    /// Waits until the peer has closed its side. Bytes that we did not read would reset the
    /// connection, and the reason that is still on its way would be lost.
    async fn close(&mut self) {
        let closing = async {
            self.writer.finish().await?;
            self.reader.drain().await
        };
        match time::timeout(LINGER_PERIOD_MAX, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::trace!(peer = ?self.id, %error, "Could not close"),
            Err(_) => tracing::trace!(peer = ?self.id, "Peer did not close"),
        }
    }
}

impl Receiver {
    async fn run(mut self, reader: &mut MessageReader) -> Ended {
        loop {
            let flow = {
                let mut reading = pin!(reader.read());
                match time::timeout(PING_PERIOD, reading.as_mut()).await {
                    Ok(read) => self.on_read(read).await,
                    Err(_) => match self.on(Event::Quiet).await {
                        ControlFlow::Continue(()) => {
                            match time::timeout(READ_PERIOD_MAX - PING_PERIOD, reading).await {
                                Ok(read) => self.on_read(read).await,
                                Err(_) => self.on(Event::Silent).await,
                            }
                        }
                        ended @ ControlFlow::Break(_) => ended,
                    },
                }
            };
            if let ControlFlow::Break(ended) = flow {
                return ended;
            }
        }
    }

    async fn on_read(&mut self, read: Result<(u64, Vec<u8>), MessageError>) -> ControlFlow<Ended> {
        match read {
            Ok((code, payload)) => {
                tracing::trace!(peer = ?self.id, code, bytes = payload.len(), "Received message");
                self.on(Event::Message { code, payload }).await
            }
            // Both sides know the length of a header whose code is right.
            Err(MessageError::Rlpx(error)) if !matches!(error, RlpxError::FrameTooLarge { .. }) => {
                ControlFlow::Break(Ended::Error(error.into()))
            }
            Err(error) => {
                tracing::debug!(peer = ?self.id, %error, "Received no message");
                self.on(Event::Nonsense).await
            }
        }
    }

    async fn on(&mut self, event: Event) -> ControlFlow<Ended> {
        let mut actions = Vec::new();
        self.inbound.on(event, Instant::now(), &mut actions);
        for action in actions {
            match action {
                Action::Ping => self.sign(PING),
                Action::Pong => self.sign(PONG),
                Action::Deliver(message) => {
                    if self.incoming.send(message).await.is_err() {
                        return ControlFlow::Break(Ended::Local(DisconnectReason::Requested));
                    }
                }
                Action::Leave(reason) => return ControlFlow::Break(Ended::Remote(reason)),
                Action::Disconnect(reason) => return ControlFlow::Break(Ended::Local(reason)),
            }
        }
        ControlFlow::Continue(())
    }

    /// Who does not read what we send needs no more of it.
    fn sign(&self, code: u64) {
        if self.signs.try_send(code).is_err() {
            tracing::trace!(peer = ?self.id, code, "Skipped sign of life");
        }
    }
}

impl Sender {
    /// Sends until there is a reason to stop.
    async fn run(mut self, writer: &mut MessageWriter, shared: &[Shared]) -> Ended {
        loop {
            let sent = match self.next().await {
                Next::Sign(code) => self.write(writer, code, &NOTHING).await,
                Next::Outgoing(Outgoing::Message(message)) => match sendable(shared, &message) {
                    Ok(code) => self.write(writer, code, &message.payload).await,
                    Err(error) => Err(error),
                },
                Next::Outgoing(Outgoing::Mark(written)) => {
                    // Whoever asked may have left.
                    written.send(()).ok();
                    Ok(())
                }
                Next::Outgoing(Outgoing::Disconnect(reason)) => {
                    let payload = reason.encode();
                    let written = writer.write(DISCONNECT, &payload);
                    if !matches!(time::timeout(DISCONNECT_PERIOD_MAX, written).await, Ok(Ok(()))) {
                        tracing::trace!(peer = ?self.id, %reason, "Could not say why we left");
                    }
                    return Ended::Local(reason);
                }
            };
            if let Err(error) = sent {
                return Ended::Error(error);
            }
        }
    }

    async fn write(
        &self,
        writer: &mut MessageWriter,
        code: u64,
        payload: &[u8],
    ) -> Result<(), SessionError> {
        let written = time::timeout(WRITE_PERIOD_MAX, writer.write(code, payload)).await;
        written.map_err(|_| SessionError::WriteTimeout)??;
        tracing::trace!(peer = ?self.id, code, bytes = payload.len(), "Sent message");
        Ok(())
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            Ok(reason) = &mut self.dismissed => Next::Outgoing(Outgoing::Disconnect(reason)),
            Some(code) = self.signs.recv() => Next::Sign(code),
            outgoing = self.outgoing.recv() => {
                Next::Outgoing(outgoing.unwrap_or(Outgoing::Disconnect(DisconnectReason::Requested)))
            }
            () = time::sleep(IDLE_PERIOD_MAX) => Next::Sign(PING),
        }
    }
}

/// Makes a session of a connection to a node that we dialled.
///
/// # Errors
///
/// If it takes too long, is not that node, or one of the two does not want to talk to the other.
pub async fn dial(
    stream: TcpStream,
    remote: &PeerId,
    ours: &Local,
) -> Result<Session, HandshakeError> {
    in_time(Box::pin(async { Link::dial(stream, remote, &ours.key).await?.greet(ours).await }))
        .await
}

/// Makes a session of a connection from a node that dialled us.
///
/// # Errors
///
/// If it takes too long, is no node, or one of the two does not want to talk to the other.
pub async fn accept(stream: TcpStream, ours: &Local) -> Result<Session, HandshakeError> {
    in_time(Box::pin(async { Link::accept(stream, &ours.key).await?.greet(ours).await })).await
}

async fn in_time(
    handshake: impl Future<Output = Result<Session, HandshakeError>>,
) -> Result<Session, HandshakeError> {
    let period = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    time::timeout(period, handshake).await.map_err(|_| HandshakeError::Timeout)?
}

/// Who closes a connection may have said why, and our writing may notice before our reading.
async fn last_word(error: RlpxError, receiving: impl Future<Output = Ended>) -> Ended {
    match time::timeout(LINGER_PERIOD_MAX, receiving).await {
        Ok(Ended::Remote(reason)) => Ended::Remote(reason),
        Ok(Ended::Local(_) | Ended::Error(_)) | Err(_) => Ended::Error(error.into()),
    }
}

/// The code of a message that may be sent.
fn sendable(shared: &[Shared], message: &Message) -> Result<u64, SessionError> {
    let Message { capability, id, payload } = message;
    let (capability, id, bytes) = (*capability, *id, payload.len());
    if bytes > MESSAGE_BYTES_MAX {
        return Err(SessionError::MessageTooLarge { bytes });
    }
    match shared.get(capability) {
        Some(shared) if id < shared.messages => Ok(shared.offset + u64::from(id)),
        Some(_) | None => Err(SessionError::NoSuchMessage { capability, id }),
    }
}

#[cfg(test)]
mod tests;
