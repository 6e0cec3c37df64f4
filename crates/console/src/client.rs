//! Requests to the node, one at a time, from the thread of the scripts.
//!
//! A thread of its own has the sockets, so that a script that waits can be broken. A connection is
//! made when it is needed, and again after it failed.

mod frame;
mod ipc;
mod replies;
mod web;

use std::{
    io,
    sync::mpsc::{self as std_mpsc, RecvTimeoutError},
    thread,
    time::Duration,
};

use serde_json::Value;
use tls::Connector;
use tokio::sync::{mpsc, oneshot};

use self::replies::Expected;
use crate::{
    endpoint::Endpoint,
    interrupt::{Interrupt, LOOK_INTERVAL},
};

/// The largest answer that is read.
pub(crate) const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest a node may take to answer; a trace of a large block takes minutes.
pub(crate) const REPLY_TIME_MAX: Duration = Duration::from_secs(900);

/// The longest a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Notifications that may come before an answer.
const NOTIFICATIONS_MAX: usize = 10_000;

/// Asks a node, or whoever else speaks JSON-RPC.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    jobs: mpsc::Sender<Job>,
    interrupt: Interrupt,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no connection to be had.
    #[error("{0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(io::Error),
    /// The server is no JSON-RPC server, or one that does not want us.
    #[error("HTTP status {status}: {text}")]
    Status {
        /// The code.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// The server speaks no WebSocket, or broke its rules.
    #[error("WebSocket: {0}")]
    WebSocket(String),
    /// The answer is not one.
    #[error("the node's answer is no JSON-RPC: {0}")]
    Garbled(String),
    /// The answer is for another request.
    #[error("the node answered another request than the one that was made")]
    Mismatched,
    /// The answer is larger than what is read.
    #[error("the node's answer is larger than {} bytes", REPLY_BYTES_MAX)]
    TooLarge,
    /// The node took too long.
    #[error("no answer in time")]
    Late,
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The thread of the sockets is gone.
    #[error("the console is ending")]
    Ended,
}

/// One request on its way to the sockets. Whoever asked may stop waiting.
#[derive(Debug)]
struct Job {
    payload: String,
    reply: std_mpsc::SyncSender<Result<Value, RequestError>>,
    abandoned: oneshot::Receiver<()>,
}

/// A way to the node, connected or not.
enum Connection {
    Ipc(ipc::Ipc),
    Http(web::Http),
    Ws(Box<web::Ws>),
}

impl Client {
    /// Starts the thread that has the sockets; an answer may take as long as is said.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(
        endpoint: Endpoint,
        connector: &Connector,
        interrupt: Interrupt,
        reply_time_max: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, queue) = mpsc::channel(1);
        let connection = Connection::new(&endpoint, connector);
        thread::Builder::new()
            .name("console-io".into())
            .spawn(move || runtime.block_on(work(connection, queue, reply_time_max)))?;
        Ok(Self { endpoint, jobs, interrupt })
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request or a batch, and waits for the answer.
    ///
    /// # Errors
    ///
    /// When there is no answer, or Ctrl-C was pressed first.
    ///
    /// # Panics
    ///
    /// On a thread that runs asynchronous tasks: it blocks.
    pub fn request(&self, payload: String) -> Result<Value, RequestError> {
        let (reply, replied) = std_mpsc::sync_channel(1);
        // Dropped at the end of this function, which tells the other thread to stop.
        let (_waiting, abandoned) = oneshot::channel();
        let job = Job { payload, reply, abandoned };
        self.jobs.blocking_send(job).map_err(|_| RequestError::Ended)?;
        loop {
            match replied.recv_timeout(LOOK_INTERVAL) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if self.interrupt.is_pressed() => {
                    return Err(RequestError::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(RequestError::Ended),
            }
        }
    }
}

async fn work(
    mut connection: Connection,
    mut queue: mpsc::Receiver<Job>,
    reply_time_max: Duration,
) {
    while let Some(Job { payload, reply, abandoned }) = queue.recv().await {
        let answer = tokio::select! {
            answer = tokio::time::timeout(reply_time_max, connection.exchange(payload)) => answer,
            _ = abandoned => {
                // What is on its way is the answer to nobody's question.
                connection.close();
                continue;
            }
        };
        let answer = answer.unwrap_or(Err(RequestError::Late));
        if answer.is_err() {
            connection.close();
        }
        // Who asked may have stopped waiting in this moment.
        reply.send(answer).ok();
    }
}

impl Connection {
    fn new(endpoint: &Endpoint, connector: &Connector) -> Self {
        match endpoint {
            Endpoint::Ipc(path) => Self::Ipc(ipc::Ipc::new(path.clone())),
            Endpoint::Http(url) => Self::Http(web::Http::new(url.clone(), connector.clone())),
            Endpoint::Ws(url) => Self::Ws(Box::new(web::Ws::new(url.clone(), connector.clone()))),
        }
    }

    fn close(&mut self) {
        match self {
            Self::Ipc(ipc) => ipc.close(),
            Self::Ws(ws) => ws.close(),
            Self::Http(_) => {}
        }
    }

    async fn exchange(&mut self, payload: String) -> Result<Value, RequestError> {
        let expected = Expected::of(&payload)?;
        self.send(payload).await?;
        for _ in 0..NOTIFICATIONS_MAX {
            let reply: Value = serde_json::from_slice(&self.receive().await?)
                .map_err(|error| RequestError::Garbled(error.to_string()))?;
            if let Some(answer) = expected.matched(reply)? {
                return Ok(answer);
            }
        }
        Err(RequestError::Mismatched)
    }

    async fn send(&mut self, payload: String) -> Result<(), RequestError> {
        match self {
            Self::Ipc(ipc) => ipc.send(payload).await,
            Self::Ws(ws) => ws.send(payload).await,
            Self::Http(http) => {
                http.hold(payload);
                Ok(())
            }
        }
    }

    async fn receive(&mut self) -> Result<Vec<u8>, RequestError> {
        match self {
            Self::Ipc(ipc) => ipc.receive().await,
            Self::Ws(ws) => ws.receive().await,
            Self::Http(http) => http.post().await,
        }
    }
}

async fn in_time<T, E: Into<RequestError>>(
    connecting: impl Future<Output = Result<T, E>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(CONNECT_TIME_MAX, connecting).await {
        Ok(connected) => connected.map_err(Into::into),
        Err(_) => Err(RequestError::Connect(io::ErrorKind::TimedOut.into())),
    }
}
