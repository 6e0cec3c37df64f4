//! Where a node listens: a socket's path or a URL, in geth's spellings.

use std::{fmt, path::PathBuf, str::FromStr};

use http::Uri;

use crate::ConsoleError;

/// The door of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A local socket.
    Ipc(PathBuf),
    /// JSON-RPC over HTTP.
    Http(Uri),
    /// JSON-RPC over WebSocket.
    Ws(Uri),
}

impl Endpoint {
    /// Understands `/path/geth.ipc`, `http://…` and `ws://…`, with the old prefixes `rpc:` and
    /// `ipc:` or without.
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
        let uri = || {
            let uri = Uri::from_str(text).ok().filter(|uri| uri.host().is_some());
            let uri =
                uri.filter(|uri| !uri.authority().is_some_and(|all| all.as_str().contains('@')));
            uri.ok_or_else(|| {
                ConsoleError::Endpoint(format!(
                    "{text} is no URL of a node, such as http://127.0.0.1:8545"
                ))
            })
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http(uri()?)),
            "ws" => Ok(Self::Ws(uri()?)),
            "https" | "wss" => Err(ConsoleError::Endpoint(format!(
                "{text} needs TLS, which the console does not speak; forward the port instead (ssh -L, \
                 kubectl port-forward) and attach to http://127.0.0.1:8545"
            ))),
            other => Err(ConsoleError::Endpoint(format!(
                "no known transport for URL scheme \"{other}\"; http, ws or the path of a socket"
            ))),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipc(path) => path.display().fmt(f),
            Self::Http(uri) | Self::Ws(uri) => uri.fmt(f),
        }
    }
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
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_way_out() {
        for (text, hint) in [
            ("https://node:8545", "forward the port"),
            ("stdio://", "http, ws or the path"),
            ("http://", "such as http://127.0.0.1:8545"),
            ("http://user:secret@host", "such as http://127.0.0.1:8545"),
            ("", "empty"),
        ] {
            let error = Endpoint::parse(text).expect_err(text).to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
