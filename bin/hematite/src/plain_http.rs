//! Small HTTP: short texts to whoever asks, and short texts from others.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use eyre::{Result, WrapErr, ensure};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take.
const HEAD_PERIOD_MAX: Duration = Duration::from_secs(5);
/// How long a connection may live.
const CONNECTION_PERIOD_MAX: Duration = Duration::from_secs(30);
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
    /// Whether all is well: 200, else 503.
    pub good: bool,
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
        Self { good: true, kind: "text/plain; charset=utf-8", body, header: None }
    }
}

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
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepting = async {
            let place = place.await;
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = accepting => match accepted {
                Ok((stream, place)) => {
                    let answers = Arc::clone(&answers);
                    connections.spawn(async move {
                        // A client that is slow or gone is no news.
                        drop(time::timeout(CONNECTION_PERIOD_MAX, answer(stream, answers)).await);
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "Could not accept connection");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn answer(stream: TcpStream, answers: Answers) {
    let respond = service_fn(move |request: Request<Incoming>| {
        let text = answers(request.uri().path(), request.uri().query().unwrap_or_default());
        let status = if text.good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response =
            Response::builder().status(status).header(header::CONTENT_TYPE, text.kind);
        if let Some((name, value)) = text.header {
            response = response.header(name, value);
        }
        let response =
            response.body(Full::<Bytes>::from(text.body)).expect("status and type are well formed");
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
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

/// The answer to a JSON text.
///
/// # Errors
///
/// If nobody answers within two seconds, or with anything but a text of at most 1 MiB.
pub async fn post_json(address: SocketAddr, host: &str, body: String) -> Result<String> {
    let request = Request::post("/")
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
        let answers: Answers = Arc::new(|path, query| Text {
            good: path != "/bad",
            ..Text::plain(format!("{path} {query}"))
        });
        tasks.spawn(serve(listener, answers, shutdown.clone()));
        assert_eq!(fetch(address, "here", "/a?b=c").await.unwrap(), "/a b=c");
        let error = fetch(address, "here", "/bad").await.unwrap_err().to_string();
        assert_eq!(error, "here answered 503 Service Unavailable");
        shutdown.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        assert!(fetch(address, "here", "/").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = fetch(listener.local_addr().unwrap(), "here", "/").await.unwrap_err();
        assert_eq!(error.to_string(), "here did not answer in time");
    }
}
