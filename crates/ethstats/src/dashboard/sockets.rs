//! A node's connection and a page's, once they speak `WebSocket`.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{broadcast::error::RecvError, mpsc, oneshot},
    time::{self, Instant},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    SessionId,
    metered::Metered,
    server::{Command, Feed, Shared},
};
use crate::message::{FRAME_BYTES_MAX, LOGIN_BYTES_MAX, NodeMessage};

/// How long the change to `WebSocket`, or a message to somebody who reads slowly, may take.
const WRITE_PERIOD_MAX: Duration = Duration::from_secs(10);
/// Longest message of a page.
const PAGE_BYTES_MAX: usize = 1_024;
/// How often a page may ask for a sign of life.
const PING_PERIOD_MIN: Duration = Duration::from_millis(200);
/// Frames that a node may send wrong before it is sent away.
const FAULTS_MAX: u32 = 16;

type Socket = WebSocketStream<Metered<TokioIo<Upgraded>>>;

/// What a node is to be told.
pub(super) struct Outbound {
    pub(super) text: String,
    /// Not before so much time has passed.
    pub(super) after: Duration,
    /// Whether it says that the node is in: from then on it may send blocks.
    pub(super) is_welcome: bool,
}

async fn open(upgrade: OnUpgrade, bytes: usize) -> Option<Socket> {
    let upgraded = time::timeout(WRITE_PERIOD_MAX, upgrade).await.ok()?.ok()?;
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1_024)
        .write_buffer_size(0)
        .max_message_size(Some(bytes))
        .max_frame_size(Some(bytes));
    let stream = Metered::new(TokioIo::new(upgraded), LOGIN_BYTES_MAX);
    Some(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
}

/// Whether it went out in time.
async fn send(socket: &mut Socket, text: Utf8Bytes) -> bool {
    let sending = socket.send(Message::Text(text));
    matches!(time::timeout(WRITE_PERIOD_MAX, sending).await, Ok(Ok(())))
}

/// Reads a node until it leaves, is sent away, or the dashboard stops.
pub(super) async fn node(
    upgrade: OnUpgrade,
    (id, address): (SessionId, SocketAddr),
    shared: Shared,
    outbound_max: usize,
) {
    let Some(mut socket) = open(upgrade, FRAME_BYTES_MAX).await else { return };
    let (outbound, mut told) = mpsc::channel(outbound_max);
    if shared.commands.send(Command::Opened(id, address, outbound)).await.is_err() {
        return;
    }
    let talking = talk(&mut socket, id, &mut told, &shared);
    shared.shutdown.run_until_cancelled(talking).await;
    drop(told);
    // Who does not take part in the goodbye is gone as well.
    drop(time::timeout(Duration::from_secs(1), socket.close(None)).await);
    // When the dashboard has stopped, nobody needs to know.
    drop(shared.commands.send(Command::Closed(id)).await);
}

async fn talk(
    socket: &mut Socket,
    id: SessionId,
    told: &mut mpsc::Receiver<Outbound>,
    shared: &Shared,
) {
    let mut later: Option<(Instant, String)> = None;
    let mut faults = 0;
    loop {
        let due = later.as_ref().map_or_else(Instant::now, |(due, _)| *due);
        tokio::select! {
            out = told.recv() => {
                let Some(Outbound { text, after, is_welcome }) = out else { return };
                if after.is_zero() {
                    if is_welcome {
                        socket.get_mut().trust();
                    }
                    if !send(socket, text.into()).await {
                        return;
                    }
                } else {
                    later = Some((Instant::now() + after, text));
                }
            }
            () = time::sleep_until(due), if later.is_some() => {
                let Some((_, text)) = later.take() else { continue };
                if !send(socket, text.into()).await {
                    return;
                }
            }
            read = socket.next() => {
                let text = match read {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => continue,
                };
                match NodeMessage::decode(&text) {
                    Ok(message) => {
                        if shared.commands.send(Command::Said(id, message)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "A node sent what is no report");
                        if shared.commands.send(Command::Malformed).await.is_err() {
                            return;
                        }
                        faults += 1;
                        if faults > FAULTS_MAX {
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// Tells a page everything, then what changes, until it leaves or the dashboard stops.
pub(super) async fn page(upgrade: OnUpgrade, shared: Shared) {
    let Some(mut socket) = open(upgrade, PAGE_BYTES_MAX).await else { return };
    socket.get_mut().trust();
    shared.shutdown.run_until_cancelled(show(&mut socket, &shared)).await;
    // Who does not take part in the goodbye is gone as well.
    drop(time::timeout(Duration::from_secs(1), socket.close(None)).await);
}

async fn feed(shared: &Shared) -> Option<Feed> {
    let (reply, answer) = oneshot::channel();
    shared.commands.send(Command::Page(reply)).await.ok()?;
    answer.await.ok()
}

async fn show(socket: &mut Socket, shared: &Shared) {
    let mut answered = Instant::now();
    'anew: loop {
        let Some(Feed { snapshot, mut updates }) = feed(shared).await else { return };
        if !send(socket, snapshot).await {
            return;
        }
        loop {
            let text = tokio::select! {
                update = updates.recv() => match update {
                    Ok(text) => text,
                    // What it missed is in the next snapshot.
                    Err(RecvError::Lagged(_)) => continue 'anew,
                    Err(RecvError::Closed) => return,
                },
                read = socket.next() => match read {
                    Some(Ok(Message::Text(text))) if text.as_str() == "ping" => {
                        if answered.elapsed() < PING_PERIOD_MIN {
                            continue;
                        }
                        answered = Instant::now();
                        Utf8Bytes::from_static("{\"pong\":true}")
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => continue,
                },
            };
            if !send(socket, text).await {
                return;
            }
        }
    }
}
