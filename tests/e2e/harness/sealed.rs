use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use alloy_rlp::Encodable;
use chain::testing::{BlockOptions, ChainBuilder};
use consensus::seal_hash;
use ethash::Target;
use primitives::{Address, B64, Block, ChainSpec, Header, SealedBlock};

use super::{
    branches::{CHAIN_ID, book_genesis},
    cache,
    key::Key,
    random::say,
    sealing::DATASET,
};

/// Blocks of the chain.
pub(crate) const SEALED_BLOCKS: u64 = 2_048;
/// Every so many blocks there is one with an ommer.
const OMMER_PERIOD: u64 = 16;
/// How far apart threads search.
const NONCES_APART: u64 = 1 << 40;

/// Files of a chain with seals that hold, transactions and ommers.
pub(crate) struct SealedChain {
    /// The genesis.
    pub(crate) genesis: PathBuf,
    /// The blocks.
    pub(crate) blocks: PathBuf,
}

impl SealedChain {
    /// Made once, which takes minutes, and kept.
    pub(crate) fn obtain() -> Self {
        let folder = cache().join("chains").join(format!("sealed-v1-{SEALED_BLOCKS}"));
        let chain = Self { genesis: folder.join("genesis.json"), blocks: folder.join("chain.rlp") };
        if !chain.blocks.exists() {
            let key = Key::fixed(1);
            let genesis = book_genesis(&[key]).to_string();
            fs::create_dir_all(&folder).expect("the cache is writable");
            fs::write(&chain.genesis, &genesis).expect("the cache is writable");
            let part = folder.join("chain.part");
            fs::write(&part, grow(&genesis)).expect("the cache is writable");
            fs::rename(&part, &chain.blocks).expect("the cache is writable");
        }
        chain
    }
}

fn grow(genesis: &str) -> Vec<u8> {
    let started = Instant::now();
    let key = Key::fixed(1);
    let spec = ChainSpec::from_json(genesis).expect("the genesis is right");
    let mut bytes = Vec::new();
    let mut tip = spec.genesis_block().clone();
    tip.clone_block().encode(&mut bytes);
    let mut before = tip.clone();
    let mut builder = ChainBuilder::new(spec);
    for number in 1..=SEALED_BLOCKS {
        let ommers = if number % OMMER_PERIOD == 0 {
            let beneficiary = Address::repeat_byte(0xbb);
            let options = BlockOptions { beneficiary, ..BlockOptions::default() };
            let ommer = sealed(builder.block_on(before.hash(), vec![], options));
            vec![ommer.header().clone()]
        } else {
            vec![]
        };
        let to = Address::repeat_byte(u8::try_from(number % 251).expect("a byte"));
        let transfer = key.transfer(CHAIN_ID, number - 1, to);
        let options = BlockOptions { ommers, ..BlockOptions::default() };
        let block = sealed(builder.block_on(tip.hash(), vec![transfer], options));
        builder.import(block.clone()).expect("the block is right");
        block.clone_block().encode(&mut bytes);
        before = std::mem::replace(&mut tip, block);
        if number % 256 == 0 {
            say(&format!("sealed {number} of {SEALED_BLOCKS} blocks in {:?}", started.elapsed()));
        }
    }
    bytes
}

/// The block with a seal that holds.
fn sealed(block: SealedBlock) -> SealedBlock {
    let Block { header, body } = block.into_block();
    let hash = seal_hash(&header);
    let target = Target::from_difficulty(header.difficulty).expect("a difficulty is positive");
    let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
    let search = |first: u64| {
        let nonces = first..first + NONCES_APART;
        let found = DATASET.search(&hash, &target, nonces, &stop, &hashes);
        if found.is_some() {
            stop.store(true, Ordering::Relaxed);
        }
        found
    };
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let (nonce, pow) = thread::scope(|scope| {
        let searches: Vec<_> =
            (0..threads).map(|index| scope.spawn(move || search(index * NONCES_APART))).collect();
        let mut found = searches.into_iter().map(|search| search.join().expect("no panic"));
        found.find_map(|found| found).expect("there is a seal")
    });
    let header = Header { nonce: B64::from(nonce), mix_hash: pow.mix_hash, ..header };
    SealedBlock::seal_slow(Block { header, body })
}
