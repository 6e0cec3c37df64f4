//! `…_subscribe` and `…_unsubscribe`: what one connection wants to be told of.

use std::{
    iter,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use primitives::B256;
use serde_json::value::RawValue;

use crate::{
    budget::{Budget, Share},
    convert::RpcLog,
    error::{ArgumentError, RpcError},
    eth::{filter, logs::Query, logs::query},
    feed::{ChainChange, Change, Feed, Interest, Wanted},
    params::Params,
    parse,
};

/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_MAX: usize = 100;
/// Bytes that the subscriptions of all connections look for together, beyond 64 KiB each.
pub const QUERIES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a client may subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Heads,
    Logs(Query),
    Transactions { whole: bool },
    Sync,
    Peers,
}

impl Kind {
    /// Reads what follows the method's name.
    fn read(namespace: &str, exposed: bool, params: Option<&RawValue>) -> Result<Self, RpcError> {
        let name = name(params)?;
        if !exposed {
            return Err(RpcError::NoSubscription { namespace: namespace.to_owned(), name });
        }
        let mut params = Params::new(params.map(RawValue::get))?;
        params.required(parse::string)?;
        let kind = match (namespace, name.as_str()) {
            ("eth", "newHeads") => Self::Heads,
            ("eth", "logs") => Self::Logs(params.required(query)?),
            ("eth", "newPendingTransactions") => {
                Self::Transactions { whole: params.optional(parse::boolean)?.unwrap_or(false) }
            }
            ("eth", "syncing") => Self::Sync,
            ("admin", "peerEvents") => Self::Peers,
            _ => return Err(RpcError::NoSubscription { namespace: namespace.to_owned(), name }),
        };
        params.end()?;
        if let Self::Logs(query) = &kind {
            filter::check_range(query)?;
        }
        Ok(kind)
    }

    const fn wanted(&self) -> Wanted {
        match self {
            Self::Heads => Wanted::Heads,
            Self::Logs(_) => Wanted::Logs,
            Self::Transactions { whole: true } => Wanted::Objects,
            Self::Transactions { whole: false } | Self::Sync | Self::Peers => Wanted::Other,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Logs(query) => query.bytes(),
            Self::Heads | Self::Transactions { .. } | Self::Sync | Self::Peers => 0,
        }
    }

    const fn namespace(&self) -> &'static str {
        match self {
            Self::Heads | Self::Logs(_) | Self::Transactions { .. } | Self::Sync => "eth",
            Self::Peers => "admin",
        }
    }
}

/// The first parameter is part of the method's name, so geth has its own words for it.
fn name(params: Option<&RawValue>) -> Result<String, ArgumentError> {
    let values: Vec<&RawValue> = params
        .and_then(|params| serde_json::from_str(params.get()).ok())
        .ok_or(ArgumentError::NotAnArray)?;
    let name = values.first().and_then(|name| parse::string(name).ok());
    name.ok_or(ArgumentError::NoSubscriptionName)
}

#[derive(Debug)]
struct Subscription {
    id: String,
    kind: Kind,
    /// The head when it was made: what had happened by then is not told.
    since: B256,
    _interest: Interest,
}

/// What one connection has subscribed to.
#[derive(Debug)]
pub(crate) struct Subscriber {
    feed: Arc<Feed>,
    subscriptions: Mutex<Vec<Subscription>>,
    /// Memory for what they look for. It does not shrink before the connection ends.
    queries: Mutex<Share>,
    /// Those whose ids the client has not been told yet.
    unannounced: AtomicUsize,
}

/// Who asks: a connection, in one message of it.
#[derive(Debug)]
pub(crate) struct Caller {
    subscriber: Arc<Subscriber>,
    /// Subscriptions that the answer will announce.
    opened: AtomicUsize,
}

impl Caller {
    /// The sender of a message.
    pub(crate) fn new(subscriber: &Arc<Subscriber>) -> Self {
        Self { subscriber: Arc::clone(subscriber), opened: AtomicUsize::new(0) }
    }

    /// The answer is on its way: the client knows the ids in it.
    pub(crate) fn is_answered(&self) {
        let opened = self.opened.swap(0, Ordering::Relaxed);
        self.subscriber.unannounced.fetch_sub(opened, Ordering::Relaxed);
    }

    /// Begins to tell the connection something; the answer is the id it is told by.
    pub(crate) fn subscribe(
        &self,
        namespace: &str,
        exposed: bool,
        params: Option<&RawValue>,
    ) -> Result<String, RpcError> {
        let kind = Kind::read(namespace, exposed, params)?;
        let id = self.subscriber.add(kind)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.subscriber.unannounced.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    /// Stops telling.
    pub(crate) fn unsubscribe(&self, params: Option<&RawValue>) -> Result<bool, RpcError> {
        let id = unsubscribed(params)?;
        let mut subscriptions = self.subscriber.lock();
        let before = subscriptions.len();
        subscriptions.retain(|subscription| subscription.id != id);
        if subscriptions.len() == before { Err(not_found()) } else { Ok(true) }
    }
}

/// The subscription that a call names.
pub(crate) fn unsubscribed(params: Option<&RawValue>) -> Result<String, RpcError> {
    let mut params = Params::new(params.map(RawValue::get))?;
    let id = params.required(parse::rpc_id)?;
    params.end()?;
    Ok(id)
}

pub(crate) fn not_found() -> RpcError {
    RpcError::refused("subscription not found")
}

impl Subscriber {
    /// A connection that has subscribed to nothing.
    pub(crate) fn new(feed: Arc<Feed>, queries: &Budget) -> Self {
        let (subscriptions, queries) = (Mutex::default(), Mutex::new(queries.share()));
        Self { feed, subscriptions, queries, unannounced: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is anything to tell it, and it knows all ids that may be named.
    pub(crate) fn listens(&self) -> bool {
        self.unannounced.load(Ordering::Relaxed) == 0 && !self.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn add(&self, kind: Kind) -> Result<String, RpcError> {
        let mut subscriptions = self.lock();
        if subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(RpcError::TooMuch { what: "subscriptions", max: SUBSCRIPTIONS_MAX });
        }
        let bytes: usize = subscriptions.iter().map(|known| known.kind.bytes()).sum();
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if !queries.covers(bytes + kind.bytes()) {
            let what = "bytes of what all subscriptions look for";
            return Err(RpcError::TooMuch { what, max: QUERIES_BYTES_MAX });
        }
        drop(queries);
        let id = format!("{:#x}", rand::random::<u128>());
        // Interest first: what happens from then on is put together.
        let interest = self.feed.interest(kind.wanted());
        let since = self.feed.chain.view().head.hash();
        let subscription = Subscription { id: id.clone(), kind, since, _interest: interest };
        subscriptions.push(subscription);
        Ok(id)
    }

    /// Hands notifications of a change to `tell` until it says that this is enough; where to go on,
    /// if there is more.
    pub(crate) fn notify(
        &self,
        change: &Change,
        from: Cursor,
        mut tell: impl FnMut(&[u8]) -> bool,
    ) -> Option<Cursor> {
        let (mut at, mut text) = (from, Vec::new());
        let subscriptions = self.lock();
        while let Some(subscription) = subscriptions.get(at.subscription) {
            let head = format!(
                r#"{{"jsonrpc":"2.0","method":"{}_subscription","params":{{"subscription":"{}","result":"#,
                subscription.kind.namespace(),
                subscription.id
            );
            for result in subscription.results(change).skip(at.result) {
                at.result += 1;
                text.clear();
                text.extend_from_slice(head.as_bytes());
                result.write(&mut text);
                text.extend_from_slice(b"}}\n");
                if !tell(&text) {
                    return Some(at);
                }
            }
            at = Cursor { subscription: at.subscription + 1, result: 0 };
        }
        None
    }
}

/// How much of a change a connection was told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    subscription: usize,
    result: usize,
}

/// What one notification says.
enum Told<'c> {
    Json(&'c str),
    Hash(&'c B256),
    Log(&'c RpcLog),
}

impl Told<'_> {
    fn write(&self, text: &mut Vec<u8>) {
        match self {
            Self::Json(json) => text.extend_from_slice(json.as_bytes()),
            Self::Hash(hash) => text.extend_from_slice(format!("\"{hash}\"").as_bytes()),
            Self::Log(log) => serde_json::to_writer(text, log).expect("memory takes everything"),
        }
    }
}

impl Subscription {
    /// What a change means to it.
    fn results<'c>(&'c self, change: &'c Change) -> Box<dyn Iterator<Item = Told<'c>> + 'c> {
        match (&self.kind, change) {
            (Kind::Heads, Change::Chain(change)) => {
                let news = change.blocks.iter().skip(self.known(change));
                let told = news.filter(|block| !block.head.is_empty());
                Box::new(told.map(|block| Told::Json(&block.head)))
            }
            (Kind::Logs(query), Change::Chain(change)) => {
                let known = self.known(change);
                let retired = change.retired.iter().filter(move |_| known == 0);
                let logs = change.blocks.iter().skip(known).flat_map(|block| &block.logs);
                let wanted = retired
                    .chain(logs)
                    .filter(|found| query.is_wanted(found.number) && query.takes(&found.log));
                Box::new(wanted.map(|found| Told::Log(&found.log)))
            }
            (Kind::Transactions { whole: true }, Change::Transactions(news)) => {
                Box::new(news.iter().filter_map(|tx| tx.object.as_deref().map(Told::Json)))
            }
            (Kind::Transactions { whole: false }, Change::Transactions(news)) => {
                Box::new(news.iter().map(|tx| Told::Hash(&tx.hash)))
            }
            (Kind::Sync, Change::Sync(state)) => Box::new(iter::once(Told::Json(state))),
            (Kind::Peers, Change::Peers(events)) => {
                Box::new(events.iter().map(|event| Told::Json(event)))
            }
            (
                Kind::Heads | Kind::Logs(_) | Kind::Transactions { .. } | Kind::Sync | Kind::Peers,
                _,
            ) => Box::new(iter::empty()),
        }
    }

    /// How many blocks of a change were there when the subscription was made.
    fn known(&self, change: &ChainChange) -> usize {
        let at = change.blocks.iter().position(|block| block.hash == self.since);
        at.map_or(0, |at| at + 1)
    }
}
