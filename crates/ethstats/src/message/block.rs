//! A block in a report.

use std::str::FromStr;

use primitives::{Address, B256, Header, SealedBlock, TotalDifficulty, U256};
use serde_json::{Value, json};

use super::number;

/// Ommers that are kept of a block; the rules allow two.
const UNCLES_MAX: usize = 2;

/// A block to report, in geth's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    number: u64,
    json: Value,
}

impl Block {
    /// A block of the chain.
    #[must_use]
    pub fn new(block: &SealedBlock, td: TotalDifficulty) -> Self {
        let header: &Header = block.header();
        let body = block.body();
        let hashes: Vec<Value> =
            body.transactions.iter().map(|tx| json!({ "hash": tx.hash() })).collect();
        let uncles: Vec<Value> = body.ommers.iter().map(header_json).collect();
        let json = json!({
            "number": header.number,
            "hash": block.hash(),
            "parentHash": header.parent_hash,
            "timestamp": header.timestamp,
            "miner": header.beneficiary,
            "gasUsed": header.gas_used,
            "gasLimit": header.gas_limit,
            "difficulty": header.difficulty.to_string(),
            "totalDifficulty": td.to_string(),
            "transactions": hashes,
            "transactionsRoot": header.transactions_root,
            "stateRoot": header.state_root,
            "uncles": uncles,
        });
        Self { number: header.number, json }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn json(&self) -> &Value {
        &self.json
    }
}

/// A header as geth writes it, with its hash.
fn header_json(header: &Header) -> Value {
    let mut json = serde_json::to_value(header).unwrap_or_default();
    json["hash"] = json!(header.hash_slow());
    json
}

/// A block as a dashboard sees it: without what it does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSeen {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Hash of the parent.
    pub parent: B256,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Who is paid.
    pub miner: Address,
    /// Gas that the transactions used.
    pub gas_used: u64,
    /// Gas that they might have used.
    pub gas_limit: u64,
    /// Difficulty.
    pub difficulty: U256,
    /// Work up to here; zero if the node does not say.
    pub td: U256,
    /// How many transactions.
    pub transactions: usize,
    /// Root of the transactions.
    pub transactions_root: B256,
    /// Root of the state.
    pub state_root: B256,
    /// Ommers.
    pub uncles: Vec<Uncle>,
}

/// A block that came too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncle {
    /// Its hash, if the report has one.
    pub hash: Option<B256>,
    /// Who is paid.
    pub miner: Option<Address>,
    /// Its height.
    pub number: Option<u64>,
    /// Its parent's hash.
    pub parent: Option<B256>,
}

impl BlockSeen {
    /// `None` if it lacks what makes it a block.
    pub(super) fn read(block: &Value) -> Option<Self> {
        let count = |name: &str| number(&block[name]).unwrap_or(0);
        let uncles = block["uncles"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            // What a page's arithmetic can hold.
            number: number(&block["number"]).filter(|number| *number < 1 << 53)?,
            hash: parse(&block["hash"])?,
            parent: parse(&block["parentHash"])?,
            timestamp: count("timestamp"),
            miner: parse(&block["miner"]).unwrap_or_default(),
            gas_used: count("gasUsed"),
            gas_limit: count("gasLimit"),
            difficulty: big(&block["difficulty"]),
            td: big(&block["totalDifficulty"]),
            transactions: block["transactions"].as_array().map_or(0, Vec::len),
            transactions_root: parse(&block["transactionsRoot"]).unwrap_or_default(),
            state_root: parse(&block["stateRoot"]).unwrap_or_default(),
            uncles: uncles.iter().take(UNCLES_MAX).map(Uncle::read).collect(),
        })
    }
}

impl Uncle {
    fn read(uncle: &Value) -> Self {
        Self {
            hash: parse(&uncle["hash"]).or_else(|| parse(uncle)),
            miner: parse(&uncle["miner"]),
            number: number(&uncle["number"]),
            parent: parse(&uncle["parentHash"]),
        }
    }
}

fn parse<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// A number of any size, however it is written; zero if it is none.
fn big(value: &Value) -> U256 {
    match value {
        Value::String(text) => text.parse().unwrap_or_default(),
        Value::Number(number) => number.to_string().parse().unwrap_or_default(),
        _ => U256::ZERO,
    }
}
