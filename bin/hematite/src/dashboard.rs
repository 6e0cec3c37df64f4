//! `--role ethstats`: the network's dashboard. Port and variables are those of eth-netstats.

use std::{net::SocketAddr, time::Instant};

use ethstats::{Dashboard, DashboardConfig, Secrets};
use eyre::{Result, WrapErr};
use tokio::{net::TcpListener, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    exit::UsageError,
    network::any_address,
    ops::{self, Ops, Report},
    signals,
};

/// What nodes must know to report; several with `|` between them.
const SECRET_VARIABLE: &str = "WS_SECRET";
/// A file that holds it.
const SECRET_FILE_VARIABLE: &str = "WS_SECRET_FILE";
/// Where to listen, if not at [`PORT`].
const PORT_VARIABLE: &str = "PORT";
/// Where nodes report and people look.
const PORT: u16 = 3_000;

/// Runs until it is told to stop.
///
/// # Errors
///
/// When there is no secret, or the port is taken.
pub fn run(config: &Config) -> Result<()> {
    let Some(secrets) = secrets()? else {
        let text = format!(
            "{SECRET_VARIABLE} is not set: it is the secret of nodes that report \
             (--ethstats name:secret@host:{PORT}); {SECRET_FILE_VARIABLE} names a file instead"
        );
        return Err(UsageError(text).into());
    };
    let port = port()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    runtime.block_on(live(config, secrets, port))
}

async fn live(config: &Config, secrets: Secrets, port: u16) -> Result<()> {
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    signals::listen(&mut tasks, shutdown.clone())?;
    let ops = Ops::new("ethstats", shutdown.clone());
    let _server = ops::start(config, &ops).await?;
    tasks.spawn(watch(ops, shutdown.clone()));
    let listener = listen(port).await?;
    serve(secrets, listener, shutdown).await?;
    while let Some(ended) = tasks.join_next().await {
        ended.wrap_err("a part of the dashboard panicked")??;
    }
    Ok(())
}

/// Tells once a second that the process lives: a dashboard is ready as soon as it listens.
async fn watch(ops: Ops, shutdown: CancellationToken) -> Result<()> {
    let mut period = time::interval(ops::LOOK_PERIOD);
    while shutdown.run_until_cancelled(period.tick()).await.is_some() {
        ops.tell(Report::default(), Instant::now());
    }
    Ok(())
}

/// The same beside another role, if there is a secret. A port that is taken is no reason for that
/// role not to start.
pub(crate) async fn serve_beside(tasks: &mut JoinSet<Result<()>>, shutdown: &CancellationToken) {
    let found = secrets().and_then(|secrets| Ok((secrets, port()?)));
    let (secrets, port) = match found {
        Ok((Some(secrets), port)) => (secrets, port),
        Ok((None, _)) => return,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "Could not start the dashboard");
            return;
        }
    };
    match listen(port).await {
        Ok(listener) => {
            tasks.spawn(serve(secrets, listener, shutdown.clone()));
        }
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "Could not start the dashboard");
        }
    }
}

async fn listen(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddr::new(any_address(), port))
        .await
        .wrap_err_with(|| format!("cannot listen on port {port}; {PORT_VARIABLE} sets another"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "Started dashboard");
    Ok(listener)
}

async fn serve(secrets: Secrets, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let dashboard = Dashboard::new(DashboardConfig { secrets });
    ethstats::serve(dashboard, listener, shutdown).await.wrap_err("the dashboard stopped")
}

fn secrets() -> Result<Option<Secrets>> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let text = match (variable(SECRET_VARIABLE), variable(SECRET_FILE_VARIABLE)) {
        (Some(text), _) => text,
        (None, Some(path)) => std::fs::read_to_string(&path).map_err(|error| {
            UsageError(format!("cannot read {path}, named by {SECRET_FILE_VARIABLE}: {error}"))
        })?,
        (None, None) => return Ok(None),
    };
    Ok(Secrets::new(&text))
}

/// Kubernetes' service links, `tcp://…`, are not ours.
fn port() -> Result<u16> {
    let text = std::env::var(PORT_VARIABLE).unwrap_or_default();
    if text.is_empty() || text.contains("://") {
        return Ok(PORT);
    }
    let wrong = |_| UsageError(format!("{PORT_VARIABLE}={text} is no port"));
    Ok(text.trim().parse().map_err(wrong)?)
}
