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

/// Filters at once, of all clients together. One more, and those polled longest ago are forgotten:
/// whoever polls keeps theirs, whatever others install.
const FILTERS_MAX: usize = 10_000;
/// Bytes that all filters look for together.
const FILTERS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Of so many filters one is forgotten when there are too many.
const FORGOTTEN_SHARE: usize = 10;
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

impl Filter {
    fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Blocks { .. } | Kind::Pending { .. } => 0,
            Kind::Logs { query, .. } => query.bytes(),
        }
    }
}

/// The filters that clients have installed.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    by_id: HashMap<u128, Filter>,
    /// What all of them look for.
    bytes: usize,
}

impl Book {
    fn retain(&mut self, is_kept: impl Fn(&Filter) -> bool) {
        self.by_id.retain(|_, filter| is_kept(filter));
        self.bytes = self.by_id.values().map(Filter::bytes).sum();
    }

    fn insert(&mut self, id: u128, filter: Filter) {
        self.make_room(filter.bytes());
        self.bytes += filter.bytes();
        self.by_id.insert(id, filter);
    }

    fn remove(&mut self, id: u128) -> Option<Filter> {
        let filter = self.by_id.remove(&id)?;
        self.bytes -= filter.bytes();
        Some(filter)
    }

    /// Forgets those that were polled longest ago until there is room for one more of so many bytes.
    fn make_room(&mut self, bytes: usize) {
        while !self.by_id.is_empty()
            && (self.by_id.len() >= FILTERS_MAX || self.bytes + bytes > FILTERS_BYTES_MAX)
        {
            let mut polled: Vec<_> = self.by_id.values().map(|filter| filter.polled).collect();
            let at = polled.len() / FORGOTTEN_SHARE;
            let (_, oldest, _) = polled.select_nth_unstable(at);
            let oldest = *oldest;
            self.retain(|filter| filter.polled > oldest);
        }
    }
}

impl Filters {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install(&self, kind: Kind, now: Instant) -> String {
        let mut book = self.lock();
        if book.by_id.len().is_multiple_of(SWEEP_INTERVAL) {
            book.retain(|filter| now.duration_since(filter.polled) < FILTER_LIFETIME);
        }
        let id = rand::random();
        book.insert(id, Filter { kind, polled: now });
        format!("{id:#x}")
    }

    /// Takes a filter out for the time of a poll; a second poll at the same time finds nothing.
    fn take(&self, id: u128, now: Instant) -> Result<Filter, RpcError> {
        let filter = self.lock().remove(id);
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
    Ok(api.filters.install(Kind::Logs { last: view.head_id(), query }, Instant::now()))
}

fn new_block_filter(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    Ok(api.filters.install(Kind::Blocks { last: view.head_id() }, Instant::now()))
}

fn new_pending_filter(api: &Api, params: &mut Params<'_>) -> Result<String, RpcError> {
    let whole = params.optional(parse::boolean)?.unwrap_or(false);
    params.end()?;
    let changes = api.node.pool.changes();
    Ok(api.filters.install(Kind::Pending { changes, whole }, Instant::now()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(number: u64) -> Kind {
        Kind::Blocks { last: BlockNumHash { number, hash: B256::ZERO } }
    }

    fn logs(addresses: usize) -> Kind {
        let list = vec!["\"0x0000000000000000000000000000000000000000\""; addresses].join(",");
        let text = format!("{{\"address\":[{list}]}}");
        let raw = serde_json::value::RawValue::from_string(text).unwrap();
        Kind::Logs { last: BlockNumHash::default(), query: query(&raw).unwrap() }
    }

    fn number(id: &str) -> u128 {
        u128::from_str_radix(&id[2..], 16).unwrap()
    }

    /// RPC-17.
    #[test]
    fn whoever_polls_keeps_a_filter_whatever_others_install() {
        let (filters, start) = (Filters::default(), Instant::now());
        let mine = number(&filters.install(blocks(7), start));
        for round in 0..100_000_u64 {
            let now = start + Duration::from_micros(round);
            filters.install(blocks(round), now);
            if round.is_multiple_of(1_000) {
                let mut filter = filters.take(mine, now).unwrap();
                assert!(matches!(filter.kind, Kind::Blocks { last } if last.number == 7));
                filter.polled = now;
                filters.put_back(mine, filter);
            }
        }
        assert!(filters.lock().by_id.len() <= FILTERS_MAX);
        let late = start + FILTER_LIFETIME + Duration::from_secs(1);
        assert!(filters.take(mine, late).is_err(), "a filter that nobody polls is forgotten");
    }

    /// RPC-17.
    #[test]
    fn filters_that_look_for_much_leave_room_for_each_other() {
        let (filters, start) = (Filters::default(), Instant::now());
        let mut last = 0;
        for round in 0..3_000_u64 {
            let now = start + Duration::from_micros(round);
            last = number(&filters.install(logs(1_000), now));
            assert!(filters.lock().bytes <= FILTERS_BYTES_MAX);
        }
        let count = filters.lock().by_id.len();
        assert!((500..1_000).contains(&count), "{count} filters of 20 kB");
        assert!(filters.take(last, start).is_ok());
        assert_eq!(filters.lock().bytes, (count - 1) * logs_bytes());
    }

    fn logs_bytes() -> usize {
        Filter { kind: logs(1_000), polled: Instant::now() }.bytes()
    }
}
