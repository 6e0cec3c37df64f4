//! Discovery, version 5: finds nodes by signed records
//! ([specification](https://github.com/ethereum/devp2p/blob/master/discv5/discv5.md)).
//!
//! The protocol is the library's. It reads the sockets of both versions, and hands on what it does
//! not understand: the datagrams of version 4.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use ::discv5::{ConfigBuilder, ConnectionState, Discv5, ListenConfig};
use alloy_rlp::Decodable;
use discv5_enr::{CombinedKey, CombinedPublicKey, NodeId};
use secp256k1::SecretKey;
use tokio::{sync::mpsc, task::JoinSet, time};

use crate::{
    Enr, NetRestrict, NodeRecord, PeerId, check_relayed, discovery::Sockets,
    discv4::STATEMENTS_MIN, is_lan,
};

/// Sessions that are kept; the oldest gives way.
pub const SESSIONS_MAX: usize = 1_000;
/// Records to begin with.
pub const RECORDS_MAX: usize = 64;
/// Nodes of version 4 are tried until so many of version 5 are there.
pub const OFFERS_UNTIL: usize = 16;

/// How often the table is filled.
const REFRESH_PERIOD: Duration = Duration::from_mins(30);
/// The same while nobody answers.
const LONELY_PERIOD: Duration = Duration::from_secs(15);

/// How often nodes are asked whether they are there, and where they see us. The library's five
/// minutes would keep a pod that was replaced for as long.
const PING_PERIOD: Duration = Duration::from_secs(30);

/// A record as the library has it.
type Record = ::discv5::Enr;

/// What the protocol is told once.
#[derive(Debug, Clone)]
pub(crate) struct ServiceConfig {
    pub(crate) key: SecretKey,
    /// Records to begin with.
    pub(crate) records: Vec<Enr>,
    /// Networks to keep to.
    pub(crate) restrict: Option<NetRestrict>,
    /// Hashes of the forks of our chain, old and new. Nodes that say another are of no use; empty
    /// takes all.
    pub(crate) fork_hashes: Vec<[u8; 4]>,
    /// Asks others where they see us.
    pub(crate) learns_address: bool,
}

/// The running protocol.
pub(crate) struct Service {
    inner: Discv5,
    events: mpsc::Receiver<::discv5::Event>,
    /// The lookup under way, if any.
    lookups: JoinSet<Vec<Record>>,
    key: CombinedKey,
    records: Vec<Record>,
    filter: Filter,
    refresh_at: Instant,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A datagram that is not of this version.
    Datagram {
        /// Where from.
        from: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Nodes that have proven to be there.
    Found(Vec<NodeRecord>),
    /// Others see us there.
    Seen(SocketAddr),
    /// Nothing of interest.
    Nothing,
    /// The library gave up; nobody reads the sockets any more.
    Ended,
}

/// Which nodes are of interest.
#[derive(Debug)]
struct Filter {
    own: PeerId,
    restrict: Option<NetRestrict>,
    fork_hashes: Vec<[u8; 4]>,
}

impl Service {
    /// Begins to read the sockets. `knows_address` says whether our record's address is more than a
    /// guess.
    ///
    /// # Errors
    ///
    /// If the library cannot start.
    pub(crate) async fn start(
        config: ServiceConfig,
        own: &Enr,
        knows_address: bool,
        sockets: &Sockets,
    ) -> io::Result<Self> {
        let ServiceConfig { key, records, restrict, fork_hashes, learns_address } = config;
        let filter = Filter { own: own.id(), restrict, fork_hashes };
        let key = CombinedKey::secp256k1_from_bytes(&mut key.secret_bytes())
            .expect("both libraries know the same keys");
        let record = own_record(own, knows_address, &key);
        let is_public = own.node().is_some_and(|node| !is_lan(node.ip));
        let [ipv4, ipv6] = sockets.by_family()?;
        let mut builder = ConfigBuilder::new(ListenConfig::FromSockets { ipv4, ipv6 });
        builder
            .session_cache_capacity(SESSIONS_MAX)
            .auto_nat_listen_duration(None)
            // Nodes that were only named are of no interest.
            .disable_report_discovered_peers()
            .ping_interval(PING_PERIOD)
            .table_filter(is_plausible);
        if learns_address {
            builder.enr_peer_update_min(STATEMENTS_MIN);
        } else {
            builder.disable_enr_update();
        }
        if is_public {
            // On a site all nodes share a network.
            builder.ip_limit();
        }
        let key_of_library = CombinedKey::secp256k1_from_bytes(&mut key.encode())
            .expect("it was a key a moment ago");
        let mut inner =
            Discv5::new(record, key_of_library, builder.build()).map_err(io::Error::other)?;
        inner.start().await.map_err(|error| io::Error::other(error.to_string()))?;
        let events = inner.event_stream().await;
        let events = events.map_err(|error| io::Error::other(error.to_string()))?;
        let mut service = Self {
            inner,
            events,
            lookups: JoinSet::new(),
            key,
            records: Vec::new(),
            filter,
            refresh_at: Instant::now(),
        };
        service.add(&records);
        Ok(service)
    }

    /// Waits until something happens. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> Happening {
        tokio::select! {
            event = self.events.recv() => match event {
                Some(event) => self.on_event(event),
                None => Happening::Ended,
            },
            Some(found) = self.lookups.join_next() => match found {
                Ok(records) => Happening::Found(self.filter.nodes(&records)),
                Err(error) => {
                    tracing::error!(%error, "Lookup panicked");
                    Happening::Nothing
                }
            },
            () = time::sleep_until(self.refresh_at.into()) => {
                self.refresh();
                Happening::Nothing
            }
        }
    }

    /// Searches near a random id, unless a search is under way.
    pub(crate) fn look_up(&mut self) {
        if self.lookups.is_empty() {
            let lookup = self.inner.find_node(NodeId::random());
            self.lookups.spawn(async move { lookup.await.unwrap_or_default() });
        }
    }

    /// Adds records to begin with.
    pub(crate) fn add(&mut self, records: &[Enr]) {
        for enr in records.iter().filter(|enr| enr.id() != self.filter.own) {
            let Some(record) = self.filter.record(enr) else { continue };
            let is_full = self.records.len() >= RECORDS_MAX;
            let known = self.records.iter_mut().find(|known| known.node_id() == record.node_id());
            match known {
                Some(known) if known.seq() < record.seq() => known.clone_from(&record),
                Some(_) => {}
                None if is_full => continue,
                None => self.records.push(record.clone()),
            }
            self.try_record(record);
        }
        self.refresh_at = Instant::now();
    }

    /// Tries a node that version 4 found, as long as few are known.
    pub(crate) fn offer(&self, enr: &Enr) {
        if self.inner.connected_peers() < OFFERS_UNTIL
            && let Some(record) = self.filter.record(enr)
        {
            self.try_record(record);
        }
    }

    /// Says another record of ours.
    pub(crate) fn set_own(&mut self, own: &Enr, knows_address: bool) {
        *self.inner.external_enr().write() = own_record(own, knows_address, &self.key);
    }

    /// The nodes of the table that are there.
    pub(crate) fn nodes(&self) -> Vec<NodeRecord> {
        let entries = self.inner.table_entries();
        let live = entries.into_iter().filter(|(_, _, status)| match status.state {
            ConnectionState::Connected => true,
            ConnectionState::Disconnected => false,
        });
        let records: Vec<Record> = live.map(|(_, record, _)| record).collect();
        self.filter.nodes(&records)
    }

    fn on_event(&mut self, event: ::discv5::Event) -> Happening {
        use ::discv5::Event;
        match event {
            Event::UnrecognizedFrame(frame) => {
                Happening::Datagram { from: frame.src_address, bytes: frame.packet }
            }
            Event::SessionEstablished(record, _) => {
                let found = self.filter.nodes(std::slice::from_ref(&record));
                let says_where = read(&record).and_then(|enr| enr.node());
                if says_where.is_some_and(|node| !self.filter.allows(&node)) {
                    self.inner.remove_node(&record.node_id());
                }
                Happening::Found(found)
            }
            Event::SocketUpdated(address) => Happening::Seen(address),
            // A request for a protocol that we do not have is answered with nothing when dropped.
            Event::TalkRequest(_)
            | Event::Discovered(_)
            | Event::NodeInserted { .. }
            | Event::UnverifiableEnr { .. }
            | Event::SessionsExpired(_)
            | _ => Happening::Nothing,
        }
    }

    fn refresh(&mut self) {
        let is_lonely = self.inner.connected_peers() == 0;
        if is_lonely {
            for record in self.records.clone() {
                self.try_record(record);
            }
        }
        self.refresh_at = Instant::now() + if is_lonely { LONELY_PERIOD } else { REFRESH_PERIOD };
        self.look_up();
    }

    fn try_record(&self, record: Record) {
        let node = record.node_id();
        if self.inner.find_enr(&node).is_some_and(|known| known.seq() >= record.seq()) {
            return;
        }
        if let Err(error) = self.inner.add_enr(record) {
            tracing::debug!(%node, error, "Did not take node record");
        }
    }
}

impl Filter {
    fn allows(&self, node: &NodeRecord) -> bool {
        self.restrict.as_ref().is_none_or(|restrict| restrict.contains(node.ip))
    }

    /// The library's form of a record, if its node may be talked to.
    fn record(&self, enr: &Enr) -> Option<Record> {
        let node = enr.node().filter(|node| node.udp != 0 && self.allows(node))?;
        check_relayed(node.ip, node.ip).ok()?;
        Record::decode(&mut enr.to_rlp().as_slice()).ok()
    }

    /// Those that take connections and may be of our chain.
    fn nodes(&self, records: &[Record]) -> Vec<NodeRecord> {
        let enrs = records.iter().filter(|record| is_plausible(record)).filter_map(read);
        let fitting = enrs.filter(|enr| enr.id() != self.own && self.fits(enr));
        fitting
            .filter_map(|enr| enr.node())
            .filter(|node| node.tcp != 0 && node.udp != 0 && self.allows(node))
            .collect()
    }

    fn fits(&self, enr: &Enr) -> bool {
        let Some(fork_id) = enr.fork_id() else { return true };
        self.fork_hashes.is_empty() || self.fork_hashes.contains(&fork_id.hash)
    }
}

/// Our record in the library's form. An address that is a guess is left out: others refuse a record
/// that says another address than they see.
fn own_record(own: &Enr, knows_address: bool, key: &CombinedKey) -> Record {
    let mut record =
        Record::decode(&mut own.to_rlp().as_slice()).expect("both libraries know one format");
    if !knows_address {
        let stripped = record
            .remove_udp_socket(key)
            .and_then(|()| record.remove_udp6_socket(key))
            .and_then(|()| record.set_seq(own.sequence(), key));
        stripped.expect("a shorter record fits");
    }
    record
}

fn read(record: &Record) -> Option<Enr> {
    Enr::from_rlp(&alloy_rlp::encode(record)).ok()
}

/// Whether a node may be in the table: its key is of our kind, and it may be where it says.
fn is_plausible(record: &Record) -> bool {
    let is_ours = match record.public_key() {
        CombinedPublicKey::Secp256k1(_) => true,
        CombinedPublicKey::Ed25519(_) => false,
    };
    let sockets =
        [record.udp4_socket().map(SocketAddr::V4), record.udp6_socket().map(SocketAddr::V6)];
    let mut sockets = sockets.into_iter().flatten();
    is_ours && sockets.all(|at| at.port() != 0 && check_relayed(at.ip(), at.ip()).is_ok())
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").field("filter", &self.filter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
