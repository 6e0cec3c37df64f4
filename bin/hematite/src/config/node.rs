//! Peers, mining, the pool.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ethash::Kernel;
use eyre::{Result, WrapErr, bail, ensure};
use primitives::Address;

use super::{Paths, given, list};
use crate::args::{
    EthashArgs, JournalSync, MinerArgs, NetworkArgs, Personality, PoolArgs, Role, SecretText,
};

/// Most bytes of extra data in a header.
const EXTRA_DATA_BYTES_MAX: usize = 32;
/// A gwei, in wei.
const GWEI: u128 = 1_000_000_000;
/// Shortest interval of renewing work, as geth allows.
const RECOMMIT_MIN: Duration = Duration::from_secs(1);
/// Shortest interval of rewriting the journal, as geth allows.
const REJOURNAL_MIN: Duration = Duration::from_secs(1);

/// Peers. What this build does not use is kept for the part that will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// UDP port; 0 takes a free one.
    pub discovery_port: u16,
    /// Enode URLs or addresses of registrars, as written; `None` leaves it to the preset.
    pub bootnodes: Option<Vec<String>>,
    /// Most peers; 0 turns the network off.
    pub peers_max: usize,
    /// Most connections being made.
    pub pending_peers_max: usize,
    /// How the outside address is found, as written.
    pub nat: String,
    /// The node key, if it was given as hex instead of as a file.
    pub nodekey_hex: Option<SecretText>,
    /// Look for peers by discovery v4.
    pub discovery_v4: bool,
    /// Look for peers by discovery v5, at the same port.
    pub discovery_v5: bool,
    /// Talk to these networks only, as written; empty is no restriction.
    pub netrestrict: Vec<String>,
    /// Report to a dashboard: `name:secret@host:port`.
    pub ethstats: Option<SecretText>,
}

impl Network {
    /// Whether peers are looked for.
    #[must_use]
    pub const fn discovers(&self) -> bool {
        self.discovery_v4 || self.discovery_v5
    }
}

/// Ethash: its files and its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ethash {
    /// The instructions to use; `None` are the best there are.
    pub kernel: Option<Kernel>,
    /// Light caches in memory.
    pub caches_in_memory: usize,
    /// Light caches on disk; 0 writes none.
    pub caches_on_disk: usize,
    /// Datasets in memory.
    pub datasets_in_memory: usize,
    /// Datasets on disk; 0 writes none, 1 does not prepare the next.
    pub datasets_on_disk: usize,
    /// Whether datasets stay in their files, whose pages processes share.
    pub datasets_mapped: bool,
}

impl Default for Ethash {
    fn default() -> Self {
        Self {
            kernel: None,
            caches_in_memory: consensus::CACHES_MAX,
            caches_on_disk: 3,
            datasets_in_memory: 1,
            datasets_on_disk: 2,
            datasets_mapped: false,
        }
    }
}

/// Mining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mining {
    /// Make work, and search if there are threads.
    pub enabled: bool,
    /// Threads that search; `None` is one for each core, 0 leaves it to `eth_getWork`.
    pub threads: Option<usize>,
    /// Most hashes a second, all threads together.
    pub hashrate_cap: Option<u64>,
    /// Who is paid: an address or an index, as written; `None` is the first account.
    pub etherbase: Option<String>,
    /// Lowest price of gas that is mined, in wei.
    pub gas_price: u128,
    /// The gas limit that blocks move towards.
    pub gas_target: u64,
    /// What blocks carry, at most 32 bytes; `None` is client and version.
    pub extra_data: Option<String>,
    /// How often work is renewed for new transactions.
    pub recommit: Duration,
    /// Do not check solutions of `eth_submitWork`.
    pub no_verify: bool,
    /// URLs that are told of new work.
    pub notify: Vec<String>,
    /// Tell them the whole header.
    pub notify_full: bool,
}

/// The transaction pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Accounts whose transactions are local.
    pub locals: Vec<Address>,
    /// Treat transactions from RPC like any other.
    pub no_locals: bool,
    /// The file of local transactions; `None` keeps none.
    pub journal: Option<PathBuf>,
    /// When the journal is synced.
    pub journal_sync: JournalSync,
    /// How often the journal is rewritten.
    pub rejournal: Duration,
    /// Lowest price of gas, in wei.
    pub price_limit: u128,
    /// By how much a replacement must raise the price, in percent.
    pub price_bump: u64,
    /// Executable transactions kept for each account at least.
    pub account_slots: usize,
    /// Executable transactions of all accounts.
    pub global_slots: usize,
    /// Waiting transactions of each account.
    pub account_queue: usize,
    /// Waiting transactions of all accounts.
    pub global_queue: usize,
    /// How long a transaction may wait.
    pub lifetime: Duration,
}

pub(super) fn network(
    args: &NetworkArgs,
    role: Option<Role>,
    expand: &impl Fn(&Path) -> PathBuf,
) -> Result<Network> {
    let NetworkArgs {
        port,
        discovery_port,
        bootnodes,
        maxpeers,
        maxpendpeers,
        nat,
        nodekey,
        nodekeyhex,
        nodiscover,
        discovery_v4,
        discovery_v5,
        netrestrict,
        ethstats,
        tls_cafile: _,
    } = args;
    let ethstats = ethstats.clone().filter(|url| !url.expose().is_empty());
    if let Some(url) = &ethstats {
        url.expose().parse::<::ethstats::Target>()?;
    }
    // As in geth, a wish for version 5 is above --nodiscover, which turns off version 4 then.
    let discovery_v4 = !nodiscover.unwrap_or(false) && discovery_v4.unwrap_or(true);
    // Whoever asks a bootnode may speak either.
    let discovery_v5 = discovery_v5.unwrap_or(role == Some(Role::Bootnode));
    ensure!(
        role != Some(Role::Bootnode) || discovery_v4 || discovery_v5,
        "--role bootnode answers discovery, and both versions are turned off"
    );
    let nodekey = given(nodekey);
    ensure!(
        nodekey.is_none() || nodekeyhex.is_none(),
        "Options \"nodekey\" and \"nodekeyhex\" are mutually exclusive"
    );
    if let Some(file) = nodekey {
        let file = expand(file);
        ensure!(file.is_file(), "--nodekey {} is not a file", file.display());
    }
    // Where geth's `bootnode` listens.
    let port = port.unwrap_or(if role == Some(Role::Bootnode) { 30_301 } else { 30_303 });
    Ok(Network {
        port,
        discovery_port: discovery_port.unwrap_or(port),
        bootnodes: bootnodes.as_deref().map(|urls| list(Some(urls))),
        peers_max: maxpeers.unwrap_or(50),
        pending_peers_max: maxpendpeers.filter(|most| *most > 0).unwrap_or(50),
        nat: nat.clone().unwrap_or_else(|| "any".to_owned()),
        nodekey_hex: nodekeyhex.clone(),
        discovery_v4,
        discovery_v5,
        netrestrict: list(netrestrict.as_deref()),
        ethstats,
    })
}

pub(super) fn mining(
    args: &MinerArgs,
    personality: Personality,
    role: Option<Role>,
    dev: bool,
) -> Result<Mining> {
    let MinerArgs {
        mine,
        threads,
        hashrate,
        etherbase,
        gas_price,
        gas_limit,
        extra_data,
        recommit,
        no_verify,
        notify,
        notify_full,
    } = args;
    let threads = match threads {
        // A negative number is geth's way of saying none.
        Some(threads) => Some(usize::try_from(*threads).unwrap_or(0)),
        // geth's default turns the search off and leaves it to eth_getWork.
        None if personality == Personality::Geth && role.is_none() => Some(0),
        None => None,
    };
    if let Some(text) = extra_data {
        ensure!(
            text.len() <= EXTRA_DATA_BYTES_MAX,
            "--miner.extradata has {} bytes; a header takes {EXTRA_DATA_BYTES_MAX}",
            text.len()
        );
    }
    if hashrate == &Some(0) {
        bail!(
            "--miner.hashrate 0 would never find a block; --miner.threads 0 turns the search off"
        );
    }
    Ok(Mining {
        enabled: mine.unwrap_or(role == Some(Role::Miner) || dev),
        threads,
        hashrate_cap: *hashrate,
        etherbase: etherbase.clone().filter(|account| !account.is_empty()),
        gas_price: gas_price.unwrap_or(if dev { 1 } else { GWEI }),
        gas_target: gas_limit.unwrap_or(8_000_000),
        extra_data: extra_data.clone().filter(|text| !text.is_empty()),
        recommit: recommit.unwrap_or(Duration::from_secs(3)).max(RECOMMIT_MIN),
        no_verify: no_verify.unwrap_or(false),
        notify: list(notify.as_deref()),
        notify_full: notify_full.unwrap_or(false),
    })
}

pub(super) fn pool(
    args: &PoolArgs,
    paths: &Paths,
    expand: &impl Fn(&Path) -> PathBuf,
) -> Result<Pool> {
    let PoolArgs {
        locals,
        no_locals,
        journal,
        journal_sync,
        rejournal,
        price_limit,
        price_bump,
        account_slots,
        global_slots,
        account_queue,
        global_queue,
        lifetime,
    } = args;
    let locals = list(locals.as_deref()).into_iter().map(|text| {
        let address = text.parse::<Address>();
        address.wrap_err_with(|| format!("--txpool.locals: {text:?} is not an address"))
    });
    // As in geth, zero means the default, for nothing works without room.
    let room = |count: &Option<usize>, default| count.filter(|n| *n > 0).unwrap_or(default);
    Ok(Pool {
        locals: locals.collect::<Result<_>>()?,
        no_locals: no_locals.unwrap_or(false),
        journal: journal_path(journal.as_deref().map(expand), paths),
        journal_sync: journal_sync.unwrap_or(JournalSync::Batch),
        rejournal: rejournal.unwrap_or(Duration::from_secs(3600)).max(REJOURNAL_MIN),
        price_limit: price_limit.filter(|price| *price > 0).unwrap_or(1),
        price_bump: price_bump.filter(|percent| *percent > 0).unwrap_or(10),
        account_slots: room(account_slots, 16),
        global_slots: room(global_slots, 5120),
        account_queue: room(account_queue, 64),
        global_queue: room(global_queue, 1024),
        lifetime: lifetime.filter(|time| !time.is_zero()).unwrap_or(Duration::from_secs(3 * 3600)),
    })
}

/// An empty name keeps no journal; a bare or relative one is inside our part of the data directory.
/// Ours is not geth's format, so geth's default name gets a file of its own there too.
fn journal_path(journal: Option<PathBuf>, paths: &Paths) -> Option<PathBuf> {
    match journal {
        None => Some(paths.hematite.join("transactions")),
        Some(journal) if journal.as_os_str().is_empty() => None,
        Some(journal) => Some(paths.hematite.join(journal)),
    }
}

pub(super) fn ethash(args: &EthashArgs) -> Result<Ethash> {
    let EthashArgs {
        ethash_cachedir: _,
        ethash_caches_in_memory,
        ethash_caches_on_disk,
        ethash_dagdir: _,
        ethash_dags_in_memory,
        ethash_dags_on_disk,
        ethash_dags_mapped,
        ethash_kernel,
    } = args;
    let default = Ethash::default();
    let count = |given: &Option<u64>, default: usize| {
        given.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX))
    };
    let kernel = ethash_kernel.as_deref().map(kernel).transpose()?;
    Ok(Ethash {
        kernel,
        caches_in_memory: count(ethash_caches_in_memory, default.caches_in_memory),
        caches_on_disk: count(ethash_caches_on_disk, default.caches_on_disk),
        datasets_in_memory: count(ethash_dags_in_memory, default.datasets_in_memory),
        datasets_on_disk: count(ethash_dags_on_disk, default.datasets_on_disk),
        datasets_mapped: ethash_dags_mapped.unwrap_or(default.datasets_mapped),
    })
}

/// A kernel that this processor can run.
fn kernel(name: &str) -> Result<Kernel> {
    let kernel: Kernel = name.parse().wrap_err("flag --ethash.kernel")?;
    let names: Vec<&str> = Kernel::available().into_iter().map(Kernel::name).collect();
    ensure!(
        names.contains(&kernel.name()),
        "flag --ethash.kernel: this processor does not have what {name} needs; it can run {}",
        names.join(", ")
    );
    Ok(kernel)
}
