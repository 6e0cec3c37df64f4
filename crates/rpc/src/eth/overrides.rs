//! What a call pretends: other accounts, and another block around it.

use std::collections::HashMap;

use primitives::{Address, B256, Bytes, Header, U256, keccak256};
use serde::Deserialize;
use serde_json::value::RawValue;
use state::{Account, StateReader, WorldState};

use crate::{error::RpcError, params::Params, parse};

/// What a call pretends: other accounts, in another block.
#[derive(Debug, Default)]
pub(crate) struct Pretences {
    pub(crate) accounts: Vec<Override>,
    pub(crate) block: BlockOverrides,
}

impl Pretences {
    /// The last two parameters of a call.
    pub(crate) fn of_params(params: &mut Params<'_>) -> Result<Self, RpcError> {
        let accounts = params.optional(overrides)?.unwrap_or_default();
        let block = params.optional(block_overrides)?.unwrap_or_default();
        Ok(Self { accounts, block })
    }

    /// Changes a block and its state; the rules are those of the number it has then.
    pub(crate) fn apply<R: StateReader>(
        self,
        header: &mut Header,
        world: &mut WorldState<R>,
    ) -> Result<(), RpcError> {
        self.block.apply(header);
        for account in self.accounts {
            account.apply(header.number, world)?;
        }
        Ok(())
    }
}

/// What a call pretends about an account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    balance: Option<&'a RawValue>,
    state: Option<HashMap<B256, B256>>,
    state_diff: Option<HashMap<B256, B256>>,
}

/// An account that a call pretends.
#[derive(Debug)]
pub(crate) struct Override {
    address: Address,
    nonce: Option<u64>,
    code: Option<Bytes>,
    balance: Option<U256>,
    /// Replaces all slots.
    state: Option<HashMap<B256, B256>>,
    /// Replaces these slots.
    state_diff: HashMap<B256, B256>,
}

/// Accounts by address.
pub(crate) fn overrides(raw: &RawValue) -> Result<Vec<Override>, String> {
    let accounts: Option<HashMap<String, Fields<'_>>> = parse::json_ref(raw)?;
    let one = |(key, fields): (String, Fields<'_>)| {
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
    accounts.unwrap_or_default().into_iter().map(one).collect()
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

/// What a call pretends about its block, by geth's names of 1.10.19 and by those of later versions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockFields<'a> {
    #[serde(borrow)]
    number: Option<&'a RawValue>,
    #[serde(borrow)]
    difficulty: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    gas_limit: Option<&'a RawValue>,
    #[serde(borrow, alias = "feeRecipient")]
    coinbase: Option<&'a RawValue>,
    #[serde(borrow, alias = "baseFeePerGas")]
    base_fee: Option<&'a RawValue>,
}

/// A block that a call pretends.
#[derive(Debug, Default)]
pub(crate) struct BlockOverrides {
    number: Option<u64>,
    difficulty: Option<U256>,
    time: Option<u64>,
    gas_limit: Option<u64>,
    beneficiary: Option<Address>,
    base_fee: Option<u64>,
}

pub(crate) fn block_overrides(raw: &RawValue) -> Result<BlockOverrides, String> {
    let Some(fields) = parse::json_ref::<Option<BlockFields<'_>>>(raw)? else {
        return Ok(BlockOverrides::default());
    };
    let quantity = |raw: Option<&RawValue>| raw.map(parse::quantity).transpose();
    Ok(BlockOverrides {
        number: quantity(fields.number)?,
        difficulty: fields.difficulty.map(parse::amount).transpose()?,
        time: quantity(fields.time)?,
        gas_limit: quantity(fields.gas_limit)?,
        beneficiary: fields.coinbase.map(parse::address).transpose()?,
        base_fee: quantity(fields.base_fee)?,
    })
}

impl BlockOverrides {
    fn apply(&self, header: &mut Header) {
        header.number = self.number.unwrap_or(header.number);
        header.difficulty = self.difficulty.unwrap_or(header.difficulty);
        header.timestamp = self.time.unwrap_or(header.timestamp);
        header.gas_limit = self.gas_limit.unwrap_or(header.gas_limit);
        header.beneficiary = self.beneficiary.unwrap_or(header.beneficiary);
        header.base_fee_per_gas = self.base_fee.or(header.base_fee_per_gas);
    }
}
