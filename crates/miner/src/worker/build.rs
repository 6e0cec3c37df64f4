use std::time::{Duration, Instant};

use chain::{ChainView, begin_block, finish_block};
use consensus::prepare;
use evm::{BlockExecutor, ExecutionError, InvalidTransaction};
use primitives::{
    Address, BlockBody, Header, Transaction, ommers_hash, receipts_root, transactions_root,
};
use state::ReadError;
use txpool::Pool;

use crate::{WorkPackage, ommers, settings::Settings};

/// How far ahead of the clock a header's time may be, in seconds.
const AHEAD_SECONDS_MAX: u64 = 1;
/// No transaction fits in less gas.
const GAS_MIN: u64 = 21_000;
/// How long transactions are added for: a pool full of expensive ones must not keep the sealers idle.
const BUILD_TIME_MAX: Duration = Duration::from_secs(1);

/// Why there is no package.
#[derive(Debug)]
pub(super) enum BuildError {
    /// The parent's time is so far ahead that a child would be ahead of the clock too.
    Early,
    /// The state could not be read.
    Read(ReadError),
}

impl From<ReadError> for BuildError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Builds a package on the head of a view, without transactions if there is no pool. `now` is the wall clock in seconds since 1970.
pub(super) fn build(
    view: &ChainView,
    pool: Option<&Pool>,
    settings: &Settings,
    beneficiary: Address,
    now: u64,
) -> Result<WorkPackage, BuildError> {
    let (parent, spec) = (&view.head, &view.spec);
    let timestamp = now.max(parent.timestamp + 1);
    if timestamp > now + AHEAD_SECONDS_MAX {
        return Err(BuildError::Early);
    }
    let mut header = prepare(
        spec,
        parent,
        timestamp,
        beneficiary,
        settings.extra_data.clone(),
        settings.gas_target,
    );
    let chosen = ommers::choose(view, parent, &header).map_err(ReadError::from)?;
    let mut world = view.world_at(parent)?;
    let from = view.head_id();
    let lookup = |number| view.ancestor_hash(from, number);
    begin_block(spec, &header, &mut world)?;
    let mut executor = BlockExecutor::new(spec, &header, &mut world, &lookup);
    let filled = pool.map(|pool| fill(&mut executor, pool, &header)).transpose()?;
    let transactions = filled.unwrap_or_default();
    let executed = executor.finish();
    header.state_root = finish_block(spec, &header, &chosen, &mut world)?;
    header.gas_used = executed.gas_used;
    header.logs_bloom = executed.bloom;
    header.receipts_root = receipts_root(&executed.receipts);
    header.transactions_root = transactions_root(&transactions);
    header.ommers_hash = ommers_hash(&chosen);
    let body = BlockBody { transactions, ommers: chosen, withdrawals: None };
    Ok(WorkPackage::new(header, body, executed.receipts, from))
}

/// Executes the best transactions until gas or time is gone.
fn fill<R: state::StateReader>(
    executor: &mut BlockExecutor<'_, R>,
    pool: &Pool,
    header: &Header,
) -> Result<Vec<Transaction>, ReadError> {
    let started = Instant::now();
    let mut best = pool.best(header.base_fee_per_gas);
    let mut included = Vec::new();
    while executor.gas_left() >= GAS_MIN && started.elapsed() < BUILD_TIME_MAX {
        let Some(pooled) = best.next() else { break };
        match executor.execute(&pooled.tx, pooled.sender) {
            Ok(_) => included.push(pooled.tx.clone()),
            Err(ExecutionError::Read(error)) => return Err(error),
            // Its successors may still be fine.
            Err(ExecutionError::Invalid(InvalidTransaction::NonceTooLow { .. })) => {}
            Err(ExecutionError::Invalid(error)) => {
                tracing::debug!(hash = %pooled.tx.tx_hash(), %error, "Skipped a sender");
                best.skip_account(pooled.sender);
            }
        }
    }
    Ok(included)
}
