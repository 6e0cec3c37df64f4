//! Transactions without keys, and pools without a chain. Tests only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use primitives::{
    Address, B256, Bytes, ChainSpec, Forks, Genesis, Signature, Transaction, TxKind, U256,
};

use crate::{
    Limits, Origin, PoolError, PooledTransaction,
    inner::Inner,
    validate::{Base, Candidate, Facts},
};

pub(crate) const CHAIN_ID: u64 = 1_337;
pub(crate) const GAS: u64 = 21_000;

/// Rules of Istanbul for ever, or what a test makes of them.
pub(crate) fn forks() -> Forks {
    Forks {
        homestead: Some(0),
        eip150: Some(0),
        eip155: Some(0),
        eip158: Some(0),
        byzantium: Some(0),
        constantinople: Some(0),
        petersburg: Some(0),
        istanbul: Some(0),
        ..Forks::default()
    }
}

pub(crate) fn london_forks() -> Forks {
    Forks { muir_glacier: Some(0), berlin: Some(0), london: Some(0), ..forks() }
}

pub(crate) fn base_with(forks: Forks) -> Base {
    let spec = ChainSpec::new(Default::default(), forks, CHAIN_ID, Genesis::default());
    Base {
        hash: B256::ZERO,
        number: 10,
        gas_limit: 8_000_000,
        next_base_fee: None,
        spec: Arc::new(spec),
    }
}

pub(crate) fn base() -> Base {
    base_with(forks())
}

pub(crate) fn address(index: u64) -> Address {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    Address::from(bytes)
}

/// A plain transfer of somebody, before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) sender: Address,
    pub(crate) origin: Origin,
    pub(crate) tx: TxLegacy,
}

pub(crate) fn draft(sender: u64, nonce: u64, gas_price: u128) -> Draft {
    let tx = TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce,
        gas_price,
        gas_limit: GAS,
        to: TxKind::Call(Address::ZERO),
        value: U256::ZERO,
        input: Bytes::new(),
    };
    Draft { sender: address(sender), origin: Origin::Remote, tx }
}

impl Draft {
    pub(crate) fn local(mut self) -> Self {
        self.origin = Origin::Local;
        self
    }

    pub(crate) fn value(mut self, value: u64) -> Self {
        self.tx.value = U256::from(value);
        self
    }

    pub(crate) fn gas(mut self, gas_limit: u64) -> Self {
        self.tx.gas_limit = gas_limit;
        self
    }

    pub(crate) fn input(mut self, length: usize) -> Self {
        self.tx.input = vec![0; length].into();
        self
    }

    pub(crate) fn pooled(self) -> Arc<PooledTransaction> {
        let signature = mark(self.sender);
        pooled(self.tx.into_signed(signature).into(), self.sender, self.origin)
    }
}

/// A signature that nobody checks, to tell the transactions of two senders apart.
fn mark(sender: Address) -> Signature {
    Signature::new(U256::from_be_slice(sender.as_slice()), U256::from(1), false)
}

pub(crate) fn pooled(tx: Transaction, sender: Address, origin: Origin) -> Arc<PooledTransaction> {
    static ARRIVALS: AtomicU64 = AtomicU64::new(0);
    let arrival = ARRIVALS.fetch_add(1, Ordering::Relaxed);
    Arc::new(PooledTransaction::new(tx, sender, origin, arrival))
}

/// A transfer that names cap and tip (EIP-1559).
pub(crate) fn fee_market(sender: u64, nonce: u64, cap: u128, tip: u128) -> Arc<PooledTransaction> {
    let sender = address(sender);
    let tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: GAS,
        max_fee_per_gas: cap,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(Address::ZERO),
        ..TxEip1559::default()
    };
    pooled(tx.into_signed(mark(sender)).into(), sender, Origin::Remote)
}

/// A transfer with an empty access list (EIP-2930).
pub(crate) fn with_access_list(sender: u64, nonce: u64) -> Arc<PooledTransaction> {
    let sender = address(sender);
    let tx = TxEip2930 { chain_id: CHAIN_ID, nonce, gas_limit: GAS, ..TxEip2930::default() };
    pooled(tx.into_signed(mark(sender)).into(), sender, Origin::Remote)
}

/// A pool whose senders all have the same balance and nonce 0, unless a test says otherwise.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) inner: Inner,
    pub(crate) balance: U256,
    pub(crate) nonce: u64,
    pub(crate) now: Instant,
}

impl Bench {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::on(limits, base())
    }

    pub(crate) fn on(limits: Limits, base: Base) -> Self {
        let inner = Inner::new(limits, base);
        Self { inner, balance: U256::from(10).pow(U256::from(24)), nonce: 0, now: Instant::now() }
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts { nonce: self.nonce, balance: self.balance }
    }

    pub(crate) fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub(crate) fn add(&mut self, draft: Draft) -> Result<Vec<B256>, PoolError> {
        self.put(&draft.pooled())
    }

    pub(crate) fn put(&mut self, tx: &Arc<PooledTransaction>) -> Result<Vec<B256>, PoolError> {
        let facts = self.inner.known_facts(tx.sender).unwrap_or_else(|| self.facts());
        let candidate = Candidate::new(&self.inner.base(), tx.clone());
        self.inner.insert(&candidate, facts, self.now)
    }

    /// Pending and queued transactions of one sender.
    pub(crate) fn held(&self, sender: u64) -> (usize, usize) {
        let tally = self.inner.account(address(sender)).map(|at| at.tally()).unwrap_or_default();
        (tally.pending, tally.queued)
    }
}
