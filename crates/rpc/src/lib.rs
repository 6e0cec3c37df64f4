//! JSON outside, the node inside: geth's JSON-RPC interface over HTTP.
//!
//! Holds no chain state: every method reads one view of the chain. Knows nothing of peers'
//! protocols and decides no rules. [`RpcServer`] is the whole of it: hand it an [`RpcConfig`] and a
//! [`Node`], and cancel the token to stop it.
//!
//! ```no_run
//! # async fn example(node: rpc::Node, stop: tokio_util::sync::CancellationToken) -> std::io::Result<()> {
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
mod methods;
mod metrics;
mod miner;
mod net;
mod node;
mod params;
mod parse;
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod txpool;
mod web3;

#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use dispatch::{DispatchLimits, Dispatcher};
pub use methods::NAMESPACES;
use node::Api;
pub use node::Node;
use server::HttpService;
pub use server::{Hosts, ServerLimits};

/// What HTTP exposes when nothing else is said.
pub const HTTP_MODULES: [&str; 3] = ["eth", "net", "web3"];

/// Where the interface listens, and what it exposes there.
#[derive(Debug, Clone, Default)]
pub struct RpcConfig {
    /// HTTP; `None` listens nowhere.
    pub http: Option<HttpConfig>,
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

/// The running interface.
#[derive(Debug)]
pub struct RpcServer {
    http: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

impl RpcServer {
    /// Begins to listen, and serves until the token is cancelled.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub async fn start(
        config: RpcConfig,
        node: Node,
        shutdown: CancellationToken,
    ) -> io::Result<Self> {
        metrics::describe();
        let mut tasks = JoinSet::new();
        let mut http = None;
        if let Some(http_config) = config.http {
            let listener = TcpListener::bind(http_config.address).await?;
            let address = listener.local_addr()?;
            let service = http_service(http_config, &config.server, config.dispatch, node);
            tracing::info!(%address, "HTTP server started");
            tasks.spawn(server::serve(listener, Arc::new(service), config.server, shutdown));
            http = Some(address);
        }
        Ok(Self { http, tasks })
    }

    /// Where HTTP listens.
    #[must_use]
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http
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

fn http_service(
    config: HttpConfig,
    server: &ServerLimits,
    dispatch: DispatchLimits,
    node: Node,
) -> HttpService {
    let (modules, unknown): (Vec<_>, Vec<_>) =
        config.modules.into_iter().partition(|name| NAMESPACES.contains(&name.as_str()));
    if !unknown.is_empty() {
        tracing::error!(unavailable = ?unknown, available = ?NAMESPACES, "Unavailable modules in HTTP API list");
    }
    let modules = modules.into_iter().filter(|name| name != "rpc").collect();
    let api =
        Arc::new(Api { node, filters: Default::default(), oracle: Default::default(), modules });
    let dispatcher = Arc::new(Dispatcher::new(methods::methods(&api), dispatch));
    HttpService::new(dispatcher, config.hosts, config.origins, server.body_bytes)
}
