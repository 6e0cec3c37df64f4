use std::path::Path;

use alloy_rlp::Encodable;
use chain::testing::{BlockOptions, ChainBuilder};
use primitives::{Address, ChainSpec, SealedBlock};
use serde_json::{Value, json};

use super::key::Key;

/// The book's chain.
pub(crate) const CHAIN_ID: u64 = 27_587;

/// The book's genesis, but with accounts whose keys are known.
pub(crate) fn book_genesis(funded: &[Key]) -> Value {
    let mut alloc = serde_json::Map::new();
    for key in funded {
        let balance = json!({ "balance": "100000000000000000000" });
        alloc.insert(key.address().to_string(), balance);
    }
    json!({
        "config": {
            "chainId": CHAIN_ID,
            "homesteadBlock": 0,
            "eip150Block": 0,
            "eip155Block": 0,
            "eip158Block": 0
        },
        "difficulty": "0x400",
        "gasLimit": "0x8000000",
        "nonce": "0x0000000000000000",
        "alloc": alloc
    })
}

/// Two branches on one ancestor, without seals: for nodes that do not ask for any.
pub(crate) struct Branches {
    /// The genesis that they grow from.
    pub(crate) genesis: Value,
    /// Genesis to the end of the first branch.
    pub(crate) first: Vec<SealedBlock>,
    /// The blocks after the ancestor on the other branch. Only its last one makes it heavier.
    pub(crate) second: Vec<SealedBlock>,
}

impl Branches {
    /// Grows `common` blocks, then `length` of them on the first branch and one more on the other.
    /// Each has a transfer.
    pub(crate) fn grow(common: u64, length: u64) -> Self {
        let key = Key::fixed(1);
        let genesis = book_genesis(&[key]);
        let spec = ChainSpec::from_json(&genesis.to_string()).expect("the genesis is right");
        let mut first = vec![spec.genesis_block().clone()];
        let mut builder = ChainBuilder::new(spec.clone());
        for nonce in 0..common + length {
            first.push(extend(&mut builder, &first, &key, nonce, 0xaa));
        }
        let ancestor = usize::try_from(common).expect("a short chain");
        let mut second = first[..=ancestor].to_vec();
        // Another database: the first has left the ancestor's state behind.
        let mut builder = ChainBuilder::new(spec);
        for block in &second[1..] {
            builder.import(block.clone()).expect("the block is right");
        }
        for nonce in common..=common + length {
            second.push(extend(&mut builder, &second, &key, nonce, 0xbb));
        }
        let second = second.split_off(ancestor + 1);
        Self { genesis, first, second }
    }

    /// Number and hash of the end of the first branch.
    pub(crate) fn first_end(&self) -> (u64, String) {
        end(&self.first)
    }

    /// Number and hash of the end of the other branch.
    pub(crate) fn second_end(&self) -> (u64, String) {
        end(&self.second)
    }
}

fn extend(
    builder: &mut ChainBuilder,
    blocks: &[SealedBlock],
    key: &Key,
    nonce: u64,
    beneficiary: u8,
) -> SealedBlock {
    let parent = blocks.last().expect("there is a parent").hash();
    let to = Address::repeat_byte(u8::try_from(nonce % 251).expect("a byte"));
    let options =
        BlockOptions { beneficiary: Address::repeat_byte(beneficiary), ..BlockOptions::default() };
    let block = builder.block_on(parent, vec![key.transfer(CHAIN_ID, nonce, to)], options);
    builder.import(block.clone()).expect("the block is right");
    block
}

fn end(blocks: &[SealedBlock]) -> (u64, String) {
    let block = blocks.last().expect("the branch is not empty");
    (block.header().number, block.hash().to_string())
}

/// Blocks as they are in a file that geth exports.
pub(crate) fn rlp(blocks: &[SealedBlock]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in blocks {
        block.clone_block().encode(&mut bytes);
    }
    bytes
}

/// Writes a file and returns its path.
pub(crate) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("the folder is writable");
    path.into_os_string().into_string().expect("the path is UTF-8")
}
