use primitives::{Address, U256};
use state::ReadError;

/// Why a transaction did not run at all.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// The transaction may not stand here; the state is as it was.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// The state could not be read: what was executed so far means nothing.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is wrong with a transaction, in geth's words (`core/error.go`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// A type that the fork does not know.
    #[error("transaction type not supported")]
    TypeNotSupported,
    /// The nonce has been used.
    #[error("nonce too low: address {address}, tx: {nonce} state: {expected}")]
    NonceTooLow {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        nonce: u64,
        /// The sender's next nonce.
        expected: u64,
    },
    /// A nonce below is missing.
    #[error("nonce too high: address {address}, tx: {nonce} state: {expected}")]
    NonceTooHigh {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        nonce: u64,
        /// The sender's next nonce.
        expected: u64,
    },
    /// The sender has used up its nonces (EIP-2681).
    #[error("nonce has max value: address {address}, nonce: {nonce}")]
    NonceMax {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        nonce: u64,
    },
    /// The sender is a contract (EIP-3607).
    #[error("sender not an eoa: address {address}")]
    SenderNotEoa {
        /// The sender.
        address: Address,
    },
    /// A tip above the fee cap (EIP-1559).
    #[error(
        "max priority fee per gas higher than max fee per gas: address {address}, maxPriorityFeePerGas: {tip_cap}, maxFeePerGas: {fee_cap}"
    )]
    TipAboveFeeCap {
        /// The sender.
        address: Address,
        /// In wei per gas.
        tip_cap: u128,
        /// In wei per gas.
        fee_cap: u128,
    },
    /// The block costs more than the transaction pays (EIP-1559).
    #[error(
        "max fee per gas less than block base fee: address {address}, maxFeePerGas: {fee_cap} baseFee: {base_fee}"
    )]
    FeeCapTooLow {
        /// The sender.
        address: Address,
        /// In wei per gas.
        fee_cap: u128,
        /// In wei per gas.
        base_fee: u64,
    },
    /// The sender cannot pay for gas and value; a cost beyond 256 bits counts as the largest number.
    #[error(
        "insufficient funds for gas * price + value: address {address} have {balance} want {cost}"
    )]
    InsufficientFunds {
        /// The sender.
        address: Address,
        /// In wei.
        balance: U256,
        /// In wei.
        cost: U256,
    },
    /// The block has no room left for this gas limit.
    #[error("gas limit reached")]
    GasLimitReached,
    /// The gas limit does not even cover the transaction's own bytes.
    #[error("intrinsic gas too low: have {gas_limit}, want {intrinsic}")]
    IntrinsicGas {
        /// The transaction's gas limit.
        gas_limit: u64,
        /// What it must have at least.
        intrinsic: u64,
    },
}
