use std::{fmt, io, sync::Arc};

use primitives::Hardfork;

/// Why a transaction was not accepted. `Display` is geth's text, which clients match.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PoolError {
    /// It is in the pool already: nobody is at fault.
    #[error("already known")]
    AlreadyKnown,
    /// Its envelope is larger than [`crate::TRANSACTION_BYTES_MAX`].
    #[error("oversized data")]
    OversizedData,
    /// The next block's rules do not know this kind of transaction.
    #[error("{}", TypeText(*needs, *activation, *head))]
    TypeNotSupported {
        /// The fork that brings the type, if a fork of proof of work does.
        needs: Option<Hardfork>,
        /// When that fork begins, if it is scheduled.
        activation: Option<u64>,
        /// Number of the head.
        head: u64,
    },
    /// It wants more gas than a block has.
    #[error("exceeds block gas limit")]
    ExceedsBlockGasLimit,
    /// It offers the miner more than it offers in all.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFeeCap,
    /// The signature is wrong or made for another chain.
    #[error("invalid sender")]
    InvalidSender,
    /// It names no chain, and the node was told to want one (EIP-155).
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// It pays less than the price floor, or less than everything in a full pool.
    #[error("transaction underpriced")]
    Underpriced,
    /// Another transaction has its nonce, and it does not pay enough more.
    #[error("replacement transaction underpriced")]
    ReplacementUnderpriced,
    /// Its nonce is used.
    #[error("nonce too low")]
    NonceTooLow,
    /// Its nonce can never be used (EIP-2681).
    #[error("nonce has max value")]
    NonceMax,
    /// The sender cannot pay for it.
    #[error("insufficient funds for gas * price + value")]
    InsufficientFunds,
    /// Its gas does not even cover what it costs to begin.
    #[error("intrinsic gas too low")]
    IntrinsicGas,
    /// The sender has as many transactions waiting as it may.
    #[error("account limit exceeded")]
    AccountLimit,
    /// There is no room for it.
    #[error("txpool is full")]
    Full,
    /// The head moved too often while it was being checked: try again.
    #[error("txpool is busy, try again")]
    Busy,
    /// It could not be written to the journal, so it was not accepted. Ours to answer for.
    #[error("transaction not accepted, its journal cannot be written: {0}")]
    Journal(Arc<io::Error>),
    /// The sender's account could not be read. Ours to answer for.
    #[error("sender's account cannot be read: {0}")]
    Read(String),
}

struct TypeText(Option<Hardfork>, Option<u64>, u64);

impl fmt::Display for TypeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(needs, activation, head) = self;
        f.write_str("transaction type not supported")?;
        let Some(fork) = needs else { return Ok(()) };
        match activation {
            Some(number) => write!(f, ": {fork:?} activates at block {number} (now {head})")?,
            None => write!(f, ": {fork:?} is not scheduled on this chain (now {head})")?,
        }
        let instead =
            if *fork == Hardfork::London { "send gasPrice" } else { "send no access list" };
        write!(f, "; {instead}, or schedule the fork")
    }
}
