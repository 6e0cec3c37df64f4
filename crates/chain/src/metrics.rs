use metrics::{Counter, Gauge, Histogram};
use metrics_derive::Metrics;
use storage::BlockRecord;

/// What the chain does, for whoever watches.
#[derive(Metrics)]
#[metrics(scope = "chain")]
pub(crate) struct ChainMetrics {
    /// Number of the newest canonical block.
    pub(crate) head_number: Gauge,
    /// Seconds that importing one batch of blocks took.
    pub(crate) import_seconds: Histogram,
    /// Seconds that executing and checking one block took.
    pub(crate) execution_seconds: Histogram,
    /// Seconds that writing one commit took.
    pub(crate) commit_seconds: Histogram,
    /// Blocks imported, canonical or not.
    pub(crate) imported_blocks_total: Counter,
    /// Ommers of the blocks imported.
    pub(crate) imported_ommers_total: Counter,
    /// Transactions of the blocks imported.
    pub(crate) imported_transactions_total: Counter,
    /// Gas used by the blocks imported.
    pub(crate) imported_gas_total: Counter,
    /// Blocks that stopped being canonical.
    pub(crate) retired_blocks_total: Counter,
    /// Blocks that became canonical in the place of others.
    pub(crate) reorg_adopted_blocks_total: Counter,
    /// Blocks that stopped being canonical, by reorganisation.
    pub(crate) reorg_blocks: Histogram,
}

/// What the blocks of one commit hold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    blocks: u64,
    ommers: u64,
    transactions: u64,
    gas: u64,
}

impl Counts {
    pub(crate) fn of(records: &[BlockRecord]) -> Self {
        let mut counts = Self { blocks: count(records.len()), ..Self::default() };
        for record in records {
            counts.ommers += count(record.block.body().ommers.len());
            counts.transactions += count(record.block.body().transactions.len());
            counts.gas = counts.gas.saturating_add(record.block.header().gas_used);
        }
        counts
    }
}

impl ChainMetrics {
    pub(crate) fn imported(&self, counts: Counts) {
        self.imported_blocks_total.increment(counts.blocks);
        self.imported_ommers_total.increment(counts.ommers);
        self.imported_transactions_total.increment(counts.transactions);
        self.imported_gas_total.increment(counts.gas);
    }

    /// So many blocks took the place of so many others.
    pub(crate) fn reorganised(&self, retired: usize, adopted: usize) {
        self.retired_blocks_total.increment(count(retired));
        self.reorg_adopted_blocks_total.increment(count(adopted));
        self.reorg_blocks.record(retired as f64);
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
