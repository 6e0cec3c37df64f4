//! The node's end on a socket: connects, reports, and connects again for as long as the node runs.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use tls::{Connector, Stream};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    time,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, client::IntoClientRequest, error::UrlError, protocol::WebSocketConfig,
    },
};
use tokio_util::sync::CancellationToken;

use super::{Action, Event, Fault, HistoryRequest, Identity, Report, Reporter};
use crate::{
    message::{SERVER_BYTES_MAX, ServerMessage},
    target::Target,
};

/// How long a connection may take.
const CONNECT_PERIOD_MAX: Duration = Duration::from_secs(5);
/// How long a frame may wait for a dashboard that reads slowly.
const WRITE_PERIOD_MAX: Duration = Duration::from_secs(10);
/// How long to wait after a dashboard could not be reached, or refused the login.
const RETRY_PERIOD: Duration = Duration::from_secs(10);
/// The same after a session that was established.
const RETRY_PERIOD_SHORT: Duration = Duration::from_secs(1);
/// How often the reporter looks at the clock.
const TICK_PERIOD: Duration = Duration::from_millis(500);

/// What a reporter is told at its start.
#[derive(Debug)]
pub struct ReporterConfig {
    /// The dashboard.
    pub target: Target,
    /// Whom a dashboard behind TLS must be known to.
    pub connector: Connector,
    /// The node.
    pub identity: Identity,
    /// What it reports. When all senders are gone, the reporter ends.
    pub reports: mpsc::Receiver<Report>,
    /// Who finds blocks.
    pub history: mpsc::Sender<HistoryRequest>,
    /// Told why nothing is reported; nothing when all is well.
    pub trouble: watch::Sender<Option<String>>,
}

/// Why a session with a dashboard ended.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, io::Error),
    #[error("{0} did not answer in time")]
    Late(String),
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("the dashboard hung up before it took the login: is the secret right?")]
    HungUpAtLogin,
    #[error("the dashboard hung up")]
    HungUp,
    #[error("{0}")]
    WebSocket(#[from] Box<tungstenite::Error>),
}

/// Reports until it is told to stop, or the node has nothing to report any more.
pub async fn report(config: ReporterConfig, shutdown: CancellationToken) {
    let ReporterConfig { target, connector, identity, reports, history, trouble } = config;
    let reporter = Reporter::new(&target, &identity);
    let mut driver =
        Driver { target, connector, reporter, reports, history, trouble, is_in: false };
    shutdown.run_until_cancelled(driver.run()).await;
}

struct Driver {
    target: Target,
    connector: Connector,
    reporter: Reporter,
    reports: mpsc::Receiver<Report>,
    history: mpsc::Sender<HistoryRequest>,
    trouble: watch::Sender<Option<String>>,
    is_in: bool,
}

type Socket = WebSocketStream<Stream>;
type Finding = Option<oneshot::Receiver<Vec<crate::Block>>>;

impl Driver {
    async fn run(&mut self) {
        loop {
            self.is_in = false;
            let Err(error) = self.session().await else { return };
            self.reporter.on(Event::Closed, Instant::now(), &mut Vec::new());
            let wait = if self.is_in { RETRY_PERIOD_SHORT } else { RETRY_PERIOD };
            self.trouble.send_replace(Some(error.to_string()));
            let dashboard = self.target.host();
            tracing::warn!(%dashboard, %error, retry = ?wait, "Could not report to the dashboard");
            if !self.keep_newest(wait).await {
                return;
            }
        }
    }

    /// Keeps the newest of what is reported while nobody listens; says whether there is more to
    /// come.
    async fn keep_newest(&mut self, wait: Duration) -> bool {
        let until = time::Instant::now() + wait;
        loop {
            tokio::select! {
                () = time::sleep_until(until) => return true,
                report = self.reports.recv() => match report {
                    Some(report) => {
                        self.reporter.on(Event::Report(report), Instant::now(), &mut Vec::new());
                    }
                    None => return false,
                },
            }
        }
    }

    /// One connection. It ends well only when there is nothing to report any more.
    async fn session(&mut self) -> Result<(), ConnectionError> {
        let host = self.target.host().to_owned();
        let connecting = time::timeout(CONNECT_PERIOD_MAX, connect(&self.target, &self.connector));
        let mut socket = connecting.await.map_err(|_| ConnectionError::Late(host))??;
        let mut finding: Finding = None;
        if let Some(fault) = self.on(Event::Opened, &mut socket, &mut finding).await? {
            return Err(fault.into());
        }
        let mut tick = time::interval(TICK_PERIOD);
        loop {
            let event = tokio::select! {
                _ = tick.tick() => Event::Tick,
                report = self.reports.recv() => match report {
                    Some(report) => Event::Report(report),
                    None => return Ok(()),
                },
                blocks = found(&mut finding) => match blocks {
                    Some(blocks) => Event::History(blocks),
                    None => continue,
                },
                read = socket.next() => match read {
                    Some(Ok(Message::Text(text))) => match ServerMessage::decode(&text) {
                        Ok(message) => Event::Said(message),
                        Err(error) => {
                            tracing::debug!(%error, "The dashboard sent what is no event");
                            continue;
                        }
                    },
                    Some(Ok(Message::Close(_))) | None if self.is_in => {
                        return Err(ConnectionError::HungUp);
                    }
                    Some(Ok(Message::Close(_)) | Err(tungstenite::Error::Protocol(_))) | None => {
                        return Err(ConnectionError::HungUpAtLogin);
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(Box::new(error).into()),
                },
            };
            if let Some(fault) = self.on(event, &mut socket, &mut finding).await? {
                return Err(fault.into());
            }
        }
    }

    async fn on(
        &mut self,
        event: Event,
        socket: &mut Socket,
        finding: &mut Finding,
    ) -> Result<Option<Fault>, ConnectionError> {
        let mut actions = Vec::new();
        self.reporter.on(event, Instant::now(), &mut actions);
        for action in actions {
            match action {
                Action::Send(text) => {
                    let sending = socket.send(Message::Text(text.into()));
                    let sent = time::timeout(WRITE_PERIOD_MAX, sending).await;
                    let host = || self.target.host().to_owned();
                    sent.map_err(|_| ConnectionError::Late(host()))?.map_err(Box::new)?;
                }
                Action::FindBlocks(numbers) => {
                    let (reply, answer) = oneshot::channel();
                    // A node that is busy answers the next question.
                    if self.history.try_send(HistoryRequest { numbers, reply }).is_ok() {
                        *finding = Some(answer);
                    }
                }
                Action::LoggedIn => {
                    self.is_in = true;
                    self.trouble.send_replace(None);
                    tracing::info!(dashboard = self.target.host(), "Reporting to the dashboard");
                }
                Action::Close(fault) => return Ok(Some(fault)),
            }
        }
        Ok(None)
    }
}

/// The blocks that were asked for; never, if none were.
async fn found(finding: &mut Finding) -> Option<Vec<crate::Block>> {
    let blocks = match finding {
        Some(answer) => answer.await.ok(),
        None => std::future::pending().await,
    };
    *finding = None;
    blocks
}

async fn connect(target: &Target, connector: &Connector) -> Result<Socket, ConnectionError> {
    let unreachable = |error| ConnectionError::Unreachable(target.host().to_owned(), error);
    let stream = TcpStream::connect(target.address()).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let stream = match target.is_encrypted() {
        true => connector.connect(target.server_name(), stream).await.map_err(unreachable)?,
        false => stream.into(),
    };
    let wrong = |_| tungstenite::Error::Url(UrlError::NoHostName);
    let mut request = target.url().into_client_request().map_err(wrong).map_err(Box::new)?;
    // As geth: servers before want one, and look at no more than that.
    request.headers_mut().insert("origin", HeaderValue::from_static("http://localhost"));
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1_024)
        .write_buffer_size(0)
        .max_message_size(Some(SERVER_BYTES_MAX))
        .max_frame_size(Some(SERVER_BYTES_MAX));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let (socket, _) = opened.map_err(Box::new)?;
    Ok(socket)
}
