//! Small HTTP: short texts to whoever asks, and short texts from others.

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use eyre::{Result, WrapErr, ensure};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time,
};
use tokio_util::sync::CancellationToken;

/// Connections at once; the oldest gives way to a new one, so that whoever holds many keeps nobody
/// out.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take.
const HEAD_PERIOD_MAX: Duration = Duration::from_secs(5);
/// How long a connection may live: it carries one answer.
const CONNECTION_PERIOD_MAX: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Lines of a request's head.
const HEADERS_MAX: usize = 64;
/// How long to wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long another's answer may take.
const FETCH_PERIOD_MAX: Duration = Duration::from_secs(2);
/// Bytes of another's answer.
const FETCH_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a node's answer to a question over JSON-RPC.
const POST_BYTES_MAX: usize = 1024 * 1024;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// How it went.
    pub status: StatusCode,
    /// The media type.
    pub kind: &'static str,
    /// The text.
    pub body: String,
    /// One more header.
    pub header: Option<(&'static str, String)>,
}

impl Text {
    /// A plain text.
    #[must_use]
    pub fn plain(body: String) -> Self {
        let kind = "text/plain; charset=utf-8";
        Self { status: StatusCode::OK, kind, body, header: None }
    }

    /// The same, if all is well, else 503.
    #[must_use]
    pub fn if_good(self, good: bool) -> Self {
        if good { self } else { Self { status: StatusCode::SERVICE_UNAVAILABLE, ..self } }
    }
}

/// What somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The path.
    pub path: &'a str,
    /// What follows the path; may be empty.
    pub query: &'a str,
    /// The media types that are wanted, as written; may be empty.
    pub accept: &'a str,
}

/// What is answered to a question.
pub type Responder = Arc<dyn Fn(&Question<'_>) -> Text + Send + Sync>;

/// What is answered to a path and its query.
pub type Answers = Arc<dyn Fn(&str, &str) -> Text + Send + Sync>;

/// Answers until it is told to stop.
///
/// # Errors
///
/// None; the type is that of every part of the node.
pub async fn serve(
    listener: TcpListener,
    answers: Answers,
    shutdown: CancellationToken,
) -> Result<()> {
    let responder: Responder = Arc::new(move |question| answers(question.path, question.query));
    respond(listener, responder, shutdown).await
}

/// Answers until it is told to stop, and may look at more than the path.
///
/// # Errors
///
/// None; the type is that of every part of the node.
pub async fn respond(
    listener: TcpListener,
    responder: Responder,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    oldest_first.retain(|connection| !connection.is_finished());
                    if oldest_first.len() >= CONNECTIONS_MAX
                        && let Some(oldest) = oldest_first.pop_front()
                    {
                        oldest.abort();
                    }
                    let responder = Arc::clone(&responder);
                    oldest_first.push_back(connections.spawn(async move {
                        // A client that is slow or gone is no news.
                        drop(time::timeout(CONNECTION_PERIOD_MAX, answer(stream, responder)).await);
                    }));
                }
                Err(error) => {
                    tracing::debug!(%error, "Could not accept connection");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn answer(stream: TcpStream, responder: Responder) {
    let respond = service_fn(move |request: Request<Incoming>| {
        let mut text = match *request.method() {
            Method::GET | Method::HEAD => responder(&Question {
                path: request.uri().path(),
                query: request.uri().query().unwrap_or_default(),
                accept: request
                    .headers()
                    .get(header::ACCEPT)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default(),
            }),
            _ => Text {
                status: StatusCode::METHOD_NOT_ALLOWED,
                header: Some(("allow", "GET, HEAD".to_owned())),
                ..Text::plain("only GET is answered\n".to_owned())
            },
        };
        let mut response =
            Response::builder().status(text.status).header(header::CONTENT_TYPE, text.kind);
        if let Some((name, value)) = text.header.take() {
            response = response.header(name, value);
        }
        let response =
            response.body(Full::<Bytes>::from(text.body)).expect("status and type are well formed");
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    // Whoever asks again calls again: an idle connection would hold a place.
    http.keep_alive(false).max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PERIOD_MAX);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), respond).await {
        tracing::trace!(%error, "Connection failed");
    }
}

/// What `http://address/` says.
///
/// # Errors
///
/// If nobody answers within two seconds, or with anything but a text of at most 64 KiB.
pub async fn fetch(address: SocketAddr, host: &str, path: &str) -> Result<String> {
    let request = Request::get(path).header(header::HOST, host).body(Full::default())?;
    time::timeout(FETCH_PERIOD_MAX, exchange(address, host, request, FETCH_BYTES_MAX))
        .await
        .wrap_err_with(|| format!("{host} did not answer in time"))?
}

/// The first line of what `http://address/` says, told as scripts tell it that answer with netcat:
/// before they were asked, which hyper takes for an error, and without an end, for netcat may never
/// hang up. The bootnodes of old clusters do so.
///
/// # Errors
///
/// As [`fetch`].
pub async fn fetch_line(address: SocketAddr, host: &str, path: &str) -> Result<String> {
    time::timeout(FETCH_PERIOD_MAX, ask_for_line(address, host, path))
        .await
        .wrap_err_with(|| format!("{host} did not answer in time"))?
}

async fn ask_for_line(address: SocketAddr, host: &str, path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect(address).await.wrap_err_with(|| format!("cannot reach {host}"))?;
    // Version 1.0, so that the answer does not come in chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(u64::try_from(FETCH_BYTES_MAX)?);
    loop {
        let is_over = stream.read_buf(&mut answer).await? == 0;
        if let Some(line) = first_line(host, &answer, is_over)? {
            return Ok(line);
        }
        ensure!(!is_over, "{host} hung up");
    }
}

/// The first line of an answer's body, if it is all there.
fn first_line(host: &str, answer: &[u8], is_over: bool) -> Result<Option<String>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).wrap_err_with(|| format!("{host} speaks no HTTP"))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    ensure!(status == StatusCode::OK.as_u16(), "{host} answered {status}");
    let body = answer.get(head..).unwrap_or_default();
    let end = body.iter().position(|byte| *byte == b'\n').or_else(|| is_over.then_some(body.len()));
    let Some(line) = end.and_then(|end| body.get(..end)) else { return Ok(None) };
    let line = std::str::from_utf8(line).wrap_err_with(|| format!("{host} sent no text"))?;
    Ok(Some(line.trim_end().to_owned()))
}

/// The answer to a JSON text at a path.
///
/// # Errors
///
/// If nobody answers within two seconds, or with anything but a text of at most 1 MiB.
pub async fn post_json(
    address: SocketAddr,
    host: &str,
    path: &str,
    body: String,
) -> Result<String> {
    let request = Request::post(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))?;
    time::timeout(FETCH_PERIOD_MAX, exchange(address, host, request, POST_BYTES_MAX))
        .await
        .wrap_err_with(|| format!("{host} did not answer in time"))?
}

async fn exchange(
    address: SocketAddr,
    host: &str,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> Result<String> {
    let stream =
        TcpStream::connect(address).await.wrap_err_with(|| format!("cannot reach {host}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = std::pin::pin!(connection);
    let answer = async {
        let response = sender.send_request(request).await?;
        ensure!(response.status() == StatusCode::OK, "{host} answered {}", response.status());
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| eyre::eyre!("{host}: {error}"))?;
        String::from_utf8(body.to_bytes().to_vec()).wrap_err_with(|| format!("{host} sent no text"))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The body may still be on its way when the connection is done.
        ended = &mut connection => {
            ended.wrap_err_with(|| format!("{host} hung up"))?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_served_can_be_fetched() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let answers: Answers =
            Arc::new(|path, query| Text::plain(format!("{path} {query}")).if_good(path != "/bad"));
        tasks.spawn(serve(listener, answers, shutdown.clone()));
        assert_eq!(fetch(address, "here", "/a?b=c").await.unwrap(), "/a b=c");
        let error = fetch(address, "here", "/bad").await.unwrap_err().to_string();
        assert_eq!(error, "here answered 503 Service Unavailable");
        shutdown.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        assert!(fetch(address, "here", "/").await.is_err());
    }

    /// What comes back for bytes, until the other side closes.
    async fn exchange_bytes(address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The other side may close before it has read everything.
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn hello() -> Responder {
        Arc::new(|question| Text::plain(format!("hello {}", question.accept)))
    }

    #[tokio::test]
    async fn rubbish_and_endless_heads_are_refused_and_others_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(respond(listener, hello(), CancellationToken::new()));
        let long_line = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
        let many_lines = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000));
        for rubbish in [&long_line, &many_lines, "\0\x01\x02\r\n\r\n", "GET\r\n\r\n"] {
            let answer = exchange_bytes(address, rubbish.as_bytes()).await;
            assert!(!answer.contains(" 200 "), "{answer}");
        }
        let posted = exchange_bytes(address, b"POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
        let head = exchange_bytes(address, b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("hello"), "{head}");
        let asked = b"GET / HTTP/1.1\r\nhost: a\r\naccept: b/c\r\n\r\n";
        let good = exchange_bytes(address, asked).await;
        assert!(good.ends_with("hello b/c"), "{good}");
    }

    #[tokio::test]
    async fn those_who_hold_all_places_give_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(respond(listener, hello(), CancellationToken::new()));
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HT").await.unwrap();
            silent.push(stream);
        }
        assert_eq!(fetch(address, "here", "/").await.unwrap(), "hello ");
        // The first was closed for others.
        let mut first = silent.swap_remove(0);
        assert!(matches!(first.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = fetch(listener.local_addr().unwrap(), "here", "/").await.unwrap_err();
        assert_eq!(error.to_string(), "here did not answer in time");
    }
}
