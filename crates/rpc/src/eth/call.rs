//! `eth_call` and `eth_estimateGas`: execution that leaves no trace.

use std::time::{Duration, Instant};

use alloy_eips::eip2930::AccessList;
use chain::ChainView;
use evm::{CallOutcome, CallRequest, EstimateError, trace};
use primitives::{BlockNumHash, Bytes, Header};
use serde::Serialize;
use serde_json::value::RawValue;
use state::{StateReader, WorldState};

use super::{args::transaction_args, overrides::Pretences};
use crate::{
    convert::Quantity,
    dispatch::Patience,
    error::RpcError,
    methods::Table,
    node::{Api, Place},
    params::Params,
    parse::{self, BlockId, BlockTag},
};

/// Gas of a call that says nothing about it, where no limit is configured.
const GAS_DEFAULT: u64 = i64::MAX.unsigned_abs();

pub(crate) fn register(table: &mut Table) {
    table.brief("eth_call", call);
    table.brief("eth_estimateGas", estimate_gas);
    table.brief("eth_createAccessList", create_access_list);
}

/// A call, and the gas it asks for, if any.
pub(crate) struct Asked {
    pub(crate) request: CallRequest,
    pub(crate) gas: Option<u64>,
}

pub(crate) fn asked(raw: &RawValue) -> Result<Asked, String> {
    let args = transaction_args(raw)?;
    args.check_prices()?;
    Ok(Asked { request: args.request(), gas: args.gas })
}

/// Where a call runs.
pub(crate) struct Scene<R> {
    pub(crate) header: Header,
    pub(crate) world: WorldState<R>,
    /// Where `BLOCKHASH` begins to look.
    pub(crate) parent: BlockNumHash,
}

impl Api {
    /// A block as it is, or as a call pretends that it is.
    pub(crate) fn scene(
        &self,
        view: &ChainView,
        block: BlockId,
        pretences: Pretences,
        patience: Patience,
    ) -> Result<Scene<impl StateReader + use<>>, RpcError> {
        let place = self.place(view, block)?;
        // Executing what is pending takes more than a moment, and nothing stops it.
        if matches!((&place, patience), (Place::Pending(_), Patience::Until(_))) {
            return Err(RpcError::Unfinished);
        }
        let mut header = place.header().clone();
        let parent =
            BlockNumHash { number: header.number.saturating_sub(1), hash: header.parent_hash };
        let mut world = self.world(view, &place)?;
        pretences.apply(&mut header, &mut world)?;
        Ok(Scene { header, world, parent })
    }
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

fn call(api: &Api, params: &mut Params<'_>, patience: Patience) -> Result<Bytes, RpcError> {
    let start = Instant::now();
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    let block = params.required(parse::block_id)?;
    let pretences = Pretences::of_params(params)?;
    params.end()?;
    let Scene { header, mut world, parent } = api.scene(&view, block, pretences, patience)?;
    request.gas = api.gas_of_call(gas);
    let ancestors = |number| view.ancestor_hash(parent, number);
    let time_max = api.call_time_max();
    let is_late = || patience.is_over() || start.elapsed() > time_max;
    let outcome = evm::call_until(&view.spec, &header, &mut world, &ancestors, &request, &is_late);
    match outcome.map_err(|error| RpcError::not_executed(error, request.gas))? {
        Some(CallOutcome::Success { output, .. }) => Ok(output),
        Some(CallOutcome::Revert { output, .. }) => Err(RpcError::Reverted(output)),
        Some(CallOutcome::Halt { reason, .. }) => Err(RpcError::Execution(reason)),
        None => Err(stopped(patience, time_max)),
    }
}

/// Why a call was stopped: geth's words if it took too long.
fn stopped(patience: Patience, time_max: Duration) -> RpcError {
    if patience.is_over() {
        return RpcError::Unfinished;
    }
    RpcError::Refused(format!("execution aborted (timeout = {time_max:?})"))
}

impl Api {
    /// The least gas with which a call succeeds.
    pub(crate) fn estimate(
        &self,
        view: &ChainView,
        block: BlockId,
        pretences: Pretences,
        request: &CallRequest,
        patience: Patience,
    ) -> Result<u64, RpcError> {
        let start = Instant::now();
        let Scene { header, mut world, parent } = self.scene(view, block, pretences, patience)?;
        let ancestors = |number| view.ancestor_hash(parent, number);
        let time_max = self.call_time_max();
        let is_late = || patience.is_over() || start.elapsed() > time_max;
        let asked = (request, self.node.gas_max);
        match evm::estimate_gas(&view.spec, &header, &mut world, &ancestors, asked, &is_late) {
            Err(EstimateError::Interrupted) => Err(stopped(patience, time_max)),
            estimate => Ok(estimate?),
        }
    }
}

fn estimate_gas(
    api: &Api,
    params: &mut Params<'_>,
    patience: Patience,
) -> Result<Quantity, RpcError> {
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    request.gas = gas.unwrap_or(0);
    let block = params.optional(parse::block_id)?.unwrap_or(BlockId::Tag(BlockTag::Pending));
    let pretences = Pretences::of_params(params)?;
    params.end()?;
    api.estimate(&view, block, pretences, &request, patience).map(Quantity)
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

fn create_access_list(
    api: &Api,
    params: &mut Params<'_>,
    patience: Patience,
) -> Result<RpcAccessList, RpcError> {
    let start = Instant::now();
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    let block = params.optional(parse::block_id)?.unwrap_or(BlockId::Tag(BlockTag::Pending));
    params.end()?;
    let scene = api.scene(&view, block, Pretences::default(), patience)?;
    let Scene { header, mut world, parent } = scene;
    request.gas = api.gas_of_call(gas.or(Some(header.gas_limit)));
    let ancestors = |number| view.ancestor_hash(parent, number);
    let time_max = api.call_time_max();
    let is_late = || patience.is_over() || start.elapsed() > time_max;
    let found = trace::access_list(&view.spec, &header, &mut world, &ancestors, &request, &is_late);
    let found = found.map_err(|error| match error {
        trace::TraceError::Interrupted => stopped(patience, time_max),
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
