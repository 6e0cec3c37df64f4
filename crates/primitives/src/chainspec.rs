//! What a genesis file means: the chain's identity, its first block and its schedule of forks.

mod compatible;
mod error;
mod fork_id;
mod forks;
mod genesis;
mod json;
mod presets;

use std::sync::OnceLock;

pub use compatible::Incompatible;
pub use error::{FieldProblem, GenesisError};
pub use fork_id::{ForkId, ForkIdMismatch};
pub use forks::{DaoFork, Forks, Hardfork};
pub use genesis::{Genesis, GenesisAccount};
use serde_json::Value;

use crate::{Block, SealedBlock, SealedHeader};

/// Everything that makes a chain this chain and no other.
#[derive(Debug, Clone)]
pub struct ChainSpec {
    /// The chain id that signatures commit to (EIP-155).
    pub chain_id: u64,
    /// When each set of rules begins.
    pub forks: Forks,
    /// The first block and its state.
    pub genesis: Genesis,
    /// The `config` object as it was given, for RPC and `dumpgenesis`.
    pub config: Value,
    sealed_genesis: OnceLock<SealedBlock>,
}

impl ChainSpec {
    /// A chain from its parts; `config` is what RPC and `dumpgenesis` show.
    #[must_use]
    pub const fn new(config: Value, forks: Forks, chain_id: u64, genesis: Genesis) -> Self {
        Self { chain_id, forks, genesis, config, sealed_genesis: OnceLock::new() }
    }

    /// Reads a genesis file of geth's.
    ///
    /// # Errors
    ///
    /// If it is not JSON, a required member is missing, a value cannot be meant, the forks are out
    /// of order, or the chain is not sealed by proof of work.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        let file: Value = serde_json::from_str(text)?;
        let genesis = json::genesis(&file)?;
        let (config, chain_id, forks) = json::config(&file)?;
        Ok(Self::new(config, forks, chain_id, genesis))
    }

    /// The same chain with its first block as it was stored, so that nobody computes it again.
    #[must_use]
    pub fn with_genesis_block(self, block: SealedBlock) -> Self {
        Self { sealed_genesis: OnceLock::from(block), ..self }
    }

    /// The genesis file of this chain in geth's form, on one line.
    #[must_use]
    pub fn to_geth_json(&self) -> String {
        self.genesis.to_geth_json(&self.config)
    }

    /// The first block. Computed once: the state root of a large allocation takes milliseconds.
    pub fn genesis_block(&self) -> &SealedBlock {
        self.sealed_genesis.get_or_init(|| {
            let header = self.genesis.header(self.forks.is_active(Hardfork::London, 0));
            SealedBlock::seal_slow(Block { header, body: crate::BlockBody::default() })
        })
    }

    /// The first block's header.
    pub fn genesis_header(&self) -> SealedHeader {
        self.genesis_block().clone_sealed_header()
    }

    /// The newest rule set in force in a block of this number.
    #[must_use]
    pub fn hardfork_at(&self, number: u64) -> Hardfork {
        self.forks.hardfork_at(number)
    }
}

#[cfg(test)]
mod tests;
