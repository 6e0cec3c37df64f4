//! Genesis files as geth writes and reads them: any case of the keys, unknown members ignored,
//! numbers as hex, decimal or plain.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    DaoFork, FieldProblem, Forks, Genesis, GenesisAccount, GenesisError, error::shown,
    forks::check_order,
};
use crate::{Address, B64, B256, Bytes, U256, hex};

/// Blocks that some release of geth counts in the fork id though they change no rule here.
const OTHER_FORKS: [&str; 8] = [
    "mergeNetsplitBlock",
    "shanghaiBlock",
    "cancunBlock",
    "ewasmBlock",
    "catalystBlock",
    "yoloV1Block",
    "yoloV2Block",
    "yoloV3Block",
];

/// A JSON object and where it is in the file.
struct Object<'a> {
    path: String,
    members: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    fn new(path: impl Into<String>, value: &'a Value) -> Result<Self, GenesisError> {
        let path = path.into();
        match value {
            Value::Object(members) => Ok(Self { path, members }),
            _ => Err(GenesisError::field(path, FieldProblem::NotAnObject)),
        }
    }

    /// A member by its name in any case, the exact spelling first; null is absent.
    fn member(&self, name: &str) -> Option<&'a Value> {
        let exact = self.members.get(name);
        exact
            .or_else(|| {
                self.members
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value)
            })
            .filter(|value| !value.is_null())
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Reads a member if it is there, and says where it is if it cannot be read.
    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, FieldProblem>,
    ) -> Result<Option<T>, GenesisError> {
        self.member(name)
            .map(|value| {
                read(value).map_err(|problem| GenesisError::field(self.path_of(name), problem))
            })
            .transpose()
    }

    fn required<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Value) -> Result<T, FieldProblem>,
    ) -> Result<T, GenesisError> {
        self.read(field, read)?.ok_or(GenesisError::Missing { field })
    }
}

/// Reads the members of a genesis file beside `config`.
pub(super) fn genesis(file: &Value) -> Result<Genesis, GenesisError> {
    let object = Object::new("", file)
        .map_err(|_| GenesisError::field("the genesis file", FieldProblem::NotAnObject))?;
    let genesis = Genesis {
        nonce: B64::from(object.read("nonce", u64_of)?.unwrap_or_default().to_be_bytes()),
        timestamp: object.read("timestamp", u64_of)?.unwrap_or_default(),
        extra_data: object.read("extraData", bytes_of)?.unwrap_or_default(),
        gas_limit: object.required("gasLimit", u64_of)?,
        difficulty: object.required("difficulty", u256_of)?,
        mix_hash: object.read("mixHash", fixed_of)?.map(B256::new).unwrap_or_default(),
        beneficiary: object.read("coinbase", fixed_of)?.map(Address::new).unwrap_or_default(),
        alloc: alloc(object.member("alloc").ok_or(GenesisError::Missing { field: "alloc" })?)?,
        number: object.read("number", u64_of)?.unwrap_or_default(),
        gas_used: object.read("gasUsed", u64_of)?.unwrap_or_default(),
        parent_hash: object.read("parentHash", fixed_of)?.map(B256::new).unwrap_or_default(),
        base_fee: object.read("baseFeePerGas", u64_of)?,
    };
    if genesis.number != 0 {
        return Err(GenesisError::Number);
    }
    Ok(genesis)
}

/// Reads `config`: the object itself, the chain id (0 if absent) and the forks.
pub(super) fn config(file: &Value) -> Result<(Value, u64, Forks), GenesisError> {
    let file = Object::new("", file)?;
    let value = file.member("config").ok_or(GenesisError::NoConfig)?;
    let config = Object::new("config", value)?;
    if config.member("clique").is_some() {
        return Err(GenesisError::Clique);
    }
    let chain_id = config.read("chainId", u64_of)?.unwrap_or_default();
    Ok((value.clone(), chain_id, forks(&config)?))
}

fn forks(config: &Object<'_>) -> Result<Forks, GenesisError> {
    let block = |name: &str| config.read(name, u64_of);
    let support = config.read("daoForkSupport", bool_of)?.unwrap_or_default();
    let mut forks = Forks {
        homestead: block("homesteadBlock")?,
        dao: block("daoForkBlock")?.map(|block| DaoFork { block, support }),
        eip150: block("eip150Block")?,
        eip150_hash: config
            .read("eip150Hash", fixed_of)?
            .map(B256::new)
            .filter(|hash| !hash.is_zero()),
        eip155: block("eip155Block")?,
        eip158: block("eip158Block")?,
        byzantium: block("byzantiumBlock")?,
        constantinople: block("constantinopleBlock")?,
        petersburg: block("petersburgBlock")?,
        istanbul: block("istanbulBlock")?,
        muir_glacier: block("muirGlacierBlock")?,
        berlin: block("berlinBlock")?,
        london: block("londonBlock")?,
        arrow_glacier: block("arrowGlacierBlock")?,
        gray_glacier: block("grayGlacierBlock")?,
        other: Vec::new(),
    };
    check_order(&forks, block("mergeNetsplitBlock")?)?;
    for name in OTHER_FORKS {
        forks.other.extend(block(name)?);
    }
    forks.petersburg = forks.petersburg.or(forks.constantinople);
    Ok(forks)
}

fn alloc(value: &Value) -> Result<BTreeMap<Address, GenesisAccount>, GenesisError> {
    let object = Object::new("alloc", value)?;
    let mut alloc = BTreeMap::new();
    for (key, value) in object.members {
        let path = object.path_of(key);
        let address = fixed_from(key)
            .map(Address::new)
            .map_err(|problem| GenesisError::field(&path, problem))?;
        if alloc.insert(address, account(key, &path, value)?).is_some() {
            return Err(GenesisError::field(path, FieldProblem::Duplicate));
        }
    }
    Ok(alloc)
}

fn account(key: &str, path: &str, value: &Value) -> Result<GenesisAccount, GenesisError> {
    let missing = || GenesisError::MissingBalance { account: key.to_owned() };
    if value.is_null() {
        return Err(missing());
    }
    let object = Object::new(path, value)?;
    Ok(GenesisAccount {
        balance: object.read("balance", u256_of)?.ok_or_else(missing)?,
        nonce: object.read("nonce", u64_of)?.unwrap_or_default(),
        code: object.read("code", bytes_of)?.unwrap_or_default(),
        storage: match object.member("storage") {
            Some(slots) => storage(&Object::new(object.path_of("storage"), slots)?)?,
            None => BTreeMap::new(),
        },
    })
}

fn storage(object: &Object<'_>) -> Result<BTreeMap<B256, B256>, GenesisError> {
    let mut storage = BTreeMap::new();
    for (key, value) in object.members {
        let at = |problem| GenesisError::field(object.path_of(key), problem);
        let slot = word_from(key).map_err(at)?;
        let value = value.as_str().ok_or_else(|| not_hex(value)).and_then(word_from).map_err(at)?;
        if storage.insert(slot, value).is_some() {
            return Err(at(FieldProblem::Duplicate));
        }
    }
    storage.retain(|_, value| !value.is_zero());
    Ok(storage)
}

/// A number below 2^64 in any of its forms.
fn u64_of(value: &Value) -> Result<u64, FieldProblem> {
    u64::try_from(u256_of(value)?).map_err(|_| FieldProblem::TooLarge { bits: 64 })
}

/// A number below 2^256: `"0x…"` with any number of leading zeros, `"123"`, `""` for 0, or `123`.
fn u256_of(value: &Value) -> Result<U256, FieldProblem> {
    let (text, quoted) = match value {
        Value::String(text) => (text.clone(), true),
        Value::Number(number) => (number.to_string(), false),
        _ => return Err(FieldProblem::NotANumber { found: shown(value) }),
    };
    if text.is_empty() {
        return Ok(U256::ZERO);
    }
    let (digits, radix) = match strip_0x(&text).filter(|_| quoted) {
        Some(digits) => (digits, 16),
        None => (text.as_str(), 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(FieldProblem::NotANumber { found: shown(value) });
    }
    U256::from_str_radix(digits, u64::from(radix)).map_err(|_| FieldProblem::TooLarge { bits: 256 })
}

fn bool_of(value: &Value) -> Result<bool, FieldProblem> {
    value.as_bool().ok_or_else(|| FieldProblem::NotABoolean { found: shown(value) })
}

fn bytes_of(value: &Value) -> Result<Bytes, FieldProblem> {
    let text = value.as_str().ok_or_else(|| not_hex(value))?;
    hex::decode(strip_0x(text).unwrap_or(text)).map(Bytes::from).map_err(|_| not_hex(value))
}

fn fixed_of<const N: usize>(value: &Value) -> Result<[u8; N], FieldProblem> {
    fixed_from(value.as_str().ok_or_else(|| not_hex(value))?)
}

/// Exactly `N` bytes, with or without `0x`.
fn fixed_from<const N: usize>(text: &str) -> Result<[u8; N], FieldProblem> {
    let digits = strip_0x(text).unwrap_or(text);
    if digits.len() != 2 * N {
        return Err(FieldProblem::Length { digits: digits.len(), wanted: 2 * N });
    }
    hex::decode_to_array(digits).map_err(|_| FieldProblem::NotHex { found: format!("'{text}'") })
}

/// Up to 32 bytes, padded on the left.
fn word_from(text: &str) -> Result<B256, FieldProblem> {
    let digits = strip_0x(text).unwrap_or(text);
    if digits.len() > 64 {
        return Err(FieldProblem::Length { digits: digits.len(), wanted: 64 });
    }
    fixed_from(&format!("{digits:0>64}")).map(B256::new)
}

fn strip_0x(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

fn not_hex(value: &Value) -> FieldProblem {
    FieldProblem::NotHex { found: shown(value) }
}
