//! JSON over HTTP and WebSocket.

use std::{io, pin::pin};

use futures_util::{
    SinkExt, StreamExt,
    future::{Either, select},
};
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error as WsError, Message, error::CapacityError, protocol::WebSocketConfig},
};

use super::{REPLY_BYTES_MAX, RequestError, in_time};

/// How much of a server's refusal is shown.
const REFUSAL_CHARS_MAX: usize = 300;

/// A node behind HTTP; a connection for every request.
pub(super) struct Http {
    uri: Uri,
    payload: Option<String>,
}

/// A node behind WebSocket, connected or not.
pub(super) struct Ws {
    uri: Uri,
    stream: Option<WebSocketStream<TcpStream>>,
}

impl Http {
    pub(super) const fn new(uri: Uri) -> Self {
        Self { uri, payload: None }
    }

    /// Keeps a request until its answer is asked for.
    pub(super) fn hold(&mut self, payload: String) {
        self.payload = Some(payload);
    }

    /// Sends the request that is held, and returns the answer.
    pub(super) async fn post(&mut self) -> Result<Vec<u8>, RequestError> {
        let payload = self.payload.take().ok_or(RequestError::Mismatched)?;
        let stream = connect(&self.uri, 80).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(payload)))
            .map_err(|error| RequestError::Garbled(error.to_string()))?;
        let exchange = pin!(async move {
            let response = sender.send_request(request).await.map_err(lost)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), REPLY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| {
                let is_large = error.downcast_ref::<LengthLimitError>().is_some();
                if is_large { RequestError::TooLarge } else { lost(io::Error::other(error)) }
            })?;
            let body = body.to_bytes();
            if status.is_success() {
                return Ok(Vec::from(body));
            }
            let text = String::from_utf8_lossy(&body);
            let text = text.trim().chars().take(REFUSAL_CHARS_MAX).collect();
            Err(RequestError::Status { status: status.as_u16(), text })
        });
        match select(exchange, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            // The connection is done; what it read is in the exchange.
            Either::Right((_, exchange)) => exchange.await,
        }
    }
}

impl Ws {
    pub(super) const fn new(uri: Uri) -> Self {
        Self { uri, stream: None }
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    pub(super) async fn send(&mut self, payload: String) -> Result<(), RequestError> {
        if self.stream.is_none() {
            let config = WebSocketConfig::default()
                .max_message_size(Some(REPLY_BYTES_MAX))
                .max_frame_size(Some(REPLY_BYTES_MAX));
            let stream = connect(&self.uri, 80).await?;
            let uri = self.uri.clone();
            let greeting = tokio_tungstenite::client_async_with_config(uri, stream, Some(config));
            let (stream, _) = in_time(async { greeting.await.map_err(broken) }).await?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().expect("it was connected above");
        stream.send(Message::text(payload)).await.map_err(broken)
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, RequestError> {
        let ended = || RequestError::Lost(io::ErrorKind::UnexpectedEof.into());
        let stream = self.stream.as_mut().ok_or_else(ended)?;
        loop {
            match stream.next().await.ok_or_else(ended)?.map_err(broken)? {
                Message::Text(text) => return Ok(text.as_bytes().to_vec()),
                Message::Binary(bytes) => return Ok(bytes.to_vec()),
                Message::Close(_) => return Err(ended()),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

async fn connect(uri: &Uri, default_port: u16) -> Result<TcpStream, RequestError> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = (host, uri.port_u16().unwrap_or(default_port));
    in_time(async { TcpStream::connect(address).await.map_err(RequestError::Connect) }).await
}

fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RequestError {
    RequestError::Lost(io::Error::other(error))
}

fn broken(error: WsError) -> RequestError {
    match error {
        WsError::Io(error) => RequestError::Lost(error),
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => RequestError::TooLarge,
        other => RequestError::WebSocket(other.to_string()),
    }
}
