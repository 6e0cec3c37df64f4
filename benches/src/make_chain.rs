//! Writes a chain of so many blocks with a transfer each, and its genesis, for benchmarks.
//!
//! `make-chain BLOCKS DIR [EVERY]` makes `DIR/genesis.json` and `DIR/chain.rlp`. The blocks carry no
//! seal: import them with `hematite --fakepow import` or `geth --fakepow import`. With EVERY, only
//! every so manieth block has a transaction: a creation that logs its sender as a topic.

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::PathBuf,
};

use alloy_rlp::Encodable;
use chain::{
    Origin,
    testing::{BlockOptions, ChainBuilder, TestAccount},
};
use primitives::{Address, ChainSpec, Transaction, U256, keccak256};
use storage::StorageConfig;

const CHAIN_ID: u64 = 1_337;
/// Senders take turns.
const SENDERS: u8 = 3;
/// CALLER, PUSH1 0, PUSH1 0, LOG1, STOP.
const LOGGING: [u8; 7] = [0x33, 0x60, 0, 0x60, 0, 0xa1, 0];
/// How many different accounts receive.
const RECIPIENTS: u64 = 4_096;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(blocks), Some(directory)) = (args.next(), args.next()) else {
        return Err("usage: make-chain BLOCKS DIR [EVERY]".into());
    };
    let every: Option<u64> = args.next().map(|text| text.parse()).transpose()?;
    let (blocks, directory): (u64, PathBuf) = (blocks.parse()?, directory.into());
    fs::create_dir_all(&directory)?;
    let genesis = genesis();
    fs::write(directory.join("genesis.json"), &genesis)?;
    // On disk: in memory a million blocks take 15 GiB and more.
    let states = directory.join("states");
    let mut builder =
        ChainBuilder::open(StorageConfig::at(states.clone()), ChainSpec::from_json(&genesis)?);
    let mut out = BufWriter::new(File::create(directory.join("chain.rlp"))?);
    let mut rlp = Vec::new();
    builder.importer.spec().genesis_block().clone_block().encode(&mut rlp);
    out.write_all(&rlp)?;
    for number in 0..blocks {
        let transactions = match every {
            None => vec![transfer(number)?],
            Some(every) if number % every == 0 => vec![creation(number / every)?],
            Some(_) => Vec::new(),
        };
        let head = builder.importer.view().head.hash();
        let block = builder.block_on(head, transactions, BlockOptions::default());
        rlp.clear();
        block.clone_block().encode(&mut rlp);
        out.write_all(&rlp)?;
        let (verified, now) = (builder.verify(block), u64::MAX / 2);
        builder.importer.import_many(vec![verified], Origin::Operator, now)?;
    }
    out.flush()?;
    drop(builder);
    Ok(fs::remove_dir_all(states)?)
}

fn sender(number: u64) -> Result<TestAccount, Box<dyn Error>> {
    Ok(TestAccount::new(u8::try_from(number % u64::from(SENDERS))?))
}

fn transfer(number: u64) -> Result<Transaction, Box<dyn Error>> {
    let to = Address::from_slice(&keccak256((number % RECIPIENTS).to_be_bytes())[12..]);
    let nonce = number / u64::from(SENDERS);
    Ok(sender(number)?.transfer(CHAIN_ID, nonce, to, U256::from(1_000)))
}

fn creation(number: u64) -> Result<Transaction, Box<dyn Error>> {
    Ok(sender(number)?.create(CHAIN_ID, number / u64::from(SENDERS), LOGGING.into()))
}

/// A chain like the book's that funds the senders.
fn genesis() -> String {
    let alloc: Vec<String> = (0..SENDERS)
        .map(|index| {
            format!(
                "\"{}\": {{\"balance\": \"1{}\"}}",
                TestAccount::new(index).address(),
                "0".repeat(27)
            )
        })
        .collect();
    format!(
        "{{\"config\": {{\"chainId\": {CHAIN_ID}, \"homesteadBlock\": 0, \"eip150Block\": 0, \
         \"eip155Block\": 0, \"eip158Block\": 0}}, \"difficulty\": \"0x20000\", \
         \"gasLimit\": \"0x7a1200\", \"alloc\": {{{}}}}}\n",
        alloc.join(", ")
    )
}
