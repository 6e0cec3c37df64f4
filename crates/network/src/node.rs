//! The network as the rest of the node sees it.

use std::{io, net::SocketAddr, sync::Arc};

use chain::ChainHandle;
use consensus::Engine;
use devp2p::{Capability, Dialer, Local, NetRestrict, NodeRecord, OwnNode, PeerId, Protocol};
use secp256k1::SecretKey;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use txpool::Pool;

use crate::{
    connection::{Context, ETH, INBOX_KIB_MAX, SNAP, SNAP_VERSION},
    driver::{Command, Driver, HandOver, Sources},
    import::Importing,
    metrics::NetworkMetrics,
    peers::{PeerInfo, Peers},
    pending::Pending,
    protocol::{self, SyncProgress},
    trouble::{Trouble, Troubles},
    wire::{EthVersion, MESSAGE_CODES, SNAP_MESSAGE_CODES},
};

/// Events of all peers that wait for the loop.
pub(crate) const EVENTS_MAX: usize = 256;
/// Commands that wait for the loop.
const COMMANDS_MAX: usize = 64;
/// One in so many places is for nodes that we call, as in geth.
const DIAL_RATIO: usize = 3;
/// Callers who wait to be accepted, if the system allows as many.
const CALLERS_WAITING_MAX: u32 = 4_096;

/// What the network needs to know.
#[derive(Debug)]
pub struct NetworkConfig {
    /// The node's key.
    pub key: SecretKey,
    /// The software's name, as peers see it.
    pub client: String,
    /// Where peers call; `None` takes no calls.
    pub listen: Option<SocketAddr>,
    /// Keeps networks apart.
    pub network_id: u64,
    /// Peers at most, but for those that are named or trusted.
    pub peers_max: usize,
    /// Callers at most who have not said yet who they are.
    pub pending_max: usize,
    /// Nodes to be connected to always.
    pub named: Vec<NodeRecord>,
    /// Nodes that have a place always when they call.
    pub trusted: Vec<PeerId>,
    /// Whether this node mines: then it wants transactions at once. Others want them once they have
    /// the chain that their peers have.
    pub mines: bool,
    /// Networks to keep to.
    pub restrict: Option<NetRestrict>,
    /// Nodes that discovery finds.
    pub found: mpsc::Receiver<NodeRecord>,
}

/// The running network, as everybody sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetworkHandle {
    id: PeerId,
    address: Option<SocketAddr>,
    own: Option<OwnNode>,
    peers_max: usize,
    commands: mpsc::Sender<Command>,
    infos: watch::Receiver<Arc<Vec<PeerInfo>>>,
    troubles: watch::Receiver<Troubles>,
    progress: watch::Receiver<Option<SyncProgress>>,
}

impl NetworkHandle {
    /// This node's key.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Where peers call.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Notes who knows how others find this node.
    #[must_use]
    pub fn advertised_as(mut self, own: OwnNode) -> Self {
        self.own = Some(own);
        self
    }

    /// How others find this node, if somebody knows.
    #[must_use]
    pub const fn own(&self) -> Option<&OwnNode> {
        self.own.as_ref()
    }

    /// Peers at most.
    #[must_use]
    pub const fn peers_max(&self) -> usize {
        self.peers_max
    }

    /// The peers, in the order of joining.
    #[must_use]
    pub fn peers(&self) -> Arc<Vec<PeerInfo>> {
        self.infos.borrow().clone()
    }

    /// The same, with every change from now on.
    #[must_use]
    pub fn peer_changes(&self) -> watch::Receiver<Arc<Vec<PeerInfo>>> {
        self.infos.clone()
    }

    /// How far the sync has come, while blocks of a heavier chain are fetched and imported.
    #[must_use]
    pub fn sync_progress(&self) -> Option<SyncProgress> {
        *self.progress.borrow()
    }

    /// The same, with every change from now on.
    #[must_use]
    pub fn sync_changes(&self) -> watch::Receiver<Option<SyncProgress>> {
        self.progress.clone()
    }

    /// What went wrong lately with nodes that are not connected, the latest first; at most
    /// [`TROUBLES_MAX`](crate::TROUBLES_MAX).
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles.borrow().all().to_vec()
    }

    /// Waits until the network's loop says a word; false if it never will.
    pub async fn answers(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Ping(reply)).await.is_ok() && answer.await.is_ok()
    }

    /// Leaves to the peers what only this node has, before it goes: the block it just made is
    /// announced, and transactions that it was given here are sent whole to everybody. Returns when
    /// all of that is written, or too slow; `None` if the network has ended.
    pub async fn hand_over(&self) -> Option<HandOver> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::HandOver(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Stays connected to a node. Returns false if too many such wishes wait.
    #[must_use]
    pub fn add(&self, node: NodeRecord) -> bool {
        self.commands.try_send(Command::Add(node)).is_ok()
    }

    /// Gives a node a place always, or takes that back. Returns false if too many such wishes
    /// wait.
    #[must_use]
    pub fn trust(&self, id: PeerId, trusted: bool) -> bool {
        self.commands.try_send(Command::Trust(id, trusted)).is_ok()
    }

    /// Notes that a node's clock is so many seconds ahead of ours, behind if negative. That is a
    /// trouble if it `matters`, or if somebody wants this node and it is not connected. Returns
    /// false if too many such notes wait.
    #[must_use]
    pub fn note_clock(&self, id: PeerId, at: SocketAddr, seconds: i64, matters: bool) -> bool {
        self.commands.try_send(Command::Clock { id, at, seconds, matters }).is_ok()
    }

    /// Leaves a node, and does not call it again because it was named.
    #[must_use]
    pub fn remove(&self, id: PeerId) -> bool {
        self.commands.try_send(Command::Remove(id)).is_ok()
    }
}

/// Starts to listen, and to call, in tasks of its own that end with the token.
///
/// # Errors
///
/// If the address cannot be had.
pub async fn start(
    config: NetworkConfig,
    (chain, pool, engine): (ChainHandle, Pool, Arc<Engine>),
    tasks: &mut JoinSet<()>,
    stop: CancellationToken,
) -> io::Result<NetworkHandle> {
    let listener = match config.listen {
        Some(address) => Some(listen(address)?),
        None => None,
    };
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let (events, peers) = mpsc::channel(EVENTS_MAX);
    let (command, commands) = mpsc::channel(COMMANDS_MAX);
    let (outcomes, imported) = mpsc::channel(1);
    let (infos, infos_seen) = watch::channel(Arc::default());
    let (troubles_seen, troubles) = watch::channel(Troubles::default());
    let (progress, progress_seen) = watch::channel(None);
    let (importing, import) = Importing::new(chain.clone(), outcomes);
    let local = Local {
        key: config.key,
        name: config.client,
        port: address.map_or(0, |address| address.port()),
        protocols: protocols(),
    };
    let id = local.id();
    let context = Arc::new(Context {
        local,
        chain: chain.clone(),
        network_id: config.network_id,
        events,
        inbox: Arc::new(Semaphore::new(INBOX_KIB_MAX)),
        stop,
    });
    // Nobody should know beforehand who gets blocks whole.
    let mut protocol = protocol::Protocol::new(&chain.view(), rand::random());
    if config.mines {
        protocol.accept_transactions();
    }
    let mut driver = Driver {
        dialer: Dialer::new(id, config.peers_max.div_ceil(DIAL_RATIO)),
        peers: Peers::new(id, config.peers_max, config.trusted),
        pending: Pending::new(config.pending_max),
        protocol,
        importing,
        connections: JoinSet::new(),
        open: Default::default(),
        troubles: troubles_seen,
        admitting: Default::default(),
        pooled: pool.changes(),
        waiting_own: pool.changes_of_waiting_own(),
        fresh: Default::default(),
        metrics: NetworkMetrics::new(),
        room: None,
        restrict: config.restrict,
        jobs: JoinSet::new(),
        answering: Default::default(),
        places: Arc::default(),
        sessions: 0,
        progress,
        progress_log: Default::default(),
        infos,
        context,
        chain,
        pool,
        engine,
    };
    driver.name(config.named);
    tasks.spawn(import);
    tasks.spawn(driver.run(Sources { listener, peers, found: config.found, commands, imported }));
    let (peers_max, commands) = (config.peers_max, command);
    let (infos, progress) = (infos_seen, progress_seen);
    let own = None;
    Ok(NetworkHandle { id, address, own, peers_max, commands, infos, troubles, progress })
}

/// Every version of eth that geth has spoken since 1.8, and snap/1 beside it.
fn protocols() -> Vec<Protocol> {
    let protocol = |version: EthVersion| Protocol {
        capability: Capability::new(ETH, u32::from(version.number())),
        messages: MESSAGE_CODES,
    };
    let snap =
        Protocol { capability: Capability::new(SNAP, SNAP_VERSION), messages: SNAP_MESSAGE_CODES };
    EthVersion::ALL.map(protocol).into_iter().chain([snap]).collect()
}

/// Listens, with room for callers of a flood: they wait in the kernel instead of keeping others out.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind`, which has room for 128.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(CALLERS_WAITING_MAX)
}
