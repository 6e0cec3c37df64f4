//! Reading values of test files. What cannot be meant is a panic, and so a failure of the case.

use std::collections::BTreeMap;

use primitives::{Address, B64, B256, Bytes, Genesis, GenesisAccount, U256, hex};
use serde_json::Value;

/// The members of an object, those about the file itself left out.
pub(crate) fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().expect("an object").iter();
    members.map(|(key, value)| (key.as_str(), value)).filter(|(key, _)| *key != "_info")
}

/// The items of a list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// A string.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

/// Bytes in hex, with or without `0x`.
pub(crate) fn bytes(value: &Value) -> Bytes {
    maybe_bytes(value).unwrap_or_else(|| panic!("not hex: {value}"))
}

/// Bytes in hex, if that is what it is.
pub(crate) fn maybe_bytes(value: &Value) -> Option<Bytes> {
    hex::decode(value.as_str()?).ok().map(Bytes::from)
}

/// A number of up to 256 bits in any of the forms that test files use; `None` if it is larger.
pub(crate) fn long(value: &Value) -> Option<U256> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        value => text(value).to_owned(),
    };
    let text = text.strip_prefix("0x:bigint ").unwrap_or(&text);
    match text.strip_prefix("0x") {
        Some("") => Some(U256::ZERO),
        Some(digits) => U256::from_str_radix(digits, 16).ok(),
        None if text.is_empty() => Some(U256::ZERO),
        None => U256::from_str_radix(text, 10).ok(),
    }
}

/// A number of up to 64 bits; `None` if it is larger.
pub(crate) fn short(value: &Value) -> Option<u64> {
    long(value).and_then(|number| number.try_into().ok())
}

/// A number that must fit into 64 bits.
pub(crate) fn number(value: &Value) -> u64 {
    short(value).unwrap_or_else(|| panic!("not a number of 64 bits: {value}"))
}

/// A number that must fit into 256 bits.
pub(crate) fn word(value: &Value) -> U256 {
    long(value).unwrap_or_else(|| panic!("not a number of 256 bits: {value}"))
}

/// A hash.
pub(crate) fn hash(value: &Value) -> B256 {
    text(value).parse().unwrap_or_else(|_| panic!("not a hash: {value}"))
}

/// An address.
pub(crate) fn address(value: &Value) -> Address {
    text(value).parse().unwrap_or_else(|_| panic!("not an address: {value}"))
}

/// Accounts by address, as `pre`, `post` and `alloc` have them; what is missing is zero.
pub(crate) fn accounts(value: &Value) -> BTreeMap<Address, GenesisAccount> {
    object(value).map(|(key, value)| (key.parse().expect("an address"), account(value))).collect()
}

fn account(value: &Value) -> GenesisAccount {
    let member = |name: &str| value.get(name).filter(|member| !member.is_null());
    let balance = member("balance").or_else(|| member("wei"));
    let storage = member("storage").map(|slots| {
        let slots = object(slots).map(|(slot, value)| {
            (B256::from(word(&Value::String(slot.into()))), B256::from(word(value)))
        });
        slots.filter(|(_, value)| !value.is_zero()).collect()
    });
    GenesisAccount {
        balance: balance.map(word).unwrap_or_default(),
        nonce: member("nonce").map(number).unwrap_or_default(),
        code: member("code").map(bytes).unwrap_or_default(),
        storage: storage.unwrap_or_default(),
    }
}

/// The first block of a blockchain test.
pub(crate) fn genesis(header: &Value, alloc: &Value) -> Genesis {
    Genesis {
        nonce: B64::from_slice(&bytes(&header["nonce"])),
        timestamp: number(&header["timestamp"]),
        extra_data: bytes(&header["extraData"]),
        gas_limit: number(&header["gasLimit"]),
        difficulty: word(&header["difficulty"]),
        mix_hash: hash(&header["mixHash"]),
        beneficiary: address(&header["coinbase"]),
        parent_hash: hash(&header["parentHash"]),
        number: number(&header["number"]),
        gas_used: number(&header["gasUsed"]),
        base_fee: header.get("baseFeePerGas").map(number),
        alloc: accounts(alloc),
    }
}
