use alloy_eips::eip2930::AccessList;
use primitives::{Address, Bytes, Transaction, TransactionFields, TxKind, U256};

use crate::CallRequest;

/// What is executed: a transaction with its sender, or a call that only asks.
pub(crate) struct Message<'a> {
    pub(crate) from: Address,
    pub(crate) to: TxKind,
    /// `None` for a call: neither nonce nor code of the sender matter then.
    pub(crate) nonce: Option<u64>,
    pub(crate) gas_limit: u64,
    /// The most to pay, in wei per gas.
    pub(crate) fee_cap: u128,
    /// The most to pay beyond the base fee, in wei per gas.
    pub(crate) tip_cap: u128,
    pub(crate) value: U256,
    pub(crate) input: &'a Bytes,
    pub(crate) access_list: Option<&'a AccessList>,
}

impl<'a> Message<'a> {
    pub(crate) fn of_transaction(tx: &'a Transaction, from: Address) -> Self {
        Self {
            from,
            to: tx.kind(),
            nonce: Some(tx.nonce()),
            gas_limit: tx.gas_limit(),
            fee_cap: tx.max_fee_per_gas(),
            tip_cap: tx.priority_fee_or_price(),
            value: tx.value(),
            input: tx.input(),
            access_list: tx.access_list(),
        }
    }

    pub(crate) fn of_call(request: &'a CallRequest) -> Self {
        let access_list = (!request.access_list.is_empty()).then_some(&request.access_list);
        Self {
            from: request.from,
            to: request.to,
            nonce: None,
            gas_limit: request.gas,
            fee_cap: request.max_fee_per_gas,
            tip_cap: request.max_priority_fee_per_gas,
            value: request.value,
            input: &request.input,
            access_list,
        }
    }

    /// Whether this is a call that offers nothing: the base fee is not asked of it, and nobody is
    /// paid.
    pub(crate) const fn is_free(&self) -> bool {
        self.nonce.is_none() && self.fee_cap == 0 && self.tip_cap == 0
    }

    /// What the sender pays per gas, in wei (EIP-1559); the fee cap where there is no base fee.
    pub(crate) fn price(&self, base_fee: Option<u64>) -> u128 {
        match base_fee {
            Some(base_fee) => self.fee_cap.min(self.tip_cap.saturating_add(u128::from(base_fee))),
            None => self.fee_cap,
        }
    }

    /// What the sender must own, in wei; `None` if that is beyond 256 bits.
    pub(crate) fn cost_max(&self) -> Option<U256> {
        gas_cost(self.gas_limit, self.fee_cap).checked_add(self.value)
    }
}

/// The cost of gas at a price, in wei: 192 bits at most.
pub(crate) fn gas_cost(gas: u64, price: u128) -> U256 {
    U256::from(gas) * U256::from(price)
}
