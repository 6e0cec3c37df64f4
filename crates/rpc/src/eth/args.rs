//! A transaction as clients write it, and what the node fills in.

use alloy_consensus::{EthereumTypedTransaction, TxEip1559, TxEip2930, TxEip4844, TxLegacy};
use alloy_eips::eip2930::AccessList;
use chain::ChainView;
use evm::CallRequest;
use primitives::{Address, Bytes, Hardfork, TxKind, U256};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::overrides::Pretences;
use crate::{
    dispatch::Patience,
    error::RpcError,
    node::Api,
    parse::{self, BlockId, BlockTag},
};

/// A transaction without a signature.
pub(crate) type Unsigned = EthereumTypedTransaction<TxEip4844>;

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
    nonce: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    access_list: Option<AccessList>,
    #[serde(borrow)]
    chain_id: Option<&'a RawValue>,
}

/// What a client said of a transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct TransactionArgs {
    pub(crate) from: Address,
    pub(crate) to: Option<Address>,
    pub(crate) gas: Option<u64>,
    pub(crate) gas_price: Option<U256>,
    pub(crate) fee_cap: Option<U256>,
    pub(crate) tip_cap: Option<U256>,
    pub(crate) value: U256,
    pub(crate) nonce: Option<u64>,
    pub(crate) input: Bytes,
    pub(crate) access_list: Option<AccessList>,
    pub(crate) chain_id: Option<U256>,
}

/// geth's words for call data that is said twice, and differently.
const TWO_INPUTS: &str = "both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data";

pub(crate) fn transaction_args(raw: &RawValue) -> Result<TransactionArgs, String> {
    let fields: Fields<'_> = parse::json_ref(raw)?;
    let amount = |raw: Option<&RawValue>| raw.map(parse::amount).transpose();
    let data = fields.data.map(parse::bytes).transpose()?;
    let input = fields.input.map(parse::bytes).transpose()?;
    if data.is_some() && input.is_some() && data != input {
        return Err(TWO_INPUTS.into());
    }
    Ok(TransactionArgs {
        from: fields.from.map(parse::address).transpose()?.unwrap_or_default(),
        to: fields.to.map(parse::address).transpose()?,
        gas: fields.gas.map(parse::quantity).transpose()?,
        gas_price: amount(fields.gas_price)?,
        fee_cap: amount(fields.max_fee_per_gas)?,
        tip_cap: amount(fields.max_priority_fee_per_gas)?,
        value: amount(fields.value)?.unwrap_or_default(),
        nonce: fields.nonce.map(parse::quantity).transpose()?,
        input: input.or(data).unwrap_or_default(),
        access_list: fields.access_list,
        chain_id: amount(fields.chain_id)?,
    })
}

impl TransactionArgs {
    /// Says what only the caller may decide when a transaction is signed and not sent.
    pub(crate) fn check_complete(&self) -> Result<(), RpcError> {
        let missing = |text: &str| Err(RpcError::refused(text));
        if self.gas.is_none() {
            return missing("gas not specified");
        }
        if self.gas_price.is_none() && (self.fee_cap.is_none() || self.tip_cap.is_none()) {
            return missing("missing gasPrice or maxFeePerGas/maxPriorityFeePerGas");
        }
        if self.nonce.is_none() {
            return missing("nonce not specified");
        }
        Ok(())
    }

    /// Fills in what is missing, as geth does.
    pub(crate) fn set_defaults(&mut self, api: &Api, view: &ChainView) -> Result<(), RpcError> {
        self.set_fees(api, view)?;
        if self.nonce.is_none() {
            self.nonce = Some(api.node.pool.nonce(self.from)?);
        }
        if self.to.is_none() && self.input.is_empty() {
            return Err(RpcError::refused("contract creation without any data provided"));
        }
        let want = U256::from(view.spec.chain_id);
        let have = *self.chain_id.get_or_insert(want);
        if have != want {
            let text = format!("chainId does not match node's (have={have}, want={want})");
            return Err(RpcError::Refused(text));
        }
        if self.gas.is_none() {
            // On top of everything that waits to be mined.
            let pending = BlockId::Tag(BlockTag::Pending);
            self.gas = Some(api.estimate(
                view,
                pending,
                Pretences::default(),
                &self.request(),
                Patience::Endless,
            )?);
        }
        Ok(())
    }

    fn says_cap(&self) -> bool {
        self.fee_cap.is_some() || self.tip_cap.is_some()
    }

    /// A price of one kind only.
    pub(crate) fn check_prices(&self) -> Result<(), String> {
        if self.gas_price.is_some() && self.says_cap() {
            return Err("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified".into());
        }
        Ok(())
    }

    fn set_fees(&mut self, api: &Api, view: &ChainView) -> Result<(), RpcError> {
        let refused = |text: String| Err(RpcError::Refused(text));
        self.check_prices().or_else(refused)?;
        if self.gas_price.is_some() {
            return Ok(());
        }
        let Some(base_fee) = view.head.base_fee_per_gas else {
            if self.says_cap() {
                return refused(api.no_london(view));
            }
            self.gas_price = Some(U256::from(api.tip(view)?));
            return Ok(());
        };
        let tip = match self.tip_cap {
            Some(tip) => tip,
            None => U256::from(api.tip(view)?),
        };
        let twice = U256::from(base_fee) * U256::from(2);
        let cap = self.fee_cap.unwrap_or_else(|| tip.saturating_add(twice));
        if cap < tip {
            return refused(format!("maxFeePerGas ({cap}) < maxPriorityFeePerGas ({tip})"));
        }
        (self.tip_cap, self.fee_cap) = (Some(tip), Some(cap));
        Ok(())
    }

    /// The message of it, that has not been given any gas.
    pub(crate) fn request(&self) -> CallRequest {
        // Nobody owns 2^128 wei, so a fee beyond that fails like one of 2^128.
        let wei = |fee: Option<U256>| fee.map_or(0, |fee| u128::try_from(fee).unwrap_or(u128::MAX));
        CallRequest {
            from: self.from,
            to: self.kind(),
            gas: 0,
            max_fee_per_gas: wei(self.gas_price.or(self.fee_cap)),
            max_priority_fee_per_gas: wei(self.gas_price.or(self.tip_cap)),
            value: self.value,
            input: self.input.clone(),
            access_list: self.access_list.clone().unwrap_or_default(),
        }
    }

    fn kind(&self) -> TxKind {
        self.to.map_or(TxKind::Create, TxKind::Call)
    }

    /// The transaction. Where the chain knows replay protection, it is protected.
    ///
    /// # Errors
    ///
    /// When a price has more than 128 bits: nobody has so much.
    pub(crate) fn unsigned(&self, view: &ChainView) -> Result<Unsigned, RpcError> {
        let wei = |fee: Option<U256>| {
            u128::try_from(fee.unwrap_or_default())
                .map_err(|_| RpcError::refused("gas price has more than 128 bits"))
        };
        let (to, value, input) = (self.kind(), self.value, self.input.clone());
        let (nonce, gas_limit) = (self.nonce.unwrap_or_default(), self.gas.unwrap_or_default());
        let chain_id = view.spec.chain_id;
        if self.fee_cap.is_some() {
            return Ok(Unsigned::Eip1559(TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: wei(self.fee_cap)?,
                max_priority_fee_per_gas: wei(self.tip_cap)?,
                to,
                value,
                access_list: self.access_list.clone().unwrap_or_default(),
                input,
            }));
        }
        let gas_price = wei(self.gas_price)?;
        if let Some(access_list) = self.access_list.clone() {
            return Ok(Unsigned::Eip2930(TxEip2930 {
                chain_id,
                nonce,
                gas_price,
                gas_limit,
                to,
                value,
                access_list,
                input,
            }));
        }
        let next = view.head.number + 1;
        let is_protected = view.spec.forks.eip155.is_some_and(|block| block <= next);
        let chain_id = is_protected.then_some(chain_id);
        Ok(Unsigned::Legacy(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input }))
    }
}

impl Api {
    /// Why fees of London cannot be used yet, and when they can.
    fn no_london(&self, view: &ChainView) -> String {
        let text = "maxFeePerGas and maxPriorityFeePerGas are not valid before London is active";
        let now = view.head.number;
        match view.spec.forks.london {
            Some(block) if view.spec.hardfork_at(now) < Hardfork::London => {
                format!("{text}: it activates at block {block} (now {now}); send gasPrice")
            }
            _ => format!("{text}; send gasPrice"),
        }
    }
}
