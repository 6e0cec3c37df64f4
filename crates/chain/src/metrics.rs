use metrics::{Counter, Gauge, Histogram};
use metrics_derive::Metrics;

/// What the chain does, for whoever watches.
#[derive(Metrics)]
#[metrics(scope = "chain")]
pub(crate) struct ChainMetrics {
    /// Number of the newest canonical block.
    pub(crate) head_number: Gauge,
    /// Seconds that importing one batch of blocks took.
    pub(crate) import_seconds: Histogram,
    /// Blocks imported, canonical or not.
    pub(crate) imported_blocks_total: Counter,
    /// Blocks that stopped being canonical.
    pub(crate) retired_blocks_total: Counter,
}
