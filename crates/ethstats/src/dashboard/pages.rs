//! What is answered over HTTP: the page and its parts, probes, and the change to `WebSocket`.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    upgrade::OnUpgrade,
};
use primitives::B256;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::server::{Command, Shared};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The page: nothing of it comes from elsewhere.
const FILES: [(&str, &str, &str); 7] = [
    ("/", HTML, include_str!("../../page/index.html")),
    ("/style.css", CSS, include_str!("../../page/style.css")),
    ("/app.js", SCRIPT, include_str!("../../page/app.js")),
    ("/network.js", SCRIPT, include_str!("../../page/network.js")),
    ("/plots.js", SCRIPT, include_str!("../../page/plots.js")),
    ("/views.js", SCRIPT, include_str!("../../page/views.js")),
    ("/icon.svg", SVG, include_str!("../../page/icon.svg")),
];

/// A page may load what this dashboard serves and nothing else, and nobody may frame it. Older
/// browsers do not count a `WebSocket` to the same host as the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a connection becomes.
pub(super) enum Upgrade {
    Node(OnUpgrade),
    Page(OnUpgrade, OwnedSemaphorePermit),
}

/// Answers a request; what it wants to become is left in `wanted`.
pub(super) async fn answer(
    mut request: Request<Incoming>,
    shared: &Shared,
    wanted: &Mutex<Option<Upgrade>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if let Some(key) = websocket_key(request.headers()) {
        let upgrade = match path.as_str() {
            "/api" | "/api/" | "/" => Upgrade::Node(hyper::upgrade::on(&mut request)),
            "/live" => match shared.pages.clone().try_acquire_owned() {
                Ok(place) => Upgrade::Page(hyper::upgrade::on(&mut request), place),
                Err(_) => return Ok(text(StatusCode::SERVICE_UNAVAILABLE, "too many pages\n")),
            },
            _ => return Ok(text(StatusCode::NOT_FOUND, "not found\n")),
        };
        *wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
        return Ok(switching(&key));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"));
    }
    if let Some((_, kind, body)) = FILES.iter().find(|(name, ..)| *name == path) {
        return Ok(response(StatusCode::OK, kind, Bytes::from_static(body.as_bytes())));
    }
    Ok(match path.as_str() {
        "/livez" | "/healthz" | "/readyz" | "/startupz" => text(StatusCode::OK, "ok\n"),
        "/metrics" => metrics(shared).await,
        "/api" | "/api/" | "/live" => {
            text(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket; the page is at /\n")
        }
        "/api/v1/network" => network(shared).await,
        path => match path.strip_prefix("/api/v1/blocks/").and_then(|hash| hash.parse().ok()) {
            Some(hash) => block(shared, hash).await,
            None => text(StatusCode::NOT_FOUND, "not found\n"),
        },
    })
}

/// The key of a client that wants a `WebSocket` of the one version there is.
fn websocket_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let says = |name, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.to_ascii_lowercase().contains(word))
    };
    let wants = says(header::UPGRADE, "websocket")
        && says(header::CONNECTION, "upgrade")
        && says(header::SEC_WEBSOCKET_VERSION, "13");
    headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| wants).cloned()
}

fn switching(key: &HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.expect("base64 is a header's value"));
    response
}

async fn ask<T>(shared: &Shared, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    shared.commands.send(command(reply)).await.ok()?;
    answer.await.ok()
}

async fn block(shared: &Shared, hash: B256) -> Response<Full<Bytes>> {
    match ask(shared, |reply| Command::Details(hash, reply)).await {
        Some(Some(details)) => response(StatusCode::OK, JSON, details.to_string().into()),
        Some(None) => response(StatusCode::NOT_FOUND, JSON, Bytes::from_static(b"null")),
        None => stopping(),
    }
}

async fn network(shared: &Shared) -> Response<Full<Bytes>> {
    match ask(shared, Command::Page).await {
        Some(feed) => response(StatusCode::OK, JSON, Bytes::from(feed.snapshot)),
        None => stopping(),
    }
}

async fn metrics(shared: &Shared) -> Response<Full<Bytes>> {
    let Some(nodes) = ask(shared, Command::Count).await else { return stopping() };
    text(StatusCode::OK, &format!("# TYPE ethstats_nodes gauge\nethstats_nodes {nodes}\n"))
}

fn stopping() -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    response(status, PLAIN, Bytes::from(body.to_owned()))
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        // A place is for one request: those who wait are not kept out by who may ask again.
        (header::CONNECTION, "close"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
