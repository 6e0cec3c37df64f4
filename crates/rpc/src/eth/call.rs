//! `eth_call` and `eth_estimateGas`: execution that leaves no trace.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use alloy_eips::eip2930::AccessList;
use evm::{CallOutcome, CallRequest, EstimateError};
use primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use serde::Deserialize;
use serde_json::value::RawValue;
use state::{Account, StateReader, WorldState};

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
struct Asked {
    request: CallRequest,
    gas: Option<u64>,
}

fn asked(raw: &RawValue) -> Result<Asked, String> {
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

/// What a call pretends about an account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OverrideFields<'a> {
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    balance: Option<&'a RawValue>,
    state: Option<HashMap<B256, B256>>,
    state_diff: Option<HashMap<B256, B256>>,
}

#[derive(Debug)]
struct Override {
    address: Address,
    nonce: Option<u64>,
    code: Option<Bytes>,
    balance: Option<U256>,
    /// Replaces all slots.
    state: Option<HashMap<B256, B256>>,
    /// Replaces these slots.
    state_diff: HashMap<B256, B256>,
}

fn overrides(raw: &RawValue) -> Result<Vec<Override>, String> {
    let accounts: HashMap<String, OverrideFields<'_>> = parse::json_ref(raw)?;
    let one = |(key, fields): (String, OverrideFields<'_>)| {
        let address = Address::from(parse::fixed_text::<20>(&key, "common.Address")?);
        if fields.state.is_some() && fields.state_diff.is_some() {
            return Err(format!("account {address} has both 'state' and 'stateDiff'"));
        }
        Ok(Override {
            address,
            nonce: fields.nonce.map(parse::quantity).transpose()?,
            code: fields.code.map(parse::bytes).transpose()?,
            balance: fields.balance.map(parse::amount).transpose()?,
            state: fields.state,
            state_diff: fields.state_diff.unwrap_or_default(),
        })
    };
    accounts.into_iter().map(one).collect()
}

impl Override {
    fn apply<R: StateReader>(self, block: u64, world: &mut WorldState<R>) -> Result<(), RpcError> {
        let Self { address, nonce, code, balance, state, state_diff } = self;
        let account = world.account(address)?.unwrap_or(Account::new(block));
        let code_hash = code.as_ref().map_or(account.code_hash, keccak256);
        if let Some(code) = code {
            world.set_code(code_hash, code);
        }
        let (nonce, balance) = (nonce.unwrap_or(account.nonce), balance.unwrap_or(account.balance));
        world.set_account(address, nonce, balance, code_hash)?;
        if state.is_some() {
            world.reset_storage(address)?;
        }
        for (slot, value) in state.unwrap_or_default().into_iter().chain(state_diff) {
            world.set_storage(address, slot.into(), value.into())?;
        }
        Ok(())
    }
}

impl Api {
    /// How long a call may take; all the bisections of an estimate together, too.
    fn call_time_max(&self) -> Duration {
        self.node.call_time_max.unwrap_or(Duration::MAX)
    }

    /// The gas a call may use: what it asks for, and no more than is allowed.
    fn gas_of_call(&self, asked: Option<u64>) -> u64 {
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
    params.end()?;
    let place = api.place(&view, block)?;
    let header = place.header();
    let mut world = api.world(&view, &place)?;
    for account in overrides {
        account.apply(header.number, &mut world)?;
    }
    request.gas = api.gas_of_call(gas);
    let parent = parent_of(&place);
    let ancestors = |number| view.ancestor_hash(parent, number);
    let time_max = api.call_time_max();
    let is_late = || start.elapsed() > time_max;
    let outcome = evm::call_until(&view.spec, header, &mut world, &ancestors, &request, &is_late);
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

fn estimate_gas(api: &Api, params: &mut Params<'_>) -> Result<Quantity, RpcError> {
    let start = Instant::now();
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    request.gas = gas.unwrap_or(0);
    let block = params.optional(parse::block_id)?.unwrap_or(BlockId::Tag(BlockTag::Pending));
    params.end()?;
    let place = api.place(&view, block)?;
    let mut world = api.world(&view, &place)?;
    let parent = parent_of(&place);
    let ancestors = |number| view.ancestor_hash(parent, number);
    let time_max = api.call_time_max();
    let is_late = || start.elapsed() > time_max;
    let asked = (&request, api.node.gas_max);
    let header = place.header();
    match evm::estimate_gas(&view.spec, header, &mut world, &ancestors, asked, &is_late) {
        Err(EstimateError::Interrupted) => Err(aborted(time_max)),
        estimate => Ok(Quantity(estimate?)),
    }
}

/// Where `BLOCKHASH` begins to look.
fn parent_of(place: &Place) -> primitives::BlockNumHash {
    let header = place.header();
    primitives::BlockNumHash { number: header.number.saturating_sub(1), hash: header.parent_hash }
}
