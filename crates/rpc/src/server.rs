//! Connections: an accept loop that cannot be starved, and HTTP/1.1, a WebSocket or plain JSON on
//! each.
//!
//! jsonrpsee's own server accepts without a limit, waits for bodies without a deadline and checks
//! no `Host`; so the loop is ours, and [`crate::dispatch`] stands behind it.

mod deadline;
mod explorer;
mod framing;
mod guard;
mod hosts;
mod http;
mod ipc;
mod places;
mod session;
mod upgrade;

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use ::http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;

pub use deadline::{
    BODY_SECONDS_MAX, Deadlines, HEADER_SECONDS_MAX, IDLE_SECONDS_MAX, WRITE_SECONDS_MAX,
};
use deadline::{Watch, Watched};
pub use framing::MESSAGE_BYTES_MAX;
use framing::{Frames, Framing, Values};
pub use guard::{
    Guard, LOGINS_MAX, Logins, LoginsError, TOKEN_SECONDS_MAX, TRIED_ADDRESSES_MAX,
    TRIES_PER_SECOND_MAX, TokenSecret, TokenSecretError,
};
pub use hosts::Hosts;
pub(crate) use http::HttpService;
pub use http::{BODIES_BYTES_MAX, BODY_BYTES_MAX};
pub(crate) use ipc::IpcListener;
pub use ipc::{IpcError, PATH_BYTES_MAX};
use places::Places;
use session::Session;
pub(crate) use session::SessionService;
pub use session::{
    CALLS_MAX, NOTIFICATION_SECONDS_MAX, PONG_SECONDS_MAX, SILENCE_SECONDS_MAX, SessionLimits,
};
use upgrade::Turned;
pub(crate) use upgrade::{Origins, WebSocketService};

/// Connections of one listener, unless the operator wants others. At the limit whoever has made the
/// node wait longest gives way; if nobody has, the loop stops accepting and the kernel queues.
pub const CONNECTIONS_MAX: usize = 1_000;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 100;
/// How long to wait when the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a stop waits for answers under way.
const DRAIN_PERIOD: Duration = Duration::from_secs(5);

/// How much connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections of one listener.
    pub connections: usize,
    /// Bytes of one request.
    pub body_bytes: u64,
    /// How long each phase of a request may take.
    pub deadlines: Deadlines,
    /// What connections that stay open may cost.
    pub session: SessionLimits,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: connections_within(CONNECTIONS_MAX, descriptors()),
            body_bytes: BODY_BYTES_MAX,
            deadlines: Deadlines::default(),
            session: SessionLimits::default(),
        }
    }
}

impl ServerLimits {
    /// With so many connections of one listener, if there are file descriptors for them.
    #[must_use]
    pub fn with_connections(self, wanted: usize) -> Self {
        Self { connections: connections_within(wanted, descriptors()), ..self }
    }
}

/// What is spoken on a TCP listener.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) http: Option<HttpService>,
    pub(crate) websocket: Option<WebSocketService>,
    /// Encrypts all of it; `None` leaves it in clear.
    pub(crate) tls: Option<tls::Acceptor>,
}

/// Where connections come from, and what is spoken there.
#[derive(Debug)]
pub(crate) enum Listener {
    /// HTTP, or what comes of it.
    Tcp(TcpListener, Arc<Door>),
    /// JSON.
    Ipc(IpcListener, Arc<SessionService>),
}

/// A connection, before anything was said.
enum Accepted {
    Tcp(TcpStream, Arc<Door>),
    Unix(UnixStream, Arc<SessionService>),
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, door) => {
                listener.accept().await.map(|(socket, _)| Accepted::Tcp(socket, Arc::clone(door)))
            }
            Self::Ipc(listener, service) => {
                listener.accept().await.map(|socket| Accepted::Unix(socket, Arc::clone(service)))
            }
        }
    }
}

/// File descriptors this process may open.
fn descriptors() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// HTTP and WebSocket, each on a port of its own, get a quarter of the descriptors each; half of
/// them stay with the database and the peers.
fn connections_within(wanted: usize, descriptors: Option<u64>) -> usize {
    let quarter = descriptors.map_or(usize::MAX, |n| usize::try_from(n / 4).unwrap_or(usize::MAX));
    quarter.min(wanted).max(1)
}

/// Accepts connections until told to stop, then waits for answers under way.
pub(crate) async fn serve(listener: Listener, limits: ServerLimits, shutdown: CancellationToken) {
    let mut places = Places::new(limits.connections);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_clients_fault(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "Could not accept connection");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Until there is one, others stay in the kernel's queue.
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = places.take() => place,
        };
        let (watch, shutdown) = (Watch::new(limits.deadlines), shutdown.clone());
        if let Accepted::Tcp(socket, _) = &accepted {
            places.watch(&watch);
            bound_unread(socket, limits.deadlines.write);
        }
        connections.spawn(async move {
            serve_connection(accepted, watch, limits.session, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    let drained =
        time::timeout(DRAIN_PERIOD, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::debug!(open = connections.len(), "Cut connections at shutdown");
    }
}

/// Ends a connection whose client has taken nothing for so long of what the kernel already has.
#[cfg(target_os = "linux")]
fn bound_unread(socket: &TcpStream, longest: Duration) {
    let milliseconds = u32::try_from(longest.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(socket, milliseconds) {
        tracing::debug!(%error, "Could not set TCP_USER_TIMEOUT");
    }
}

/// Elsewhere the kernel decides.
#[cfg(not(target_os = "linux"))]
fn bound_unread(_: &TcpStream, _: Duration) {}

/// Errors of the one connection that was about to be accepted; the next one may be fine.
fn is_clients_fault(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::PROTO | Errno::INTR | Errno::PERM)
    )
}

async fn serve_connection(
    accepted: Accepted,
    watch: Watch,
    limits: SessionLimits,
    shutdown: CancellationToken,
) {
    let message_bytes = limits.message_bytes;
    match accepted {
        Accepted::Unix(socket, service) => {
            let framing = Framing::Values(Values::new(message_bytes));
            Session::new(socket, framing, Vec::new(), service).run(shutdown).await;
        }
        Accepted::Tcp(socket, door) => {
            let turned = Turned::default();
            // What it has turned into gives way to nobody.
            http_connection(socket, &door, watch, &turned, &shutdown).await;
            let (Some(upgrade), Some(websocket)) = (turned.take(), &door.websocket) else { return };
            let Ok(upgraded) = upgrade.await else { return };
            let parts = upgraded.downcast::<TokioIo<Watched<tls::Stream>>>();
            let Ok(parts) = parts else { unreachable!("every connection is made of this") };
            let (socket, input) = (parts.io.into_inner().socket, parts.read_buf.to_vec());
            let framing = Framing::WebSocket(Frames::new(message_bytes));
            let service = Arc::clone(&websocket.sessions);
            Session::new(socket, framing, input, service).run(shutdown).await;
        }
    }
}

/// HTTP until one side ends it, or a request turns the connection into something else.
async fn http_connection(
    socket: TcpStream,
    door: &Arc<Door>,
    watch: Watch,
    turned: &Turned,
    shutdown: &CancellationToken,
) {
    // Who is gone by now needs no answer.
    let Ok(from) = socket.peer_addr().map(|address| address.ip()) else { return };
    // Without it every answer on a kept connection may wait 40 ms for the client's acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "Could not set TCP_NODELAY");
    }
    // Agreeing on encryption takes of the first headers' time: who is slow in it is slow in those.
    let opened = tokio::select! {
        opened = open(socket, door.tls.as_ref()) => opened,
        () = watch.expired() => Err(io::ErrorKind::TimedOut.into()),
        () = shutdown.cancelled() => return,
    };
    let socket = match opened {
        Ok(socket) => socket,
        Err(error) => {
            tracing::trace!(%error, "Could not agree on encryption");
            return;
        }
    };
    let io = TokioIo::new(Watched { socket, watch: watch.clone() });
    let requests = {
        let (door, watch, turned) = (Arc::clone(door), watch.clone(), turned.clone());
        service_fn(move |request| {
            respond(Arc::clone(&door), request, from, watch.clone(), turned.clone())
        })
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(None);
    http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX).half_close(false);
    let mut connection = std::pin::pin!(http.serve_connection(io, requests).with_upgrades());
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::trace!(%error, "Connection failed");
                }
                return;
            }
            () = watch.expired() => {
                tracing::trace!("Connection timed out");
                return;
            }
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn open(socket: TcpStream, tls: Option<&tls::Acceptor>) -> io::Result<tls::Stream> {
    match tls {
        Some(tls) => tls.accept(socket).await,
        None => Ok(socket.into()),
    }
}

async fn respond(
    door: Arc<Door>,
    request: Request<Incoming>,
    from: IpAddr,
    watch: Watch,
    turned: Turned,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = match (&door.websocket, &door.http) {
        (Some(websocket), _) if upgrade::is_upgrade(&request) => {
            websocket.respond(request, from, &turned)
        }
        (_, Some(http)) => http.respond(request, from, &watch).await,
        (_, None) => http::plain(StatusCode::NOT_FOUND, "404 page not found"),
    };
    watch.writes();
    Ok(response)
}

#[cfg(test)]
mod tests;
