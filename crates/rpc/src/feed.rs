//! What subscribers are told of, made once for all of them.
//!
//! One task watches the chain, the pool and the sync. Each change goes into one ring that all
//! connections read: it is held once however many read it, and whoever is a whole ring behind has
//! lost something and is cut.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ::network::{NetworkHandle, PeerInfo, SyncProgress};
use ::txpool::Pool;
use chain::{ChainEvent, ChainHandle, ChainView};
use primitives::{B256, BlockNumHash, SealedHeader, hex};
use serde::Serialize;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError, error::TryRecvError},
        watch,
    },
    task,
    time::{self, Duration},
};
use tokio_util::sync::CancellationToken;

use crate::{
    convert::{RpcHead, RpcLog, RpcTransaction},
    error::RpcError,
    eth::{
        filter,
        logs::{Query, Search},
        transaction,
    },
};

/// Changes that a reader may be behind.
pub const CHANGES_MAX: usize = 1_024;
/// Blocks of one change.
const BLOCKS_MAX: u64 = 64;
/// Transactions of one change.
const TRANSACTIONS_MAX: usize = 1_024;
/// Transactions that are known to have been told; more than a pool holds.
const TOLD_MAX: usize = 16_384;
/// Transactions that come within this time are told together.
const GATHER_PERIOD: Duration = Duration::from_millis(5);

/// What happened.
#[derive(Debug)]
pub(crate) enum Change {
    /// The canonical chain went on, perhaps after going back.
    Chain(ChainChange),
    /// Transactions became pending.
    Transactions(Vec<NewTransaction>),
    /// A sync began or ended.
    Sync(String),
    /// Peers came or went; each as JSON.
    Peers(Vec<String>),
}

/// Blocks that became canonical.
#[derive(Debug)]
pub(crate) struct ChainChange {
    /// Logs of blocks that no longer are, highest first.
    pub(crate) retired: Vec<FoundLog>,
    /// Lowest first.
    pub(crate) blocks: Vec<NewBlock>,
}

/// A block that became canonical.
#[derive(Debug)]
pub(crate) struct NewBlock {
    pub(crate) hash: B256,
    /// The header as JSON; empty if nobody wanted it.
    pub(crate) head: String,
    /// Empty if nobody wanted them.
    pub(crate) logs: Vec<FoundLog>,
}

/// A log, and the block it is told by.
#[derive(Debug)]
pub(crate) struct FoundLog {
    pub(crate) number: u64,
    pub(crate) log: RpcLog,
}

/// A transaction that became pending.
#[derive(Debug)]
pub(crate) struct NewTransaction {
    pub(crate) hash: B256,
    /// All of it as JSON; `None` if nobody wanted it, or it is gone again.
    pub(crate) object: Option<String>,
}

/// What is worth putting together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Headers.
    Heads,
    /// Logs.
    Logs,
    /// Transactions as objects.
    Objects,
    /// What costs nothing.
    Other,
}

/// Readers of each kind.
#[derive(Debug, Default)]
struct Readers {
    heads: AtomicUsize,
    logs: AtomicUsize,
    objects: AtomicUsize,
    other: AtomicUsize,
}

impl Readers {
    const fn of(&self, wanted: Wanted) -> &AtomicUsize {
        match wanted {
            Wanted::Heads => &self.heads,
            Wanted::Logs => &self.logs,
            Wanted::Objects => &self.objects,
            Wanted::Other => &self.other,
        }
    }

    fn has(&self, wanted: Wanted) -> bool {
        self.of(wanted).load(Ordering::Relaxed) > 0
    }
}

/// As long as it lives, what it stands for is put together.
#[derive(Debug)]
pub(crate) struct Interest {
    feed: Arc<Feed>,
    wanted: Wanted,
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.feed.readers.of(self.wanted).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where changes are read.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) chain: ChainHandle,
    pool: Pool,
    network: Option<NetworkHandle>,
    changes: broadcast::Sender<Arc<Change>>,
    readers: Readers,
}

/// What the task knows from one change to the next.
#[derive(Debug)]
struct Sources {
    events: broadcast::Receiver<Arc<ChainEvent>>,
    pooled: broadcast::Receiver<B256>,
    progress: Option<watch::Receiver<Option<SyncProgress>>>,
    peers: Option<watch::Receiver<Arc<Vec<PeerInfo>>>>,
    /// The peers that were there when it was last looked.
    present: Arc<Vec<PeerInfo>>,
    /// Up to where the chain was told.
    last: BlockNumHash,
    told: ToldHashes,
    syncs: bool,
}

/// The transactions that were told last.
#[derive(Debug, Default)]
struct ToldHashes {
    known: HashSet<B256>,
    /// The oldest first.
    order: VecDeque<B256>,
}

impl ToldHashes {
    fn extend(&mut self, hashes: impl IntoIterator<Item = B256>) {
        for hash in hashes {
            if self.known.insert(hash) {
                self.order.push_back(hash);
            }
            if self.order.len() > TOLD_MAX {
                let oldest = self.order.pop_front().expect("there are many");
                self.known.remove(&oldest);
            }
        }
    }
}

/// geth's words for a sync, with the names of Go's fields.
#[derive(Debug, Serialize)]
struct SyncStart {
    syncing: bool,
    status: SyncStatus,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SyncStatus {
    starting_block: u64,
    current_block: u64,
    highest_block: u64,
    pulled_states: u64,
    known_states: u64,
}

impl Feed {
    /// A feed of these parts; [`Self::run`] fills it.
    pub(crate) fn new(chain: ChainHandle, pool: Pool, network: Option<NetworkHandle>) -> Self {
        let changes = broadcast::channel(CHANGES_MAX).0;
        Self { chain, pool, network, changes, readers: Readers::default() }
    }

    /// What changes from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    /// Makes sure that something is put together.
    pub(crate) fn interest(self: &Arc<Self>, wanted: Wanted) -> Interest {
        self.readers.of(wanted).fetch_add(1, Ordering::Relaxed);
        Interest { feed: Arc::clone(self), wanted }
    }

    /// Watches until told to stop. What happened before the call is not told.
    pub(crate) fn run(
        self: Arc<Self>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        // Before anything is awaited, so that nothing is missed.
        let mut sources = Sources {
            events: self.chain.events(),
            pooled: self.pool.changes(),
            progress: self.network.as_ref().map(NetworkHandle::sync_changes),
            peers: self.network.as_ref().map(NetworkHandle::peer_changes),
            present: self.network.as_ref().map(NetworkHandle::peers).unwrap_or_default(),
            last: self.chain.view().head_id(),
            told: ToldHashes::default(),
            syncs: false,
        };
        sources.told.extend(self.pool.pending().iter().map(|tx| tx.hash()));
        async move {
            let watching = async { while self.step(&mut sources).await {} };
            shutdown.run_until_cancelled(watching).await;
        }
    }

    /// Waits for something and tells it. False when nothing more can come.
    async fn step(self: &Arc<Self>, sources: &mut Sources) -> bool {
        tokio::select! {
            event = sources.events.recv() => match event {
                Ok(_) | Err(RecvError::Lagged(_)) => self.tell_blocks(sources).await,
                Err(RecvError::Closed) => return false,
            },
            hash = sources.pooled.recv() => match hash {
                Ok(hash) => self.tell_transactions(hash, sources).await,
                Err(RecvError::Lagged(_)) => self.tell_missed_transactions(sources),
                Err(RecvError::Closed) => return false,
            },
            progress = next_progress(&mut sources.progress) => {
                if let Some(change) = sync_change(progress, &mut sources.syncs) {
                    self.send(change);
                }
            }
            peers = next_peers(&mut sources.peers) => {
                let events = peer_events(&sources.present, &peers);
                sources.present = peers;
                if !events.is_empty() {
                    self.send(Change::Peers(events));
                }
            }
        }
        true
    }

    fn send(&self, change: Change) {
        // No reader is a normal state of affairs.
        drop(self.changes.send(Arc::new(change)));
    }

    /// Tells all that happened up to the newest view, whatever events there were.
    async fn tell_blocks(self: &Arc<Self>, sources: &mut Sources) {
        while !matches!(sources.events.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed))
        {
        }
        loop {
            let view = self.chain.view();
            if view.head_id() == sources.last {
                return;
            }
            let (heads, logs) = (self.readers.has(Wanted::Heads), self.readers.has(Wanted::Logs));
            if !heads && !logs {
                sources.last = view.head_id();
                return;
            }
            let (last, wanted) = (sources.last, (heads, logs));
            // Logs are read from disk.
            let found = task::spawn_blocking(move || chain_change(&view, last, wanted)).await;
            match found {
                Ok(Ok((change, last))) => {
                    sources.last = last;
                    self.send(Change::Chain(change));
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "Could not tell what changed in the chain");
                    sources.last = self.chain.view().head_id();
                    return;
                }
                Err(panic) => {
                    tracing::error!(%panic, "Telling what changed in the chain panicked");
                    sources.last = self.chain.view().head_id();
                    return;
                }
            }
        }
    }

    /// Tells a transaction and those that come right behind it.
    async fn tell_transactions(&self, first: B256, sources: &mut Sources) {
        time::sleep(GATHER_PERIOD).await;
        let mut hashes = vec![first];
        let mut is_behind = false;
        while hashes.len() < TRANSACTIONS_MAX {
            match sources.pooled.try_recv() {
                Ok(hash) => hashes.push(hash),
                Err(TryRecvError::Lagged(_)) => {
                    is_behind = true;
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.tell_hashes(hashes, &mut sources.told);
        if is_behind {
            self.tell_missed_transactions(sources);
        }
    }

    /// They came too fast: what is pending and has not been told was missed.
    fn tell_missed_transactions(&self, sources: &mut Sources) {
        sources.pooled = sources.pooled.resubscribe();
        let pending = self.pool.pending();
        let missed = pending.iter().map(|tx| tx.hash());
        let missed: Vec<_> = missed.filter(|hash| !sources.told.known.contains(hash)).collect();
        tracing::debug!(missed = missed.len(), "Transactions came faster than they could be told");
        for hashes in missed.chunks(TRANSACTIONS_MAX) {
            self.tell_hashes(hashes.to_vec(), &mut sources.told);
        }
    }

    fn tell_hashes(&self, hashes: Vec<B256>, told: &mut ToldHashes) {
        told.extend(hashes.iter().copied());
        let objects = self.readers.has(Wanted::Objects);
        if !objects && !self.readers.has(Wanted::Other) {
            return;
        }
        let told = hashes.into_iter().map(|hash| NewTransaction {
            hash,
            object: if objects { self.pooled(hash) } else { None },
        });
        self.send(Change::Transactions(told.collect()));
    }

    /// A transaction as it was when it became pending; it may have been mined at once.
    fn pooled(&self, hash: B256) -> Option<String> {
        if let Some(pooled) = self.pool.get(hash) {
            return Some(json(&RpcTransaction::pooled(&pooled.tx, pooled.sender)));
        }
        let view = self.chain.view();
        let mined = transaction::mined(&view, hash).ok()??;
        Some(json(&RpcTransaction::pooled(&mined.tx, mined.from)))
    }
}

/// The next state of the sync, if there can be one.
async fn next_progress(
    progress: &mut Option<watch::Receiver<Option<SyncProgress>>>,
) -> Option<SyncProgress> {
    let Some(states) = progress else { return std::future::pending().await };
    if states.changed().await.is_err() {
        *progress = None;
        return None;
    }
    *states.borrow_and_update()
}

async fn next_peers(peers: &mut Option<watch::Receiver<Arc<Vec<PeerInfo>>>>) -> Arc<Vec<PeerInfo>> {
    let Some(changes) = peers else { return std::future::pending().await };
    if changes.changed().await.is_err() {
        *peers = None;
        return Arc::default();
    }
    changes.borrow_and_update().clone()
}

/// A peer that came or went, in geth's words.
#[derive(Debug, Serialize)]
struct PeerEvent {
    r#type: &'static str,
    peer: String,
    local: String,
    remote: String,
}

fn peer_events(before: &[PeerInfo], now: &[PeerInfo]) -> Vec<String> {
    let has = |peers: &[PeerInfo], id| peers.iter().any(|peer| peer.id == id);
    let event = |kind, peer: &PeerInfo| {
        json(&PeerEvent {
            r#type: kind,
            peer: hex::encode(peer.id.node_id()),
            local: peer.local_address.to_string(),
            remote: peer.address.to_string(),
        })
    };
    let gone = before.iter().filter(|peer| !has(now, peer.id)).map(|peer| event("drop", peer));
    let new = now.iter().filter(|peer| !has(before, peer.id)).map(|peer| event("add", peer));
    gone.chain(new).collect()
}

/// Only the beginning and the end are told.
fn sync_change(progress: Option<SyncProgress>, syncs: &mut bool) -> Option<Change> {
    let under_way = progress.filter(|progress| progress.current < progress.highest);
    if under_way.is_some() == *syncs {
        return None;
    }
    *syncs = under_way.is_some();
    let Some(SyncProgress { starting, current, highest }) = under_way else {
        return Some(Change::Sync("false".to_owned()));
    };
    let status = SyncStatus {
        starting_block: starting,
        current_block: current,
        highest_block: highest,
        pulled_states: 0,
        known_states: 0,
    };
    Some(Change::Sync(json(&SyncStart { syncing: true, status })))
}

/// What happened from one block on, and up to where: a long way is told in parts.
fn chain_change(
    view: &ChainView,
    last: BlockNumHash,
    (heads, logs): (bool, bool),
) -> Result<(ChainChange, BlockNumHash), RpcError> {
    let (retired, common) = filter::retired(view, last)?;
    let everything = Query::everything();
    let logs_of = |header: &SealedHeader, removed| -> Result<Vec<FoundLog>, RpcError> {
        if !logs {
            return Ok(Vec::new());
        }
        let mut search = Search::unbounded(view, &everything);
        search.block(header, removed)?;
        let number = header.number;
        Ok(search.into_logs().into_iter().map(|log| FoundLog { number, log }).collect())
    };
    let mut change = ChainChange { retired: Vec::new(), blocks: Vec::new() };
    for header in &retired {
        change.retired.extend(logs_of(header, true)?);
    }
    let mut told = view.head_id();
    for number in common + 1..=view.head.number {
        let header = view.db.header_by_number(number).map_err(RpcError::storage)?;
        let Some(header) = header else { break };
        told = header.num_hash();
        change.blocks.push(NewBlock {
            hash: header.hash(),
            head: if heads { json(&RpcHead::new(&header)) } else { String::new() },
            logs: logs_of(&header, false)?,
        });
        if number - common == BLOCKS_MAX {
            break;
        }
    }
    Ok((change, told))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is told has only text for keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_told_when_it_begins_and_when_it_ends() {
        let progress = |current| Some(SyncProgress { starting: 1, current, highest: 9 });
        let mut syncs = false;
        let mut told = Vec::new();
        for progress in [None, progress(2), progress(5), progress(9), None, progress(3), None] {
            if let Some(Change::Sync(text)) = sync_change(progress, &mut syncs) {
                told.push(text);
            }
        }
        let start = |current| {
            format!(
                r#"{{"syncing":true,"status":{{"StartingBlock":1,"CurrentBlock":{current},"HighestBlock":9,"PulledStates":0,"KnownStates":0}}}}"#
            )
        };
        assert_eq!(told, [start(2), "false".to_owned(), start(3), "false".to_owned()]);
    }
}
