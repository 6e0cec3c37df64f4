//! One connection that stays open: messages in, answers and notifications out.
//!
//! All of a session is one task. While it writes it reads nothing, so a client that does not take
//! its answers is slowed by its own socket, and in the end cut; nobody else waits for it.

use std::{future::poll_fn, io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::broadcast::{self, error::RecvError},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::framing::{Framing, Incoming, Violation};
use crate::{
    budget::{Budget, Share},
    dispatch::{Dispatcher, Reply},
    feed::{Change, Feed},
    subscriptions::{Caller, Cursor, Subscriber},
};

/// Messages of one connection that are worked on; further ones are not read.
pub const CALLS_MAX: usize = 32;
/// Silence after which the server asks whether anybody is there. geth's.
pub const SILENCE_SECONDS_MAX: u64 = 60;
/// Time for the answer to that. geth's.
pub const PONG_SECONDS_MAX: u64 = 30;
/// Time for the client to take a notification. geth's.
pub const NOTIFICATION_SECONDS_MAX: u64 = 10;
/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes that are put together before they are written.
const OUT_BYTES: usize = 64 * 1024;

/// Codes of a close frame (RFC 6455, 7.4.1).
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// How much a connection that stays open may cost.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Messages worked on at once.
    pub calls: usize,
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Silence before a ping.
    pub silence: Duration,
    /// Time for its answer.
    pub pong: Duration,
    /// Time for the client to take an answer.
    pub answer: Duration,
    /// Time for the client to take a notification.
    pub notification: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            calls: CALLS_MAX,
            message_bytes: super::MESSAGE_BYTES_MAX,
            silence: Duration::from_secs(SILENCE_SECONDS_MAX),
            pong: Duration::from_secs(PONG_SECONDS_MAX),
            answer: Duration::from_secs(super::WRITE_SECONDS_MAX),
            notification: Duration::from_secs(NOTIFICATION_SECONDS_MAX),
        }
    }
}

/// What is answered on connections that stay open, shared by all of one listener.
#[derive(Debug)]
pub(crate) struct SessionService {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) feed: Arc<Feed>,
    pub(crate) limits: SessionLimits,
    /// Memory for messages, shared with all other transports.
    pub(crate) bodies: Arc<Budget>,
    /// The same for what subscriptions look for.
    pub(crate) queries: Arc<Budget>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client hung up")]
    HungUp,
    #[error("the client said good-bye")]
    Closed,
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("the client did not take what it was sent")]
    Slow,
    #[error("the client missed changes")]
    Missed,
    #[error("the client gave no sign of life")]
    Silent,
    #[error("the node is stopping")]
    Stopping,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A message that was answered.
struct Answered {
    reply: Option<Reply>,
    caller: Caller,
}

type PendingCall = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// One connection.
pub(crate) struct Session<S> {
    socket: S,
    framing: Framing,
    service: Arc<SessionService>,
    /// What came, and how much of it was taken.
    input: Vec<u8>,
    taken: usize,
    share: Share,
    /// No more is read: what was asked is answered, then the session ends.
    closing: Option<End>,
    calls: Vec<PendingCall>,
    subscriber: Arc<Subscriber>,
    /// `None` as long as nothing is subscribed to: who holds one keeps changes in memory.
    changes: Option<broadcast::Receiver<Arc<Change>>>,
    out: Vec<u8>,
    /// When the silence is too long.
    alarm: Instant,
    is_asked: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session on a socket from which some bytes were read already.
    pub(crate) fn new(
        socket: S,
        framing: Framing,
        input: Vec<u8>,
        service: Arc<SessionService>,
    ) -> Self {
        Self {
            socket,
            framing,
            input,
            taken: 0,
            share: service.bodies.share(),
            closing: None,
            calls: Vec::new(),
            subscriber: Arc::new(Subscriber::new(Arc::clone(&service.feed), &service.queries)),
            changes: None,
            out: Vec::new(),
            alarm: Instant::now() + service.limits.silence,
            is_asked: false,
            service,
        }
    }

    /// Talks until one side ends it.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let end = loop {
            if let Err(end) = self.step(&shutdown).await {
                break end;
            }
        };
        tracing::debug!(reason = %end, "Closed connection");
        let code = match &end {
            End::Closed => NORMAL,
            End::Stopping => GOING_AWAY,
            End::Violation(violation) => violation.close_code(),
            // Nobody reads the last words.
            End::HungUp | End::Slow | End::Missed | End::Silent | End::Io(_) => return,
        };
        self.framing.write_close(code, &mut self.out);
        let period = self.service.limits.notification;
        // It may be gone.
        if self.flush(period).await.is_ok() {
            // An end that TLS does not announce could be anybody's.
            drop(time::timeout(period, self.socket.shutdown()).await);
        }
    }

    async fn step(&mut self, shutdown: &CancellationToken) -> Result<(), End> {
        self.start_calls().await?;
        if self.calls.is_empty()
            && let Some(end) = self.closing.take()
        {
            return Err(end);
        }
        let (is_open, listens) = (self.closing.is_none(), self.subscriber.listens());
        let reads = is_open && self.calls.len() < self.service.limits.calls;
        tokio::select! {
            () = shutdown.cancelled(), if is_open => self.closing = Some(End::Stopping),
            read = read(&mut self.socket, &mut self.input), if reads => match read {
                Ok(0) => self.closing = Some(End::HungUp),
                Ok(_) => self.hear(),
                Err(error) => return Err(error.into()),
            },
            answered = answered(&mut self.calls), if !self.calls.is_empty() => {
                self.answer(answered).await?;
            }
            change = next_change(&mut self.changes), if is_open && listens => match change {
                Ok(change) => self.notify(&change).await?,
                Err(RecvError::Lagged(_)) => return Err(End::Missed),
                Err(RecvError::Closed) => self.closing = Some(End::Stopping),
            },
            () = time::sleep_until(self.alarm), if self.framing.has_pings() => self.ask().await?,
        }
        Ok(())
    }

    /// Begins to work on what came, as far as there is room.
    async fn start_calls(&mut self) -> Result<(), End> {
        while self.closing.is_none() && self.calls.len() < self.service.limits.calls {
            let next = self.framing.next(&self.input[self.taken..]);
            if let Err(violation @ Violation::NotJson) = next {
                self.answer_no_json().await?;
                return Err(violation.into());
            }
            let (taken, incoming) = next?;
            self.taken += taken;
            if !self.share.covers(self.framing.held()) {
                return Err(Violation::Crowded.into());
            }
            let Some(incoming) = incoming else {
                self.input.clear();
                self.taken = 0;
                break;
            };
            match incoming {
                Incoming::Message(message) => self.start(message)?,
                Incoming::Ping(payload) => {
                    self.framing.write_pong(&payload, &mut self.out);
                    self.flush(self.service.limits.answer).await?;
                }
                Incoming::Pong => {}
                Incoming::Close => self.closing = Some(End::Closed),
            }
        }
        Ok(())
    }

    /// The message's memory counts until it is answered.
    fn start(&mut self, message: Vec<u8>) -> Result<(), End> {
        let mut share = std::mem::replace(&mut self.share, self.service.bodies.share());
        if !share.covers(message.len()) {
            return Err(Violation::Crowded.into());
        }
        let (service, caller) = (Arc::clone(&self.service), Caller::new(&self.subscriber));
        // The call may subscribe, and nothing after that may be missed.
        self.changes.get_or_insert_with(|| service.feed.changes());
        self.calls.push(Box::pin(async move {
            let reply = service.dispatcher.reply(&message, Some(&caller)).await;
            drop((message, share));
            Answered { reply, caller }
        }));
        Ok(())
    }

    async fn answer(&mut self, Answered { reply, caller }: Answered) -> Result<(), End> {
        if let Some(reply) = reply {
            let is_fatal = reply.is_no_json() && !self.framing.has_pings();
            self.send(&reply).await?;
            if is_fatal {
                return Err(Violation::NotJson.into());
            }
        }
        caller.is_answered();
        if self.calls.is_empty() && self.subscriber.is_empty() {
            self.changes = None;
        }
        Ok(())
    }

    /// A long answer is not copied: its memory counts as long as it is held.
    async fn send(&mut self, reply: &Reply) -> Result<(), End> {
        let (message, period) = (reply.as_ref(), self.service.limits.answer);
        if message.len() <= OUT_BYTES {
            self.framing.write(message, &mut self.out);
            return self.flush(period).await;
        }
        self.framing.write_head(message.len(), &mut self.out);
        self.flush(period).await?;
        write(&mut self.socket, message, period).await
    }

    /// In a stream there is no telling where the next value would begin; geth closes it.
    async fn answer_no_json(&mut self) -> Result<(), End> {
        while !self.calls.is_empty() {
            let answered = answered(&mut self.calls).await;
            self.answer(answered).await?;
        }
        if let Some(reply) = self.service.dispatcher.reply(b"?", None).await {
            self.send(&reply).await?;
        }
        Ok(())
    }

    async fn notify(&mut self, change: &Change) -> Result<(), End> {
        let deadline = Instant::now() + self.service.limits.notification;
        let mut next = Some(Cursor::default());
        // In pieces: a change may be much to many subscriptions, and is held once for all.
        while let Some(from) = next {
            let (framing, out) = (&self.framing, &mut self.out);
            next = self.subscriber.notify(change, from, |notification| {
                framing.write(notification, out);
                out.len() < OUT_BYTES
            });
            self.flush(deadline.saturating_duration_since(Instant::now())).await?;
        }
        Ok(())
    }

    /// Something came: whoever is there need not be asked.
    fn hear(&mut self) {
        self.is_asked = false;
        self.alarm = Instant::now() + self.service.limits.silence;
    }

    async fn ask(&mut self) -> Result<(), End> {
        if self.is_asked {
            return Err(End::Silent);
        }
        self.is_asked = true;
        self.framing.write_ping(&mut self.out);
        self.flush(self.service.limits.notification).await?;
        self.alarm = Instant::now() + self.service.limits.pong;
        Ok(())
    }

    /// Writes what was put together.
    async fn flush(&mut self, period: Duration) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        write(&mut self.socket, &self.out, period).await?;
        self.out.clear();
        self.out.shrink_to(OUT_BYTES);
        Ok(())
    }
}

async fn write<S: AsyncWrite + Unpin>(
    socket: &mut S,
    bytes: &[u8],
    period: Duration,
) -> Result<(), End> {
    let writing = async {
        socket.write_all(bytes).await?;
        socket.flush().await
    };
    Ok(time::timeout(period, writing).await.map_err(|_| End::Slow)??)
}

async fn next_change(
    changes: &mut Option<broadcast::Receiver<Arc<Change>>>,
) -> Result<Arc<Change>, RecvError> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

/// Reads some bytes behind those that are there.
async fn read<S: AsyncRead + Unpin>(socket: &mut S, input: &mut Vec<u8>) -> io::Result<usize> {
    input.reserve(CHUNK_BYTES);
    socket.read_buf(input).await
}

/// The next call that is answered. They are looked at in the order they came, so that what needs
/// no waiting is answered in that order, too.
async fn answered(calls: &mut Vec<PendingCall>) -> Answered {
    poll_fn(|context| {
        for at in 0..calls.len() {
            if let Poll::Ready(answered) = calls[at].as_mut().poll(context) {
                drop(calls.remove(at));
                return Poll::Ready(answered);
            }
        }
        Poll::Pending
    })
    .await
}
