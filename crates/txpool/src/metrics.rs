use metrics::{Counter, Gauge, gauge};
use metrics_derive::Metrics as Derive;

/// What an operator can see of the pool.
#[derive(Derive)]
#[metrics(scope = "txpool")]
struct Measured {
    /// Memory that the transactions take, in bytes.
    bytes: Gauge,
    /// Transactions that were accepted.
    accepted_total: Counter,
    /// Transactions that were refused.
    refused_total: Counter,
}

/// The pool's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    measured: Measured,
    pending: Gauge,
    queued: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Measured::describe();
        metrics::describe_gauge!("txpool_transactions", "Transactions in the pool.");
        Self {
            measured: Measured::default(),
            pending: gauge!("txpool_transactions", "pool" => "pending"),
            queued: gauge!("txpool_transactions", "pool" => "queued"),
        }
    }

    pub(crate) fn set(&self, (pending, queued): (usize, usize), bytes: usize) {
        self.pending.set(float(pending));
        self.queued.set(float(queued));
        self.measured.bytes.set(float(bytes));
    }

    pub(crate) fn answered(&self, accepted: usize, refused: usize) {
        self.measured.accepted_total.increment(u64::try_from(accepted).unwrap_or(u64::MAX));
        self.measured.refused_total.increment(u64::try_from(refused).unwrap_or(u64::MAX));
    }
}

/// A gauge's value; counts here stay far below 2^32.
fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
