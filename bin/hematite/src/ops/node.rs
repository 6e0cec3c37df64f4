//! How things stand with a node that has a chain.

mod disk;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use chain::{ChainHandle, ChainView, Pulse};
use ethash::Phase;
use eyre::Result;
use miner::{DatasetProgress, MinerHandle};
use network::{NetworkHandle, PeerInfo, SyncProgress, wire::EthVersion};
use primitives::U256;
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::disk::{Disk, DiskWatch};
use super::{Check, Criterion, Family, Kind, LOOK_PERIOD, Measure, Ops, Report};

/// How long the chain's thread may be busy with one block: the slowest machine with the largest
/// block takes seconds.
const BLOCK_PERIOD_MAX: Duration = Duration::from_secs(120);
/// How long to wait for a word of the network's loop before something else is looked at.
const WORD_PERIOD_MAX: Duration = Duration::from_secs(5);
/// How long the network's loop may say nothing.
const NETWORK_SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a start waits for the first peer; a network's first node starts without.
const FIRST_PEER_PERIOD: Duration = Duration::from_secs(10);
/// How far the newest block may be ahead of the clock, in seconds: as far as blocks are taken.
const AHEAD_SECONDS_MAX: u64 = 15;
/// Room on the disk below which a node is not ready, in bytes.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// What is looked at.
#[derive(Debug)]
pub struct Parts {
    /// The chain.
    pub chain: ChainHandle,
    /// The network, if there are peers.
    pub network: Option<NetworkHandle>,
    /// The miner, if there is one.
    pub miner: Option<MinerHandle>,
    /// Where the data is; `None` if it is in memory.
    pub directory: Option<PathBuf>,
    /// Transactions at most that are pending, and that are queued.
    pub pool_max: (usize, usize),
}

/// Looks at a node, again and again.
#[derive(Debug)]
struct Watch {
    parts: Parts,
    began: Instant,
    /// What the chain's thread did last, and when that was new.
    pulse: (Pulse, Instant),
    /// When the network's loop last said a word.
    answered: Instant,
    /// When the sync that goes on was first seen, and at which block.
    sync: Option<(Instant, u64)>,
    disk: DiskWatch,
}

/// What was found.
#[derive(Debug)]
struct Facts {
    /// Seconds since 1970.
    clock: u64,
    /// How long ago the node began.
    age: Duration,
    view: Arc<ChainView>,
    pulse: Pulse,
    /// How long the chain's thread has been at the same block.
    stuck: Duration,
    network: Option<Network>,
    miner: Option<Miner>,
    disk: Option<Disk>,
    pool_max: (usize, usize),
}

#[derive(Debug)]
struct Network {
    silent: Duration,
    /// Why there are no peers.
    trouble: Option<String>,
    peers: Arc<Vec<PeerInfo>>,
    peers_max: usize,
    sync: Option<SyncProgress>,
    /// How much longer the sync takes, if there is a pace.
    sync_eta: Option<Duration>,
}

#[derive(Debug)]
struct Miner {
    is_mining: bool,
    hashrate: u64,
    dataset: Option<DatasetProgress>,
}

/// Tells once a second how things stand, until the node stops.
///
/// # Errors
///
/// None; the type is that of every part of the node.
pub async fn watch(ops: Ops, parts: Parts, shutdown: CancellationToken) -> Result<()> {
    let mut watch = Watch::new(parts, Instant::now());
    let mut period = time::interval(LOOK_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let look = async {
        loop {
            period.tick().await;
            let facts = watch.look().await;
            ops.tell(facts.report(), Instant::now());
        }
    };
    shutdown.run_until_cancelled(look).await;
    Ok(())
}

impl Watch {
    fn new(parts: Parts, now: Instant) -> Self {
        let pulse = parts.chain.pulse();
        let disk = DiskWatch::new(parts.directory.clone());
        Self { parts, began: now, pulse: (pulse, now), answered: now, sync: None, disk }
    }

    async fn look(&mut self) -> Facts {
        let network = match self.parts.network.clone() {
            Some(network) => Some(self.look_at_network(network).await),
            None => None,
        };
        let now = Instant::now();
        let pulse = self.parts.chain.pulse();
        if pulse != self.pulse.0 || !pulse.is_busy {
            self.pulse = (pulse, now);
        }
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let miner = self.parts.miner.as_ref().map(|miner| Miner {
            is_mining: miner.is_mining(),
            hashrate: miner.hashrate(),
            dataset: miner.dataset_progress(),
        });
        Facts {
            clock: clock.map_or(0, |since| since.as_secs()),
            age: now - self.began,
            view: self.parts.chain.view(),
            pulse,
            stuck: now - self.pulse.1,
            network,
            miner,
            disk: self.disk.look(now),
            pool_max: self.parts.pool_max,
        }
    }

    async fn look_at_network(&mut self, network: NetworkHandle) -> Network {
        let answers = time::timeout(WORD_PERIOD_MAX, network.answers()).await;
        let now = Instant::now();
        if answers == Ok(true) {
            self.answered = now;
        }
        let sync = network.sync_progress();
        let since = match (sync, self.sync) {
            (Some(sync), None) => Some((now, sync.current)),
            (Some(_), since) => since,
            (None, _) => None,
        };
        self.sync = since;
        let sync_eta = sync.zip(since).and_then(|(sync, since)| eta(sync, since, now));
        Network {
            silent: now - self.answered,
            trouble: trouble(&network),
            peers: network.peers(),
            peers_max: network.peers_max(),
            sync,
            sync_eta,
        }
    }
}

/// What went wrong last, where nobody is connected.
fn trouble(network: &NetworkHandle) -> Option<String> {
    if !network.peers().is_empty() {
        return None;
    }
    network.troubles().into_iter().next().map(|trouble| trouble.reason)
}

/// How much longer a sync takes at its pace so far.
fn eta(sync: SyncProgress, (begun, at): (Instant, u64), now: Instant) -> Option<Duration> {
    let done = sync.current.checked_sub(at).filter(|done| *done > 0)?;
    let left = sync.highest.saturating_sub(sync.current);
    Duration::try_from_secs_f64((now - begun).as_secs_f64() * left as f64 / done as f64).ok()
}

fn left(eta: Option<Duration>) -> String {
    eta.map_or("time left unknown".to_owned(), |eta| format!("{} s left", eta.as_secs()))
}

impl Facts {
    fn report(&self) -> Report {
        let chain = self.chain();
        let criterion = Criterion::new(chain.name, chain.good, chain.words.clone());
        let loops = [Some(chain), self.network_loop()];
        Report {
            alive: loops.into_iter().flatten().collect(),
            starting: self.starting(),
            preparing: self.dag().into_iter().collect(),
            criteria: [
                Some(criterion),
                Some(self.peers()),
                self.sync(),
                self.disk.map(Disk::criterion),
                Some(self.clock()),
            ]
            .into_iter()
            .flatten()
            .collect(),
            families: self.families(),
        }
    }

    fn chain(&self) -> Check {
        let stuck = self.stuck.as_secs();
        match self.pulse {
            Pulse { is_running: false, .. } => Check::new("chain", false, "stopped"),
            _ if self.stuck > BLOCK_PERIOD_MAX => {
                Check::new("chain", false, format!("at one block for {stuck} s"))
            }
            _ => Check::new("chain", true, "ok"),
        }
    }

    fn network_loop(&self) -> Option<Check> {
        let silent = self.network.as_ref()?.silent;
        let good = silent <= NETWORK_SILENCE_MAX;
        let words =
            if good { "ok".to_owned() } else { format!("silent for {} s", silent.as_secs()) };
        Some(Check::new("network", good, words))
    }

    fn starting(&self) -> Vec<Check> {
        let mut left_to_do = Vec::new();
        let is_alone = |network: &Network| network.peers.is_empty();
        if self.network.as_ref().is_some_and(is_alone) && self.age < FIRST_PEER_PERIOD {
            left_to_do.push(Check::new("peers", false, "looking for the first"));
        }
        if let Some((sync, eta)) =
            self.network.as_ref().and_then(|network| Some((network.sync?, network.sync_eta)))
        {
            let words = format!("block {} of {}, {}", sync.current, sync.highest, left(eta));
            left_to_do.push(Check::new("sync", false, words));
        }
        left_to_do
    }

    /// The dataset that the miner waits for. One that searches already makes the next one.
    fn dag(&self) -> Option<Check> {
        let idle = self.miner.as_ref().filter(|miner| miner.is_mining && miner.hashrate == 0);
        Some(Check::new("dag", false, dataset_words(&idle?.dataset?)))
    }

    fn peers(&self) -> Criterion {
        let connected = self.network.as_ref().map_or(0, |network| network.peers.len());
        let wanted = usize::from(self.network.is_some());
        let trouble = self.network.as_ref().and_then(|network| network.trouble.clone());
        Criterion { name: "peers", measure: Measure::Peers { connected, wanted, trouble } }
    }

    fn sync(&self) -> Option<Criterion> {
        let network = self.network.as_ref()?;
        let head = self.view.head.number;
        let (blocks, words) = match network.sync {
            Some(SyncProgress { current, highest, .. }) => {
                let words = format!("block {current} of {highest}, {}", left(network.sync_eta));
                (highest.saturating_sub(current), words)
            }
            None => (0, format!("at block {head}, which no peer is known to be ahead of")),
        };
        Some(Criterion { name: "sync", measure: Measure::Behind { blocks, words } })
    }

    fn clock(&self) -> Criterion {
        match self.view.head.timestamp.saturating_sub(self.clock) {
            ahead if ahead > AHEAD_SECONDS_MAX => {
                Criterion::new("clock", false, format!("{ahead} s behind the newest block"))
            }
            _ => Criterion::new("clock", true, "ok"),
        }
    }

    fn families(&self) -> Vec<Family> {
        let head = &self.view.head;
        let gauge = Family::gauge;
        let mut families = vec![
            gauge(
                "chain_head_timestamp_seconds",
                "Time of the newest block, since 1970.",
                head.timestamp as f64,
            ),
            gauge("chain_head_gas_limit", "Gas limit of the newest block.", head.gas_limit as f64),
            gauge("chain_head_gas_used", "Gas used in the newest block.", head.gas_used as f64),
            gauge(
                "chain_difficulty",
                "Difficulty of the newest block, in hashes.",
                float(head.difficulty),
            ),
            gauge(
                "chain_total_difficulty",
                "Work up to the newest block, in hashes.",
                float(self.view.td.get()),
            ),
        ];
        let base_fee = head.base_fee_per_gas.map(|fee| fee as f64);
        families.extend(
            base_fee
                .map(|fee| gauge("chain_head_base_fee_wei", "Base fee of the newest block.", fee)),
        );
        let fork = self.view.spec.fork_id(head.number);
        let (hash, next) = (format!("0x{}", hex::encode(fork.hash)), fork.next.to_string());
        let info = Family::new(
            "fork_id_info",
            "The fork that the chain is at (EIP-2124); always 1.",
            Kind::Gauge,
        );
        families.push(info.with(&[("hash", &hash), ("next", &next)], 1.0));
        let pool = Family::new(
            "txpool_transactions_max",
            "Transactions at most in the pool.",
            Kind::Gauge,
        );
        let (pending, queued) = self.pool_max;
        let pool = pool.with(&[("pool", "pending")], pending as f64);
        families.push(pool.with(&[("pool", "queued")], queued as f64));
        if let Some(network) = &self.network {
            families.extend(network.families());
        }
        if let Some(miner) = &self.miner {
            let mining = f64::from(u8::from(miner.is_mining));
            families.push(gauge("miner_mining", "Whether work is made and sealed.", mining));
        }
        families.extend(self.disk.iter().flat_map(Disk::families));
        families
    }
}

impl Network {
    fn families(&self) -> Vec<Family> {
        let mut peers =
            Family::new("network_peers", "Peers, by who called and what is spoken.", Kind::Gauge);
        for (direction, dialled) in [("inbound", false), ("outbound", true)] {
            for version in EthVersion::ALL {
                let of_kind = |peer: &&PeerInfo| (peer.dialled, peer.version) == (dialled, version);
                let count = self.peers.iter().filter(of_kind).count();
                let labels = [("direction", direction), ("version", &version.to_string())];
                peers = peers.with(&labels, count as f64);
            }
        }
        let behind = self.sync.map_or(0, |sync| sync.highest.saturating_sub(sync.current));
        let eta = self.sync_eta.unwrap_or_default().as_secs_f64();
        vec![
            peers,
            Family::gauge("network_peers_max", "Peers at most.", self.peers_max as f64),
            Family::gauge(
                "network_sync_blocks_behind",
                "Blocks that the sync has left.",
                behind as f64,
            ),
            Family::gauge(
                "network_sync_eta_seconds",
                "Seconds that the sync has left, as far as is known.",
                eta,
            ),
        ]
    }
}

fn dataset_words(dataset: &DatasetProgress) -> String {
    let what = match dataset.phase {
        Phase::Generating => "being made",
        Phase::Checking => "being checked",
        Phase::Waiting => "being made by another process",
    };
    let percent = dataset.done.saturating_mul(100).checked_div(dataset.total).unwrap_or(0);
    format!("of epoch {} {what}, {percent} %, {}", dataset.epoch.get(), left(dataset.eta()))
}

/// The nearest number; its text has an exponent of its own or none.
fn float(value: U256) -> f64 {
    value.to_string().parse().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests;
