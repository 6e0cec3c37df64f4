//! `eth_call` and `eth_estimateGas`: execution that leaves no trace.

use std::time::{Duration, Instant};

use alloy_eips::eip2930::AccessList;
use chain::ChainView;
use evm::{CallOutcome, CallRequest, EstimateError, trace};
use primitives::{Bytes, TxKind, U256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::overrides::{block_overrides, overrides};

use crate::{
    convert::Quantity,
    error::RpcError,
    methods::Table,
    node::{Api, Place},
    params::Params,
    parse::{self, BlockId, BlockTag},
};

/// Gas of a call that says nothing about it, where no limit is configured.
const GAS_DEFAULT: u64 = i64::MAX.unsigned_abs();

pub(crate) fn register(table: &mut Table) {
    table.heavy("eth_call", call);
    table.heavy("eth_estimateGas", estimate_gas);
    table.heavy("eth_createAccessList", create_access_list);
}

/// A call as clients write it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    gas: Option<&'a RawValue>,
    #[serde(borrow)]
    gas_price: Option<&'a RawValue>,
    #[serde(borrow)]
    max_fee_per_gas: Option<&'a RawValue>,
    #[serde(borrow)]
    max_priority_fee_per_gas: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    access_list: Option<AccessList>,
}

/// A call, and the gas it asks for, if any.
pub(crate) struct Asked {
    pub(crate) request: CallRequest,
    pub(crate) gas: Option<u64>,
}

pub(crate) fn asked(raw: &RawValue) -> Result<Asked, String> {
    let fields: Fields<'_> = parse::json_ref(raw)?;
    let amount = |raw: Option<&RawValue>| raw.map(parse::amount).transpose();
    let price = amount(fields.gas_price)?;
    let fee_cap = amount(fields.max_fee_per_gas)?;
    let tip_cap = amount(fields.max_priority_fee_per_gas)?;
    if price.is_some() && (fee_cap.is_some() || tip_cap.is_some()) {
        return Err("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified".into());
    }
    let data = fields.data.map(parse::bytes).transpose()?;
    let input = fields.input.map(parse::bytes).transpose()?;
    if data.is_some() && input.is_some() && data != input {
        return Err("both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data".into());
    }
    let request = CallRequest {
        from: fields.from.map(parse::address).transpose()?.unwrap_or_default(),
        to: fields.to.map(parse::address).transpose()?.map_or(TxKind::Create, TxKind::Call),
        gas: 0,
        max_fee_per_gas: fee(price.or(fee_cap)),
        max_priority_fee_per_gas: fee(price.or(tip_cap)),
        value: amount(fields.value)?.unwrap_or_default(),
        input: input.or(data).unwrap_or_default(),
        access_list: fields.access_list.unwrap_or_default(),
    };
    Ok(Asked { request, gas: fields.gas.map(parse::quantity).transpose()? })
}

/// Nobody owns 2^128 wei, so a fee beyond that fails like one of 2^128.
fn fee(fee: Option<U256>) -> u128 {
    fee.map_or(0, |fee| u128::try_from(fee).unwrap_or(u128::MAX))
}

impl Api {
    /// How long a call may take; all the bisections of an estimate together, too.
    fn call_time_max(&self) -> Duration {
        self.node.call_time_max.unwrap_or(Duration::MAX)
    }

    /// The gas a call may use: what it asks for, and no more than is allowed.
    pub(crate) fn gas_of_call(&self, asked: Option<u64>) -> u64 {
        let allowed = if self.node.gas_max == 0 { GAS_DEFAULT } else { self.node.gas_max };
        asked.map_or(allowed, |gas| gas.min(allowed))
    }
}

fn call(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let start = Instant::now();
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    let block = params.required(parse::block_id)?;
    let overrides = params.optional(overrides)?.unwrap_or_default();
    let block_overrides = params.optional(block_overrides)?.unwrap_or_default();
    params.end()?;
    let place = api.place(&view, block)?;
    let mut header = place.header().clone();
    block_overrides.apply(&mut header);
    let mut world = api.world(&view, &place)?;
    for account in overrides {
        account.apply(header.number, &mut world)?;
    }
    request.gas = api.gas_of_call(gas);
    let parent = parent_of(&place);
    let ancestors = |number| view.ancestor_hash(parent, number);
    let time_max = api.call_time_max();
    let is_late = || start.elapsed() > time_max;
    let outcome = evm::call_until(&view.spec, &header, &mut world, &ancestors, &request, &is_late);
    match outcome.map_err(|error| RpcError::not_executed(error, request.gas))? {
        Some(CallOutcome::Success { output, .. }) => Ok(output),
        Some(CallOutcome::Revert { output, .. }) => Err(RpcError::Reverted(output)),
        Some(CallOutcome::Halt { reason, .. }) => Err(RpcError::Execution(reason)),
        None => Err(aborted(time_max)),
    }
}

/// geth's words for a call that took too long.
fn aborted(time_max: Duration) -> RpcError {
    RpcError::Refused(format!("execution aborted (timeout = {time_max:?})"))
}

impl Api {
    /// The gas that a call needs on top of everything that waits to be mined.
    pub(crate) fn estimate(
        &self,
        view: &ChainView,
        request: &CallRequest,
    ) -> Result<u64, RpcError> {
        let start = Instant::now();
        let place = self.place(view, BlockId::Tag(BlockTag::Pending))?;
        let mut world = self.world(view, &place)?;
        let parent = parent_of(&place);
        let ancestors = |number| view.ancestor_hash(parent, number);
        let time_max = self.call_time_max();
        let is_late = || start.elapsed() > time_max;
        let asked = (request, self.node.gas_max);
        let header = place.header();
        match evm::estimate_gas(&view.spec, header, &mut world, &ancestors, asked, &is_late) {
            Err(EstimateError::Interrupted) => Err(aborted(time_max)),
            estimate => Ok(estimate?),
        }
    }
}

fn estimate_gas(api: &Api, params: &mut Params<'_>) -> Result<Quantity, RpcError> {
    let start = Instant::now();
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    request.gas = gas.unwrap_or(0);
    let block = params.optional(parse::block_id)?.unwrap_or(BlockId::Tag(BlockTag::Pending));
    let overrides = params.optional(overrides)?.unwrap_or_default();
    let block_overrides = params.optional(block_overrides)?.unwrap_or_default();
    params.end()?;
    let place = api.place(&view, block)?;
    let mut header = place.header().clone();
    block_overrides.apply(&mut header);
    let mut world = api.world(&view, &place)?;
    for account in overrides {
        account.apply(header.number, &mut world)?;
    }
    let parent = parent_of(&place);
    let ancestors = |number| view.ancestor_hash(parent, number);
    let time_max = api.call_time_max();
    let is_late = || start.elapsed() > time_max;
    let asked = (&request, api.node.gas_max);
    match evm::estimate_gas(&view.spec, &header, &mut world, &ancestors, asked, &is_late) {
        Err(EstimateError::Interrupted) => Err(aborted(time_max)),
        estimate => Ok(Quantity(estimate?)),
    }
}

/// What a call should pay for in advance, and what it costs then.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RpcAccessList {
    access_list: AccessList,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    gas_used: Quantity,
}

fn create_access_list(api: &Api, params: &mut Params<'_>) -> Result<RpcAccessList, RpcError> {
    let start = Instant::now();
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    let block = params.optional(parse::block_id)?.unwrap_or(BlockId::Tag(BlockTag::Pending));
    params.end()?;
    let place = api.place(&view, block)?;
    let header = place.header();
    let mut world = api.world(&view, &place)?;
    request.gas = api.gas_of_call(gas.or(Some(header.gas_limit)));
    let parent = parent_of(&place);
    let ancestors = |number| view.ancestor_hash(parent, number);
    let time_max = api.call_time_max();
    let is_late = || start.elapsed() > time_max;
    let found = trace::access_list(&view.spec, header, &mut world, &ancestors, &request, &is_late);
    let found = found.map_err(|error| match error {
        trace::TraceError::Interrupted => aborted(time_max),
        trace::TraceError::Execution(error) => {
            RpcError::Refused(format!("failed to apply transaction: err: {error}"))
        }
        error @ trace::TraceError::TooLarge { .. } => error.into(),
    })?;
    Ok(RpcAccessList {
        access_list: found.access_list,
        error: found.error,
        gas_used: Quantity(found.gas_used),
    })
}

/// Where `BLOCKHASH` begins to look.
pub(crate) fn parent_of(place: &Place) -> primitives::BlockNumHash {
    let header = place.header();
    primitives::BlockNumHash { number: header.number.saturating_sub(1), hash: header.parent_hash }
}
