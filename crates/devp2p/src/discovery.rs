//! Discovery on sockets: both versions at one port.

mod clock;
mod sockets;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use primitives::ForkId;
use rand::{SeedableRng, rngs::StdRng};
use secp256k1::SecretKey;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};
use tokio_util::sync::CancellationToken;

pub use clock::clock_of;
pub(crate) use sockets::Sockets;

use crate::{
    Enr, NetRestrict, NodeRecord, OwnNode,
    discv4::{Action, DATAGRAM_BYTES_MAX, Event, Machine, MachineConfig, Skew},
    discv5::{Happening, Service, ServiceConfig},
    own::Own,
};

/// Requests of handles that wait for the loop.
pub const REQUEST_QUEUE_MAX: usize = 16;
/// Datagrams read before anything else has its turn.
const BURST_MAX: usize = 64;
/// How long datagrams may gather after some were read: in a flood each one would wake us up.
const GATHERING: Duration = Duration::from_millis(2);
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
    /// What it may be, as long as nothing better is known.
    pub guess: Option<IpAddr>,
    /// Nodes to begin with.
    pub bootnodes: Vec<NodeRecord>,
    /// Nodes that were there in an earlier run.
    pub seeds: Vec<NodeRecord>,
    /// The sequence of the last record that was signed with this key; 0 if it is not known.
    pub last_sequence: u64,
    /// Speaks version 4.
    pub v4: bool,
    /// Speaks version 5.
    pub v5: Option<V5Config>,
    /// Networks to keep to.
    pub restrict: Option<NetRestrict>,
    /// The fork id of our chain.
    pub fork_id: Option<ForkId>,
    /// Takes nodes that were found. When it is full they are dropped: known ones come again.
    pub found: mpsc::Sender<NodeRecord>,
}

/// What version 5 is told at the start.
#[derive(Debug, Clone, Default)]
pub struct V5Config {
    /// Records to begin with. Nodes of version 4 whose record is learnt are tried, too.
    pub records: Vec<Enr>,
    /// Hashes of the forks of our chain, old and new: nodes that say another are not reported.
    /// Empty takes all.
    pub fork_hashes: Vec<[u8; 4]>,
}

/// A handle to the running loop. It does not keep it running.
#[derive(Debug, Clone)]
pub struct Discovery {
    requests: mpsc::Sender<Request>,
    own: OwnNode,
}

#[derive(Debug)]
enum Request {
    Event(Event),
    Records(Vec<Enr>),
    Nodes(oneshot::Sender<Vec<NodeRecord>>),
    Skews(oneshot::Sender<Vec<Skew>>),
    OwnClock(oneshot::Sender<Option<i64>>),
}

/// The loop, with what it owns.
struct Driver {
    sockets: Sockets,
    v4: bool,
    machine: Machine,
    /// When to look at the sockets again.
    read_at: Instant,
    /// Reads the sockets, if there is one.
    v5: Option<Service>,
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
        let DiscoveryConfig { listen, tcp, external, guess, restrict, .. } = config;
        let sockets = match &config.v5 {
            Some(_) => Sockets::apart(listen)?,
            None => Sockets::together(listen)?,
        };
        let udp = sockets.port()?;
        let machine = MachineConfig {
            is_silent: !config.v4,
            external,
            guess,
            udp,
            tcp,
            restrict: restrict.clone(),
            fork_id: config.fork_id,
            last_sequence: config.last_sequence,
        };
        let mut machine =
            Machine::new(key, machine, StdRng::from_os_rng(), Instant::now(), unix_seconds());
        let v5 = match config.v5 {
            Some(V5Config { records, fork_hashes }) => {
                // Of two that ask others where they see us, version 4 hears more.
                let learns_address = !config.v4 && machine.learns_address();
                let config = ServiceConfig { key, records, restrict, fork_hashes, learns_address };
                let knows_address = machine.knows_address();
                Some(Service::start(config, machine.enr(), knows_address, &sockets).await?)
            }
            None => None,
        };
        let (requests, queue) = mpsc::channel(REQUEST_QUEUE_MAX);
        let (own, own_seen) = watch::channel(own(&machine));
        // Nothing is sent before the loop runs: its first tick is due at once.
        let mut actions = Vec::new();
        for event in [Event::AddBootnodes(config.bootnodes), Event::Seed(config.seeds)] {
            machine.on(event, Instant::now(), unix_seconds(), &mut actions);
        }
        let (v4, found) = (config.v4, config.found);
        let read_at = Instant::now();
        let driver = Driver { sockets, v4, machine, read_at, v5, found, requests: queue, own };
        let run = async move { driver.run(actions, stop).await };
        Ok((Self { requests, own: OwnNode(own_seen) }, run))
    }

    /// Our id and address, as others see it.
    #[must_use]
    pub fn node(&self) -> NodeRecord {
        self.own.node()
    }

    /// Our record.
    #[must_use]
    pub fn enr(&self) -> Enr {
        self.own.enr()
    }

    /// The same for others, who may keep it.
    #[must_use]
    pub fn own(&self) -> OwnNode {
        self.own.clone()
    }

    /// Nodes whose clock is far from ours, bootnodes first. Version 4 notices that.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn skews(&self) -> Result<Vec<Skew>, DiscoveryStopped> {
        let (answer, skews) = oneshot::channel();
        self.request(Request::Skews(answer)).await?;
        skews.await.map_err(|_| DiscoveryStopped)
    }

    /// By how many seconds our own clock seems to be ahead, behind if negative, if most nodes say
    /// so. Version 4 notices that.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn own_clock(&self) -> Result<Option<i64>, DiscoveryStopped> {
        let (answer, clock) = oneshot::channel();
        self.request(Request::OwnClock(answer)).await?;
        clock.await.map_err(|_| DiscoveryStopped)
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

    /// Adds records to begin with, for version 5.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn add_records(&self, records: Vec<Enr>) -> Result<(), DiscoveryStopped> {
        self.request(Request::Records(records)).await
    }

    /// Puts a fork id into our record.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn set_fork_id(&self, fork_id: ForkId) -> Result<(), DiscoveryStopped> {
        self.request(Request::Event(Event::SetForkId(fork_id))).await
    }

    /// Puts an address into our record, whatever others say.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn set_address(&self, ip: IpAddr) -> Result<(), DiscoveryStopped> {
        self.request(Request::Event(Event::SetAddress(ip))).await
    }

    async fn request(&self, request: Request) -> Result<(), DiscoveryStopped> {
        self.requests.send(request).await.map_err(|_| DiscoveryStopped)
    }
}

impl Driver {
    async fn run(mut self, mut actions: Vec<Action>, stop: CancellationToken) {
        loop {
            self.perform(&mut actions);
            let event = tokio::select! {
                () = stop.cancelled() => return,
                readable = self.sockets.readable(self.read_at), if self.v5.is_none() => {
                    if let Err(error) = readable.and_then(|()| self.read(&mut actions)) {
                        tracing::debug!(%error, "Could not receive datagram");
                        self.read_at = Instant::now() + READ_PAUSE;
                    }
                    continue;
                }
                happening = next(self.v5.as_mut()) => match self.on_happening(happening) {
                    Some(event) => event,
                    None => continue,
                },
                () = time::sleep_until(self.machine.wake_at().into()), if self.v4 => Event::Tick,
                Some(request) = self.requests.recv() => match self.on_request(request) {
                    Some(event) => event,
                    None => continue,
                },
            };
            self.machine.on(event, Instant::now(), unix_seconds(), &mut actions);
        }
    }

    /// What there is to do for version 4.
    fn on_happening(&mut self, happening: Happening) -> Option<Event> {
        match happening {
            Happening::Datagram { from, bytes } => return Some(Event::Datagram { from, bytes }),
            Happening::Seen(address) => return Some(Event::Seen(address)),
            Happening::Found(nodes) => nodes.into_iter().for_each(|node| self.report(node)),
            Happening::Nothing => {}
            Happening::Ended => {
                tracing::error!("Discovery v5 stopped; v4 goes on if it is spoken");
                self.v5 = None;
            }
        }
        None
    }

    fn on_request(&mut self, request: Request) -> Option<Event> {
        match request {
            Request::Event(event) => {
                if let (Event::Lookup, Some(v5)) = (&event, &mut self.v5) {
                    v5.look_up();
                }
                return Some(event);
            }
            Request::Records(records) => {
                if let Some(v5) = &mut self.v5 {
                    v5.add(&records);
                }
            }
            Request::Skews(answer) => {
                // Whoever asked may have gone.
                answer.send(self.machine.skews(Instant::now())).ok();
            }
            Request::OwnClock(answer) => {
                // Whoever asked may have gone.
                answer.send(self.machine.own_clock(Instant::now())).ok();
            }
            Request::Nodes(answer) => {
                let mut nodes = self.machine.nodes();
                let found = self.v5.as_ref().map(Service::nodes).unwrap_or_default();
                let is_new = |node: &NodeRecord| nodes.iter().all(|other| other.id != node.id);
                let new: Vec<NodeRecord> = found.into_iter().filter(is_new).collect();
                nodes.extend(new);
                // Whoever asked may have gone.
                answer.send(nodes).ok();
            }
        }
        None
    }

    /// Empties the kernel's buffer as fast as possible: in a flood, what is honest is in there too.
    fn read(&mut self, actions: &mut Vec<Action>) -> io::Result<()> {
        // One byte more than allowed, so that what is too long is seen to be.
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..BURST_MAX {
            let Some((length, from)) = self.sockets.try_receive(&mut buffer)? else {
                self.read_at = Instant::now() + GATHERING;
                break;
            };
            let event = Event::Datagram { from, bytes: buffer[..length].to_vec() };
            self.machine.on(event, Instant::now(), unix_seconds(), actions);
        }
        Ok(())
    }

    fn perform(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Send { to, bytes } => {
                    if let Err(error) = self.sockets.send(&bytes, to) {
                        tracing::trace!(%to, %error, "Could not send datagram");
                    }
                }
                Action::Found(node, _) => self.report(node),
                Action::Record(enr) => {
                    if let Some(v5) = &self.v5 {
                        v5.offer(&enr);
                    }
                }
                Action::OwnClock(seconds_ahead) => tracing::warn!(
                    seconds_ahead,
                    "This machine's clock seems to be off, run NTP: most nodes say so, and those \
                     with another clock cannot find this one or refuse its blocks"
                ),
            }
        }
        if self.own.borrow().enr.sequence() != self.machine.enr().sequence() {
            tracing::debug!(node = %self.machine.node(), "Changed own record");
            self.own.send_replace(own(&self.machine));
            if let Some(v5) = &mut self.v5 {
                v5.set_own(self.machine.enr(), self.machine.knows_address());
            }
        }
    }

    fn report(&self, node: NodeRecord) {
        if self.found.try_send(node).is_err() {
            tracing::trace!(node = ?node.id, "Dropped found node");
        }
    }
}

fn own(machine: &Machine) -> Own {
    Own { node: *machine.node(), enr: machine.enr().clone() }
}

/// What happens next in version 5, if it is spoken.
async fn next(v5: Option<&mut Service>) -> Happening {
    match v5 {
        Some(v5) => v5.next().await,
        None => std::future::pending().await,
    }
}

fn unix_seconds() -> u64 {
    // A clock before 1970 makes every packet seem to be of the future, as it should.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
