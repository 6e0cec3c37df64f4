//! The node's key, whom it calls, and the network that does.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use chain::ChainHandle;
use consensus::Engine;
use devp2p::{Discovery, DiscoveryConfig, NetRestrict, NodeRecord};
use eyre::{Result, WrapErr, bail, eyre};
use network::{NetworkConfig, NetworkHandle};
use secp256k1::SecretKey;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use txpool::Pool;

use crate::{config::Config, exit::UsageError, plain_http, report};

/// Nodes that wait to be called by the network.
const FOUND_MAX: usize = 64;
/// How often nodes are looked for while there are few peers.
const SEEK_PERIOD: Duration = Duration::from_secs(5);
/// The names of bootnodes are resolved again after so many of these.
const RESOLVE_ROUNDS: u32 = 6;
/// Nodes of one registrar.
const REGISTERED_MAX: usize = 64;
/// The list of nodes to be connected to always, in geth's folder.
const STATIC_NODES: &str = "static-nodes.json";

/// Starts the network; `None` if the node is to have no peers.
///
/// # Errors
///
/// When the node's key cannot be had, a node's URL is wrong, or a port is taken.
pub async fn start(
    config: &Config,
    parts: (ChainHandle, Pool, Arc<Engine>),
    network_id: u64,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<Option<NetworkHandle>> {
    if config.network.peers_max == 0 || config.dev.is_some() {
        return Ok(None);
    }
    let key = configured(node_key(config))?;
    let (found_sender, found) = mpsc::channel(FOUND_MAX);
    let port = config.network.port;
    let restrict = configured(restriction(config))?;
    let fork_id = {
        let view = parts.0.view();
        view.spec.fork_id(view.head.number)
    };
    let network = NetworkConfig {
        key,
        client: report::client_version(config.identity.as_deref()),
        listen: Some(SocketAddr::new(any_address(), port)),
        network_id,
        peers_max: config.network.peers_max,
        named: configured(static_nodes(&config.paths.nodekey.with_file_name(STATIC_NODES)).await)?,
        restrict: restrict.clone(),
        found,
    };
    let mut running = JoinSet::new();
    let handle = network::start(network, parts, &mut running, shutdown.clone()).await;
    let handle = handle.wrap_err_with(|| {
        format!("cannot listen on port {port} for peers; is another node running? --port takes another, 0 a free one")
    })?;
    let tcp = handle.address().map_or(0, |address| address.port());
    let urls = config.network.bootnodes.clone().unwrap_or_default();
    // Names are looked up later: a start does not wait for other machines.
    let bootnodes: Vec<NodeRecord> = urls.iter().filter_map(|url| url.parse().ok()).collect();
    if config.network.discovery {
        let external = configured(external(config, &bootnodes))?;
        let udp = if config.network.discovery_port == port && port == 0 {
            tcp
        } else {
            config.network.discovery_port
        };
        let listen = SocketAddr::new(any_address(), udp);
        let discovery = DiscoveryConfig {
            listen,
            tcp,
            external,
            bootnodes,
            restrict,
            fork_id: Some(fork_id),
            found: found_sender.clone(),
        };
        let (discovery, run) =
            Discovery::start(discovery, key, shutdown.clone()).await.wrap_err_with(|| {
                format!("cannot listen on UDP port {udp} for discovery; --discovery.port takes another, --nodiscover does without")
            })?;
        running.spawn(run);
        tracing::info!(self = %discovery.node(), "Started P2P networking");
        let seeking = seek(discovery, handle.clone(), urls, shutdown.clone());
        tasks.spawn(seeking);
    } else {
        let own = NodeRecord { id: handle.id(), ip: Ipv4Addr::LOCALHOST.into(), tcp, udp: 0 };
        tracing::info!(self = %own, "Started P2P networking");
        tasks.spawn(offer(urls, found_sender, shutdown.clone()));
    }
    tasks.spawn(async move {
        while let Some(ended) = running.join_next().await {
            ended.wrap_err("the network stopped")?;
        }
        Ok(())
    });
    Ok(Some(handle))
}

/// Looks for nodes as long as there are few peers, and keeps to where bootnodes are.
async fn seek(
    discovery: Discovery,
    network: NetworkHandle,
    urls: Vec<String>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut period = tokio::time::interval(SEEK_PERIOD);
    let mut round = 0_u32;
    while shutdown.run_until_cancelled(period.tick()).await.is_some() {
        round += 1;
        if round % RESOLVE_ROUNDS == 1 {
            let nodes = resolve_all(urls.clone()).await;
            if discovery.add_bootnodes(nodes).await.is_err() {
                break;
            }
        }
        let wanted = (network.peers_max() / 2).max(1);
        if network.peers().len() < wanted && discovery.look_up().await.is_err() {
            break;
        }
    }
    Ok(())
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

/// Where others reach this node: as told, or from where it reaches the first bootnode.
pub(crate) fn external(config: &Config, bootnodes: &[NodeRecord]) -> Result<Option<IpAddr>> {
    if let Some(ip) = external_ip(&config.network.nat)? {
        return Ok(Some(ip));
    }
    let towards = |node: &NodeRecord| {
        let any: IpAddr = match node.ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(node.udp_address()).ok()?;
        socket.local_addr().ok()
    };
    Ok(bootnodes.iter().find_map(towards).map(|address| address.ip()))
}

/// The address that `--nat` names; there is no port mapping behind its other forms.
pub(crate) fn external_ip(nat: &str) -> Result<Option<IpAddr>> {
    let Some(ip) = nat.strip_prefix("extip:") else { return Ok(None) };
    ip.trim().parse().map(Some).wrap_err("Option \"nat\": expected extip:<IP address>")
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

/// The nodes that URLs name: of nodes, or of registrars, which know some.
pub(crate) async fn resolve_all(urls: Vec<String>) -> Vec<NodeRecord> {
    let mut nodes = Vec::new();
    for url in urls {
        let resolved = match url.strip_prefix("http://") {
            Some(registrar) => ask(registrar).await,
            None => resolve(&url).await.map(|node| vec![node]),
        };
        match resolved {
            Ok(resolved) => nodes.extend(resolved),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "Could not use bootnode URL");
            }
        }
    }
    nodes
}

/// What a registrar lists: URLs by comma.
async fn ask(registrar: &str) -> Result<Vec<NodeRecord>> {
    let host = registrar.trim_end_matches('/');
    let address = address_of(host).await?;
    let list = plain_http::fetch(address, host, "/").await?;
    let mut nodes = Vec::new();
    for url in list.trim().split(',').filter(|url| !url.is_empty()).take(REGISTERED_MAX) {
        nodes.push(resolve(url.trim()).await?);
    }
    Ok(nodes)
}

/// The first address of `host:port`.
async fn address_of(host: &str) -> Result<SocketAddr> {
    let mut addresses =
        tokio::net::lookup_host(host).await.wrap_err_with(|| format!("cannot resolve {host}"))?;
    addresses.next().ok_or_else(|| eyre!("{host} has no address"))
}

/// Without discovery, bootnodes are peers like others.
async fn offer(
    urls: Vec<String>,
    found: mpsc::Sender<NodeRecord>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut period = tokio::time::interval(SEEK_PERIOD * RESOLVE_ROUNDS);
    while shutdown.run_until_cancelled(period.tick()).await.is_some() {
        for node in resolve_all(urls.clone()).await {
            if found.try_send(node).is_err() {
                tracing::debug!(peer = ?node.id, "Kept a node for the next round");
            }
        }
    }
    Ok(())
}

/// A node by its URL, whose host may be a name.
async fn resolve(url: &str) -> Result<NodeRecord> {
    if let Ok(node) = url.parse() {
        return Ok(node);
    }
    let invalid =
        || eyre!("{url} is no enode URL: expected enode://<128 hex digits>@<host>:<port>");
    let (id, rest) = url.split_once('@').ok_or_else(invalid)?;
    let (host, query) =
        rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    let address = address_of(host).await.wrap_err_with(|| format!("in {url}"))?;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{id}@{address}{query}").parse().wrap_err_with(|| format!("in {url}"))
}

/// The key that the node is known by: given, kept, or made and kept.
pub(crate) fn node_key(config: &Config) -> Result<SecretKey> {
    if let Some(hex) = &config.network.nodekey_hex {
        return parse_key(hex.expose()).wrap_err("Option \"nodekeyhex\": invalid private key");
    }
    let path = &config.paths.nodekey;
    match fs::read_to_string(path) {
        Ok(text) => parse_key(text.trim_end()).wrap_err_with(|| {
            format!("{} is no node key: remove it, and a new one is made", path.display())
        }),
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
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(hex::encode(key.secret_bytes()).as_bytes())?;
    Ok(file.sync_all()?)
}

/// geth's list: URLs in a JSON array.
async fn static_nodes(path: &Path) -> Result<Vec<NodeRecord>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).wrap_err_with(|| format!("cannot read {}", path.display()));
        }
    };
    let Ok(urls) = serde_json::from_str::<Vec<String>>(&text) else {
        bail!("{} is no JSON array of enode URLs", path.display());
    };
    let mut nodes = Vec::new();
    for url in urls.iter().filter(|url| !url.is_empty()) {
        let node = resolve(url).await;
        nodes.push(node.wrap_err_with(|| format!("in {}", path.display()))?);
    }
    Ok(nodes)
}
