//! The transaction pool: transactions waiting to be mined.
//!
//! Does not know where transactions come from, nor who mines them. The main type is [`Pool`], a
//! cheap handle: [`Pool::add`] takes transactions in, [`Pool::best`] answers in the order in which a
//! miner wants them, [`Pool::changes`] tells what became pending, and [`Pool::run`] follows the
//! chain.
//!
//! Everything in the pool was last checked against one view, its *base*. The pool's lock is held for
//! work in memory only: accounts are read, signatures recovered and the journal written outside, and
//! whoever finds that the base has moved meanwhile checks again.
//!
//! ```no_run
//! # fn example(chain: chain::ChainHandle, tx: primitives::Transaction) -> Result<(), txpool::PoolError> {
//! use txpool::{Origin, Pool, PoolConfig};
//!
//! let pool = Pool::new(PoolConfig::default(), chain);
//! let hash = pool.add(Origin::Local, tx)?;
//! assert!(pool.get(hash).is_some());
//! # Ok(())
//! # }
//! ```

mod account;
mod best;
mod content;
mod error;
mod inner;
mod intake;
mod journal;
mod limits;
mod maintain;
mod metrics;
mod transaction;
mod validate;

#[cfg(test)]
mod testing;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use chain::{ChainHandle, ChainView};
use primitives::{Address, B256, Transaction};
use tokio::sync::broadcast;

pub use best::BestTransactions;
pub use content::{AccountContent, Content};
pub use error::PoolError;
pub use journal::{JOURNAL_BYTES_MAX, JOURNAL_RECORDS_MAX, JournalConfig, JournalSync};
pub use limits::{
    ACCOUNT_PENDING_MAX, ACCOUNT_QUEUED_MAX, LOCAL_SENDERS_MAX, LOCALS_MAX, Limits, PENDING_MAX,
    POOL_BYTES_MAX, PRICE_BUMP, QUEUED_LIFETIME, QUEUED_MAX,
};
pub use transaction::{Origin, PooledTransaction};
pub use validate::TRANSACTION_BYTES_MAX;

use inner::Inner;
use journal::Journal;
use metrics::Metrics;
use validate::Base;

/// How many changes a slow listener may lag behind before it has to read the pool instead.
pub const CHANGES_MAX: usize = 4_096;

/// What a pool needs to know.
#[derive(Debug, Clone, Default)]
pub struct PoolConfig {
    /// What it accepts and how much of it.
    pub limits: Limits,
    /// Where local transactions are written; `None` keeps them in memory only.
    pub journal: Option<JournalConfig>,
}

/// The pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    chain: ChainHandle,
    ground: Mutex<Ground>,
    changes: broadcast::Sender<B256>,
    waiting_own: broadcast::Sender<B256>,
    arrivals: AtomicU64,
    journal: Option<Journal>,
    /// How often the journal is rewritten.
    rotation: Duration,
    metrics: Metrics,
    /// For signatures. Kept because asking the system reads files of its control groups.
    threads: usize,
}

/// The contents and the view they were last checked against.
#[derive(Debug)]
struct Ground {
    inner: Inner,
    view: Arc<ChainView>,
}

impl Pool {
    /// A pool on the chain's newest view, with what the journal held.
    ///
    /// Reads and rewrites the journal, so it blocks for as long as that takes. A journal that cannot
    /// be written does not keep the pool from starting; local transactions are refused until it can.
    #[must_use]
    pub fn new(config: PoolConfig, chain: ChainHandle) -> Self {
        let PoolConfig { limits, journal } = config;
        let view = chain.view();
        let inner = Inner::new(limits, base_of(&view));
        let rotation = journal.as_ref().map_or(Duration::MAX, |journal| journal.rotation);
        let (journal, loaded) = match journal.as_ref().map(Journal::open) {
            Some((journal, loaded)) => (Some(journal), loaded.transactions),
            None => (None, Vec::new()),
        };
        let pool = Self(Arc::new(Shared {
            chain,
            ground: Mutex::new(Ground { inner, view }),
            changes: broadcast::channel(CHANGES_MAX).0,
            waiting_own: broadcast::channel(CHANGES_MAX).0,
            arrivals: AtomicU64::new(0),
            journal,
            rotation,
            metrics: Metrics::new(),
            threads: thread::available_parallelism().map_or(1, usize::from),
        }));
        pool.load(loaded);
        pool.rotate_journal();
        pool
    }

    /// Puts back what the journal held. What was mined or became invalid meanwhile stays out.
    fn load(&self, transactions: Vec<Transaction>) {
        let count = transactions.len();
        if count == 0 {
            return;
        }
        let answers = self.add_unjournaled(Origin::Local, transactions);
        let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
        tracing::info!(accepted, dropped = count - accepted, "Loaded local transactions");
    }

    /// The least a remote transaction must leave the miner for a unit of gas, in wei.
    #[must_use]
    pub fn gas_price_floor(&self) -> u128 {
        self.ground().inner.limits().gas_price
    }

    /// Sets [`Self::gas_price_floor`]. Remote transactions below it leave the pool.
    pub fn set_gas_price(&self, gas_price: u128) {
        self.ground().inner.set_gas_price(gas_price);
        self.measure();
    }

    /// The hashes of transactions that become pending, from now on. Whoever lags too far reads
    /// [`Self::pending`].
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<B256> {
        self.0.changes.subscribe()
    }

    /// The hashes of transactions that were given to this node and wait for an earlier one of their
    /// sender, from now on. Whoever lags too far reads [`Self::waiting_own`].
    #[must_use]
    pub fn changes_of_waiting_own(&self) -> broadcast::Receiver<B256> {
        self.0.waiting_own.subscribe()
    }

    fn ground(&self) -> MutexGuard<'_, Ground> {
        self.0.ground.lock().expect("nothing panics while it holds the pool")
    }

    fn next_arrival(&self) -> u64 {
        self.0.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    fn announce(&self, promoted: &[B256]) {
        for hash in promoted {
            // No listener is a normal state of affairs.
            let _ = self.0.changes.send(*hash);
        }
    }

    fn measure(&self) {
        let (status, bytes) = {
            let ground = self.ground();
            (ground.inner.status(), ground.inner.bytes())
        };
        self.0.metrics.set(status, bytes);
    }
}

fn base_of(view: &ChainView) -> Base {
    Base::new(view.head.hash(), view.head.header(), view.spec.clone())
}

/// The account's nonce and balance at a view's head.
fn read_facts(view: &ChainView, sender: Address) -> Result<validate::Facts, PoolError> {
    let account = view.account(sender).map_err(|error| PoolError::Read(error.to_string()))?;
    let facts = account.map(|at| validate::Facts { nonce: at.nonce, balance: at.balance });
    Ok(facts.unwrap_or_default())
}

#[cfg(test)]
mod tests;
