//! Connections: an accept loop that cannot be starved, and HTTP/1.1 on each.
//!
//! jsonrpsee's own server accepts without a limit, waits for bodies without a deadline and checks
//! no `Host`; so the loop is ours, and [`crate::dispatch`] stands behind it.

mod deadline;
mod hosts;
mod http;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use ::http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;

pub use deadline::{
    BODY_SECONDS_MAX, Deadlines, HEADER_SECONDS_MAX, IDLE_SECONDS_MAX, WRITE_SECONDS_MAX,
};
use deadline::{Watch, Watched};
pub use hosts::Hosts;
pub(crate) use http::HttpService;
pub use http::{BODIES_BYTES_MAX, BODY_BYTES_MAX};

/// Connections of one listener. At the limit the loop stops accepting and the kernel queues.
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
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: connections_within(descriptors()),
            body_bytes: BODY_BYTES_MAX,
            deadlines: Deadlines::default(),
        }
    }
}

/// File descriptors this process may open.
fn descriptors() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Half of the descriptors stay with the database and the peers.
fn connections_within(descriptors: Option<u64>) -> usize {
    let half = descriptors.map_or(usize::MAX, |n| usize::try_from(n / 2).unwrap_or(usize::MAX));
    half.clamp(1, CONNECTIONS_MAX)
}

/// Accepts connections until told to stop, then waits for answers under way.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Arc<HttpService>,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((socket, place)) => {
                let connection =
                    connection(socket, Arc::clone(&service), limits.deadlines, shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "Could not accept connection");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained =
        time::timeout(DRAIN_PERIOD, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::debug!(open = connections.len(), "Cut connections at shutdown");
    }
}

/// Waits for a free place first: a connection that cannot be served stays in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let (socket, _) = listener.accept().await?;
    Ok((socket, place))
}

/// Errors of the one connection that was about to be accepted; the next one may be fine.
fn is_clients_fault(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::PROTO | Errno::INTR | Errno::PERM)
    )
}

async fn connection(
    socket: TcpStream,
    service: Arc<HttpService>,
    deadlines: Deadlines,
    shutdown: CancellationToken,
) {
    // Without it every answer on a kept connection may wait 40 ms for the client's acknowledgement.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "Could not set TCP_NODELAY");
    }
    let watch = Watch::new(deadlines);
    let io = TokioIo::new(Watched { socket, watch: watch.clone() });
    let requests = {
        let watch = watch.clone();
        service_fn(move |request| respond(Arc::clone(&service), request, watch.clone()))
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

async fn respond(
    service: Arc<HttpService>,
    request: Request<Incoming>,
    watch: Watch,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = service.respond(request, &watch).await;
    watch.writes();
    Ok(response)
}

#[cfg(test)]
mod tests;
