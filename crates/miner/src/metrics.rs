use metrics::{Counter, Gauge};
use metrics_derive::Metrics;

/// What the miner does, for whoever watches.
#[derive(Metrics)]
#[metrics(scope = "miner")]
pub(crate) struct MinerMetrics {
    /// Nonces tried by this machine.
    pub(crate) hashes_total: Counter,
    /// Nonces tried per second by this machine, over the last seconds.
    pub(crate) hashrate_hashes_per_second: Gauge,
    /// Blocks sealed and imported.
    pub(crate) sealed_blocks_total: Counter,
    /// Solutions that came for a package nobody remembers.
    pub(crate) stale_solutions_total: Counter,
    /// Solutions that do not hold.
    pub(crate) invalid_solutions_total: Counter,
}

/// What becomes of datasets.
#[derive(Metrics)]
#[metrics(scope = "dag")]
pub(crate) struct DatasetMetrics {
    /// Files of datasets that were not what they should be.
    pub(crate) corrupt_total: Counter,
    /// How much of the dataset in the making is made, from 0 to 1; 1 when none is.
    pub(crate) made_ratio: Gauge,
    /// Seconds until the dataset in the making is there; 0 when none is.
    pub(crate) eta_seconds: Gauge,
}
