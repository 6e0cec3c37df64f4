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
pub mod dispatch;
pub mod error;
mod eth;
mod feed;
mod interface;
mod methods;
mod miner;
mod net;
mod node;
mod params;
mod parse;
pub mod server;
pub mod subscriptions;
#[cfg(feature = "testing")]
pub mod testing;
mod txpool;
mod web3;

#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use dispatch::DispatchLimits;
pub use feed::CHANGES_MAX;
use interface::Interface;
pub use methods::NAMESPACES;
pub use node::Node;
use server::{Door, IpcListener, Listener};
pub use server::{Hosts, IpcError, ServerLimits, SessionLimits};

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
}

impl HttpConfig {
    /// geth's namespaces, no pages, and the names of a cluster.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let modules = HTTP_MODULES.map(str::to_owned).to_vec();
        Self { address, modules, origins: Vec::new(), hosts: Hosts::cluster(None) }
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
    http: Option<SocketAddr>,
    ws: Option<SocketAddr>,
    tasks: JoinSet<()>,
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
        let RpcConfig { http, ws, ipc, server: limits, dispatch } = config;
        let interface = Interface::new(node, limits, dispatch);
        let mut listeners = Vec::new();
        let ipc = match ipc {
            Some(path) => Some(IpcListener::bind(&path).await?),
            None => None,
        };
        let (http, ws) = listen(&interface, http, ws, &mut listeners).await?;
        if let Some(listener) = ipc {
            tracing::info!(url = %listener.path().display(), "IPC endpoint opened");
            let everything = NAMESPACES.map(str::to_owned).to_vec();
            listeners.push(Listener::Ipc(listener, interface.sessions(everything, "IPC")));
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(interface.feed()).run(shutdown.clone()));
        for listener in listeners {
            tasks.spawn(server::serve(listener, limits, shutdown.clone()));
        }
        Ok(Self { http, ws, tasks })
    }

    /// Where HTTP listens.
    #[must_use]
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where WebSocket is spoken.
    #[must_use]
    pub const fn ws_address(&self) -> Option<SocketAddr> {
        self.ws
    }

    /// Waits until the server has stopped and its connections are closed.
    ///
    /// # Panics
    ///
    /// When the accept loop did: a broken invariant.
    pub async fn stopped(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("the accept loop does not panic");
        }
    }
}

/// Opens what TCP listeners there are to be. One address serves both.
async fn listen(
    interface: &Interface,
    http: Option<HttpConfig>,
    ws: Option<WsConfig>,
    listeners: &mut Vec<Listener>,
) -> Result<(Option<SocketAddr>, Option<SocketAddr>), StartError> {
    let http_address = http.as_ref().map(|http| http.address);
    let ws_address = ws.as_ref().map(|ws| ws.address);
    let is_shared = http_address == ws_address && http_address.is_some_and(|it| it.port() != 0);
    let mut websocket = ws.map(|ws| interface.websocket(ws));
    let (mut http_bound, mut ws_bound) = (None, None);
    if let (Some(http), Some(address)) = (http, http_address) {
        let failed = |source| StartError::Http { address, source };
        let (listener, bound) = bind(address).await.map_err(failed)?;
        tracing::info!(address = %bound, "HTTP server started");
        let service = Some(interface.http(http));
        let door = Door { http: service, websocket: websocket.take_if(|_| is_shared) };
        listeners.push(Listener::Tcp(listener, Arc::new(door)));
        http_bound = Some(bound);
        ws_bound = http_bound.filter(|_| is_shared);
    }
    if let (Some(websocket), Some(address)) = (websocket, ws_address) {
        let failed = |source| StartError::Ws { address, source };
        let (listener, bound) = bind(address).await.map_err(failed)?;
        let door = Door { http: None, websocket: Some(websocket) };
        listeners.push(Listener::Tcp(listener, Arc::new(door)));
        ws_bound = Some(bound);
    }
    if let Some(address) = ws_bound {
        tracing::info!(url = format!("ws://{address}"), "WebSocket enabled");
    }
    Ok((http_bound, ws_bound))
}

async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
