//! Blocks, and the real chain in memory that takes them.

use std::{
    error::Error,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use alloy_rlp::Decodable;
use chain::{ChainConfig, ImportError, Imported, Importer, Origin};
use consensus::{Engine, EthashSeal};
use primitives::{Block, ChainSpec, SealedBlock};
use storage::StorageConfig;

/// Why a block is not on the chain.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is wrong, or nobody knows its parent.
    Block(String),
    /// We failed.
    Ours(String),
}

/// The engine that checks seals of epoch 0, shared so that its cache is generated once.
pub(crate) fn sealed() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::Ethash(EthashSeal::new()))
}

/// The engine that checks no seal.
pub(crate) fn unsealed() -> &'static Engine {
    static ENGINE: Engine = Engine::Instant;
    &ENGINE
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}

/// An error and all its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// An empty chain in memory.
pub(crate) fn open(spec: ChainSpec) -> Result<Importer, String> {
    let config = ChainConfig { storage: StorageConfig::memory(), spec: Some(spec) };
    Importer::open(config).map_err(|error| with_causes(&error))
}

/// Exactly one block.
pub(crate) fn decode(rlp: &[u8]) -> Result<SealedBlock, String> {
    let mut rest = rlp;
    let block = Block::decode(&mut rest).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(SealedBlock::seal_slow(block)) } else { Err("bytes are left".into()) }
}

/// Blocks one after the other, as clients export them.
pub(crate) fn decode_all(mut rlp: &[u8]) -> Result<Vec<SealedBlock>, String> {
    let mut blocks = Vec::new();
    while !rlp.is_empty() {
        let place = blocks.len();
        let block = Block::decode(&mut rlp).map_err(|error| format!("block {place}: {error}"))?;
        blocks.push(SealedBlock::seal_slow(block));
    }
    Ok(blocks)
}

/// Verifies and imports one block.
pub(crate) fn import(
    importer: &mut Importer,
    engine: &Engine,
    block: SealedBlock,
) -> Result<Imported, Refusal> {
    let spec = importer.spec();
    let block = engine.verify(&spec, block).map_err(|error| Refusal::Block(with_causes(&error)))?;
    importer.import(block, Origin::Other, now()).map_err(|error| match error {
        ImportError::Storage { .. } | ImportError::Stopped => Refusal::Ours(with_causes(&error)),
        error => Refusal::Block(with_causes(&error)),
    })
}
