//! What a dashboard counts, for whoever watches it.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use metrics_derive::Metrics;

use super::{Dashboard, Refusal};

/// Nodes that were sent away.
const REFUSED: &str = "ethstats_refused_nodes_total";
/// Seconds until blocks are slow.
const BOMB: &str = "ethstats_bomb_eta_seconds";

/// The dashboard's numbers.
#[derive(Metrics)]
#[metrics(scope = "ethstats")]
pub(super) struct Figures {
    /// Nodes that report.
    nodes: Gauge,
    /// Open pages.
    pages: Gauge,
    /// Number of the heaviest block that is believed.
    head_number: Gauge,
    /// Mean time between the newest blocks, in seconds.
    block_time_seconds: Gauge,
    /// What the difficulty bomb adds to the difficulty, in hashes.
    bomb_difficulty: Gauge,
    /// Frames of nodes that were no reports.
    pub(super) malformed_frames_total: Counter,
    /// Blocks whose total difficulty was not believed.
    pub(super) doubted_blocks_total: Counter,
}

impl Figures {
    /// Says what is counted, and shows from the start on why nodes are refused.
    pub(super) fn new() -> Self {
        describe_counter!(REFUSED, "Nodes that were sent away, by reason.");
        describe_gauge!(
            BOMB,
            "Seconds until the difficulty bomb makes blocks take so many seconds, at this hashrate."
        );
        for reason in ["secret", "login", "full", "silence"] {
            counter!(REFUSED, "reason" => reason).increment(0);
        }
        Self::describe();
        Self::default()
    }

    /// A node was sent away.
    pub(super) fn refused(why: &Refusal) {
        let reason = match why {
            Refusal::Secret(_) => "secret",
            Refusal::Login => "login",
            Refusal::Full => "full",
            Refusal::Silence => "silence",
        };
        counter!(REFUSED, "reason" => reason).increment(1);
    }

    /// Notes how things stand.
    pub(super) fn measure(&self, dashboard: &Dashboard, pages: usize) {
        self.nodes.set(dashboard.connected() as f64);
        self.pages.set(pages as f64);
        self.head_number.set(dashboard.chain.head().map_or(0, |(number, _)| number) as f64);
        if let Some(forecast) = dashboard.foretell() {
            self.block_time_seconds.set(forecast.mean);
            self.bomb_difficulty.set(forecast.bomb);
            for (slow, _, seconds) in &forecast.milestones {
                gauge!(BOMB, "block_time" => format!("{slow:.0}")).set(*seconds);
            }
        }
    }
}
