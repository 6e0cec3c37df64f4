//! Transactions and texts that this node signs itself, with keys that are unlocked.

use std::{
    sync::{Arc, MutexGuard, PoisonError, TryLockError},
    time::Instant,
};

use ::txpool::Origin;
use accounts::{Keystore, KeystoreError};
use alloy_consensus::SignableTransaction;
use alloy_eips::{eip2718::Encodable2718, eip2930::AccessList};
use chain::ChainView;
use primitives::{
    Address, B256, Bytes, Signature, Transaction, TransactionFields, TxKind, U256, keccak256,
};
use serde::Serialize;

use super::{
    args::{TransactionArgs, Unsigned, transaction_args},
    submit::check_fee,
};
use crate::{
    convert::{Quantity, RpcTransaction, signature_v},
    error::RpcError,
    methods::Table,
    node::Api,
    params::Params,
    parse,
    signer::{self, Signer},
};

pub(crate) fn register(table: &mut Table) {
    table.heavy("eth_sendTransaction", send_transaction);
    table.heavy("eth_signTransaction", sign_transaction);
    table.heavy("eth_fillTransaction", fill_transaction);
    table.heavy("eth_resend", resend);
    table.heavy("eth_sign", sign);
    table.heavy("eth_pendingTransactions", pending_transactions);
}

/// How a key is opened for a signature.
#[derive(Clone, Copy)]
pub(crate) enum Unlocking<'p> {
    /// It must be unlocked.
    Before,
    /// With this password, for this signature.
    By(&'p str),
}

/// A signed transaction in two forms.
#[derive(Debug, Serialize)]
pub(crate) struct Signed {
    raw: Bytes,
    tx: Object,
}

/// A transaction as Go writes its own type: every member there is, null or not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    r#type: Quantity,
    nonce: Quantity,
    gas_price: Option<U256>,
    max_priority_fee_per_gas: Option<U256>,
    max_fee_per_gas: Option<U256>,
    gas: Quantity,
    value: U256,
    input: Bytes,
    v: U256,
    r: U256,
    s: U256,
    to: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_list: Option<AccessList>,
    hash: B256,
}

impl Object {
    fn new(tx: &Transaction) -> Self {
        let is_dynamic = tx.is_dynamic_fee();
        let signature = tx.signature();
        Self {
            r#type: Quantity(u64::from(primitives::Typed2718::ty(tx))),
            nonce: Quantity(tx.nonce()),
            gas_price: tx.gas_price().map(U256::from),
            max_priority_fee_per_gas: tx.max_priority_fee_per_gas().map(U256::from),
            max_fee_per_gas: is_dynamic.then(|| U256::from(tx.max_fee_per_gas())),
            gas: Quantity(tx.gas_limit()),
            value: tx.value(),
            input: tx.input().clone(),
            v: signature_v(tx),
            r: signature.r(),
            s: signature.s(),
            to: match tx.kind() {
                TxKind::Call(to) => Some(to),
                TxKind::Create => None,
            },
            chain_id: tx.access_list().and_then(|_| tx.chain_id()).map(Quantity),
            access_list: tx.access_list().cloned(),
            hash: *tx.tx_hash(),
        }
    }

    /// A transaction that nobody has signed.
    fn unsigned(tx: &Transaction) -> Self {
        let none = U256::ZERO;
        Self { v: none, r: none, s: none, ..Self::new(tx) }
    }
}

impl Signed {
    pub(crate) fn new(tx: &Transaction) -> Self {
        Self { raw: tx.encoded_2718().into(), tx: Object::new(tx) }
    }
}

impl From<KeystoreError> for RpcError {
    fn from(error: KeystoreError) -> Self {
        match error {
            KeystoreError::Io { .. } | KeystoreError::KeyFile { .. } => Self::storage(error),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// geth's words for who is looked for among all wallets and not in the keystore.
fn unknown(error: KeystoreError) -> RpcError {
    match error {
        KeystoreError::NoMatch => RpcError::refused("unknown account"),
        error => error.into(),
    }
}

/// The hash of a text that cannot be a transaction (EIP-191).
pub(crate) fn text_hash(text: &[u8]) -> B256 {
    let head = format!("\u{19}Ethereum Signed Message:\n{}", text.len());
    keccak256([head.as_bytes(), text].concat())
}

impl Api {
    /// Whose keys there are, here or at the signer.
    pub(crate) fn accounts(&self) -> Result<Vec<Address>, RpcError> {
        if let Some(signer) = &self.node.signer {
            return signer::accounts(&**signer);
        }
        let accounts = self.node.keystore.as_ref().map(|keystore| keystore.accounts());
        Ok(accounts.unwrap_or_default().into_iter().map(|account| account.address).collect())
    }

    pub(crate) fn keystore(&self) -> Result<&Arc<Keystore>, RpcError> {
        if self.node.signer.is_some() {
            return Err(RpcError::refused("local keystore not used"));
        }
        self.node.keystore.as_ref().ok_or_else(|| RpcError::refused("unknown account"))
    }

    /// The signer that has all keys, if there is one; it does not take passwords.
    fn signer(&self, unlocking: Unlocking<'_>) -> Result<Option<&dyn Signer>, RpcError> {
        match (&self.node.signer, unlocking) {
            (Some(_), Unlocking::By(_)) => {
                Err(RpcError::refused("password-operations not supported on external signers"))
            }
            (signer, _) => Ok(signer.as_deref()),
        }
    }

    /// Signs a text that cannot be a transaction (EIP-191).
    pub(crate) fn sign_text(
        &self,
        address: Address,
        text: &[u8],
        unlocking: Unlocking<'_>,
    ) -> Result<Signature, RpcError> {
        match self.signer(unlocking)? {
            Some(signer) => signer::sign_text(signer, address, text),
            None => self.sign_hash(address, text_hash(text), unlocking),
        }
    }

    fn sign_hash(
        &self,
        address: Address,
        hash: B256,
        unlocking: Unlocking<'_>,
    ) -> Result<Signature, RpcError> {
        let keystore = self.keystore()?;
        let signature = match unlocking {
            Unlocking::Before => keystore.sign_hash(address, hash, Instant::now()),
            Unlocking::By(password) => keystore.sign_hash_with_password(address, password, hash),
        };
        signature.map_err(unknown)
    }

    fn sign_unsigned(
        &self,
        from: Address,
        unsigned: Unsigned,
        unlocking: Unlocking<'_>,
    ) -> Result<Transaction, RpcError> {
        if let Some(signer) = self.signer(unlocking)? {
            let chain_id = self.node.chain.view().spec.chain_id;
            return signer::sign_transaction(signer, from, &unsigned, chain_id);
        }
        let signature = self.sign_hash(from, unsigned.signature_hash(), unlocking)?;
        Ok(unsigned.into_envelope(signature))
    }

    /// Signs what a client wrote, with everything that was missing filled in.
    pub(crate) fn sign_args(
        &self,
        view: &ChainView,
        mut args: TransactionArgs,
        unlocking: Unlocking<'_>,
    ) -> Result<Transaction, RpcError> {
        let is_known = match self.signer(unlocking)? {
            Some(signer) => signer::accounts(signer)?.contains(&args.from),
            None => !matches!(self.keystore()?.find(args.from), Err(KeystoreError::NoMatch)),
        };
        if !is_known {
            return Err(RpcError::refused("unknown account"));
        }
        args.set_defaults(self, view)?;
        let tx = self.sign_unsigned(args.from, args.unsigned(view)?, unlocking)?;
        if let Some(fee_max) = self.node.tx_fee_max {
            check_fee(&tx, fee_max)?;
        }
        Ok(tx)
    }

    /// Nobody else may take a nonce meanwhile. Who asks while a signer asks a person is told so: to
    /// wait here would keep others from executing calls.
    fn lock_nonces(&self) -> Result<MutexGuard<'_, ()>, RpcError> {
        if self.node.signer.is_none() {
            return Ok(self.nonces.lock().unwrap_or_else(PoisonError::into_inner));
        }
        match self.nonces.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(RpcError::refused("external signer is busy with another request, try again"))
            }
        }
    }

    /// Signs and sends; the nonce belongs to this transaction alone until it is in the pool.
    pub(crate) fn send_args(
        &self,
        args: TransactionArgs,
        unlocking: Unlocking<'_>,
    ) -> Result<B256, RpcError> {
        let view = self.node.chain.view();
        let one_at_a_time = args.nonce.is_none().then(|| self.lock_nonces()).transpose()?;
        let tx = self.sign_args(&view, args, unlocking)?;
        let hash = self.node.pool.add(Origin::Local, tx)?;
        drop(one_at_a_time);
        tracing::debug!(%hash, "Submitted transaction");
        Ok(hash)
    }
}

fn send_transaction(api: &Api, params: &mut Params<'_>) -> Result<B256, RpcError> {
    let args = params.required(transaction_args)?;
    params.end()?;
    api.send_args(args, Unlocking::Before)
}

fn sign_transaction(api: &Api, params: &mut Params<'_>) -> Result<Signed, RpcError> {
    let args = params.required(transaction_args)?;
    params.end()?;
    args.check_complete()?;
    let view = api.node.chain.view();
    api.sign_args(&view, args, Unlocking::Before).map(|tx| Signed::new(&tx))
}

/// What a transaction would be, for a client that signs itself.
fn fill_transaction(api: &Api, params: &mut Params<'_>) -> Result<Signed, RpcError> {
    let mut args = params.required(transaction_args)?;
    params.end()?;
    let view = api.node.chain.view();
    args.set_defaults(api, &view)?;
    let unsigned = args.unsigned(&view)?;
    let none = Signature::new(U256::ZERO, U256::ZERO, false);
    let tx = unsigned.into_envelope(none);
    Ok(Signed { raw: tx.encoded_2718().into(), tx: Object::unsigned(&tx) })
}

/// Sends a waiting transaction again, at another price.
fn resend(api: &Api, params: &mut Params<'_>) -> Result<B256, RpcError> {
    let mut args = params.required(transaction_args)?;
    let price = params.optional(parse::amount)?.filter(|price| !price.is_zero());
    let gas = params.optional(parse::quantity)?.filter(|gas| *gas != 0);
    params.end()?;
    if args.nonce.is_none() {
        return Err(RpcError::refused("missing transaction nonce in transaction spec"));
    }
    let view = api.node.chain.view();
    args.set_defaults(api, &view)?;
    let wanted = args.unsigned(&view)?.signature_hash();
    let waits = api.node.pool.content_of(args.from);
    let is_it = |tx: &Transaction| tx.signature_hash() == wanted;
    if !waits.pending.iter().chain(&waits.queued).any(|waiting| is_it(&waiting.tx)) {
        return Err(RpcError::Refused(format!("transaction {wanted} not found")));
    }
    if price.is_some() {
        (args.gas_price, args.fee_cap, args.tip_cap) = (price, None, None);
    }
    args.gas = gas.or(args.gas);
    api.send_args(args, Unlocking::Before)
}

/// `v` is 27 or 28, as it was in the first wallets.
pub(crate) fn signature_bytes(signature: &Signature) -> Bytes {
    signature.as_bytes().to_vec().into()
}

fn sign(api: &Api, params: &mut Params<'_>) -> Result<Bytes, RpcError> {
    let address = params.required(parse::address)?;
    let text = params.required(parse::bytes)?;
    params.end()?;
    let signature = api.sign_text(address, &text, Unlocking::Before)?;
    Ok(signature_bytes(&signature))
}

/// Those that accounts of this node sent.
fn pending_transactions(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Vec<RpcTransaction>, RpcError> {
    params.end()?;
    let pending = api.node.pool.pending();
    let accounts = api.accounts()?;
    let own = pending.iter().filter(|waiting| accounts.contains(&waiting.sender));
    Ok(own.map(|waiting| RpcTransaction::pooled(&waiting.tx, waiting.sender)).collect())
}
