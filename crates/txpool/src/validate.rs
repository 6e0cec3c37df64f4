//! What is checked of a transaction without looking into the pool.

use std::sync::Arc;

use alloy_eips::{
    Encodable2718,
    eip1559::{BaseFeeParams, INITIAL_BASE_FEE, calc_next_block_base_fee},
};
use primitives::{
    Address, B256, ChainSpec, Hardfork, Header, SignerRecoverable, Transaction, TransactionFields,
    U256,
};

use crate::{Origin, PoolError, transaction::PooledTransaction};

/// How large the envelope of a transaction may be, in bytes (geth: `txMaxSize`).
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1_024;

/// The block that everything in the pool was last checked against.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// Its hash.
    pub(crate) hash: B256,
    /// Its number.
    pub(crate) number: u64,
    /// Its gas limit.
    pub(crate) gas_limit: u64,
    /// The base fee of its child, in wei; `None` before London.
    pub(crate) next_base_fee: Option<u64>,
    /// The rules of the chain.
    pub(crate) spec: Arc<ChainSpec>,
}

impl Base {
    pub(crate) fn new(hash: B256, header: &Header, spec: Arc<ChainSpec>) -> Self {
        let london = spec.forks.is_active(Hardfork::London, header.number.saturating_add(1));
        let next_base_fee = london.then(|| {
            header.base_fee_per_gas.map_or(INITIAL_BASE_FEE, |fee| {
                let params = BaseFeeParams::ethereum();
                calc_next_block_base_fee(header.gas_used, header.gas_limit, fee, params)
            })
        });
        Self { hash, number: header.number, gas_limit: header.gas_limit, next_base_fee, spec }
    }

    /// Number of the block that a transaction can be mined in at the earliest.
    pub(crate) fn next_number(&self) -> u64 {
        self.number.saturating_add(1)
    }

    /// Whether the next block may hold a transaction of this kind.
    pub(crate) fn check_type(&self, tx: &Transaction) -> Result<(), PoolError> {
        let needs = match tx {
            Transaction::Legacy(_) => return Ok(()),
            Transaction::Eip2930(_) => Some(Hardfork::Berlin),
            Transaction::Eip1559(_) => Some(Hardfork::London),
            Transaction::Eip4844(_) | Transaction::Eip7702(_) => None,
        };
        let activation = needs.and_then(|fork| self.spec.forks.activation(fork));
        if activation.is_some_and(|number| number <= self.next_number()) {
            return Ok(());
        }
        Err(PoolError::TypeNotSupported { needs, activation, head: self.number })
    }
}

/// Nonce and balance of a sender at the pool's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// Transactions sent.
    pub(crate) nonce: u64,
    /// In wei.
    pub(crate) balance: U256,
}

/// A transaction that holds on its own at some base; what depends on the pool is still to check.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) tx: Arc<PooledTransaction>,
    /// The gas it costs before it does anything, at that base.
    pub(crate) intrinsic_gas: u64,
}

impl Candidate {
    pub(crate) fn new(base: &Base, tx: Arc<PooledTransaction>) -> Self {
        let intrinsic_gas = evm::intrinsic_gas(&base.spec, base.next_number(), &tx.tx);
        Self { tx, intrinsic_gas }
    }
}

/// Checks in geth's order all that needs neither the signature nor the pool.
pub(crate) fn check_form(base: &Base, tx: &Transaction) -> Result<(), PoolError> {
    base.check_type(tx)?;
    if tx.encode_2718_len() > TRANSACTION_BYTES_MAX {
        return Err(PoolError::OversizedData);
    }
    if tx.gas_limit() > base.gas_limit {
        return Err(PoolError::ExceedsBlockGasLimit);
    }
    if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
        return Err(PoolError::TipAboveFeeCap);
    }
    Ok(())
}

/// Who signed it, if the signature is for this chain (EIP-2, EIP-155).
///
/// A signature that names a chain is refused while EIP-155 is not in force: no block could take it.
pub(crate) fn recover_sender(
    base: &Base,
    tx: &Transaction,
    origin: Origin,
    allow_unprotected: bool,
) -> Result<Address, PoolError> {
    match tx.chain_id() {
        None if origin == Origin::Local && !allow_unprotected => {
            return Err(PoolError::Unprotected);
        }
        Some(id) if id != base.spec.chain_id => return Err(PoolError::InvalidSender),
        Some(_) if tx.is_legacy() && !base.spec.forks.is_eip155_active(base.next_number()) => {
            return Err(PoolError::InvalidSender);
        }
        None | Some(_) => {}
    }
    tx.recover_signer().map_err(|_| PoolError::InvalidSender)
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{SignableTransaction, TxEip4844, TxLegacy};
    use chain::testing::TestAccount;
    use primitives::{Bytes, Forks, Signature};

    use super::*;
    use crate::testing::{
        CHAIN_ID, base, base_with, draft, fee_market, forks, london_forks, with_access_list,
    };

    fn check(base: &Base, tx: &Transaction, expected: &str) {
        let text = check_form(base, tx).map_or_else(|error| error.to_string(), |()| "fine".into());
        assert_eq!(text, expected);
    }

    #[test]
    fn a_type_is_accepted_from_the_block_before_its_fork() {
        let scheduled = base_with(Forks { berlin: Some(11), london: Some(12), ..forks() });
        check(&scheduled, &with_access_list(1, 0).tx, "fine");
        check(
            &scheduled,
            &fee_market(1, 0, 1, 1).tx,
            "transaction type not supported: London activates at block 12 (now 10); \
             send gasPrice, or schedule the fork",
        );
        let never = base();
        check(
            &never,
            &fee_market(1, 0, 1, 1).tx,
            "transaction type not supported: London is not scheduled on this chain (now 10); \
             send gasPrice, or schedule the fork",
        );
        check(
            &never,
            &with_access_list(1, 0).tx,
            "transaction type not supported: Berlin is not scheduled on this chain (now 10); \
             send no access list, or schedule the fork",
        );
        let blob = TxEip4844::default().into_signed(Signature::test_signature());
        check(&base_with(london_forks()), &blob.into(), "transaction type not supported");
    }

    #[test]
    fn an_envelope_has_128_kib_and_no_more() {
        let longest = (131_000..TRANSACTION_BYTES_MAX)
            .find(|length| draft(1, 0, 1).input(*length).pooled().size() == TRANSACTION_BYTES_MAX)
            .unwrap();
        check(&base(), &draft(1, 0, 1).input(longest).pooled().tx, "fine");
        check(&base(), &draft(1, 0, 1).input(longest + 1).pooled().tx, "oversized data");
    }

    #[test]
    fn nobody_gets_more_gas_than_a_block_has() {
        check(&base(), &draft(1, 0, 1).gas(8_000_000).pooled().tx, "fine");
        check(&base(), &draft(1, 0, 1).gas(8_000_001).pooled().tx, "exceeds block gas limit");
    }

    #[test]
    fn the_tip_is_part_of_the_fee() {
        let base = base_with(london_forks());
        check(&base, &fee_market(1, 0, 5, 5).tx, "fine");
        let expected = "max priority fee per gas higher than max fee per gas";
        check(&base, &fee_market(1, 0, 5, 6).tx, expected);
    }

    fn signed(chain_id: Option<u64>) -> Transaction {
        let tx = TxLegacy { chain_id, input: Bytes::new(), ..TxLegacy::default() };
        TestAccount::new(0).sign(tx)
    }

    #[test]
    fn a_signature_for_another_chain_has_no_sender() {
        let recover = |base: &Base, id, origin, allow| {
            recover_sender(base, &signed(id), origin, allow).map_err(|error| error.to_string())
        };
        let sender = Ok(TestAccount::new(0).address());
        let invalid = Err("invalid sender".to_owned());
        assert_eq!(recover(&base(), Some(CHAIN_ID), Origin::Remote, true), sender);
        assert_eq!(recover(&base(), Some(CHAIN_ID + 1), Origin::Remote, true), invalid);
        assert_eq!(recover(&base(), None, Origin::Local, true), sender);
        assert_eq!(recover(&base(), None, Origin::Remote, false), sender);
        let unprotected = "only replay-protected (EIP-155) transactions allowed over RPC";
        assert_eq!(recover(&base(), None, Origin::Local, false), Err(unprotected.to_owned()));
        let early = base_with(Forks { eip155: Some(12), ..forks() });
        assert_eq!(recover(&early, Some(CHAIN_ID), Origin::Local, true), invalid);
        assert_eq!(recover(&early, None, Origin::Local, true), sender);
    }

    #[test]
    fn a_signature_with_a_high_s_has_no_sender() {
        let Transaction::Legacy(tx) = signed(None) else { unreachable!("it is a legacy one") };
        let order = U256::from_str_radix(
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
            16,
        );
        let old = *tx.signature();
        let high = Signature::new(old.r(), order.unwrap() - old.s(), !old.v());
        let tx = tx.strip_signature().into_signed(high).into();
        let answer = recover_sender(&base(), &tx, Origin::Local, true);
        assert!(matches!(answer, Err(PoolError::InvalidSender)));
    }

    #[test]
    fn the_first_base_fee_of_london_is_a_gwei() {
        let header = Header { number: 9, gas_limit: 8_000_000, ..Header::default() };
        let at = |forks, header: &Header| {
            Base::new(B256::ZERO, header, base_with(forks).spec).next_base_fee
        };
        let london = Forks { london: Some(10), ..forks() };
        assert_eq!(at(forks(), &header), None);
        assert_eq!(at(london.clone(), &header), Some(1_000_000_000));
        let full =
            Header { number: 10, gas_used: 8_000_000, base_fee_per_gas: Some(800), ..header };
        assert_eq!(at(london, &full), Some(900));
    }
}
