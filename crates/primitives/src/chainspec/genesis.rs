use std::collections::BTreeMap;

use alloy_consensus::Header;
use alloy_trie::{
    TrieAccount,
    root::{state_root_unhashed, storage_root_unhashed},
};
use serde::Serialize;
use serde_json::Value;

use super::{GenesisError, json};
use crate::{Address, B64, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

/// The gas limit of a genesis that says 0, as geth fills it in.
const GAS_LIMIT_DEFAULT: u64 = 4_712_388;

/// The base fee in wei of a chain's first block under London's rules
/// ([EIP-1559](https://eips.ethereum.org/EIPS/eip-1559)).
pub(crate) const INITIAL_BASE_FEE: u64 = 1_000_000_000;

/// The first block of a chain and the state it begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Genesis {
    /// The header's nonce.
    pub nonce: B64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// The header's extra data.
    pub extra_data: Bytes,
    /// The header's gas limit; 0 means 4 712 388, as in geth.
    pub gas_limit: u64,
    /// The header's difficulty.
    pub difficulty: U256,
    /// The header's mix hash.
    pub mix_hash: B256,
    /// The header's beneficiary.
    pub beneficiary: Address,
    /// The header's parent hash.
    pub parent_hash: B256,
    /// The header's number: 0 in every real genesis.
    pub number: u64,
    /// The header's gas used.
    pub gas_used: u64,
    /// The header's base fee in wei, if given.
    pub base_fee: Option<u64>,
    /// The accounts that exist from the beginning, empty ones included.
    pub alloc: BTreeMap<Address, GenesisAccount>,
}

/// One account of the first state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenesisAccount {
    /// In wei.
    pub balance: U256,
    /// The account's nonce.
    pub nonce: u64,
    /// The account's code, empty for none.
    pub code: Bytes,
    /// The account's storage; zero values do not exist.
    pub storage: BTreeMap<B256, B256>,
}

impl GenesisAccount {
    /// The account as a leaf of the state trie.
    fn trie_account(&self) -> TrieAccount {
        let slots = self.storage.iter().filter(|(_, value)| !value.is_zero());
        TrieAccount {
            nonce: self.nonce,
            balance: self.balance,
            storage_root: storage_root_unhashed(
                slots.map(|(slot, value)| (*slot, U256::from_be_bytes(value.0))),
            ),
            code_hash: if self.code.is_empty() { KECCAK256_EMPTY } else { keccak256(&self.code) },
        }
    }
}

impl Genesis {
    /// Reads a genesis file of geth's, without its `config`.
    ///
    /// # Errors
    ///
    /// If the text is no JSON object, a required member is missing, or a value cannot be meant.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        json::genesis(&serde_json::from_str(text)?)
    }

    /// The root of the first state. Accounts without anything in them count too.
    #[must_use]
    pub fn state_root(&self) -> B256 {
        state_root_unhashed(
            self.alloc.iter().map(|(address, account)| (*address, account.trie_account())),
        )
    }

    /// The first header, state root included; `london` says whether London's rules hold in it.
    #[must_use]
    pub fn header(&self, london: bool) -> Header {
        Header {
            parent_hash: self.parent_hash,
            beneficiary: self.beneficiary,
            state_root: self.state_root(),
            difficulty: self.difficulty,
            number: self.number,
            gas_limit: if self.gas_limit == 0 { GAS_LIMIT_DEFAULT } else { self.gas_limit },
            gas_used: self.gas_used,
            timestamp: self.timestamp,
            extra_data: self.extra_data.clone(),
            mix_hash: self.mix_hash,
            nonce: self.nonce,
            base_fee_per_gas: london.then(|| self.base_fee.unwrap_or(INITIAL_BASE_FEE)),
            ..Header::default()
        }
    }

    /// The genesis as a file that geth reads, with this `config`.
    #[must_use]
    pub fn to_geth_json(&self, config: &Value) -> String {
        let file = GenesisFile {
            config,
            nonce: quantity(u64::from_be_bytes(self.nonce.0)),
            timestamp: quantity(self.timestamp),
            extra_data: &self.extra_data,
            gas_limit: quantity(self.gas_limit),
            difficulty: quantity(self.difficulty),
            mix_hash: self.mix_hash,
            coinbase: format!("{:#x}", self.beneficiary),
            alloc: self
                .alloc
                .iter()
                .map(|(address, account)| (format!("{address:x}"), AccountFile::new(account)))
                .collect(),
            number: quantity(self.number),
            gas_used: quantity(self.gas_used),
            parent_hash: self.parent_hash,
            base_fee_per_gas: self.base_fee.map(quantity),
        };
        serde_json::to_string(&file).expect("strings and maps with string keys are always JSON")
    }
}

/// A genesis file in geth's order and forms.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenesisFile<'a> {
    config: &'a Value,
    nonce: String,
    timestamp: String,
    extra_data: &'a Bytes,
    gas_limit: String,
    difficulty: String,
    mix_hash: B256,
    coinbase: String,
    alloc: BTreeMap<String, AccountFile<'a>>,
    number: String,
    gas_used: String,
    parent_hash: B256,
    base_fee_per_gas: Option<String>,
}

#[derive(Serialize)]
struct AccountFile<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a Bytes>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    storage: &'a BTreeMap<B256, B256>,
    balance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

impl<'a> AccountFile<'a> {
    fn new(account: &'a GenesisAccount) -> Self {
        Self {
            code: Some(&account.code).filter(|code| !code.is_empty()),
            storage: &account.storage,
            balance: quantity(account.balance),
            nonce: Some(account.nonce).filter(|nonce| *nonce > 0).map(quantity),
        }
    }
}

fn quantity(number: impl std::fmt::LowerHex) -> String {
    format!("{number:#x}")
}
