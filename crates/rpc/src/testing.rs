//! What reads a stranger's bytes, as a plain function. Tests only.

use primitives::Transaction;

use crate::eth::submit;

/// Reads a transaction as `eth_sendRawTransaction` takes it.
///
/// # Errors
///
/// What the caller would be told.
pub fn read_transaction(bytes: &[u8]) -> Result<Transaction, String> {
    submit::decode(bytes)
}
