//! What to pay for gas: geth's oracle, and the history of fees.

use std::sync::{Mutex, PoisonError};

use chain::ChainView;
use primitives::{B256, SealedBlock, SealedHeader, TransactionFields, U256};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    convert::{Quantity, sender},
    error::RpcError,
    methods::Table,
    node::{Api, Place},
    params::Params,
    parse::{self, BlockTag},
};

/// Blocks that the oracle looks at.
const ORACLE_BLOCKS: u64 = 20;
/// Which of the lowest prices it takes, in percent of the way from the lowest to the highest.
const ORACLE_PERCENTILE: usize = 60;
/// No answer is above this, in wei per gas.
const PRICE_MAX: u128 = 500_000_000_000;
/// No answer is below this, in wei per gas: geth's miners take nothing cheaper.
const PRICE_MIN: u128 = 1_000_000_000;
/// Tips below this are somebody's joke, in wei per gas.
const TIP_MIN: u128 = 2;
/// Blocks of one fee history.
const HISTORY_BLOCKS_MAX: u64 = 1_024;
/// Percentiles of one fee history.
const PERCENTILES_MAX: usize = 100;

pub(crate) fn register(table: &mut Table) {
    table.light("eth_gasPrice", gas_price);
    table.light("eth_maxPriorityFeePerGas", tip);
    table.heavy("eth_feeHistory", fee_history);
}

/// Suggests what others paid lately; remembers its answer for as long as the head stays.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    last: Mutex<Option<(B256, u128)>>,
}

impl Oracle {
    /// What a miner should get for a unit of gas, in wei: before London the whole price.
    fn tip(&self, view: &ChainView, floor: u128) -> Result<u128, RpcError> {
        let head = view.head.hash();
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((hash, tip)) = last
            && hash == head
        {
            return Ok(tip.max(floor));
        }
        let fallback = last.map_or(floor, |(_, tip)| tip);
        let tip = suggest(view)?.unwrap_or(fallback).min(PRICE_MAX);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((head, tip));
        Ok(tip.max(floor))
    }
}

/// The percentile of each recent block's lowest tip; `None` if they were all empty.
fn suggest(view: &ChainView) -> Result<Option<u128>, RpcError> {
    let mut tips = Vec::new();
    for back in 0..ORACLE_BLOCKS.min(view.head.number) {
        let number = view.head.number - back;
        let Some(hash) = view.db.canonical_hash(number).map_err(RpcError::storage)? else { break };
        let Some(block) = view.db.block(hash).map_err(RpcError::storage)? else { break };
        tips.extend(lowest_tip(&block)?);
    }
    tips.sort_unstable();
    let index = tips.len().saturating_sub(1) * ORACLE_PERCENTILE / 100;
    Ok(tips.get(index).copied())
}

/// The least that somebody else than the miner paid it.
fn lowest_tip(block: &SealedBlock) -> Result<Option<u128>, RpcError> {
    let base_fee = block.header().base_fee_per_gas.unwrap_or(0);
    let mut tips: Vec<_> = (block.body().transactions.iter())
        .filter_map(|tx| tx.effective_tip_per_gas(base_fee).map(|tip| (tip, tx)))
        .filter(|(tip, _)| *tip >= TIP_MIN)
        .collect();
    tips.sort_unstable_by_key(|(tip, _)| *tip);
    for (tip, tx) in tips {
        if sender(tx)? != block.header().beneficiary {
            return Ok(Some(tip));
        }
    }
    Ok(None)
}

impl Api {
    pub(crate) fn tip(&self, view: &ChainView) -> Result<u128, RpcError> {
        self.oracle.tip(view, self.node.pool.gas_price_floor().max(PRICE_MIN))
    }
}

fn gas_price(api: &Api, params: &mut Params<'_>) -> Result<U256, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    let base_fee = view.head.base_fee_per_gas.unwrap_or(0);
    Ok(U256::from(api.tip(&view)?.saturating_add(base_fee.into())))
}

fn tip(api: &Api, params: &mut Params<'_>) -> Result<U256, RpcError> {
    let view = api.node.chain.view();
    params.end()?;
    Ok(U256::from(api.tip(&view)?))
}

/// What blocks cost. Before London geth reports base fees of zero, and so do we: only a header's
/// `baseFeePerGas` tells clients that type 2 is accepted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FeeHistory {
    oldest_block: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<Vec<Vec<U256>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    base_fee_per_gas: Vec<Quantity>,
    gas_used_ratio: Vec<f64>,
}

fn percentiles(raw: &RawValue) -> Result<Vec<f64>, String> {
    let percentiles: Vec<f64> = parse::json_ref(raw)?;
    if percentiles.len() > PERCENTILES_MAX {
        return Err(format!("too many reward percentiles, want at most {PERCENTILES_MAX}"));
    }
    Ok(percentiles)
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), RpcError> {
    let invalid =
        |text: String| Err(RpcError::refused(format!("invalid reward percentile: {text}")));
    for (index, percentile) in percentiles.iter().enumerate() {
        if !(0.0..=100.0).contains(percentile) {
            return invalid(percentile.to_string());
        }
        if index > 0 && *percentile < percentiles[index - 1] {
            return invalid(format!(
                "#{}:{} > #{index}:{percentile}",
                index - 1,
                percentiles[index - 1]
            ));
        }
    }
    Ok(())
}

fn fee_history(api: &Api, params: &mut Params<'_>) -> Result<FeeHistory, RpcError> {
    let view = api.node.chain.view();
    let count = params.required(parse::count)?.min(HISTORY_BLOCKS_MAX);
    let newest = params.required(parse::block_tag)?;
    let percentiles = params.optional(percentiles)?.unwrap_or_default();
    params.end()?;
    check_percentiles(&percentiles)?;
    let newest = newest_number(api, &view, newest)?;
    if count == 0 {
        let (base_fee_per_gas, gas_used_ratio) = (Vec::new(), Vec::new());
        return Ok(FeeHistory {
            oldest_block: Quantity(0),
            reward: None,
            base_fee_per_gas,
            gas_used_ratio,
        });
    }
    let oldest = (newest + 1).saturating_sub(count);
    let mut history = FeeHistory {
        oldest_block: Quantity(oldest),
        reward: (!percentiles.is_empty()).then(Vec::new),
        base_fee_per_gas: Vec::new(),
        gas_used_ratio: Vec::new(),
    };
    for number in oldest..=newest {
        let header = view.db.header_by_number(number).map_err(RpcError::storage)?;
        let header = header.ok_or_else(|| RpcError::refused("header not found"))?;
        history.base_fee_per_gas.push(Quantity(header.base_fee_per_gas.unwrap_or(0)));
        history.gas_used_ratio.push(ratio(header.gas_used, header.gas_limit));
        if let Some(reward) = &mut history.reward {
            reward.push(rewards(&view, &header, &percentiles)?);
        }
        if number == newest {
            let next = consensus::next_base_fee(&view.spec, &header).unwrap_or(0);
            history.base_fee_per_gas.push(Quantity(next));
        }
    }
    Ok(history)
}

/// The pending block has no receipts to weigh rewards by, so it counts as the head.
fn newest_number(api: &Api, view: &ChainView, tag: BlockTag) -> Result<u64, RpcError> {
    let head = view.head.number;
    match tag {
        BlockTag::Number(number) if number > head => Err(RpcError::refused(format!(
            "request beyond head block: requested {number}, head {head}"
        ))),
        BlockTag::Pending => Ok(head),
        tag => match api.by_tag(view, tag)? {
            Some(Place::Sealed(header)) => Ok(header.number),
            Some(Place::Pending(_)) | None => Ok(head),
        },
    }
}

fn ratio(used: u64, limit: u64) -> f64 {
    if limit == 0 { 0.0 } else { float(used) / float(limit) }
}

/// The nearest float, from halves that floats hold exactly.
fn float(gas: u64) -> f64 {
    let half = |value: u64| f64::from(u32::try_from(value).expect("half of 64 bits"));
    half(gas >> 32) * 4_294_967_296.0 + half(gas & 0xffff_ffff)
}

/// The tips at these percentiles of the block's gas.
fn rewards(
    view: &ChainView,
    header: &SealedHeader,
    percentiles: &[f64],
) -> Result<Vec<U256>, RpcError> {
    let hash = header.hash();
    let (Some(body), Some(receipts)) = (
        view.db.body(hash).map_err(RpcError::storage)?,
        view.db.receipts(hash).map_err(RpcError::storage)?,
    ) else {
        return Ok(vec![U256::ZERO; percentiles.len()]);
    };
    let base_fee = header.base_fee_per_gas.unwrap_or(0);
    let mut before = 0;
    let mut tips: Vec<(u128, u64)> = Vec::with_capacity(receipts.len());
    for (tx, receipt) in body.transactions.iter().zip(&receipts) {
        let tip = tx.effective_tip_per_gas(base_fee).unwrap_or(0);
        tips.push((tip, receipt.cumulative_gas_used - before));
        before = receipt.cumulative_gas_used;
    }
    tips.sort_unstable();
    Ok(percentiles
        .iter()
        .map(|percentile| U256::from(tip_at(&tips, header.gas_used, *percentile)))
        .collect())
}

/// The tip of the transaction in which this share of the block's gas is reached.
fn tip_at(tips: &[(u128, u64)], gas_used: u64, percentile: f64) -> u128 {
    let threshold = (float(gas_used) * percentile / 100.0).floor();
    let mut sum = 0;
    for (tip, gas) in tips {
        sum += gas;
        if float(sum) >= threshold {
            return *tip;
        }
    }
    tips.last().map_or(0, |(tip, _)| *tip)
}
