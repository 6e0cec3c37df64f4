//! `admin_*`: the node about itself.

mod files;

use std::net::IpAddr;

use ::network::{NetworkHandle, PeerInfo, Trouble};
use devp2p::NodeRecord;
use primitives::{B256, U256, hex};
use serde::Serialize;

use crate::{error::RpcError, methods::Table, node::Api, params::Params, parse};

pub(crate) fn register(table: &mut Table) {
    table.light("admin_nodeInfo", node_info);
    table.light("admin_peers", peers);
    table.light("admin_peerTroubles", peer_troubles);
    table.light("admin_addPeer", add_peer);
    table.light("admin_removePeer", remove_peer);
    table.light("admin_addTrustedPeer", add_trusted_peer);
    table.light("admin_removeTrustedPeer", remove_trusted_peer);
    table.light("admin_datadir", datadir);
    files::register(table);
}

#[derive(Debug, Serialize)]
struct NodeInfo {
    name: String,
    #[serde(flatten)]
    address: Option<Address>,
    protocols: Protocols,
}

/// How others reach this node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    id: String,
    enode: String,
    enr: String,
    ip: IpAddr,
    ports: Ports,
    listen_addr: String,
}

#[derive(Debug, Serialize)]
struct Ports {
    discovery: u16,
    listener: u16,
}

impl Address {
    fn new(network: &NetworkHandle) -> Option<Self> {
        let (own, listen) = (network.own()?, network.address()?);
        let node = own.node();
        Some(Self {
            id: hex::encode(node.id.node_id()),
            enode: node.to_string(),
            enr: own.enr().to_string(),
            ip: node.ip,
            ports: Ports { discovery: node.udp, listener: node.tcp },
            listen_addr: listen.to_string(),
        })
    }
}

#[derive(Debug, Serialize)]
struct Protocols {
    eth: EthInfo,
    snap: SnapInfo,
}

/// geth says nothing about it, but that it is there.
#[derive(Debug, Serialize)]
struct SnapInfo {}

#[derive(Debug, Serialize)]
struct EthInfo {
    network: u64,
    /// A plain number in geth, however large.
    difficulty: serde_json::Number,
    genesis: B256,
    config: serde_json::Value,
    head: B256,
}

fn node_info(api: &Api, params: &mut Params<'_>) -> Result<NodeInfo, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    Ok(NodeInfo {
        address: api.node.network.as_ref().and_then(Address::new),
        name: api.node.client_version.clone(),
        protocols: Protocols {
            eth: EthInfo {
                network: api.node.network_id,
                difficulty: number(view.td.get()),
                genesis: view.spec.genesis_block().hash(),
                config: view.spec.config.clone(),
                head: view.head.hash(),
            },
            snap: SnapInfo {},
        },
    })
}

fn number(value: U256) -> serde_json::Number {
    value.to_string().parse().expect("decimal digits are a number")
}

/// A peer in geth's words.
#[derive(Debug, Serialize)]
struct Peer {
    enode: String,
    id: String,
    name: String,
    caps: Vec<String>,
    network: Connection,
    protocols: PeerProtocols,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    local_address: String,
    remote_address: String,
    inbound: bool,
    trusted: bool,
    #[serde(rename = "static")]
    is_static: bool,
}

#[derive(Debug, Serialize)]
struct PeerProtocols {
    eth: PeerEth,
}

#[derive(Debug, Serialize)]
struct PeerEth {
    version: u8,
    difficulty: serde_json::Number,
    head: B256,
}

impl Peer {
    fn new(peer: &PeerInfo) -> Self {
        let caps = peer.capabilities.iter().map(|capability| capability.to_string()).collect();
        let address = peer.address;
        let (id, tcp) = (peer.id, address.port());
        Self {
            enode: NodeRecord { id, ip: address.ip(), tcp, udp: tcp }.to_string(),
            id: hex::encode(id.node_id()),
            name: peer.name.clone(),
            caps,
            network: Connection {
                local_address: peer.local_address.to_string(),
                remote_address: address.to_string(),
                inbound: !peer.dialled,
                trusted: peer.trusted,
                is_static: peer.named,
            },
            protocols: PeerProtocols {
                eth: PeerEth {
                    version: peer.version.number(),
                    difficulty: number(peer.td.get()),
                    head: peer.head,
                },
            },
        }
    }
}

fn peers(api: &Api, params: &mut Params<'_>) -> Result<Vec<Peer>, RpcError> {
    params.end()?;
    let Some(network) = &api.node.network else { return Ok(Vec::new()) };
    let mut peers: Vec<Peer> = network.peers().iter().map(Peer::new).collect();
    peers.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(peers)
}

/// Why a node is not connected.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerTrouble {
    id: Option<String>,
    address: Option<String>,
    inbound: bool,
    reason: String,
    count: u32,
    seconds_ago: u64,
}

/// Ours: geth only logs it.
fn peer_troubles(api: &Api, params: &mut Params<'_>) -> Result<Vec<PeerTrouble>, RpcError> {
    params.end()?;
    let Some(network) = &api.node.network else { return Ok(Vec::new()) };
    let shown = |trouble: &Trouble| PeerTrouble {
        id: trouble.id.map(|id| hex::encode(id.to_bytes())),
        address: trouble.address.map(|address| address.to_string()),
        inbound: !trouble.dialled,
        reason: trouble.reason.clone(),
        count: trouble.count,
        seconds_ago: trouble.last.elapsed().map_or(0, |ago| ago.as_secs()),
    };
    Ok(network.troubles().iter().map(shown).collect())
}

fn add_peer(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let node = node(params)?;
    Ok(api.node.network.as_ref().is_some_and(|network| network.add(node)))
}

fn remove_peer(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let node = node(params)?;
    Ok(api.node.network.as_ref().is_some_and(|network| network.remove(node.id)))
}

/// Its place is kept when it calls; it is not called.
fn add_trusted_peer(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let node = node(params)?;
    Ok(api.node.network.as_ref().is_some_and(|network| network.trust(node.id, true)))
}

/// It stays connected, but like any other.
fn remove_trusted_peer(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let node = node(params)?;
    Ok(api.node.network.as_ref().is_some_and(|network| network.trust(node.id, false)))
}

fn node(params: &mut Params<'_>) -> Result<NodeRecord, RpcError> {
    let url = params.required(parse::string)?;
    params.end()?;
    url.parse().map_err(|error| RpcError::Refused(format!("invalid enode: {error}")))
}

fn datadir(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    params.end()?;
    Ok(api.node.data_directory.display().to_string())
}
