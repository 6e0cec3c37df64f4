//! Taking transactions in.

use ::txpool::{Origin, PoolError, TRANSACTION_BYTES_MAX};
use alloy_consensus::Transaction as _;
use alloy_eips::eip2718::{Decodable2718, Eip2718Error};
use primitives::{B256, Transaction, U256};

use crate::{
    dispatch::Weight,
    error::{ArgumentError, RpcError},
    methods::Table,
    node::Api,
    params::Params,
    parse,
};

pub(crate) fn register(table: &mut Table) {
    // Handing it to another thread would cost more than it takes.
    let weight = if table.api().node.pool.waits_for_disk() { Weight::Heavy } else { Weight::Light };
    table.add_many("eth_sendRawTransaction", weight, send_raw);
}

fn send_raw(
    api: &Api,
    calls: Vec<Result<Params<'_>, ArgumentError>>,
) -> Vec<Result<B256, RpcError>> {
    let mut transactions = Vec::with_capacity(calls.len());
    let read: Vec<Result<(), RpcError>> = calls
        .into_iter()
        .map(|params| {
            transactions.push(read_raw(api, &mut params?)?);
            Ok(())
        })
        .collect();
    let mut added = api.node.pool.add_many(Origin::Local, transactions).into_iter();
    let mut answer = || {
        let hash = added.next().expect("one answer for each transaction")?;
        tracing::debug!(%hash, "Submitted transaction");
        Ok(hash)
    };
    read.into_iter().map(|read| read.and_then(|()| answer())).collect()
}

/// Unprotected transactions (without a chain id) are welcome, as they were in 1.9.13.
fn read_raw(api: &Api, params: &mut Params<'_>) -> Result<Transaction, RpcError> {
    let bytes = params.required(parse::bytes)?;
    params.end()?;
    if bytes.len() > TRANSACTION_BYTES_MAX {
        return Err(PoolError::OversizedData.into());
    }
    let tx = decode(&bytes).map_err(RpcError::refused)?;
    if let Some(fee_max) = api.node.tx_fee_max {
        check_fee(&tx, fee_max)?;
    }
    Ok(tx)
}

/// Keeps a slip of the finger from costing a fortune: refuses a transaction that may pay more for
/// its gas than this, in wei.
pub(crate) fn check_fee(tx: &Transaction, fee_max: u128) -> Result<(), RpcError> {
    let fee = U256::from(tx.max_fee_per_gas()) * U256::from(tx.gas_limit());
    let fee_max = U256::from(fee_max);
    if fee <= fee_max {
        return Ok(());
    }
    let (fee, fee_max) = (ether(fee), ether(fee_max));
    let text = format!("tx fee ({fee} ether) exceeds the configured cap ({fee_max} ether)");
    Err(RpcError::Refused(text))
}

/// An amount of wei in ether, rounded to two decimals.
fn ether(wei: U256) -> String {
    let hundredth = U256::from(10_000_000_000_000_000_u64);
    let hundredths = (wei + hundredth / U256::from(2)) / hundredth;
    let (whole, rest) = hundredths.div_rem(U256::from(100));
    format!("{whole}.{rest:02}")
}

/// Reads an envelope (EIP-2718); the error is geth's text.
pub(crate) fn decode(bytes: &[u8]) -> Result<Transaction, String> {
    match bytes {
        [] | [0..=0x7f] => return Err("typed transaction too short".to_owned()),
        [1 | 2, ..] => {}
        [0..=0x7f, ..] => return Err("transaction type not supported".to_owned()),
        [0x80..=0xff, ..] => {
            let header = alloy_rlp::Header::decode(&mut &bytes[..]).map_err(rlp)?;
            if !header.list {
                return Err("rlp: expected input list for types.LegacyTx".to_owned());
            }
        }
    }
    Transaction::decode_2718_exact(bytes).map_err(|error| match error {
        Eip2718Error::RlpError(error) => rlp(error),
        error => format!("rlp: {error}"),
    })
}

fn rlp(error: alloy_rlp::Error) -> String {
    match error {
        alloy_rlp::Error::InputTooShort => {
            "rlp: value size exceeds available input length".to_owned()
        }
        error => format!("rlp: {error}"),
    }
}
