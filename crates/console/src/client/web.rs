//! JSON over HTTP and WebSocket.

use std::{io, pin::pin};

use futures_util::{
    SinkExt, StreamExt,
    future::{Either, select},
};
use http::{Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tls::{Connector, Stream};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message, client::IntoClientRequest, error::CapacityError,
        protocol::WebSocketConfig,
    },
};

use super::{REPLY_BYTES_MAX, RequestError, in_time};
use crate::endpoint::Url;

/// How much of a server's refusal is shown.
const REFUSAL_CHARS_MAX: usize = 300;

/// A node behind HTTP; a connection for every request.
pub(super) struct Http {
    url: Url,
    connector: Connector,
    payload: Option<String>,
}

/// A node behind WebSocket, connected or not.
pub(super) struct Ws {
    url: Url,
    connector: Connector,
    stream: Option<WebSocketStream<Stream>>,
}

impl Http {
    pub(super) const fn new(url: Url, connector: Connector) -> Self {
        Self { url, connector, payload: None }
    }

    /// Keeps a request until its answer is asked for.
    pub(super) fn hold(&mut self, payload: String) {
        self.payload = Some(payload);
    }

    /// Sends the request that is held, and returns the answer.
    pub(super) async fn post(&mut self) -> Result<Vec<u8>, RequestError> {
        let payload = self.payload.take().ok_or(RequestError::Mismatched)?;
        let stream = connect(&self.url, &self.connector).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let path = self.url.uri().path_and_query().map_or("/", |path| path.as_str());
        let host = self.url.uri().authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(payload)))
            .map_err(|error| RequestError::Garbled(error.to_string()))?;
        self.url.add_login(request.headers_mut());
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
            Err(refused(status.as_u16(), &body))
        });
        match select(exchange, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            // The connection is done; what it read is in the exchange.
            Either::Right((_, exchange)) => exchange.await,
        }
    }
}

impl Ws {
    pub(super) const fn new(url: Url, connector: Connector) -> Self {
        Self { url, connector, stream: None }
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    pub(super) async fn send(&mut self, payload: String) -> Result<(), RequestError> {
        if self.stream.is_none() {
            let config = WebSocketConfig::default()
                .max_message_size(Some(REPLY_BYTES_MAX))
                .max_frame_size(Some(REPLY_BYTES_MAX));
            let stream = connect(&self.url, &self.connector).await?;
            let mut request = self.url.uri().clone().into_client_request().map_err(broken)?;
            self.url.add_login(request.headers_mut());
            let greeting =
                tokio_tungstenite::client_async_with_config(request, stream, Some(config));
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

async fn connect(url: &Url, connector: &Connector) -> Result<Stream, RequestError> {
    let connecting = async {
        let (host, port) = url.address();
        let socket = TcpStream::connect((host, port)).await?;
        if url.is_encrypted() { connector.connect(host, socket).await } else { Ok(socket.into()) }
    };
    in_time(async { connecting.await.map_err(RequestError::Connect) }).await
}

/// What a server says that does not want us.
fn refused(status: u16, body: &[u8]) -> RequestError {
    let text = String::from_utf8_lossy(body);
    let text = text.trim().chars().take(REFUSAL_CHARS_MAX).collect();
    RequestError::Status { status, text }
}

fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RequestError {
    RequestError::Lost(io::Error::other(error))
}

fn broken(error: WsError) -> RequestError {
    match error {
        WsError::Io(error) => RequestError::Lost(error),
        WsError::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            refused(response.status().as_u16(), body)
        }
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => RequestError::TooLarge,
        other => RequestError::WebSocket(other.to_string()),
    }
}
