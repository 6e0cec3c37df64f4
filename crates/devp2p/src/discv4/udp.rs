//! Discovery on a socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use primitives::ForkId;
use rand::{SeedableRng, rngs::StdRng};
use secp256k1::SecretKey;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot, watch},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{
    machine::{Action, Event, Machine, MachineConfig},
    packet::DATAGRAM_BYTES_MAX,
};
use crate::{Enr, NetRestrict, NodeRecord};

/// Requests of handles that wait for the loop.
pub const REQUEST_QUEUE_MAX: usize = 16;
/// Datagrams read before anything else has its turn.
const BURST_MAX: usize = 64;
/// How long to wait when the socket cannot be read.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// What discovery is told at the start.
#[derive(Debug, Clone)]
pub struct DiscoveryConfig {
    /// Where to listen; port 0 takes any.
    pub listen: SocketAddr,
    /// Our port of RLPx; 0 if we take no connections.
    pub tcp: u16,
    /// Our address as others see it; learnt from their answers if `None`.
    pub external: Option<IpAddr>,
    /// Nodes to begin with.
    pub bootnodes: Vec<NodeRecord>,
    /// Networks to keep to.
    pub restrict: Option<NetRestrict>,
    /// The fork id of our chain.
    pub fork_id: Option<ForkId>,
    /// Takes nodes that were found. When it is full they are dropped: known ones come again.
    pub found: mpsc::Sender<NodeRecord>,
}

/// A handle to the running loop. It does not keep it running.
#[derive(Debug, Clone)]
pub struct Discovery {
    requests: mpsc::Sender<Request>,
    own: watch::Receiver<Own>,
}

/// How others find us.
#[derive(Debug, Clone)]
struct Own {
    node: NodeRecord,
    enr: Enr,
}

#[derive(Debug)]
enum Request {
    Event(Event),
    Nodes(oneshot::Sender<Vec<NodeRecord>>),
}

/// The loop, with what it owns.
struct Driver {
    socket: UdpSocket,
    machine: Machine,
    found: mpsc::Sender<NodeRecord>,
    requests: mpsc::Receiver<Request>,
    own: watch::Sender<Own>,
}

/// The loop has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("discovery has stopped")]
pub struct DiscoveryStopped;

impl Discovery {
    /// Binds the socket. The future is the loop, for the caller's `JoinSet`; it ends when `stop` is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// If the socket cannot be bound.
    pub async fn start(
        config: DiscoveryConfig,
        key: SecretKey,
        stop: CancellationToken,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let DiscoveryConfig { listen, tcp, external, bootnodes, restrict, fork_id, found } = config;
        let socket = UdpSocket::bind(listen).await?;
        let udp = socket.local_addr()?.port();
        let machine = MachineConfig { external, udp, tcp, restrict, fork_id };
        let mut machine =
            Machine::new(key, machine, StdRng::from_os_rng(), Instant::now(), unix_seconds());
        let (requests, queue) = mpsc::channel(REQUEST_QUEUE_MAX);
        let (own, own_watch) = watch::channel(Own::of(&machine));
        // Nothing is sent before the loop runs: its first tick is due at once.
        let mut actions = Vec::new();
        machine.on(Event::AddBootnodes(bootnodes), Instant::now(), unix_seconds(), &mut actions);
        let driver = Driver { socket, machine, found, requests: queue, own };
        let run = async move { driver.run(actions, stop).await };
        Ok((Self { requests, own: own_watch }, run))
    }

    /// Our id and address, as others see it.
    #[must_use]
    pub fn node(&self) -> NodeRecord {
        self.own.borrow().node
    }

    /// Our record.
    #[must_use]
    pub fn enr(&self) -> Enr {
        self.own.borrow().enr.clone()
    }

    /// The nodes of the table that are there.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, DiscoveryStopped> {
        let (answer, nodes) = oneshot::channel();
        self.request(Request::Nodes(answer)).await?;
        nodes.await.map_err(|_| DiscoveryStopped)
    }

    /// Searches for nodes near a random key; those found go where all go. Without it the table is
    /// filled every half hour only, so whoever wants more peers asks again and again.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn look_up(&self) -> Result<(), DiscoveryStopped> {
        self.request(Request::Event(Event::Lookup)).await
    }

    /// Adds nodes to begin with, or moves them to new addresses.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn add_bootnodes(&self, nodes: Vec<NodeRecord>) -> Result<(), DiscoveryStopped> {
        self.request(Request::Event(Event::AddBootnodes(nodes))).await
    }

    /// Puts a fork id into our record.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn set_fork_id(&self, fork_id: ForkId) -> Result<(), DiscoveryStopped> {
        self.request(Request::Event(Event::SetForkId(fork_id))).await
    }

    async fn request(&self, request: Request) -> Result<(), DiscoveryStopped> {
        self.requests.send(request).await.map_err(|_| DiscoveryStopped)
    }
}

impl Own {
    fn of(machine: &Machine) -> Self {
        Self { node: *machine.node(), enr: machine.enr().clone() }
    }
}

impl Driver {
    async fn run(mut self, mut actions: Vec<Action>, stop: CancellationToken) {
        loop {
            self.perform(&mut actions).await;
            let event = tokio::select! {
                () = stop.cancelled() => return,
                readable = self.socket.readable() => {
                    if let Err(error) = readable.and_then(|()| self.read(&mut actions)) {
                        tracing::debug!(%error, "Could not receive datagram");
                        time::sleep(READ_PAUSE).await;
                    }
                    continue;
                }
                () = time::sleep_until(self.machine.wake_at().into()) => Event::Tick,
                Some(request) = self.requests.recv() => match request {
                    Request::Event(event) => event,
                    Request::Nodes(answer) => {
                        // Whoever asked may have gone.
                        answer.send(self.machine.nodes()).ok();
                        continue;
                    }
                },
            };
            self.machine.on(event, Instant::now(), unix_seconds(), &mut actions);
        }
    }

    /// Empties the kernel's buffer as fast as possible: in a flood, what is honest is in there too.
    fn read(&mut self, actions: &mut Vec<Action>) -> io::Result<()> {
        // One byte more than allowed, so that what is too long is seen to be.
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..BURST_MAX {
            let (length, from) = match self.socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let event = Event::Datagram { from, bytes: buffer[..length].to_vec() };
            self.machine.on(event, Instant::now(), unix_seconds(), actions);
        }
        Ok(())
    }

    async fn perform(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Send { to, bytes } => {
                    if let Err(error) = self.socket.send_to(&bytes, self.reachable(to)).await {
                        tracing::trace!(%to, %error, "Could not send datagram");
                    }
                }
                Action::Found(node, _) => {
                    if self.found.try_send(node).is_err() {
                        tracing::trace!(node = ?node.id, "Dropped found node");
                    }
                }
            }
        }
        if self.own.borrow().enr.sequence() != self.machine.enr().sequence() {
            tracing::debug!(node = %self.machine.node(), "Changed own record");
            self.own.send_replace(Own::of(&self.machine));
        }
    }

    /// A socket for IPv6 sends to IPv4 by mapped addresses only.
    fn reachable(&self, to: SocketAddr) -> SocketAddr {
        match (self.socket.local_addr(), to.ip()) {
            (Ok(SocketAddr::V6(_)), IpAddr::V4(ip)) => {
                SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), to.port())
            }
            _ => to,
        }
    }
}

fn unix_seconds() -> u64 {
    // A clock before 1970 makes every packet seem to be of the future, as it should.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
