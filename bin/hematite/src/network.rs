//! The node's key, whom it calls, and the network that does.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chain::ChainHandle;
use consensus::Engine;
use devp2p::{
    Discovery, DiscoveryConfig, LocalRecord, NetRestrict, NodeRecord, OwnRecord, PeerId,
    discovery::V5Config, discv4::Skew,
};
use eyre::{Result, WrapErr};
use network::{NetworkConfig, NetworkHandle};
use primitives::{ChainSpec, ForkId};
use secp256k1::SecretKey;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use txpool::Pool;
use zeroize::Zeroizing;

use crate::{
    args::Surroundings,
    config::Config,
    exit::UsageError,
    nat::{self, Nat},
    nodes::{self, NodeDatabase},
    report, secured,
    urls::{RESOLVE_PERIOD, Sources},
};

/// Nodes that wait to be called by the network.
const FOUND_MAX: usize = 64;
/// How soon bootnodes are asked for again, at first; twice as long each time.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// How often nodes are looked for while there are few peers.
const SEEK_PERIOD: Duration = Duration::from_secs(5);
/// A clock that is off by so many seconds more or less is told of again.
const CLOCK_STEP: u64 = 10;
/// The list of nodes to be connected to always.
const STATIC_NODES: &str = "static-nodes.json";
/// The list of nodes that have a place always when they call.
const TRUSTED_NODES: &str = "trusted-nodes.json";
/// The node database, beside what else is ours.
const DATABASE: &str = "nodes.json";

/// By how many seconds this machine's clock is ahead, behind if negative, as most nodes say; 0 if
/// they do not.
pub type OwnClock = Arc<AtomicI64>;

/// Everything about discovery that flags and files say.
pub(crate) struct Finding {
    pub(crate) config: DiscoveryConfig,
    pub(crate) database: NodeDatabase,
    /// Bootnodes, and who knows some.
    pub(crate) sources: Sources,
    /// The name that this node's address belongs to, if it was told by name.
    pub(crate) name: Option<String>,
}

/// The clocks that the network was told of.
#[derive(Debug, Default)]
struct Clocks(HashMap<PeerId, i64>);

impl Clocks {
    /// Those of which something new is to be told. Discovery bounds how many there are.
    fn news(&mut self, skews: Vec<Skew>) -> Vec<Skew> {
        let before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for skew in skews {
            let told = before.get(&skew.id).filter(|told| told.abs_diff(skew.seconds) < CLOCK_STEP);
            self.0.insert(skew.id, told.copied().unwrap_or(skew.seconds));
            if told.is_none() {
                news.push(skew);
            }
        }
        news
    }
}

/// Starts the network; `None` if the node is to have no peers.
///
/// # Errors
///
/// When the node's key cannot be had, a node's URL is wrong, or a port is taken.
pub async fn start(
    config: &Config,
    parts: (ChainHandle, Pool, Arc<Engine>),
    (network_id, clock): (u64, &OwnClock),
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<Option<NetworkHandle>> {
    if config.network.peers_max == 0 || config.dev.is_some() {
        return Ok(None);
    }
    let key = configured(node_key(config))?;
    let own = PeerId::of(&key);
    let (sender, found) = mpsc::channel(FOUND_MAX);
    let mut finding = configured(finding(config, own, sender.clone()).await)?;
    let listed = |name| configured(Sources::of_files(&config.paths.datadir, name));
    let (named, trusted) = (listed(STATIC_NODES)?, listed(TRUSTED_NODES)?);
    let port = config.network.port;
    let network = NetworkConfig {
        key,
        client: report::client_version(config.identity.as_deref()),
        listen: Some(SocketAddr::new(any_address(), port)),
        network_id,
        peers_max: config.network.peers_max,
        pending_max: config.network.pending_peers_max,
        named: named.known(),
        trusted: trusted.ids(),
        mines: config.mining.enabled,
        restrict: finding.config.restrict.clone(),
        found,
    };
    let chain = parts.0.clone();
    let mut running = JoinSet::new();
    let handle = network::start(network, parts, &mut running, shutdown.clone()).await;
    let handle = handle.wrap_err_with(|| {
        format!("cannot listen on port {port} for peers; is another node running? --port takes another, 0 a free one")
    })?;
    let tcp = handle.address().map_or(0, |address| address.port());
    let handle = if config.network.discovers() {
        if port == 0 && config.network.discovery_port == 0 {
            finding.config.listen.set_port(tcp);
        }
        if !config.network.discovery_v4 {
            // Version 5 can ask those only whose record is known.
            tasks.spawn(offer(finding.sources.clone(), sender, shutdown.clone()));
        }
        let discovery = discover(finding, (key, tcp), &chain, tasks, shutdown).await?;
        let handle = handle.advertised_as(discovery.own());
        let parts = (handle.clone(), chain, clock.clone());
        tasks.spawn(seek(discovery, parts, shutdown.clone()));
        handle
    } else {
        let Finding { config, sources, name, .. } = finding;
        let (record, own) = OwnRecord::new(own_record(&config, (key, tcp), &chain));
        tasks.spawn(offer(sources, sender, shutdown.clone()));
        tasks.spawn(keep_record(record, name, chain, shutdown.clone()));
        handle.advertised_as(own)
    };
    if let Some(own) = handle.own() {
        tracing::info!(self = %own.node(), "Started P2P networking");
    }
    if !named.are_known() {
        tasks.spawn(keep_named(named, handle.clone(), shutdown.clone()));
    }
    tasks.spawn(async move {
        while let Some(ended) = running.join_next().await {
            ended.wrap_err("the network stopped")?;
        }
        Ok(())
    });
    Ok(Some(handle))
}

/// What discovery is told, but for what the chain and the ports say.
pub(crate) async fn finding(
    config: &Config,
    own: PeerId,
    found: mpsc::Sender<NodeRecord>,
) -> Result<Finding> {
    // Names are looked up later: a start does not wait for other machines.
    let mut sources = Sources::lenient(config.network.bootnodes.as_deref().unwrap_or_default());
    if config.network.discovers() {
        sources.add_linked(&Surroundings::of_process().variables);
    }
    let bootnodes = sources.known();
    let place = config.network.nat.parse::<Nat>()?.place(&bootnodes).await?;
    let path = config.paths.hematite.join(DATABASE);
    let database = NodeDatabase::open(path, own, nodes::unix_seconds());
    let v5 = V5Config { records: sources.records(), fork_hashes: Vec::new() };
    let config = DiscoveryConfig {
        listen: SocketAddr::new(any_address(), config.network.discovery_port),
        tcp: 0,
        external: place.external,
        guess: place.guess,
        bootnodes,
        seeds: database.seeds(),
        last_sequence: database.last_sequence(),
        v4: config.network.discovery_v4,
        v5: config.network.discovery_v5.then_some(v5),
        restrict: restriction(config)?,
        fork_id: None,
        found,
    };
    Ok(Finding { config, database, sources, name: place.name })
}

/// Starts discovery, and what keeps it informed.
async fn discover(
    finding: Finding,
    (key, tcp): (SecretKey, u16),
    chain: &ChainHandle,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<Discovery> {
    let Finding { mut config, database, sources, name } = finding;
    config.tcp = tcp;
    config.fork_id = Some(fork_id(chain));
    if let Some(v5) = &mut config.v5 {
        v5.fork_hashes = fork_hashes(&chain.view().spec);
    }
    let listen = config.listen;
    let (discovery, run) = start_discovery(config, key, shutdown).await.wrap_err_with(|| {
        format!("cannot listen on UDP port {} for discovery; --discovery.port takes another, --nodiscover does without", listen.port())
    })?;
    tasks.spawn(run);
    tasks.spawn(follow(discovery.clone(), sources, name, shutdown.clone()));
    tasks.spawn(nodes::keep(database, discovery.clone(), shutdown.clone()));
    Ok(discovery)
}

/// Starts discovery; the future is its loop.
pub(crate) async fn start_discovery(
    config: DiscoveryConfig,
    key: SecretKey,
    shutdown: &CancellationToken,
) -> std::io::Result<(Discovery, impl Future<Output = Result<()>> + Send + 'static)> {
    let (discovery, run) = Discovery::start(config, key, shutdown.clone()).await?;
    let run = async move {
        run.await;
        Ok(())
    };
    Ok((discovery, run))
}

/// Keeps to where bootnodes are, and this node.
pub(crate) async fn follow(
    discovery: Discovery,
    mut sources: Sources,
    name: Option<String>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut pause = RETRY_PERIOD;
    let look = async {
        loop {
            let nodes = sources.resolve().await;
            // Who was just found may not know this node yet, and then does not answer; and nobody
            // else makes a bootnode look for nodes.
            if discovery.add_bootnodes(nodes).await.is_err() || discovery.look_up().await.is_err() {
                return;
            }
            match own_address(name.as_deref()).await {
                Some(ip) if discovery.set_address(ip).await.is_err() => return,
                Some(_) | None => {}
            }
            // In a cluster everybody starts at once, and who is asked may be the last to be there.
            tokio::time::sleep(pause).await;
            pause = RESOLVE_PERIOD.min(2 * pause);
        }
    };
    shutdown.run_until_cancelled(look).await;
    Ok(())
}

/// Where a name of this node is now, if it has one.
async fn own_address(name: Option<&str>) -> Option<IpAddr> {
    let name = name?;
    let found = nat::resolve(name).await;
    let unknown = |error: &eyre::Report| {
        tracing::debug!(name, error = format!("{error:#}"), "Could not resolve the own name");
    };
    found.inspect_err(unknown).ok()
}

/// Keeps to where named nodes are.
async fn keep_named(
    mut named: Sources,
    network: NetworkHandle,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut period = tokio::time::interval(RESOLVE_PERIOD);
    let mut known = named.known();
    let look = async {
        loop {
            period.tick().await;
            let mut nodes = named.resolve().await;
            // Those that the network cannot take now are new in the next round, too.
            nodes.retain(|node| known.contains(node) || network.add(*node));
            known = nodes;
        }
    };
    shutdown.run_until_cancelled(look).await;
    Ok(())
}

/// Looks for nodes as long as there are few peers, and says which fork the chain is at.
async fn seek(
    discovery: Discovery,
    (network, chain, clock): (NetworkHandle, ChainHandle, OwnClock),
    shutdown: CancellationToken,
) -> Result<()> {
    let mut period = tokio::time::interval(SEEK_PERIOD);
    let mut clocks = Clocks::default();
    while shutdown.run_until_cancelled(period.tick()).await.is_some() {
        if discovery.set_fork_id(fork_id(&chain)).await.is_err() {
            break;
        }
        let Ok(own) = discovery.own_clock().await else { break };
        clock.store(own.unwrap_or(0), Ordering::Relaxed);
        let Ok(skews) = discovery.skews().await else { break };
        for Skew { id, at, seconds, is_bootnode } in clocks.news(skews) {
            if !network.note_clock(id, at, seconds, is_bootnode) {
                tracing::debug!(peer = ?id, seconds, "Left out a clock that is off");
            }
        }
        let wanted = (network.peers_max() / 2).max(1);
        if network.peers().len() < wanted && discovery.look_up().await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The record of a node without discovery, which others read in `admin_nodeInfo`.
fn own_record(
    config: &DiscoveryConfig,
    (key, tcp): (SecretKey, u16),
    chain: &ChainHandle,
) -> LocalRecord {
    // Where nothing is known, geth says this, too.
    let ip = config.external.or(config.guess).unwrap_or(Ipv4Addr::LOCALHOST.into());
    let node = NodeRecord { id: PeerId::of(&key), ip, tcp, udp: 0 };
    let millis = nodes::unix_seconds().saturating_mul(1_000);
    let sequence = millis.max(config.last_sequence.saturating_add(1));
    LocalRecord::new(key, node, Some(fork_id(chain)), sequence)
}

/// Keeps to where this node is, and to which fork its chain is at.
async fn keep_record(
    mut record: OwnRecord,
    name: Option<String>,
    chain: ChainHandle,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut period = tokio::time::interval(RESOLVE_PERIOD);
    let look = async {
        loop {
            period.tick().await;
            record.set_fork_id(fork_id(&chain));
            let Some(name) = &name else { continue };
            match nat::resolve(name).await {
                Ok(ip) => record.set_address(ip),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::debug!(name, error, "Could not resolve the own name");
                }
            }
        }
    };
    shutdown.run_until_cancelled(look).await;
    Ok(())
}

/// Which fork the chain is at.
fn fork_id(chain: &ChainHandle) -> ForkId {
    let view = chain.view();
    view.spec.fork_id(view.head.number)
}

/// The hashes of all forks of a chain, from the first on.
fn fork_hashes(spec: &ChainSpec) -> Vec<[u8; 4]> {
    let after = |id: &primitives::ForkId| (id.next != 0).then(|| spec.fork_id(id.next));
    std::iter::successors(Some(spec.fork_id(0)), after).map(|id| id.hash).collect()
}

/// The networks to keep to.
pub(crate) fn restriction(config: &Config) -> Result<Option<NetRestrict>> {
    let networks = &config.network.netrestrict;
    if networks.is_empty() {
        return Ok(None);
    }
    let parsed = networks.join(",").parse();
    parsed.map(Some).wrap_err("Option \"netrestrict\": invalid list of networks")
}

/// What is wrong with a flag or a key file is a mistake of usage, and the exit code says so.
pub(crate) fn configured<T>(read: Result<T>) -> Result<T> {
    read.map_err(|error| UsageError(format!("{error:#}")).into())
}

/// Both families where the system has them.
pub(crate) fn any_address() -> IpAddr {
    let has_v6 = Path::new("/proc/net/if_inet6").exists();
    if has_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// Without discovery, bootnodes are peers like others.
async fn offer(
    mut sources: Sources,
    found: mpsc::Sender<NodeRecord>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut period = tokio::time::interval(RESOLVE_PERIOD);
    let look = async {
        loop {
            period.tick().await;
            for node in sources.resolve().await {
                if found.try_send(node).is_err() {
                    tracing::debug!(peer = ?node.id, "Kept a node for the next round");
                }
            }
        }
    };
    shutdown.run_until_cancelled(look).await;
    Ok(())
}

/// The key that the node is known by: given, kept, or made and kept.
pub(crate) fn node_key(config: &Config) -> Result<SecretKey> {
    if let Some(hex) = &config.network.nodekey_hex {
        return parse_key(hex.expose()).wrap_err("Option \"nodekeyhex\": invalid private key");
    }
    let path = &config.paths.nodekey;
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => {
            secured::warn_if_public("nodekey", path);
            parse_key(text.trim_end()).wrap_err_with(|| {
                format!("{} is no node key: remove it, and a new one is made", path.display())
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = SecretKey::new(&mut secp256k1::rand::thread_rng());
            write_key(path, &key)
                .wrap_err_with(|| format!("cannot keep the node's key in {}", path.display()))?;
            Ok(key)
        }
        Err(error) => Err(error).wrap_err_with(|| format!("cannot read {}", path.display())),
    }
}

pub(crate) fn parse_key(text: &str) -> Result<SecretKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).wrap_err("expected 64 hex digits")?;
    SecretKey::from_byte_array(&bytes).wrap_err("the number is out of range")
}

pub(crate) fn write_key(path: &Path, key: &SecretKey) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Whatever is there is somebody's, a link that leads nowhere too.
    if fs::symlink_metadata(path).is_ok() {
        return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists).into());
    }
    // Never half of it: a node does not start with a key that is damaged.
    let text = Zeroizing::new(hex::encode(key.secret_bytes()));
    Ok(accounts::store_privately(path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_of_once() {
        let skew = |number: u8, seconds| Skew {
            id: PeerId::of(&SecretKey::from_byte_array(&[number; 32]).expect("a key")),
            at: ([10, 0, 0, number], 30_303).into(),
            seconds,
            is_bootnode: false,
        };
        let mut clocks = Clocks::default();
        assert_eq!(clocks.news(vec![skew(1, 60), skew(2, -30)]), [skew(1, 60), skew(2, -30)]);
        assert_eq!(clocks.news(vec![skew(1, 63), skew(2, -25)]), []);
        assert_eq!(clocks.news(vec![skew(1, 70)]), [skew(1, 70)], "it went on");
        assert_eq!(clocks.news(vec![]), []);
        assert_eq!(clocks.news(vec![skew(2, -25)]), [skew(2, -25)], "it was well meanwhile");
    }

    #[test]
    fn the_forks_of_a_chain_are_all_those_a_node_of_it_can_be_at() {
        let spec = ChainSpec::preset("ropsten").expect("it is there");
        let hashes = fork_hashes(&spec);
        for number in [0, 10, 1_700_000, 4_230_000, 10_499_401, u64::MAX] {
            assert!(hashes.contains(&spec.fork_id(number).hash), "{number}");
        }
        assert!(!hashes.contains(&[0; 4]));
    }
}
