//! How long a connection may stay in each phase of a request.
//!
//! hyper has a deadline for headers only, and counts idle time into it. So the socket is wrapped:
//! what is read, flushed and handled moves one shared deadline, and a watchman closes the
//! connection when it passes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{self, Instant},
};

/// Time for a request's headers, from their first byte.
pub const HEADER_SECONDS_MAX: u64 = 10;
/// Time for a request's body.
pub const BODY_SECONDS_MAX: u64 = 30;
/// Time for the client to take an answer.
pub const WRITE_SECONDS_MAX: u64 = 30;
/// Time between two requests on one connection.
pub const IDLE_SECONDS_MAX: u64 = 120;

/// Deadlines of a connection's phases.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the first byte of a request to the end of its headers.
    pub header: Duration,
    /// For its body.
    pub body: Duration,
    /// For the client to take the answer.
    pub write: Duration,
    /// Without a request.
    pub idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(HEADER_SECONDS_MAX),
            body: Duration::from_secs(BODY_SECONDS_MAX),
            write: Duration::from_secs(WRITE_SECONDS_MAX),
            idle: Duration::from_secs(IDLE_SECONDS_MAX),
        }
    }
}

const IDLE: u8 = 0;
const HEADER: u8 = 1;
const BODY: u8 = 2;
const WORKING: u8 = 3;
const WRITING: u8 = 4;

/// The deadline of one connection, moved by its socket and its requests.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    start: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds after `start`.
    since: AtomicU64,
    /// Milliseconds after `start`; `u64::MAX` is never.
    deadline: AtomicU64,
    deadlines: Deadlines,
    /// Others need its place.
    gives_way: AtomicBool,
    called: Notify,
}

impl Watch {
    /// A new connection: its first request is expected at once, so headers' time counts.
    pub(crate) fn new(deadlines: Deadlines) -> Self {
        let shared = Shared {
            start: Instant::now(),
            phase: AtomicU8::new(HEADER),
            since: AtomicU64::new(0),
            deadline: AtomicU64::new(millis(deadlines.header)),
            deadlines,
            gives_way: AtomicBool::new(false),
            called: Notify::new(),
        };
        Self(Arc::new(shared))
    }

    /// For whoever gives out places; it keeps no connection alive.
    pub(super) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0)
    }

    pub(super) const fn of(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// How long the client has made the node wait in this phase. `None` while it is the client who
    /// waits, and of one that gives way already.
    pub(super) fn waits(&self) -> Option<Duration> {
        let is_client_waiting = self.0.phase.load(Ordering::Relaxed) == WORKING;
        let since = Duration::from_millis(self.0.since.load(Ordering::Relaxed));
        let is_waiting = !is_client_waiting && !self.0.gives_way.load(Ordering::Relaxed);
        is_waiting.then(|| self.0.start.elapsed().saturating_sub(since))
    }

    /// Ends the connection, unless it has begun to work meanwhile.
    pub(super) fn give_way(&self) {
        self.0.gives_way.store(true, Ordering::Relaxed);
        self.0.called.notify_one();
    }

    fn enter(&self, phase: u8, limit: Option<Duration>) {
        let now = self.0.start.elapsed();
        let deadline = limit.map_or(u64::MAX, |limit| millis(now + limit));
        self.0.since.store(millis(now), Ordering::Relaxed);
        self.0.phase.store(phase, Ordering::Relaxed);
        self.0.deadline.store(deadline, Ordering::Relaxed);
    }

    /// The headers are complete; the body follows.
    pub(crate) fn reads_body(&self) {
        self.enter(BODY, Some(self.0.deadlines.body));
    }

    /// The request is complete. Work has its own limits.
    pub(crate) fn works(&self) {
        self.enter(WORKING, None);
    }

    /// The answer is on its way.
    pub(crate) fn writes(&self) {
        self.enter(WRITING, Some(self.0.deadlines.write));
    }

    fn on_bytes_read(&self) {
        if self.0.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEADER, Some(self.0.deadlines.header));
        }
    }

    fn on_flushed(&self) {
        if self.0.phase.load(Ordering::Relaxed) == WRITING {
            self.enter(IDLE, Some(self.0.deadlines.idle));
        }
    }

    /// Returns when the deadline has passed, or somebody else needs the place.
    ///
    /// A deadline moves to an earlier time only by a new phase, whose limit starts then; so looking
    /// again after the shortest limit misses nothing.
    pub(crate) async fn expired(&self) {
        let limits = &self.0.deadlines;
        let shortest = limits.header.min(limits.body).min(limits.write).min(limits.idle);
        loop {
            let now = Instant::now();
            let deadline = self.0.deadline.load(Ordering::Relaxed);
            if deadline <= millis(now - self.0.start) {
                return;
            }
            let look = now + shortest;
            let wake = self.0.start.checked_add(Duration::from_millis(deadline));
            tokio::select! {
                () = time::sleep_until(wake.map_or(look, |wake| wake.min(look))) => {}
                () = self.0.called.notified() => {
                    if self.0.phase.load(Ordering::Relaxed) != WORKING {
                        return;
                    }
                    self.0.gives_way.store(false, Ordering::Relaxed);
                }
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A socket that tells the watch what happens on it.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    pub(crate) socket: S,
    pub(crate) watch: Watch,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.on_bytes_read();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_flush(context);
        if matches!(poll, Poll::Ready(Ok(()))) {
            self.watch.on_flushed();
        }
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
