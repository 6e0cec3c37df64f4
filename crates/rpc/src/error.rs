//! What a client is told when a call fails: geth's codes and geth's texts, all in this file.

use std::fmt::Write as _;

use ::txpool::PoolError;
use evm::{EstimateError, ExecutionError};
use jsonrpsee::types::ErrorObjectOwned;
use primitives::Bytes;
use state::ReadError;

/// Why a parameter was refused. The texts are geth's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A parameter is not there, and the method cannot do without.
    #[error("missing value for required argument {0}")]
    Missing(usize),
    /// There are more parameters than the method has.
    #[error("too many arguments, want at most {0}")]
    TooMany(usize),
    /// A parameter is not what the method expects there.
    #[error("invalid argument {index}: {reason}")]
    Invalid {
        /// Which, counted from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// `params` is neither an array nor absent.
    #[error("non-array args")]
    NotAnArray,
    /// A subscription to nothing.
    #[error("expected subscription name as first argument")]
    NoSubscriptionName,
}

/// Why a call failed, in the words that clients of geth match on.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The body is not JSON.
    #[error("parse error")]
    Parse,
    /// The JSON is not a request.
    #[error("invalid request")]
    InvalidRequest,
    /// A batch without items.
    #[error("empty batch")]
    EmptyBatch,
    /// A batch with more items than [`crate::dispatch::BATCH_ITEMS_MAX`].
    #[error("batch too large")]
    BatchTooLarge,
    /// No such method, or its namespace is not exposed here.
    #[error("the method {0} does not exist/is not available")]
    NoMethod(String),
    /// No such kind of subscription, or its namespace is not exposed here.
    #[error("no {name:?} subscription in {namespace} namespace")]
    NoSubscription {
        /// Where it was looked for.
        namespace: String,
        /// What was looked for.
        name: String,
    },
    /// The connection ends with the answer, so nothing could be told later.
    #[error("notifications not supported")]
    NoNotifications,
    /// A parameter was refused.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The work took longer than [`crate::dispatch::REQUEST_SECONDS_MAX`].
    #[error("request timed out")]
    TimedOut,
    /// The answer is larger than [`crate::dispatch::RESPONSE_BYTES_MAX`].
    #[error("response too large")]
    ResponseTooLarge,
    /// Every core is busy and the queue is full: nobody's fault, ask again.
    #[error("limit exceeded: too many calls are waiting, try again")]
    Busy,
    /// Answers that are still being taken fill the memory there is for them.
    #[error("limit exceeded: too many large answers are being sent, try again")]
    Crowded,
    /// A query asks for more than one answer may hold.
    #[error("query exceeds the limit of {max} {what}")]
    TooMuch {
        /// What was counted.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// The method panicked. The log says more.
    #[error("method handler crashed")]
    Crashed,
    /// It was given a moment only, and that is over: it begins anew on a thread for heavy work, and
    /// no client hears of it.
    #[error("not finished in a moment")]
    Unfinished,
    /// The EVM reverted.
    #[error("{}", evm::revert_message(.0))]
    Reverted(Bytes),
    /// The EVM failed otherwise, in geth's words.
    #[error("{0}")]
    Execution(String),
    /// Something the caller named or asked for cannot be had, in geth's words.
    #[error("{0}")]
    Refused(String),
    /// The database failed: our fault.
    #[error("{0}")]
    Storage(String),
}

impl RpcError {
    /// A refusal with a fixed text of geth's.
    #[must_use]
    pub fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    /// A failure of ours: the client gets the text, the log gets it as an error.
    pub(crate) fn storage(error: impl std::error::Error) -> Self {
        let text = chain_of_causes(&error);
        tracing::error!(error = text, "Could not answer");
        Self::Storage(text)
    }

    /// A call that could not even begin, in the words of geth since 1.9.16.
    pub(crate) fn not_executed(error: ExecutionError, gas: u64) -> Self {
        match error {
            ExecutionError::Invalid(error) => {
                Self::Refused(format!("err: {error} (supplied gas {gas})"))
            }
            ExecutionError::Read(error) => error.into(),
        }
    }

    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Parse => -32_700,
            Self::InvalidRequest | Self::EmptyBatch | Self::BatchTooLarge => -32_600,
            Self::NoMethod(_) | Self::NoSubscription { .. } => -32_601,
            Self::NoNotifications => -32_001,
            Self::Argument(_) => -32_602,
            Self::Crashed | Self::Unfinished => -32_603,
            Self::TimedOut => -32_002,
            Self::ResponseTooLarge => -32_003,
            Self::Busy | Self::Crowded | Self::TooMuch { .. } => -32_005,
            Self::Reverted(_) => 3,
            Self::Execution(_) | Self::Refused(_) | Self::Storage(_) => -32_000,
        }
    }

    /// The `data` member: what a reverting contract returned, as hex.
    #[must_use]
    pub fn data(&self) -> Option<String> {
        match self {
            Self::Reverted(output) => Some(output.to_string()),
            _ => None,
        }
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        Self::owned(error.code(), error.to_string(), error.data())
    }
}

impl From<ReadError> for RpcError {
    fn from(error: ReadError) -> Self {
        match error {
            // Asking for too old a state is nobody's failure.
            ReadError::NodesPruned { .. } => Self::Refused(error.to_string()),
            error => Self::storage(error),
        }
    }
}

impl From<ExecutionError> for RpcError {
    fn from(error: ExecutionError) -> Self {
        match error {
            ExecutionError::Invalid(error) => Self::Refused(error.to_string()),
            ExecutionError::Read(error) => error.into(),
        }
    }
}

impl From<EstimateError> for RpcError {
    fn from(error: EstimateError) -> Self {
        match error {
            EstimateError::Reverted { output } => Self::Reverted(output),
            EstimateError::Halted { reason } => Self::Execution(reason),
            EstimateError::Execution(error) => error.into(),
            EstimateError::InsufficientFundsForTransfer
            | EstimateError::ExceedsAllowance { .. }
            | EstimateError::Interrupted => Self::Refused(error.to_string()),
        }
    }
}

impl From<PoolError> for RpcError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Read(_) | PoolError::Journal(_) => Self::storage(error),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain_of_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use primitives::hex;

    use super::*;

    #[test]
    fn a_revert_carries_its_reason_and_its_bytes() {
        let output = hex!(
            "08c379a0"
            "0000000000000000000000000000000000000000000000000000000000000020"
            "0000000000000000000000000000000000000000000000000000000000000005"
            "68656c6c6f000000000000000000000000000000000000000000000000000000"
        );
        let error = RpcError::Reverted(output.into());
        assert_eq!(error.to_string(), "execution reverted: hello");
        assert_eq!(error.code(), 3);
        assert!(error.data().unwrap().starts_with("0x08c379a0"));
    }

    #[test]
    fn a_revert_with_unreadable_bytes_has_no_reason() {
        for output in [&hex!("")[..], &hex!("08c379a0"), &hex!("08c379a0ffff"), &hex!("deadbeef")] {
            assert_eq!(
                RpcError::Reverted(output.to_vec().into()).to_string(),
                "execution reverted"
            );
        }
        let mut offset_beyond_memory = vec![0x08, 0xc3, 0x79, 0xa0];
        offset_beyond_memory.extend([0xff; 64]);
        assert_eq!(
            RpcError::Reverted(offset_beyond_memory.into()).to_string(),
            "execution reverted"
        );
    }
}
