//! `txpool_*`: looking into the pool.

use std::{collections::BTreeMap, sync::Arc};

use ::txpool::{AccountContent, PooledTransaction};
use primitives::{Address, TransactionFields};
use serde::Serialize;

use crate::{
    convert::{Quantity, RpcTransaction},
    error::RpcError,
    methods::Table,
    node::Api,
    params::Params,
    parse,
};

pub(crate) fn register(table: &mut Table) {
    table.light("txpool_status", status);
    table.heavy("txpool_content", content);
    table.heavy("txpool_inspect", inspect);
    table.light("txpool_contentFrom", content_from);
}

/// Something about pending and queued transactions.
#[derive(Debug, Serialize)]
struct Both<T> {
    pending: T,
    queued: T,
}

/// By nonce, in decimal.
type ByNonce<T> = BTreeMap<String, T>;
/// By address with checksum (EIP-55).
type BySender<T> = BTreeMap<String, ByNonce<T>>;

fn status(api: &Api, params: &mut Params<'_>) -> Result<Both<Quantity>, RpcError> {
    params.end()?;
    let (pending, queued) = api.node.pool.status();
    Ok(Both { pending: pending.into(), queued: queued.into() })
}

fn by_nonce<T>(
    transactions: &[Arc<PooledTransaction>],
    show: fn(&PooledTransaction) -> T,
) -> ByNonce<T> {
    transactions.iter().map(|tx| (tx.nonce().to_string(), show(tx))).collect()
}

fn by_sender<T>(api: &Api, show: fn(&PooledTransaction) -> T) -> Both<BySender<T>> {
    let content = api.node.pool.content();
    let select = |list: fn(&AccountContent) -> &Vec<Arc<PooledTransaction>>| {
        let some = content.iter().filter(|(_, account)| !list(account).is_empty());
        some.map(|(sender, account)| (checksummed(*sender), by_nonce(list(account), show)))
            .collect()
    };
    Both { pending: select(|account| &account.pending), queued: select(|account| &account.queued) }
}

fn checksummed(address: Address) -> String {
    address.to_checksum(None)
}

fn object(tx: &PooledTransaction) -> RpcTransaction {
    RpcTransaction::pooled(&tx.tx, tx.sender)
}

fn content(api: &Api, params: &mut Params<'_>) -> Result<Both<BySender<RpcTransaction>>, RpcError> {
    params.end()?;
    Ok(by_sender(api, object))
}

/// A transaction on one line.
fn line(tx: &PooledTransaction) -> String {
    let to = tx.tx.to().map_or_else(|| "contract creation".to_owned(), checksummed);
    let (value, gas, price) = (tx.tx.value(), tx.tx.gas_limit(), tx.fee_cap());
    format!("{to}: {value} wei + {gas} gas \u{d7} {price} wei")
}

fn inspect(api: &Api, params: &mut Params<'_>) -> Result<Both<BySender<String>>, RpcError> {
    params.end()?;
    Ok(by_sender(api, line))
}

fn content_from(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Both<ByNonce<RpcTransaction>>, RpcError> {
    let sender = params.required(parse::address)?;
    params.end()?;
    let account = api.node.pool.content_of(sender);
    Ok(Both {
        pending: by_nonce(&account.pending, object),
        queued: by_nonce(&account.queued, object),
    })
}
