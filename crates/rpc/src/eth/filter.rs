//! Filters that clients poll.
//!
//! A filter is a place in the chain: the last block its client was told of. What changed since is
//! read from the view at the next poll, so nothing has to run between two polls.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chain::ChainView;
use primitives::{B256, BlockNumHash, SealedHeader};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::TryRecvError};

use super::logs::{LOGS_MAX, Query, Range, Search, query, search};
use crate::{
    convert::{RpcLog, RpcTransaction},
    dispatch::Patience,
    error::RpcError,
    methods::Table,
    node::Api,
    params::Params,
    parse::{self, BlockTag},
};

/// Filters at once, of all clients together.
const FILTERS_MAX: usize = 10_000;
/// So many new filters after which the forgotten ones are looked for.
const SWEEP_INTERVAL: usize = 100;
/// A filter that is not polled for so long is forgotten.
const FILTER_LIFETIME: Duration = Duration::from_secs(300);
/// Hashes of one answer.
const HASHES_MAX: usize = 20_000;

pub(crate) fn register(table: &mut Table) {
    table.light("eth_newFilter", new_filter);
    table.light("eth_newBlockFilter", new_block_filter);
    table.light("eth_newPendingTransactionFilter", new_pending_filter);
    table.light("eth_uninstallFilter", uninstall);
    table.heavy("eth_getFilterChanges", changes);
    table.heavy("eth_getFilterLogs", filter_logs);
}

#[derive(Debug)]
enum Kind {
    Blocks { last: BlockNumHash },
    Logs { last: BlockNumHash, query: Query },
    Pending { changes: broadcast::Receiver<B256>, whole: bool },
}

#[derive(Debug)]
struct Filter {
    kind: Kind,
    polled: Instant,
}

/// The filters that clients have installed.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    by_id: Mutex<HashMap<u128, Filter>>,
}

impl Filters {
    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Filter>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install(&self, kind: Kind, now: Instant) -> Result<String, RpcError> {
        let mut filters = self.lock();
        if filters.len().is_multiple_of(SWEEP_INTERVAL) {
            filters.retain(|_, filter| now.duration_since(filter.polled) < FILTER_LIFETIME);
        }
        if filters.len() >= FILTERS_MAX {
            return Err(RpcError::TooMuch { what: "filters", max: FILTERS_MAX });
        }
        let id = rand::random();
        filters.insert(id, Filter { kind, polled: now });
        Ok(format!("{id:#x}"))
    }

    /// Takes a filter out for the time of a poll; a second poll at the same time finds nothing.
    fn take(&self, id: u128, now: Instant) -> Result<Filter, RpcError> {
        let filter = self.lock().remove(&id);
        filter
            .filter(|filter| now.duration_since(filter.polled) < FILTER_LIFETIME)
            .ok_or_else(|| RpcError::refused("filter not found"))
    }

    fn put_back(&self, id: u128, filter: Filter) {
        self.lock().insert(id, filter);
    }
}

fn id(raw: &serde_json::value::RawValue) -> Result<u128, String> {
    let text = parse::rpc_id(raw)?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    // What is no id is the id of no filter.
    Ok(u128::from_str_radix(digits, 16).unwrap_or(0))
}

fn new_filter(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    let view = api.node.chain.view();
    let query = params.required(query)?;
    params.end()?;
    check_range(&query)?;
    api.filters.install(Kind::Logs { last: view.head_id(), query }, Instant::now())
}

fn new_block_filter(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    api.filters.install(Kind::Blocks { last: view.head_id() }, Instant::now())
}

fn new_pending_filter(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    let whole = params.optional(parse::boolean)?.unwrap_or(false);
    params.end()?;
    let changes = api.node.pool.changes();
    api.filters.install(Kind::Pending { changes, whole }, Instant::now())
}

fn uninstall(api: &Api, params: &mut Params<'_>) -> Result<bool, RpcError> {
    let id = params.required(id)?;
    params.end()?;
    Ok(api.filters.take(id, Instant::now()).is_ok())
}

/// What happened since the last poll.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Changes {
    Hashes(Vec<B256>),
    Logs(Vec<RpcLog>),
    Objects(Vec<RpcTransaction>),
}

fn changes(api: &Api, params: &mut Params<'_>) -> Result<Changes, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(id)?;
    params.end()?;
    let mut filter = api.filters.take(id, Instant::now())?;
    let changes = match &mut filter.kind {
        Kind::Blocks { last } => new_blocks(&view, last).map(Changes::Hashes),
        Kind::Logs { last, query } => new_logs(&view, last, query).map(Changes::Logs),
        Kind::Pending { changes, whole: false } => Ok(Changes::Hashes(new_transactions(changes))),
        Kind::Pending { changes, whole: true } => {
            let pooled = new_transactions(changes).into_iter();
            let pooled = pooled.filter_map(|hash| api.node.pool.get(hash));
            Ok(Changes::Objects(
                pooled.map(|tx| RpcTransaction::pooled(&tx.tx, tx.sender)).collect(),
            ))
        }
    };
    filter.polled = Instant::now();
    api.filters.put_back(id, filter);
    changes
}

fn filter_logs(api: &Api, params: &mut Params<'_>) -> Result<Vec<RpcLog>, RpcError> {
    let view = api.node.chain.view();
    let id = params.required(id)?;
    params.end()?;
    let filter = api.filters.take(id, Instant::now())?;
    let query = match &filter.kind {
        Kind::Logs { query, .. } => Some(query.clone()),
        Kind::Blocks { .. } | Kind::Pending { .. } => None,
    };
    api.filters.put_back(id, filter);
    let query = query.ok_or_else(|| RpcError::refused("filter not found"))?;
    search(api, &view, &query, Patience::Endless)
}

/// geth's rule for what is to come: the end may not be before the beginning, in time.
pub(crate) fn check_range(query: &Query) -> Result<(), RpcError> {
    use BlockTag::{Earliest, Finalized, Latest, Number, Pending, Safe};

    let Range::Between(from, to) = query.range else { return Ok(()) };
    let is_fine = match (from, to) {
        (Number(from), Number(to)) => from <= to,
        (Earliest, Earliest | Number(_))
        | (Number(0), Earliest)
        | (Earliest | Number(_) | Latest, Latest | Pending)
        | (Pending, Pending) => true,
        (Number(_) | Latest | Pending, Earliest)
        | (Latest | Pending, Number(_))
        | (Pending, Latest)
        | (Safe | Finalized, _)
        | (_, Safe | Finalized) => false,
    };
    if is_fine {
        return Ok(());
    }
    Err(RpcError::refused("invalid from and to block combination: from > to"))
}

/// From a block that was canonical once to the head: what was retired, highest first, and the last
/// number that both have in common.
pub(crate) fn retired(
    view: &ChainView,
    last: BlockNumHash,
) -> Result<(Vec<SealedHeader>, u64), RpcError> {
    let mut retired = Vec::new();
    let mut at = last;
    while view.db.canonical_hash(at.number).map_err(RpcError::storage)? != Some(at.hash) {
        let header = view.db.header(at.hash).map_err(RpcError::storage)?;
        let header = header.ok_or_else(|| RpcError::refused("filter not found"))?;
        if at.number == 0 || retired.len() == HASHES_MAX {
            return Err(RpcError::refused("filter not found"));
        }
        at = BlockNumHash { number: at.number - 1, hash: header.parent_hash };
        retired.push(header);
    }
    Ok((retired, at.number))
}

fn new_blocks(view: &ChainView, last: &mut BlockNumHash) -> Result<Vec<B256>, RpcError> {
    let (_, common) = retired(view, *last)?;
    *last = view.head_id();
    let mut hashes = Vec::new();
    for number in common + 1..=view.head.number {
        if hashes.len() == HASHES_MAX {
            return Err(RpcError::TooMuch { what: "hashes", max: HASHES_MAX });
        }
        hashes.extend(view.db.canonical_hash(number).map_err(RpcError::storage)?);
    }
    Ok(hashes)
}

/// Logs of retired blocks come first, marked as removed.
fn new_logs(
    view: &ChainView,
    last: &mut BlockNumHash,
    query: &Query,
) -> Result<Vec<RpcLog>, RpcError> {
    let (retired, common) = retired(view, *last)?;
    *last = view.head_id();
    let mut search = Search::new(view, query, Patience::Endless);
    for header in retired.iter().filter(|header| query.is_wanted(header.number)) {
        search.block(header, true)?;
    }
    let (first, end) = query.wanted();
    search.numbers((common + 1).max(first)..=view.head.number.min(end))?;
    Ok(search.into_logs())
}

/// What came, as far as the pool's backlog still knows it.
fn new_transactions(changes: &mut broadcast::Receiver<B256>) -> Vec<B256> {
    let mut hashes = Vec::new();
    while hashes.len() < HASHES_MAX.min(LOGS_MAX) {
        match changes.try_recv() {
            Ok(hash) => hashes.push(hash),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    hashes
}

impl Query {
    /// The numbers of future blocks that a filter wants: an end that is not a number is open.
    fn wanted(&self) -> (u64, u64) {
        let Range::Between(from, to) = self.range else { return (u64::MAX, 0) };
        let first = if let BlockTag::Number(first) = from { first } else { 0 };
        let end = if let BlockTag::Number(end) = to { end } else { u64::MAX };
        (first, end)
    }

    pub(crate) fn is_wanted(&self, number: u64) -> bool {
        let (first, end) = self.wanted();
        (first..=end).contains(&number)
    }
}
