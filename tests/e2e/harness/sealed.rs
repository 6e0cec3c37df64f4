use std::{fs, path::Path};

use alloy_rlp::Encodable;
use chain::testing::{BlockOptions, ChainBuilder};
use primitives::{Address, ChainSpec};

use super::{
    branches::{CHAIN_ID, book_genesis},
    key::Key,
    sealing::Seals,
};

/// Blocks of the chain.
pub(crate) const SEALED_BLOCKS: u64 = 2_048;
/// Every so many blocks there is one with an ommer.
const OMMER_PERIOD: u64 = 16;
/// Nonces of the chain's ommers and blocks, in the order in which they are made: to find them takes
/// minutes.
const NONCES: &str = include_str!("../../fixtures/sealed_chain_nonces.txt");

/// Files of a chain with seals that hold, transactions and ommers: genesis and blocks.
pub(crate) fn make_sealed_chain(folder: &Path) -> [String; 2] {
    let key = Key::fixed(1);
    let genesis = book_genesis(&[key]).to_string();
    [("genesis.json", genesis.clone().into_bytes()), ("chain.rlp", grow(&genesis, &key))].map(
        |(name, content)| {
            let path = folder.join(name);
            fs::write(&path, content).expect("the folder is writable");
            path.to_str().expect("it is UTF-8").to_owned()
        },
    )
}

fn grow(genesis: &str, key: &Key) -> Vec<u8> {
    let spec = ChainSpec::from_json(genesis).expect("the genesis is right");
    let mut seals = Seals::new(NONCES);
    let mut bytes = Vec::new();
    let mut tip = spec.genesis_block().clone();
    tip.clone_block().encode(&mut bytes);
    let mut before = tip.clone();
    let mut builder = ChainBuilder::new(spec);
    for number in 1..=SEALED_BLOCKS {
        let ommers = if number % OMMER_PERIOD == 0 {
            let beneficiary = Address::repeat_byte(0xbb);
            let options = BlockOptions { beneficiary, ..BlockOptions::default() };
            let ommer = seals.seal(&builder.block_on(before.hash(), vec![], options));
            vec![ommer.header().clone()]
        } else {
            vec![]
        };
        let to = Address::repeat_byte(u8::try_from(number % 251).expect("a byte"));
        let transfer = key.transfer(CHAIN_ID, number - 1, to);
        let options = BlockOptions { ommers, ..BlockOptions::default() };
        let block = seals.seal(&builder.block_on(tip.hash(), vec![transfer], options));
        builder.import(block.clone()).expect("the block is right");
        block.clone_block().encode(&mut bytes);
        before = std::mem::replace(&mut tip, block);
    }
    seals.finish();
    bytes
}
