//! The words everybody shares: alloy's types under one roof, receipts, total difficulty, chain specs.
//!
//! Knows no disk, no clock, no network. The main type is [`ChainSpec`]: what a genesis file means.
//!
//! ```
//! let spec = primitives::ChainSpec::preset("book").unwrap();
//! assert_eq!(spec.chain_id, 27_587);
//! ```

pub mod chainspec;
mod receipt;
mod shares;
mod total_difficulty;

pub use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, Typed2718, transaction::SignerRecoverable,
    transaction::Transaction as TransactionFields,
};
pub use alloy_eips::BlockNumHash;
pub use alloy_primitives::{
    Address, B64, B256, Bloom, BloomInput, Bytes, KECCAK256_EMPTY, Log, LogData, Signature, TxKind,
    U256, address, b256, bytes, hex, keccak256, map, utils::format_ether,
};
pub use chainspec::{
    ChainSpec, DaoFork, ForkId, Forks, Genesis, GenesisAccount, GenesisError, Hardfork,
};
pub use receipt::{Receipt, logs_bloom, receipts_root};
pub use shares::in_shares;
pub use total_difficulty::TotalDifficulty;

/// A signed transaction of any type the codec knows (types 3 and 4 decode, and no rule set here
/// accepts them).
pub type Transaction = alloy_consensus::EthereumTxEnvelope<alloy_consensus::TxEip4844>;

/// A block: header, transactions, ommers.
pub type Block = alloy_consensus::Block<Transaction>;

/// What a block carries beside its header.
pub type BlockBody = alloy_consensus::BlockBody<Transaction>;

/// A block whose hash is final: its seal is in.
pub type SealedBlock = reth_primitives_traits::SealedBlock<Block>;

/// A sealed block and who signed its transactions.
pub type RecoveredBlock = reth_primitives_traits::RecoveredBlock<Block>;

/// A header whose hash is final: its seal is in.
pub type SealedHeader = reth_primitives_traits::SealedHeader<Header>;

/// The root of the trie of a block's transactions (Yellow Paper §4.3.2).
#[must_use]
pub fn transactions_root(transactions: &[Transaction]) -> B256 {
    alloy_consensus::proofs::calculate_transaction_root(transactions)
}

/// The hash of a block's list of ommers.
#[must_use]
pub fn ommers_hash(ommers: &[Header]) -> B256 {
    alloy_consensus::proofs::calculate_ommers_root(ommers)
}
