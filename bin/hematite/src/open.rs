//! From a configuration to an open chain, for the node and for the commands.

use std::{fs, sync::Arc};

use chain::{ChainConfig, Importer, OpenError};
use consensus::{Engine, EthashSeal};
use eyre::{Result, WrapErr, eyre};
use primitives::ChainSpec;
use storage::{LedgerState, StorageConfig, StorageError};

use crate::{
    args::{Personality, Role},
    config::{Config, GenesisSource, missing_genesis},
    datasets,
    exit::UsageError,
};

/// Which chain to use when the data directory holds none and nothing was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Mainnet: `import`, and everything under the name `geth`.
    Mainnet,
    /// None: whoever mines must say what.
    Nothing,
}

/// Reads the genesis that was named.
///
/// # Errors
///
/// When the file cannot be read or is no genesis; the text names it.
pub fn named_spec(source: &GenesisSource) -> Result<ChainSpec> {
    match source {
        GenesisSource::Preset(name) => ChainSpec::preset(name).ok_or_else(|| {
            eyre!("no genesis is called {name}; there are {}", ChainSpec::PRESETS.join(", "))
        }),
        GenesisSource::File(path) => {
            let shown = path.display();
            let text = fs::read_to_string(path).map_err(|error| {
                UsageError(format!("Failed to read genesis file {shown}: {error}"))
            })?;
            ChainSpec::from_json(&text).wrap_err_with(|| format!("invalid genesis file {shown}"))
        }
    }
}

/// Opens the chain of the data directory, initialising an empty one.
///
/// # Errors
///
/// When the directory cannot be used; nothing in it is harmed.
pub fn open_chain(config: &Config, default: Fallback) -> Result<Importer> {
    let storage = if config.is_in_memory() {
        StorageConfig::memory()
    } else {
        refuse_geth_data(config)?;
        StorageConfig::at(config.paths.hematite.clone())
    };
    let spec = match (&config.genesis, config.dev) {
        (Some(source), _) => Some(named_spec(source)?),
        (None, Some(dev)) => Some(dev_spec(dev.gas_limit)),
        (None, None) => None,
    };
    let is_new = !storage.in_memory && !config.paths.hematite.join("db").exists();
    if is_new && spec.is_none() && default == Fallback::Nothing {
        return Err(no_genesis(config));
    }
    let opened = Importer::open(ChainConfig { storage: storage.clone(), spec });
    let importer = match opened {
        Err(OpenError::NoGenesis) if default == Fallback::Mainnet => {
            let spec = ChainSpec::preset("mainnet");
            Importer::open(ChainConfig { storage, spec })
        }
        Err(OpenError::NoGenesis) => return Err(no_genesis(config)),
        opened => opened,
    };
    let mut importer = importer.wrap_err_with(|| {
        format!("cannot open the data directory {}", config.paths.datadir.display())
    })?;
    if config.accept_rollback {
        importer.accept_rollback().wrap_err("cannot accept the rollback")?;
    }
    report_ledger(&importer);
    Ok(importer)
}

fn no_genesis(config: &Config) -> eyre::Report {
    eyre!(OpenError::NoGenesis).wrap_err(missing_genesis(&config.paths.datadir))
}

/// Whether the database has lost blocks that were once committed: nothing must be mined on it.
#[must_use]
pub fn is_rolled_back(importer: &Importer) -> bool {
    matches!(importer.ledger(), LedgerState::DatabaseBehind { .. })
}

fn report_ledger(importer: &Importer) {
    match importer.ledger() {
        LedgerState::Agrees => {}
        LedgerState::DatabaseBehind { missing, have } => tracing::error!(
            missing = missing.number,
            hash = %missing.hash,
            have = have.map(|have| have.number),
            "The database lost blocks that were committed (db_rollback_detected): it was damaged or \
             replaced by an older copy. Nothing is mined until they are back (import them); \
             --accept-rollback goes on without them"
        ),
        LedgerState::DatabaseAhead => {
            tracing::warn!("The commit ledger was behind the database and was written anew");
        }
    }
}

/// The default chain of a node that runs: mainnet under geth's name, nothing for a miner.
#[must_use]
pub fn node_default(config: &Config) -> Fallback {
    let mines = config.role == Some(Role::Miner);
    if config.personality == Personality::Geth || !mines {
        Fallback::Mainnet
    } else {
        Fallback::Nothing
    }
}

/// How the chain's blocks are sealed: by proof of work, or not at all with `--dev`.
#[must_use]
pub fn engine(config: &Config) -> Arc<Engine> {
    Arc::new(if is_proved(config) {
        let caches = config.ethash.caches_in_memory;
        Engine::Ethash(EthashSeal::with_source(caches, datasets::cache_source(config)))
    } else {
        Engine::Instant
    })
}

/// Whether the chain's blocks carry proofs of work.
#[must_use]
pub const fn is_proved(config: &Config) -> bool {
    config.dev.is_none() && !config.fake_pow
}

/// The chain of `--dev`: the preset with another gas limit.
fn dev_spec(gas_limit: u64) -> ChainSpec {
    let mut spec = ChainSpec::preset("dev").expect("dev is built in");
    if gas_limit > 0 {
        let mut genesis = spec.genesis.clone();
        genesis.gas_limit = gas_limit;
        spec = ChainSpec::new(spec.config.clone(), spec.forks.clone(), spec.chain_id, genesis);
    }
    spec
}

/// geth's database is not ours to read; the way over is a file of blocks.
fn refuse_geth_data(config: &Config) -> Result<()> {
    let theirs = config.paths.datadir.join("geth").join("chaindata");
    if theirs.exists() && !config.paths.hematite.join("db").exists() {
        let (dir, shown) = (config.paths.datadir.display(), theirs.display());
        return Err(eyre!(StorageError::Foreign {
            path: theirs.clone(),
            detail: "a chain of geth".to_owned()
        })
        .wrap_err(format!(
            "{shown} is geth's and is not touched: run `geth --datadir {dir} export chain.rlp`, then \
             `hematite --datadir NEW import chain.rlp`"
        )));
    }
    Ok(())
}
