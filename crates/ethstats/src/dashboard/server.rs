//! The dashboard on a socket: nodes, pages and probes at one port.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use primitives::B256;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot},
    task::JoinSet,
    time,
};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    Action, Dashboard, Event, Refusal, SessionId,
    figures::Figures,
    pages::{self, Upgrade},
    sockets::{self, Outbound},
};
use crate::message::{NodeMessage, ServerMessage};

/// Connections at once: nodes, pages and requests. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2_048;
/// Pages at once.
const PAGES_MAX: usize = 512;
/// What waits for the dashboard. A node whose words find no place waits with them.
const COMMANDS_MAX: usize = 1_024;
/// What waits for a node.
const OUTBOUND_MAX: usize = 8;
/// Changes that wait for a page; one that is further behind gets everything anew.
const UPDATES_MAX: usize = 32;
/// How often pages are told what changed.
const UPDATE_PERIOD: Duration = Duration::from_millis(250);
/// How often metrics are set.
const MEASURE_PERIOD: Duration = Duration::from_secs(1);
/// How often they are told that nothing did.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(2);
/// How long a request's head may take.
const HEAD_PERIOD_MAX: Duration = Duration::from_secs(5);
/// How long a request may take.
const REQUEST_PERIOD_MAX: Duration = Duration::from_secs(30);
/// How long to wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Nodes that are refused are logged one by one, not more often than this.
const REFUSAL_LOG_PERIOD: Duration = Duration::from_secs(5);

/// Why the dashboard ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket failed.
    #[error("the dashboard's socket failed")]
    Io(#[from] io::Error),
}

/// What connections ask of the dashboard.
pub(super) enum Command {
    Opened(SessionId, SocketAddr, mpsc::Sender<Outbound>),
    Said(SessionId, NodeMessage),
    Closed(SessionId),
    /// Everything, and what changes from then on.
    Page(oneshot::Sender<Feed>),
    Details(B256, oneshot::Sender<Option<Value>>),
    Count(oneshot::Sender<usize>),
    /// A frame that is no report.
    Malformed,
}

/// What a page lives on.
pub(super) struct Feed {
    pub(super) snapshot: Utf8Bytes,
    pub(super) updates: broadcast::Receiver<Utf8Bytes>,
}

/// What every connection has.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) pages: Arc<Semaphore>,
    pub(super) shutdown: CancellationToken,
}

/// Serves nodes and pages until it is told to stop.
///
/// # Errors
///
/// None now: what fails is a connection, never the dashboard.
pub async fn serve(
    dashboard: Dashboard,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (commands, mut waiting) = mpsc::channel(COMMANDS_MAX);
    let pages = Arc::new(Semaphore::new(PAGES_MAX));
    let mut server = Server::new(dashboard, pages.clone());
    let shared = Shared { commands, pages, shutdown: shutdown.clone() };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut tick = time::interval(UPDATE_PERIOD);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut number = 0;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => {
                if let Some((stream, address, place)) = accepted {
                    number += 1;
                    let shared = shared.clone();
                    connections.spawn(async move {
                        connection(stream, (SessionId(number), address), shared).await;
                        drop(place);
                    });
                }
            }
            Some(command) = waiting.recv() => server.take(command),
            _ = tick.tick() => server.tick(),
            Some(ended) = connections.join_next() => {
                if let Err(panic) = ended {
                    tracing::error!(%panic, "A connection of the dashboard panicked");
                }
            }
        }
    }
    drop(waiting);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, place)),
        Err(error) => {
            tracing::debug!(%error, "Could not accept a connection");
            time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, who: (SessionId, SocketAddr), shared: Shared) {
    // Small frames, and a page that is to be prompt.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let wanted: Arc<Mutex<Option<Upgrade>>> = Arc::default();
    let service = {
        let (wanted, shared) = (wanted.clone(), shared.clone());
        service_fn(move |request| {
            let (wanted, shared) = (wanted.clone(), shared.clone());
            async move { pages::answer(request, &shared, &wanted).await }
        })
    };
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PERIOD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let served = time::timeout(REQUEST_PERIOD_MAX, serving);
    if !matches!(shared.shutdown.run_until_cancelled(served).await, Some(Ok(Ok(())))) {
        return;
    }
    let upgrade = wanted.lock().ok().and_then(|mut wanted| wanted.take());
    match upgrade {
        None => {}
        Some(Upgrade::Node(upgraded)) => sockets::node(upgraded, who, shared, OUTBOUND_MAX).await,
        Some(Upgrade::Page(upgraded, place)) => {
            sockets::page(upgraded, shared).await;
            drop(place);
        }
    }
}

/// The dashboard, and who is connected to it.
struct Server {
    dashboard: Dashboard,
    nodes: HashMap<SessionId, (SocketAddr, mpsc::Sender<Outbound>)>,
    updates: broadcast::Sender<Utf8Bytes>,
    /// Everything as JSON, while nothing changes.
    snapshot: Option<Utf8Bytes>,
    updated: Instant,
    refused: Option<Instant>,
    figures: Figures,
    measured: Instant,
    places: Arc<Semaphore>,
}

impl Server {
    fn new(dashboard: Dashboard, places: Arc<Semaphore>) -> Self {
        Self {
            dashboard,
            nodes: HashMap::new(),
            updates: broadcast::Sender::new(UPDATES_MAX),
            snapshot: None,
            updated: Instant::now(),
            refused: None,
            figures: Figures::new(),
            measured: Instant::now(),
            places,
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Opened(id, address, outbound) => {
                self.nodes.insert(id, (address, outbound));
                self.on(Event::Opened(id, address.ip().to_canonical()));
            }
            Command::Said(id, message) => self.on(Event::Said(id, message)),
            Command::Closed(id) => {
                self.nodes.remove(&id);
                self.on(Event::Closed(id));
            }
            Command::Page(reply) => {
                // What changed so far is in the snapshot, and goes to the others now.
                self.publish();
                let updates = self.updates.subscribe();
                let snapshot = self.snapshot();
                // A page that has left wants nothing.
                drop(reply.send(Feed { snapshot, updates }));
            }
            Command::Details(hash, reply) => drop(reply.send(self.dashboard.details(hash))),
            Command::Malformed => self.figures.malformed_frames_total.increment(1),
            Command::Count(reply) => drop(reply.send(self.dashboard.connected())),
        }
    }

    fn tick(&mut self) {
        self.on(Event::Tick);
        self.publish();
        if self.measured.elapsed() >= MEASURE_PERIOD {
            self.measured = Instant::now();
            let pages = PAGES_MAX.saturating_sub(self.places.available_permits());
            self.figures.measure(&self.dashboard, pages);
        }
        if self.updated.elapsed() >= HEARTBEAT_PERIOD {
            self.send(&json!({ "now": now() }));
        }
    }

    fn publish(&mut self) {
        if let Some(changes) = self.dashboard.take_changes(now()) {
            self.snapshot = None;
            self.send(&changes);
        }
    }

    fn send(&mut self, update: &Value) {
        self.updated = Instant::now();
        if self.updates.receiver_count() > 0 {
            // Without a page there is nobody to tell.
            drop(self.updates.send(update.to_string().into()));
        }
    }

    fn snapshot(&mut self) -> Utf8Bytes {
        let dashboard = &self.dashboard;
        self.snapshot.get_or_insert_with(|| dashboard.snapshot(now()).to_string().into()).clone()
    }

    fn on(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.dashboard.on(event, now(), &mut actions);
        for action in actions {
            match action {
                Action::Send(id, message, after) => self.say(id, &message, after),
                Action::Close(id, why) => self.close(id, &why),
                Action::Welcome(id, node) => {
                    let address = self.nodes.get(&id).map(|(address, _)| address.to_string());
                    tracing::info!(%node, address, "A node reports");
                }
                Action::Doubt(id, node, number) => {
                    self.figures.doubted_blocks_total.increment(1);
                    let address = self.nodes.get(&id).map(|(address, _)| address.to_string());
                    tracing::warn!(
                        %node, address, number,
                        "A node claims more work than its chain can have by now; it is not believed"
                    );
                }
            }
        }
    }

    fn say(&mut self, id: SessionId, message: &ServerMessage, after: Duration) {
        let Some((_, outbound)) = self.nodes.get(&id) else { return };
        let is_welcome = *message == ServerMessage::Ready;
        let text = Outbound { text: message.encode(), after, is_welcome };
        if outbound.try_send(text).is_err() {
            // It asks and does not read. Its connection ends with the channel.
            self.nodes.remove(&id);
            self.on(Event::Closed(id));
        }
    }

    fn close(&mut self, id: SessionId, why: &Refusal) {
        Figures::refused(why);
        let Some((address, _)) = self.nodes.remove(&id) else { return };
        let is_quiet = self.refused.is_some_and(|last| last.elapsed() < REFUSAL_LOG_PERIOD);
        match why {
            _ if is_quiet => tracing::debug!(%address, %why, "Refused a node"),
            Refusal::Secret(node) => tracing::warn!(
                %node, %address,
                "Refused a node: its secret is not the WS_SECRET of this dashboard"
            ),
            why => tracing::warn!(%address, %why, "Refused a node"),
        }
        if !is_quiet {
            self.refused = Some(Instant::now());
        }
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
