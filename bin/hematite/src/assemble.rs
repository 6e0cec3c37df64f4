//! What a running node is made of, and in which order its parts start and stop.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ::console::Console;
use ::network::{HandOver, NetworkHandle};
use accounts::Keystore;
use chain::{ChainHandle, ChainThread, ImportError};
use consensus::Engine;
use eyre::{Result, WrapErr, bail, eyre};
use miner::{MinerConfig, MinerHandle, SealerKind, Worker};
use primitives::{Address, Bytes};
use rpc::{HttpConfig, RpcConfig, RpcServer, ServerLimits, StartError, WsConfig};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use txpool::{JournalConfig, Pool, PoolConfig};

use crate::{
    args::{JournalSync, Role},
    bootnode,
    command::{self, account},
    config::{self, Config},
    dashboard, datasets, ethstats, logging, network, notify,
    open::{engine, is_rolled_back, node_default, open_chain},
    ops::{self, Ops},
    registrar, report,
    secured::Secured,
    signals, signer,
};

/// How long the parts may take to stop, once nobody sends requests any more: with the time before
/// that 10 s, below what Kubernetes allows by default (30 s).
const GRACE_PERIOD: Duration = Duration::from_secs(8);
/// How long a pod serves requests after it was told to end: a Service sends some of them until all
/// machines know that it is gone.
const SERVICE_PERIOD: Duration = Duration::from_secs(2);

/// How long after the signal what only this node has is still passed on; the rest of the grace is
/// for closing the database.
const HAND_OVER_PERIOD_MAX: Duration = Duration::from_secs(6);

/// How long a node without peers waits for one to whom its transactions can be passed on.
const PEER_PERIOD_MAX: Duration = Duration::from_secs(3);

/// How often it looks.
const PEER_LOOK_PERIOD: Duration = Duration::from_millis(200);

/// How long a decrypted key may outlive its lease.
const LEASE_CHECK_PERIOD: Duration = Duration::from_secs(1);

/// The time between blocks that nothing proves.
const FAKE_PERIOD: Duration = Duration::from_secs(1);

/// What to try when an address is taken.
const HTTP_IN_USE: &str = "; is another node running? --http.port takes another port, 0 a free one";
const WS_IN_USE: &str = "; is another node running? --ws.port takes another port, 0 a free one";

/// Runs a node until it is told to stop or a part of it fails.
///
/// # Errors
///
/// Whatever kept the node from starting or made it stop.
pub fn run(config: &Config) -> Result<()> {
    match config.role {
        Some(Role::Bootnode) => return bootnode::run(config),
        Some(Role::Registrar) => return registrar::run(config),
        Some(Role::Ethstats) => return dashboard::run(config),
        Some(Role::Miner | Role::Tx) | None => {}
    }
    run_node(config, None)
}

/// Runs a node until its console ends, or as [`run`].
///
/// # Errors
///
/// As [`run`], and whatever kept the console from doing its task.
pub fn run_with_console(config: &Config, options: console::Options) -> Result<()> {
    run_node(config, Some(options))
}

fn run_node(config: &Config, console: Option<console::Options>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    let result = runtime.block_on(live(config, console));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn live(config: &Config, console: Option<console::Options>) -> Result<()> {
    let started = Instant::now();
    let phases = Phases::default();
    let Phases { leaving, shutdown, .. } = &phases;
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    match console {
        None => signals::listen(&mut tasks, leaving.clone())?,
        Some(_) => signals::listen_for_terminate(&mut tasks, leaving.clone())?,
    }
    let ops = Ops::new(role_name(config), leaving.clone());
    // Probes are answered while data is opened, and until it is closed.
    let _server = ops::start(config, &ops).await?;
    let (core, thread) = open(config).await?;
    let (node, failure) = match start(config, core, &ops, &mut tasks, &phases).await {
        Ok(node) => {
            report::ready(config, &node, started);
            let failure = match console {
                None => first_failure(&mut tasks, leaving).await,
                Some(options) => tokio::select! {
                    failure = first_failure(&mut tasks, leaving) => failure,
                    ended = converse(options) => ended,
                },
            };
            tracing::info!("Got interrupt, shutting down...");
            if config.is_behind_service && failure.is_ok() {
                tokio::time::sleep(SERVICE_PERIOD).await;
            }
            (Some(node), failure)
        }
        Err(error) => (None, Err(error)),
    };
    leaving.cancel();
    shutdown.cancel();
    // A process that ends while its database is open may crash in RocksDB's threads.
    let stopped = stop(node, thread, tasks, &phases.halt);
    match tokio::time::timeout(GRACE_PERIOD, stopped).await {
        Ok(result) => failure.and(result),
        Err(_) => bail!("shutting down took more than {} s", GRACE_PERIOD.as_secs()),
    }
}

/// What ends a node: first what takes in, then what passes on.
#[derive(Debug, Clone, Default)]
struct Phases {
    /// Cancelled at the signal: whoever asks whether the node is ready should go elsewhere.
    leaving: CancellationToken,
    /// Cancelled when everybody had time to do so: no more requests, no more work.
    shutdown: CancellationToken,
    /// Cancelled when peers have what was taken in.
    halt: CancellationToken,
}

/// A node whose parts all run.
#[derive(Debug)]
pub struct Node {
    /// The chain.
    pub chain: ChainHandle,
    /// Where RPC listens.
    pub http: Option<SocketAddr>,
    /// The miner, if there is one.
    pub miner: Option<MinerHandle>,
    server: Option<RpcServer>,
    network: Option<NetworkHandle>,
    /// Cancelled when the miner has brought home what it found.
    mined: CancellationToken,
    /// Where local transactions are on the disk.
    journal: Option<PathBuf>,
}

/// What the other parts stand on.
struct Core {
    chain: ChainHandle,
    engine: Arc<Engine>,
    keystore: Arc<Keystore>,
    signer: Option<Arc<dyn rpc::Signer>>,
    is_rolled_back: bool,
    secured: Secured,
}

async fn open(config: &Config) -> Result<(Core, ChainThread)> {
    // Before the database, whose opening can take long.
    let secured = Secured::load(&config.doors, config.authorities.as_deref())?;
    let importer = {
        let config = config.clone();
        let opening = move || open_chain(&config, node_default(&config));
        tokio::task::spawn_blocking(opening).await.wrap_err("opening the chain panicked")??
    };
    let is_rolled_back = is_rolled_back(&importer);
    let engine = engine(config);
    let signer = {
        let (accounts, connector) = (config.accounts.clone(), secured.connector.clone());
        let connecting = move || signer::connect(&accounts, &connector);
        tokio::task::spawn_blocking(connecting).await.wrap_err("reaching the signer panicked")??
    };
    let keystore = Arc::new(Keystore::open(&config.paths.keystore)?);
    if !config.accounts.unlock.is_empty() {
        // On this thread, which holds the terminal; the others answer probes meanwhile.
        account::unlock_at_start(config, &keystore)?;
    }
    let (chain, thread) = chain::spawn(importer).wrap_err("cannot start the chain's thread")?;
    Ok((Core { chain, engine, keystore, signer, is_rolled_back, secured }, thread))
}

async fn start(
    config: &Config,
    core: Core,
    ops: &Ops,
    tasks: &mut JoinSet<Result<()>>,
    phases: &Phases,
) -> Result<Node> {
    let Phases { shutdown, halt, .. } = phases;
    let Core { chain, engine, keystore, signer, is_rolled_back, secured } = core;
    let pool = {
        let (config, chain) = (pool_config(config), chain.clone());
        let opening = move || Pool::new(config, chain);
        tokio::task::spawn_blocking(opening).await.wrap_err("opening the pool panicked")?
    };
    let maintained = pool.clone();
    let token = halt.clone();
    tasks.spawn(async move {
        maintained.run(token).await;
        Ok(())
    });
    tasks.spawn(expire_leases(keystore.clone(), halt.clone()));
    let rpc_engine = engine.clone();
    let parts = (chain.clone(), pool.clone(), engine.clone());
    let id = network_id(config, &chain);
    let clock = network::OwnClock::default();
    let network = network::start(config, parts, (id, &clock), tasks, halt).await?;
    let mines = (config.mining.enabled || config.dev.is_some()) && !is_rolled_back;
    let mined = CancellationToken::new();
    let miner = if mines {
        let worker_parts = (chain.clone(), pool.clone(), engine);
        let ends = (shutdown, &mined);
        Some(start_miner(config, worker_parts, &keystore, tasks, ends)?)
    } else {
        mined.cancel();
        None
    };
    let (trouble, dashboard) = watch::channel(Some("was not reached yet".to_owned()));
    let dashboard = config.network.ethstats.is_some().then_some(dashboard);
    let outside = (network.clone(), clock, dashboard);
    let parts = watched(config, &chain, outside, miner.clone());
    tasks.spawn(ops::node::watch(ops.clone(), parts, halt.clone()));
    let told = ethstats::Parts {
        chain: chain.clone(),
        pool: pool.clone(),
        miner: miner.clone(),
        network: network.clone(),
        ops: ops.clone(),
    };
    ethstats::start(config, (told, trouble), secured.connector.clone(), id, tasks, halt)?;
    let parts = (&chain, &pool, rpc_engine);
    let rpc = rpc_node(config, parts, (miner.clone(), network.clone()), (keystore, signer));
    let server = listen(config, &secured, rpc, shutdown).await?;
    let http = server.http_address();
    if let Some(address) = http.filter(|_| config.http.as_ref().is_some_and(|http| http.explorer)) {
        let scheme = if secured.tls.is_some() { "https" } else { "http" };
        tracing::info!(url = format_args!("{scheme}://{address}/explorer/"), "Explorer is served");
    }
    let journal = journal_config(config).map(|journal| journal.path);
    Ok(Node { chain, http, miner, server: Some(server), network, mined, journal })
}

/// What a node knows of others: its peers, what they say of its clock, and why the dashboard does
/// not hear of it.
type Outside = (Option<NetworkHandle>, network::OwnClock, Option<watch::Receiver<Option<String>>>);

/// What probes and metrics look at.
fn watched(
    config: &Config,
    chain: &ChainHandle,
    (network, clock, dashboard): Outside,
    miner: Option<MinerHandle>,
) -> ops::node::Parts {
    let directory = (!config.is_in_memory()).then(|| config.paths.hematite.clone());
    let pool_max = (config.pool.global_slots, config.pool.global_queue);
    ops::node::Parts { chain: chain.clone(), network, clock, dashboard, miner, directory, pool_max }
}

const fn role_name(config: &Config) -> &'static str {
    match config.role {
        Some(Role::Miner) => "miner",
        Some(Role::Tx) => "tx",
        Some(Role::Bootnode) => "bootnode",
        Some(Role::Registrar) => "registrar",
        Some(Role::Ethstats) => "ethstats",
        None => "node",
    }
}

/// Forgets decrypted keys whose lease is over, used or not.
async fn expire_leases(keystore: Arc<Keystore>, shutdown: CancellationToken) -> Result<()> {
    while shutdown.run_until_cancelled(tokio::time::sleep(LEASE_CHECK_PERIOD)).await.is_some() {
        keystore.expire(Instant::now());
    }
    Ok(())
}

async fn listen(
    config: &Config,
    secured: &Secured,
    node: rpc::Node,
    shutdown: &CancellationToken,
) -> Result<RpcServer> {
    let mut rpc_config = rpc_config(config, secured)?;
    let started = RpcServer::start(rpc_config.clone(), node.clone(), shutdown.clone()).await;
    let started = match started {
        // A node that leaves nothing behind has no place of its own for the socket.
        Err(StartError::Ipc(error)) if config.is_in_memory() => {
            tracing::warn!(%error, "Could not open the IPC endpoint");
            rpc_config.ipc = None;
            RpcServer::start(rpc_config, node, shutdown.clone()).await
        }
        started => started,
    };
    started.map_err(|error| {
        let hint = match &error {
            StartError::Http { .. } => HTTP_IN_USE,
            StartError::Ws { .. } => WS_IN_USE,
            StartError::Ipc(_) => "",
        };
        let shown = format!("{error}{hint}");
        eyre::Report::new(error).wrap_err(shown)
    })
}

async fn converse(options: console::Options) -> Result<()> {
    command::console::finished(&mut Console::start(options)?).await
}

/// Waits for a stop, or for a part that ends by itself.
async fn first_failure(
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) if shutdown.is_cancelled() => Ok(()),
            Ok(Ok(())) => Err(eyre!("a part of the node ended by itself")),
            Err(panic) => Err(eyre!("a part of the node panicked: {panic}")),
        },
    }
}

/// Upstream first: RPC and miner, then network and pool, then the chain, which closes the database.
async fn stop(
    node: Option<Node>,
    thread: ChainThread,
    mut tasks: JoinSet<Result<()>>,
    halt: &CancellationToken,
) -> Result<()> {
    let started = match node {
        Some(mut node) => {
            let last = pass_on(&mut node);
            if tokio::time::timeout(HAND_OVER_PERIOD_MAX, last).await.is_err() {
                tracing::warn!("Stopped without passing everything on to peers");
            }
            Some((node.chain, node.miner))
        }
        None => None,
    };
    halt.cancel();
    let mut failure = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended =
            ended.unwrap_or_else(|panic| Err(eyre!("a part of the node panicked: {panic}")));
        failure = failure.and(ended);
    }
    drop(started);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    let joined: Result<(), ImportError> = joined.wrap_err("the chain panicked")?;
    joined.wrap_err("the chain stopped")?;
    tracing::info!("Blockchain stopped");
    failure
}

/// Finishes what was begun, and sees that somebody else has it: a client that was given a hash, or
/// a miner that found a block, counts on it, and this node's disk may go with it.
async fn pass_on(node: &mut Node) {
    if let Some(server) = node.server.take() {
        server.stopped().await;
    }
    node.mined.cancelled().await;
    let Some(network) = &node.network else { return };
    let begun = Instant::now();
    loop {
        let Some(HandOver { transactions, peers }) = network.hand_over().await else { return };
        if peers > 0 || transactions == 0 {
            tracing::info!(transactions, peers, "Passed own transactions on to peers");
            return;
        }
        if begun.elapsed() >= PEER_PERIOD_MAX {
            let journal = node.journal.as_ref().map(|path| path.display().to_string());
            match journal {
                Some(journal) => tracing::warn!(
                    transactions,
                    journal,
                    "No peer took over the own transactions; they are sent after the next start"
                ),
                None => tracing::warn!(
                    transactions,
                    "No peer took over the own transactions, and there is no journal: they are lost"
                ),
            }
            return;
        }
        tokio::time::sleep(PEER_LOOK_PERIOD).await;
    }
}

fn pool_config(config: &Config) -> PoolConfig {
    let pool = &config.pool;
    let price = if config.mining.enabled { config.mining.gas_price } else { pool.price_limit };
    let limits = txpool::Limits {
        gas_price: if config.dev.is_some() { 1 } else { price },
        price_bump: pool.price_bump,
        pending: pool.global_slots,
        queued: pool.global_queue,
        account_pending: pool.account_slots,
        account_queued: pool.account_queue,
        lifetime: pool.lifetime,
        spare_locals: !pool.no_locals,
        local_senders: pool.locals.clone(),
        allow_unprotected: config.rpc.allow_unprotected,
        ..txpool::Limits::default()
    };
    PoolConfig { limits, journal: journal_config(config) }
}

/// `None` keeps local transactions in memory only.
fn journal_config(config: &Config) -> Option<JournalConfig> {
    let sync = match config.pool.journal_sync {
        JournalSync::Batch => txpool::JournalSync::Batch,
        JournalSync::Always => txpool::JournalSync::Always,
        JournalSync::Off => return None,
    };
    let path = config.pool.journal.clone().filter(|_| !config.is_in_memory())?;
    let geth_path = Some(config.paths.datadir.join("geth").join("transactions.rlp"));
    Some(JournalConfig { path, geth_path, sync, rotation: config.pool.rejournal })
}

fn start_miner(
    config: &Config,
    (chain, pool, engine): (ChainHandle, Pool, Arc<Engine>),
    keystore: &Keystore,
    tasks: &mut JoinSet<Result<()>>,
    (shutdown, mined): (&CancellationToken, &CancellationToken),
) -> Result<MinerHandle> {
    let miner_config = miner_config(config, keystore)?;
    if miner_config.beneficiary.is_none() {
        tracing::error!(
            "Cannot start mining without etherbase; make an account or give --miner.etherbase"
        );
    }
    let (worker, handle) = Worker::new(&miner_config, chain, pool, engine)?;
    notify::start(&config.mining, &handle, tasks, shutdown)?;
    let (token, mined) = (shutdown.clone(), mined.clone().drop_guard());
    tasks.spawn(async move {
        let _mined = mined;
        miner::run(worker, token).await.wrap_err("the miner stopped")
    });
    if let SealerKind::Cpu { .. } = miner_config.sealer {
        tasks.spawn(report::dataset(handle.clone(), shutdown.clone()));
    }
    Ok(handle)
}

fn miner_config(config: &Config, keystore: &Keystore) -> Result<MinerConfig> {
    let mining = &config.mining;
    let sealer = match (config.dev, mining.threads) {
        (Some(dev), _) => {
            SealerKind::Instant { period: Some(dev.period).filter(|period| !period.is_zero()) }
        }
        (None, _) if config.fake_pow => SealerKind::Instant { period: Some(FAKE_PERIOD) },
        // geth's own meaning of no threads: others may ask for work, this machine does not search.
        (None, Some(0)) => SealerKind::Remote,
        (None, None) if config.role != Some(Role::Miner) => SealerKind::Remote,
        (None, threads) => SealerKind::Cpu {
            threads: threads.unwrap_or_else(usable_threads),
            hashrate_max: mining.hashrate_cap,
        },
    };
    let extra_data = match &mining.extra_data {
        Some(text) => Bytes::from(text.clone().into_bytes()),
        None => report::extra_data(),
    };
    Ok(MinerConfig {
        beneficiary: beneficiary(config, keystore)?,
        sealer,
        datasets: datasets::config(config),
        extra_data,
        gas_target: if config.dev.is_some() { config.dev_gas_limit() } else { mining.gas_target },
        recommit: mining.recommit,
    })
}

/// Threads that the processor and the affinity of this process allow.
fn usable_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Who is paid. `--role miner` makes an account when there is none and none is named.
fn beneficiary(config: &Config, keystore: &Keystore) -> Result<Option<Address>> {
    if config.dev.is_some() && config.mining.etherbase.is_none() {
        return Ok(Some(report::dev_accounts()[0].0));
    }
    let named = config.mining.etherbase.is_some();
    if config.role == Some(Role::Miner) && !named && keystore.accounts().is_empty() {
        let made = account::ensure_account(&config.paths, &config.accounts, SystemTime::now())?;
        return Ok(Some(made.address));
    }
    account::beneficiary(&config.mining, keystore)
}

/// geth's networks are the public one unless told otherwise, ours are the chain's.
fn network_id(config: &Config, chain: &ChainHandle) -> u64 {
    let geth = config.personality == crate::args::Personality::Geth;
    config.network_id.unwrap_or_else(|| if geth { 1 } else { chain.view().spec.chain_id })
}

fn rpc_node(
    config: &Config,
    (chain, pool, engine): (&ChainHandle, &Pool, Arc<Engine>),
    (miner, network): (Option<MinerHandle>, Option<NetworkHandle>),
    (keystore, signer): (Arc<Keystore>, Option<Arc<dyn rpc::Signer>>),
) -> rpc::Node {
    rpc::Node {
        chain: chain.clone(),
        engine,
        pool: pool.clone(),
        miner,
        keystore: Some(keystore),
        signer,
        client_version: report::client_version(config.identity.as_deref()),
        network_id: network_id(config, chain),
        network,
        data_directory: config.paths.datadir.clone(),
        gas_max: config.rpc.gas_cap.unwrap_or(0),
        call_time_max: config.rpc.evm_timeout,
        tx_fee_max: config.rpc.tx_fee_cap,
        finalized_depth: config.rpc.finalized_depth,
        allow_insecure_unlock: config.accounts.allow_insecure_unlock,
        key_kdf: config.accounts.kdf,
        log_levels: Some(rpc::LogLevels::new(logging::change)),
        strict_receipts: config.rpc.strict_receipts,
    }
}

fn rpc_config(config: &Config, secured: &Secured) -> Result<RpcConfig> {
    let http = config.http.as_ref().map(|http| {
        let hosts = match &http.vhosts {
            config::Vhosts::Cluster { namespace } => rpc::Hosts::cluster(namespace.as_deref()),
            config::Vhosts::Listed(names) => rpc::Hosts::listed(names.clone()),
        };
        let (modules, origins, prefix) =
            (http.apis.clone(), http.cors.clone(), http.prefix.clone());
        let address = address("http.addr", &http.addr, http.port)?;
        let explorer = http.explorer;
        Ok::<_, eyre::Report>(HttpConfig { address, modules, origins, hosts, prefix, explorer })
    });
    let ws = config.ws.as_ref().map(|ws| {
        let (modules, origins, prefix) = (ws.apis.clone(), ws.origins.clone(), ws.prefix.clone());
        let address = address("ws.addr", &ws.addr, ws.port)?;
        Ok::<_, eyre::Report>(WsConfig { address, modules, origins, prefix })
    });
    Ok(RpcConfig {
        http: http.transpose()?,
        ws: ws.transpose()?,
        ipc: ipc_path(config),
        guard: secured.guard.clone(),
        tls: secured.tls.clone(),
        server: ServerLimits::default().with_connections(config.rpc.connections),
        ..RpcConfig::default()
    })
}

/// As geth: a chain in memory has its socket where all that is passing is kept.
#[must_use]
pub fn ipc_path(config: &Config) -> Option<PathBuf> {
    let path = config.paths.ipc.clone()?;
    if config.is_in_memory() && path.starts_with(&config.paths.datadir) {
        return path.file_name().map(|name| std::env::temp_dir().join(name));
    }
    Some(path)
}

fn address(flag: &str, host: &str, port: u16) -> Result<SocketAddr> {
    (host, port)
        .to_socket_addrs()
        .wrap_err_with(|| format!("--{flag} {host} is no address of this machine"))?
        .next()
        .ok_or_else(|| eyre!("--{flag} {host} has no address"))
}
