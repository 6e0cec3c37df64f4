//! From an HTTP request to a WebSocket: who may, and how it is agreed (RFC 6455, section 4).

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    upgrade::OnUpgrade,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Guard, http::plain, session::SessionService};

/// Characters of a key: 16 bytes in base64.
const KEY_CHARS: usize = 24;

/// Where WebSockets are spoken.
#[derive(Debug)]
pub(crate) struct WebSocketService {
    pub(crate) sessions: Arc<SessionService>,
    pub(crate) guard: Guard,
    pub(crate) origins: Origins,
    /// Where the path has to begin; empty is anywhere.
    pub(crate) prefix: String,
}

/// The connection that a request on it turned into something else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turned(Arc<Mutex<Option<OnUpgrade>>>);

impl Turned {
    /// What it turned into, if it did.
    pub(crate) fn take(&self) -> Option<OnUpgrade> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, upgrade: OnUpgrade) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    }
}

impl WebSocketService {
    /// Agrees to a WebSocket, or says why not. geth's checks with geth's answers.
    pub(crate) fn respond(
        &self,
        mut request: Request<Incoming>,
        from: IpAddr,
        turned: &Turned,
    ) -> Response<Full<Bytes>> {
        if !request.uri().path().starts_with(&self.prefix) {
            return plain(StatusCode::NOT_FOUND, "404 page not found");
        }
        let headers = request.headers();
        if let Err(refusal) = self.guard.admit(headers, from) {
            return *refusal;
        }
        let version = headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == KEY_CHARS);
        let (&Method::GET, Some(b"13"), Some(key)) = (request.method(), version, key) else {
            return refusal(StatusCode::BAD_REQUEST, "Bad Request");
        };
        if !self.origins.allow(headers) {
            let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
            let shown: String = String::from_utf8_lossy(origin).chars().take(64).collect();
            tracing::warn!(origin = ?shown, "Rejected WebSocket connection");
            return refusal(StatusCode::FORBIDDEN, "Forbidden");
        }
        let accept = derive_accept_key(key.as_bytes());
        turned.set(hyper::upgrade::on(&mut request));
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(
            SEC_WEBSOCKET_ACCEPT,
            HeaderValue::try_from(accept).expect("base64 is a header's value"),
        );
        response
    }
}

fn refusal(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = plain(status, text);
    response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    let has = |name, word: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.to_ascii_lowercase().contains(word))
    };
    has(UPGRADE, "websocket") && has(CONNECTION, "upgrade")
}

/// Pages that may connect. What is no browser sends no origin, and may.
#[derive(Debug)]
pub(crate) struct Origins(Vec<Rule>);

/// An origin, or a part of one that is enough.
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Any,
    Parts { scheme: String, host: String, port: String },
}

impl Origins {
    /// These; if there are none, those of this machine.
    pub(crate) fn new(listed: &[String], machine: &str) -> Self {
        let local = ["http://localhost".to_owned(), format!("http://{machine}")];
        let listed = if listed.is_empty() { local.as_slice() } else { listed };
        Self(listed.iter().filter(|rule| !rule.is_empty()).map(|rule| Rule::read(rule)).collect())
    }

    fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        origin.to_str().is_ok_and(|origin| self.allows(origin))
    }

    fn allows(&self, origin: &str) -> bool {
        let Rule::Parts { scheme, host, port } = Rule::read(origin) else { return false };
        let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        self.0.iter().any(|rule| match rule {
            Rule::Any => true,
            Rule::Parts { scheme: wanted_scheme, host: wanted_host, port: wanted_port } => {
                fits(wanted_scheme, &scheme) && fits(wanted_host, &host) && fits(wanted_port, &port)
            }
        })
    }
}

impl Rule {
    fn read(text: &str) -> Self {
        if text == "*" {
            return Self::Any;
        }
        let text = text.to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://").unwrap_or(("", &text));
        let authority = rest.split('/').next().unwrap_or_default();
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if is_port(port) => (host, port),
            _ => (authority, ""),
        };
        Self::Parts { scheme: scheme.into(), host: host.into(), port: port.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(listed: &[&str]) -> Origins {
        let listed: Vec<_> = listed.iter().map(|rule| (*rule).to_owned()).collect();
        Origins::new(&listed, "node-0")
    }

    #[test]
    fn without_a_list_only_pages_of_this_machine_connect() {
        let origins = origins(&[]);
        for origin in ["http://localhost", "HTTP://LOCALHOST", "http://node-0:3000"] {
            assert!(origins.allows(origin), "{origin}");
        }
        for origin in [
            "https://localhost",
            "http://evil.example",
            "http://localhost.evil",
            "http://localhost@evil",
            "null",
            "file://",
            "*",
            "",
        ] {
            assert!(!origins.allows(origin), "{origin}");
        }
        assert!(origins.allow(&HeaderMap::new()));
    }

    #[test]
    fn a_rule_names_as_much_of_an_origin_as_it_likes() {
        for (rule, good, bad) in [
            ("*", "http://anything", "*"),
            ("http://a.example", "http://a.example:8080", "https://a.example"),
            ("http://a.example:80", "http://a.example:80", "http://a.example:81"),
            ("a.example", "https://a.example:1", "https://b.example"),
            ("a.example:7", "https://a.example:7", "https://a.example"),
        ] {
            assert!(origins(&[rule]).allows(good), "{rule} {good}");
            assert!(!origins(&[rule]).allows(bad), "{rule} {bad}");
        }
    }
}
