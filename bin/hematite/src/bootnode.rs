//! `--role bootnode`: answers discovery, and says over HTTP how it is called.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::{Discovery, NodeRecord, PeerId};
use eyre::{Result, WrapErr};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    dashboard,
    network::{Finding, any_address, configured, finding, follow, node_key, start_discovery},
    nodes,
    ops::{self, Check, Criterion, Family, Ops, Report},
    plain_http::{self, Answers, Text},
    registrar, signals,
};

/// Where the enode URL is told: the port of the book's sidecar.
const HTTP_PORT: u16 = 8_080;
/// How long discovery may take to say what it knows.
const WORD_PERIOD_MAX: Duration = Duration::from_secs(10);

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
    let ops = Ops::new("bootnode", shutdown.clone());
    let _server = ops::start(config, &ops).await?;
    // Nobody is called, so whom it finds is of no interest.
    let found = mpsc::channel(1).0;
    let finding = configured(finding(config, PeerId::of(&key), found).await)?;
    let Finding { config, database, sources, name } = finding;
    let port = config.listen.port();
    let (discovery, run) = start_discovery(config, key, &shutdown)
        .await
        .wrap_err_with(|| format!("cannot listen on UDP port {port}; --port takes another"))?;
    tracing::info!(self = %discovery.node(), enr = %discovery.enr(), "Started bootnode");
    tasks.spawn(run);
    tasks.spawn(follow(discovery.clone(), sources, name, shutdown.clone()));
    tasks.spawn(nodes::keep(database, discovery.clone(), shutdown.clone()));
    tasks.spawn(watch(ops, discovery.clone(), shutdown.clone()));
    registrar::serve_beside(discovery.clone(), &mut tasks, &shutdown).await;
    dashboard::serve_beside(&mut tasks, &shutdown).await;
    let listen = SocketAddr::new(any_address(), HTTP_PORT);
    match TcpListener::bind(listen).await {
        Ok(listener) => {
            let address = listener.local_addr().unwrap_or(listen);
            tracing::info!(%address, "Telling the enode URL over HTTP");
            tasks.spawn(plain_http::serve(listener, answers(discovery), shutdown.clone()));
        }
        // Discovery is what it is for.
        Err(error) => tracing::warn!(%listen, %error, "Could not listen for HTTP"),
    }
    while let Some(ended) = tasks.join_next().await {
        ended.wrap_err("a part of the bootnode panicked")??;
    }
    Ok(())
}

/// Tells once a second how things stand: a bootnode is ready when discovery answers.
async fn watch(ops: Ops, discovery: Discovery, shutdown: CancellationToken) -> Result<()> {
    let mut period = time::interval(ops::LOOK_PERIOD);
    let look = async {
        loop {
            period.tick().await;
            let nodes = time::timeout(WORD_PERIOD_MAX, discovery.nodes()).await;
            let nodes = nodes.ok().and_then(Result::ok).map(|nodes| nodes.len());
            ops.tell(report(nodes), Instant::now());
        }
    };
    shutdown.run_until_cancelled(look).await;
    Ok(())
}

/// What there is to say about a discovery that knows so many nodes, or does not answer.
fn report(nodes: Option<usize>) -> Report {
    let (good, words) = (nodes.is_some(), if nodes.is_some() { "ok" } else { "does not answer" });
    let gauge = |nodes| Family::gauge("discovery_nodes", "Nodes that are known.", nodes as f64);
    Report {
        alive: vec![Check::new("discovery", good, words)],
        criteria: vec![Criterion::new("discovery", good, words)],
        families: nodes.map(gauge).into_iter().collect(),
        ..Report::default()
    }
}

/// Any path is answered with the URL, as the book's sidecar does; but for what probes ask.
fn answers(discovery: Discovery) -> Answers {
    Arc::new(move |path, _| match path {
        "/livez" | "/healthz" | "/readyz" | "/startupz" => Text::plain("ok\n".to_owned()),
        "/enr" => Text::plain(format!("{}\n", discovery.enr())),
        _ => Text::plain(format!("{}\n", told(discovery.node()))),
    })
}

/// The book's sidecar writes one port for both protocols.
pub(crate) const fn told(node: NodeRecord) -> NodeRecord {
    NodeRecord { tcp: node.udp, ..node }
}
