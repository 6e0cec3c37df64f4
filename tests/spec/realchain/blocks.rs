//! Blocks as clients export them, on the genesis that lies beside them.

use std::{fs, io::Read, path::Path};

use chain::{Importer, Origin};
use consensus::{Engine, EthashSeal};
use flate2::read::MultiGzDecoder;
use primitives::{B64, B256, ChainSpec, Genesis, SealedBlock, U256};
use serde_json::Value;

use super::stateless;
use crate::{
    chains::{self, Refusal, with_causes},
    data::DataFile,
    pow::same,
    report::{Sink, Skip},
};

/// How many blocks are verified and imported at once.
const BATCH: usize = 256;

/// Imports a file's blocks, or checks them without state if their genesis is not there.
pub(super) fn run(file: &DataFile, content: &[u8], sink: &mut Sink<'_>) {
    let folder = file.path.parent().expect("a file lies in a folder");
    let spec = match genesis_beside(folder) {
        Beside::Classic => return sink.skip(Skip::EthereumClassic, 1),
        Beside::Chain(spec) => *spec,
        Beside::Nothing => ChainSpec::preset("mainnet").expect("a built-in chain"),
    };
    let name = file.name.rsplit('/').next().unwrap_or_default();
    let blocks = unzipped(content).and_then(|content| chains::decode_all(&content));
    let mut blocks = match blocks {
        Ok(blocks) => blocks,
        Err(error) => return sink.fail(name, &error),
    };
    let mined = blocks.iter().take_while(|block| !block.header().difficulty.is_zero()).count();
    if mined < blocks.len() {
        sink.skip(Skip::PostMerge, blocks.len() - mined);
        blocks.truncate(mined);
    }
    if name.starts_with("badpow") {
        return sink.case("refusal", || refuse(spec, folder, blocks));
    }
    if name == "bad.rlp" {
        // Upstream says that it breaks a rule. It breaks none, and geth 1.10.26 imports it too.
        return sink.case("import", || import_on_chain(spec, folder, blocks));
    }
    sink.case("import", || match connected(&spec, blocks)? {
        Connected::Yes(blocks) => import_all(spec, blocks).map(drop),
        Connected::No(blocks) => stateless::check(&spec, blocks),
    });
}

fn unzipped(content: &[u8]) -> Result<Vec<u8>, String> {
    if !content.starts_with(&[0x1f, 0x8b]) {
        return Ok(content.to_vec());
    }
    let mut out = Vec::new();
    MultiGzDecoder::new(content).read_to_end(&mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

enum Beside {
    Chain(Box<ChainSpec>),
    Classic,
    Nothing,
}

/// The chain whose genesis lies in a folder. A preset's genesis means the preset: the fork lists of
/// such files are those of other clients.
fn genesis_beside(folder: &Path) -> Beside {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|it| it == "json")) {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let Ok(genesis) = Genesis::from_json(&text) else { continue };
        if is_classic(&text) {
            return Beside::Classic;
        }
        let hash = genesis.header(false).hash_slow();
        let presets = ["mainnet", "ropsten"].into_iter().filter_map(ChainSpec::preset);
        let preset = presets.into_iter().find(|preset| preset.genesis_block().hash() == hash);
        if let Some(spec) = preset.or_else(|| ChainSpec::from_json(&text).ok()) {
            return Beside::Chain(Box::new(spec));
        }
    }
    Beside::Nothing
}

fn is_classic(text: &str) -> bool {
    let json: Value = text.parse().unwrap_or_default();
    let config = json.get("config").and_then(Value::as_object);
    config.is_some_and(|config| config.keys().any(|key| key.starts_with("ecip")))
}

enum Connected {
    /// These follow the genesis.
    Yes(Vec<SealedBlock>),
    /// The genesis is not theirs, or lies too far back.
    No(Vec<SealedBlock>),
}

fn connected(spec: &ChainSpec, mut blocks: Vec<SealedBlock>) -> Result<Connected, String> {
    let genesis = spec.genesis_block().hash();
    let first = blocks.first().ok_or("no blocks")?;
    if first.header().number == 0 {
        same("genesis", &first.hash(), &genesis)?;
        blocks.remove(0);
        return Ok(Connected::Yes(blocks));
    }
    let follows = first.header().parent_hash == genesis;
    Ok(if follows { Connected::Yes(blocks) } else { Connected::No(blocks) })
}

/// Chains of some suites have no seals: then the first block has none.
fn engine_for(blocks: &[SealedBlock]) -> Engine {
    let unsealed = blocks.first().is_some_and(|block| {
        block.header().nonce == B64::ZERO && block.header().mix_hash == B256::ZERO
    });
    if unsealed { Engine::Instant } else { Engine::Ethash(EthashSeal::new()) }
}

/// Imports blocks on the genesis and checks that the last is the head.
pub(super) fn import_all(spec: ChainSpec, blocks: Vec<SealedBlock>) -> Result<Importer, String> {
    let engine = engine_for(&blocks);
    let last = blocks.last().map(SealedBlock::hash);
    let work: U256 = blocks.iter().map(|block| block.header().difficulty).sum();
    let work = work + spec.genesis_block().header().difficulty;
    let mut importer = chains::open(spec)?;
    let spec = importer.spec();
    let mut rest = blocks;
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(BATCH));
        let first = rest[0].header().number;
        let verified: Result<Vec<_>, _> = engine.verify_many(&spec, rest, 1).into_iter().collect();
        let verified =
            verified.map_err(|error| format!("from block {first} on: {}", with_causes(&error)))?;
        importer
            .import_many(verified, Origin::Operator, chains::now())
            .map_err(|error| format!("from block {first} on: {}", with_causes(&error)))?;
        rest = later;
    }
    let view = importer.view();
    same("head", &Some(view.head.hash()), &last)?;
    same("total difficulty", &view.td.get(), &work)?;
    Ok(importer)
}

/// The last of these blocks must be refused.
fn refuse(spec: ChainSpec, folder: &Path, mut blocks: Vec<SealedBlock>) -> Result<(), String> {
    let bad = blocks.pop().ok_or("no blocks")?;
    let engine = engine_for(std::slice::from_ref(&bad));
    let mut importer = import_before(spec, folder, blocks, &bad)?;
    let before = importer.view().head.hash();
    match chains::import(&mut importer, &engine, bad) {
        Err(Refusal::Block(_)) => same("head", &importer.view().head.hash(), &before),
        Err(Refusal::Ours(error)) => Err(error),
        Ok(imported) => Err(format!("taken: {imported:?}")),
    }
}

/// Imports blocks after those of `chain.rlp`.
fn import_on_chain(
    spec: ChainSpec,
    folder: &Path,
    mut blocks: Vec<SealedBlock>,
) -> Result<(), String> {
    let last = blocks.pop().ok_or("no blocks")?;
    let engine = engine_for(std::slice::from_ref(&last));
    let mut importer = import_before(spec, folder, blocks, &last)?;
    chains::import(&mut importer, &engine, last).map(drop).map_err(|error| format!("{error:?}"))
}

/// A chain with the parent of a block: of the blocks before it, or else of `chain.rlp` beside it.
fn import_before(
    spec: ChainSpec,
    folder: &Path,
    mut blocks: Vec<SealedBlock>,
    block: &SealedBlock,
) -> Result<Importer, String> {
    let genesis = spec.genesis_block().hash();
    if blocks.is_empty() && block.header().parent_hash != genesis {
        let chain = fs::read(folder.join("chain.rlp")).map_err(|error| error.to_string())?;
        blocks = chains::decode_all(&chain)?;
    }
    blocks.retain(|block| block.header().number > 0);
    let importer = if blocks.is_empty() { chains::open(spec)? } else { import_all(spec, blocks)? };
    let parent = importer.view().db.header(block.header().parent_hash);
    match parent.map_err(|error| error.to_string())? {
        Some(_) => Ok(importer),
        None => Err("the parent of the block is not here".into()),
    }
}
