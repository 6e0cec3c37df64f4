//! JSON outside, the node inside: geth's JSON-RPC interface over HTTP, WebSocket and a local socket.
//!
//! Holds no chain state: every method reads one view of the chain. Knows nothing of peers'
//! protocols and decides no rules. [`RpcServer`] is the whole of it: hand it an [`RpcConfig`] and a
//! [`Node`], and cancel the token to stop it.
//!
//! ```no_run
//! # async fn example(node: rpc::Node, stop: tokio_util::sync::CancellationToken) -> Result<(), rpc::StartError> {
//! use rpc::{HttpConfig, RpcConfig, RpcServer};
//!
//! let http = HttpConfig::new(([127, 0, 0, 1], 8545).into());
//! let config = RpcConfig { http: Some(http), ..RpcConfig::default() };
//! let server = RpcServer::start(config, node, stop).await?;
//! server.stopped().await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod budget;
mod convert;
mod debug;
pub mod dispatch;
mod doors;
pub mod error;
mod eth;
mod feed;
mod interface;
mod methods;
mod metrics;
mod miner;
mod net;
mod node;
mod pace;
mod params;
mod parse;
mod personal;
pub mod server;
mod signer;
pub mod subscriptions;
#[cfg(feature = "testing")]
pub mod testing;
mod txpool;
mod web3;

#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio_util::sync::CancellationToken;

use dispatch::DispatchLimits;
use doors::Doors;
pub use feed::CHANGES_MAX;
use interface::Interface;
pub use methods::NAMESPACES;
pub use node::{LogChange, LogLevels, Node};
use server::IpcListener;
pub use server::{
    CONNECTIONS_MAX, Guard, Hosts, IpcError, Logins, LoginsError, ServerLimits, SessionLimits,
    TokenSecret, TokenSecretError,
};
pub use signer::Signer;

/// What HTTP and WebSocket expose when nothing else is said.
pub const HTTP_MODULES: [&str; 3] = ["eth", "net", "web3"];

/// Where the interface listens, and what it exposes there.
#[derive(Debug, Clone, Default)]
pub struct RpcConfig {
    /// HTTP; `None` listens nowhere.
    pub http: Option<HttpConfig>,
    /// WebSocket; `None` speaks it nowhere.
    pub ws: Option<WsConfig>,
    /// The file of the local socket, where everything is exposed; `None` is none.
    pub ipc: Option<PathBuf>,
    /// Who may ask over HTTP and WebSocket; everybody, if nothing is said.
    pub guard: Guard,
    /// Encrypts HTTP and WebSocket; `None` leaves them in clear.
    pub tls: Option<tls::Acceptor>,
    /// How much connections may cost.
    pub server: ServerLimits,
    /// How much requests may cost.
    pub dispatch: DispatchLimits,
}

/// How the node is reached over HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Namespaces to expose, of [`NAMESPACES`]; `rpc` always is.
    pub modules: Vec<String>,
    /// Origins of pages that may read answers; `*` is all of them.
    pub origins: Vec<String>,
    /// Names the server may be known by.
    pub hosts: Hosts,
    /// Whether the explorer's pages are at `/explorer/`.
    pub explorer: bool,
    /// Where the path has to begin; empty is anywhere.
    pub prefix: String,
}

impl HttpConfig {
    /// geth's namespaces, no pages, and the names of a cluster.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let modules = HTTP_MODULES.map(str::to_owned).to_vec();
        let (origins, hosts) = (Vec::new(), Hosts::cluster(None));
        Self { address, modules, origins, hosts, prefix: String::new(), explorer: false }
    }
}

/// How the node is reached over WebSocket.
#[derive(Debug, Clone)]
pub struct WsConfig {
    /// Where to listen; port 0 takes a free one, that of HTTP shares it.
    pub address: SocketAddr,
    /// Namespaces to expose, of [`NAMESPACES`]; `rpc` always is.
    pub modules: Vec<String>,
    /// Origins of pages that may connect; `*` is all of them, none are those of this machine.
    pub origins: Vec<String>,
    /// Where the path has to begin; empty is anywhere.
    pub prefix: String,
}

impl WsConfig {
    /// geth's namespaces, pages of this machine, any path.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let modules = HTTP_MODULES.map(str::to_owned).to_vec();
        Self { address, modules, origins: Vec::new(), prefix: String::new() }
    }
}

/// Why the interface could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of HTTP cannot be had.
    #[error("cannot listen on {address} for HTTP")]
    Http {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The address of WebSocket cannot be had.
    #[error("cannot listen on {address} for WebSocket")]
    Ws {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The local socket cannot be had.
    #[error(transparent)]
    Ipc(#[from] IpcError),
}

/// The running interface.
#[derive(Debug)]
pub struct RpcServer {
    doors: Arc<Doors>,
}

impl RpcServer {
    /// Begins to listen, and serves until the token is cancelled.
    ///
    /// # Errors
    ///
    /// When an address or the local socket cannot be had.
    pub async fn start(
        config: RpcConfig,
        node: Node,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        metrics::describe();
        let RpcConfig { http, ws, ipc, guard, tls, server: limits, dispatch } = config;
        // First, because only this one tells whether another node is there.
        let ipc = match ipc {
            Some(path) => Some(IpcListener::bind(&path).await?),
            None => None,
        };
        let doors = Arc::new_cyclic(|doors| {
            let interface = Interface::new(node, limits, dispatch, guard, doors.clone());
            Doors::new(interface, tls, shutdown)
        });
        doors.open(http, ws, ipc, NAMESPACES.map(str::to_owned).to_vec())?;
        Ok(Self { doors })
    }

    /// Where HTTP listens.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.doors.http_address()
    }

    /// Where WebSocket is spoken.
    #[must_use]
    pub fn ws_address(&self) -> Option<SocketAddr> {
        self.doors.ws_address()
    }

    /// Waits until the server has stopped and its connections are closed.
    ///
    /// # Panics
    ///
    /// When the accept loop did: a broken invariant.
    pub async fn stopped(self) {
        let mut tasks = self.doors.take_tasks();
        while let Some(ended) = tasks.join_next().await {
            ended.expect("the accept loop does not panic");
        }
    }
}
