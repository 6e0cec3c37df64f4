//! What reads a stranger's bytes, as a plain function. Tests only.

use std::sync::Arc;

use primitives::Transaction;

use crate::{
    NAMESPACES, Node,
    dispatch::{DispatchLimits, Dispatcher},
    eth::submit,
    methods,
    node::Api,
};

/// Every method of a node, without a transport.
#[must_use]
pub fn dispatcher(node: Node) -> Dispatcher {
    let api = Arc::new(Api {
        node,
        filters: Arc::default(),
        oracle: Arc::default(),
        nonces: Arc::default(),
        doors: std::sync::Weak::default(),
        is_local: true,
        modules: NAMESPACES.map(str::to_owned).to_vec(),
    });
    Dispatcher::new(methods::methods(&api), DispatchLimits::default())
}

/// Reads a transaction as `eth_sendRawTransaction` takes it.
///
/// # Errors
///
/// What the caller would be told.
pub fn read_transaction(bytes: &[u8]) -> Result<Transaction, String> {
    submit::decode(bytes)
}
