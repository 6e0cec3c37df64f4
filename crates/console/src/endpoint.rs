//! Where a node listens: a socket's path or a URL, in geth's spellings.

use std::{fmt, path::PathBuf, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderValue, Uri, header,
    uri::{Authority, Scheme},
};
use percent_encoding::percent_decode_str;

use crate::ConsoleError;

/// The door of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A local socket.
    Ipc(PathBuf),
    /// JSON-RPC over HTTP.
    Http(Url),
    /// JSON-RPC over WebSocket.
    Ws(Url),
}

/// Where a server is, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Without the login, so that it can be shown.
    uri: Uri,
    /// Marked as sensitive: it is not shown.
    login: Option<HeaderValue>,
}

impl Endpoint {
    /// Understands `/path/geth.ipc`, `http://…`, `https://…`, `ws://…` and `wss://…`, the URLs with
    /// `user:password@` before the host or without; and the old prefixes `rpc:` and `ipc:`.
    ///
    /// # Errors
    ///
    /// When it is a URL that a console cannot use.
    pub fn parse(text: &str) -> Result<Self, ConsoleError> {
        let text = text.trim();
        let text = text.strip_prefix("rpc:").or_else(|| text.strip_prefix("ipc:")).unwrap_or(text);
        let Some((scheme, _)) = text.split_once("://") else {
            if text.is_empty() {
                return Err(ConsoleError::Endpoint("the endpoint is empty".into()));
            }
            return Ok(Self::Ipc(PathBuf::from(text)));
        };
        let url = || {
            Url::parse(text).ok_or_else(|| {
                // What is before it may be a password.
                let (_, shown) = text.rsplit_once('@').unwrap_or(("", text));
                ConsoleError::Endpoint(format!(
                    "{shown} is no URL of a node, such as http://127.0.0.1:8545"
                ))
            })
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Ok(Self::Http(url()?)),
            "ws" | "wss" => Ok(Self::Ws(url()?)),
            other => Err(ConsoleError::Endpoint(format!(
                "no known transport for URL scheme \"{other}\"; http, https, ws, wss or the path \
                 of a socket"
            ))),
        }
    }
}

impl fmt::Display for Endpoint {
    /// Without the login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipc(path) => path.display().fmt(f),
            Self::Http(url) | Self::Ws(url) => url.uri.fmt(f),
        }
    }
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = Uri::from_str(text).ok()?.into_parts();
        let authority = parts.authority.take()?;
        let (login, host) = match authority.as_str().rsplit_once('@') {
            Some((login, host)) => (Some(self::login(login)?), host),
            None => (None, authority.as_str()),
        };
        parts.authority = Some(Authority::from_str(host).ok()?);
        // Not everybody who gets it takes another case for the same.
        let scheme = parts.scheme?.as_str().to_ascii_lowercase();
        parts.scheme = Some(Scheme::from_str(&scheme).ok()?);
        let uri = Uri::from_parts(parts).ok()?;
        uri.host().filter(|host| !host.is_empty())?;
        Some(Self { uri, login })
    }

    /// The URL as it can be shown.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is `https` or `wss`.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.uri.scheme_str(), Some("https" | "wss"))
    }

    /// Host and port to connect to.
    pub(crate) fn address(&self) -> (&str, u16) {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let default = if self.is_encrypted() { 443 } else { 80 };
        (host, self.uri.port_u16().unwrap_or(default))
    }

    /// Says who asks.
    pub(crate) fn add_login(&self, headers: &mut HeaderMap) {
        headers.extend(self.login.clone().map(|login| (header::AUTHORIZATION, login)));
    }
}

/// A login as HTTP's basic scheme wants it.
fn login(text: &str) -> Option<HeaderValue> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let mut login: Vec<u8> = percent_decode_str(user).collect();
    login.push(b':');
    login.extend(percent_decode_str(password));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(login))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_are_told_apart() {
        let parsed = |text: &str| Endpoint::parse(text).expect("it is an endpoint").to_string();
        for text in ["/data/geth.ipc", "geth.ipc", "http://localhost:8545/", "ws://10.0.0.1:8546/x"]
        {
            assert_eq!(parsed(text), text);
        }
        assert_eq!(parsed("rpc:http://localhost:8545/"), "http://localhost:8545/");
        assert_eq!(parsed("ipc:/tmp/geth.ipc"), "/tmp/geth.ipc");
        assert!(matches!(Endpoint::parse("ws://host:1"), Ok(Endpoint::Ws(_))));
        assert!(matches!(Endpoint::parse("WSS://host:1"), Ok(Endpoint::Ws(_))));
        assert!(matches!(Endpoint::parse("https://host"), Ok(Endpoint::Http(_))));
    }

    fn url(text: &str) -> Url {
        match Endpoint::parse(text) {
            Ok(Endpoint::Http(url) | Endpoint::Ws(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_url_says_where_and_how_to_connect() {
        for (text, address, is_encrypted) in [
            ("http://host", ("host", 80), false),
            ("ws://host/x", ("host", 80), false),
            ("https://host", ("host", 443), true),
            ("wss://[::1]/", ("::1", 443), true),
            ("HTTPS://u:p@[::1]:8545", ("::1", 8545), true),
        ] {
            let url = url(text);
            assert_eq!((url.address(), url.is_encrypted()), (address, is_encrypted), "{text}");
        }
    }

    #[test]
    fn a_login_is_sent_and_never_shown() {
        for (text, login) in [
            ("https://alice:hidden@host/", "alice:hidden"),
            ("ws://alice:hi%40d%3Aden@host:1/", "alice:hi@d:den"),
            ("http://alice@host/", "alice:"),
        ] {
            let url = url(text);
            let mut headers = HeaderMap::new();
            url.add_login(&mut headers);
            let expected = format!("Basic {}", BASE64_STANDARD.encode(login));
            assert_eq!(headers[header::AUTHORIZATION], expected, "{text}");
            let endpoint = Endpoint::parse(text).expect("it is an endpoint");
            let shown = format!("{endpoint} {endpoint:?}");
            assert!(!shown.contains("hi") && !shown.contains("alice"), "{shown}");
        }
        let mut headers = HeaderMap::new();
        url("http://host").add_login(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_way_out() {
        for (text, hint) in [
            ("stdio://", "http, https, ws, wss or the path"),
            ("http://", "such as http://127.0.0.1:8545"),
            ("http://user:secret@", "such as http://127.0.0.1:8545"),
            ("http://user:sec ret@host", "such as http://127.0.0.1:8545"),
            ("", "empty"),
        ] {
            let error = Endpoint::parse(text).expect_err(text).to_string();
            assert!(error.contains(hint) && !error.contains("sec"), "{text}: {error}");
        }
    }
}
