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
