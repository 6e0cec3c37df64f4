//! `--role bootnode`: answers discovery, and says over HTTP how it is called.

use std::{net::SocketAddr, sync::Arc};

use devp2p::{Discovery, DiscoveryConfig, NodeRecord};
use eyre::{Result, WrapErr};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    network::{any_address, configured, external, node_key, resolve_all, restriction},
    plain_http::{self, Answers, Text},
    signals,
};

/// Where the enode URL is told: the port of the book's sidecar.
const HTTP_PORT: u16 = 8_080;

/// Runs until it is told to stop.
///
/// # Errors
///
/// When the key or the port cannot be had.
pub fn run(config: &Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    runtime.block_on(live(config))
}

async fn live(config: &Config) -> Result<()> {
    let key = configured(node_key(config))?;
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    signals::listen(&mut tasks, shutdown.clone())?;
    let bootnodes = resolve_all(config.network.bootnodes.clone().unwrap_or_default()).await;
    let port = config.network.discovery_port;
    let discovery = DiscoveryConfig {
        listen: SocketAddr::new(any_address(), port),
        tcp: 0,
        external: configured(external(config, &bootnodes))?.or_else(pod_address),
        bootnodes,
        restrict: configured(restriction(config))?,
        fork_id: None,
        // Nobody is called, so whom it finds is of no interest.
        found: mpsc::channel(1).0,
    };
    let (discovery, run) = Discovery::start(discovery, key, shutdown.clone())
        .await
        .wrap_err_with(|| format!("cannot listen on UDP port {port}; --port takes another"))?;
    tracing::info!(self = %discovery.node(), "Started bootnode");
    let listen = SocketAddr::new(any_address(), HTTP_PORT);
    match TcpListener::bind(listen).await {
        Ok(listener) => {
            let address = listener.local_addr().unwrap_or(listen);
            tracing::info!(%address, "Telling the enode URL over HTTP");
            drop(tasks.spawn(plain_http::serve(listener, answers(discovery), shutdown)));
        }
        // Discovery is what it is for.
        Err(error) => tracing::warn!(%listen, %error, "Could not listen for HTTP"),
    }
    run.await;
    tasks.shutdown().await;
    Ok(())
}

/// Any path is answered with the URL, as the book's sidecar does; but for what probes ask.
fn answers(discovery: Discovery) -> Answers {
    Arc::new(move |path, _| match path {
        "/livez" | "/healthz" | "/readyz" | "/startupz" => Text::plain("ok\n".to_owned()),
        "/enr" => Text::plain(format!("{}\n", discovery.enr())),
        _ => {
            // The book's sidecar writes one port for both protocols.
            let node = discovery.node();
            Text::plain(format!("{}\n", NodeRecord { tcp: node.udp, ..node }))
        }
    })
}

/// The address that Kubernetes gave the pod, if the manifest hands it on.
fn pod_address() -> Option<std::net::IpAddr> {
    std::env::var("POD_IP").ok()?.parse().ok()
}
