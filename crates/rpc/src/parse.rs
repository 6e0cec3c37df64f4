//! What clients write, read as geth reads it and refused in geth's words.

use primitives::{Address, B64, B256, Bytes, U256};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Which block a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockTag {
    /// Block 0.
    Earliest,
    /// The head.
    Latest,
    /// What is being mined.
    Pending,
    /// A notion of proof of stake; here so many blocks below the head, if the operator says so.
    Safe,
    /// The same.
    Finalized,
    /// A canonical block by number.
    Number(u64),
}

/// A block by tag, number or hash (EIP-1898).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockId {
    /// By tag or number.
    Tag(BlockTag),
    /// By hash.
    Hash {
        /// The hash.
        hash: B256,
        /// Whether a side block is refused.
        require_canonical: bool,
    },
}

/// A string without its quotes; the reason names the Go type a client knows from geth.
pub(crate) fn text<'a>(
    raw: &'a RawValue,
    go_type: &str,
) -> Result<std::borrow::Cow<'a, str>, String> {
    let json = raw.get();
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(format!("json: cannot unmarshal non-string into Go value of type {go_type}"));
    };
    if inner.contains('\\') {
        return serde_json::from_str(json)
            .map(std::borrow::Cow::Owned)
            .map_err(|error| error.to_string());
    }
    Ok(inner.into())
}

/// Digits after `0x`.
fn digits(text: &str) -> Result<&str, &'static str> {
    if text.is_empty() {
        return Err("empty hex string");
    }
    text.strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .ok_or("hex string without 0x prefix")
}

fn quantity_digits(text: &str) -> Result<&str, &'static str> {
    let digits = digits(text)?;
    if digits.is_empty() {
        return Err("hex string \"0x\"");
    }
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("invalid hex string");
    }
    // geth refuses leading zeros; clients that write them mean the number.
    Ok(digits.trim_start_matches('0'))
}

/// A quantity of at most 64 bits.
pub(crate) fn u64_text(text: &str) -> Result<u64, &'static str> {
    let digits = quantity_digits(text)?;
    if digits.len() > 16 {
        return Err("hex number > 64 bits");
    }
    let digits = if digits.is_empty() { "0" } else { digits };
    u64::from_str_radix(digits, 16).map_err(|_| "invalid hex string")
}

/// A quantity of at most 256 bits.
pub(crate) fn u256_text(text: &str) -> Result<U256, &'static str> {
    let digits = quantity_digits(text)?;
    if digits.len() > 64 {
        return Err("hex number > 256 bits");
    }
    let digits = if digits.is_empty() { "0" } else { digits };
    U256::from_str_radix(digits, 16).map_err(|_| "invalid hex string")
}

/// Bytes of any length.
pub(crate) fn bytes_text(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits = digits(text)?;
    if digits.len() % 2 == 1 {
        return Err("hex string of odd length");
    }
    primitives::hex::decode(digits).map_err(|_| "invalid hex string")
}

/// geth's words around a hex error: which Go type refused it.
pub(crate) fn wrapped(reason: &str, go_type: &str) -> String {
    format!("json: cannot unmarshal {reason} into Go value of type {go_type}")
}

fn fixed<const N: usize>(raw: &RawValue, go_type: &str) -> Result<[u8; N], String> {
    fixed_text(&text(raw, go_type)?, go_type)
}

/// Exactly `N` bytes.
pub(crate) fn fixed_text<const N: usize>(text: &str, go_type: &str) -> Result<[u8; N], String> {
    // Whole values are unmistakable without their prefix, and some clients omit it.
    let digits = if text.len() == 2 * N { Ok(text) } else { digits(text) };
    let digits = digits.map_err(|reason| wrapped(reason, go_type))?;
    if digits.len() % 2 == 1 {
        return Err(wrapped("hex string of odd length", go_type));
    }
    if digits.len() != 2 * N {
        return Err(format!(
            "hex string has length {}, want {} for {go_type}",
            digits.len(),
            2 * N
        ));
    }
    let mut bytes = [0; N];
    primitives::hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| wrapped("invalid hex string", go_type))?;
    Ok(bytes)
}

/// An address.
pub(crate) fn address(raw: &RawValue) -> Result<Address, String> {
    fixed::<20>(raw, "common.Address").map(Address::from)
}

/// A hash.
pub(crate) fn hash(raw: &RawValue) -> Result<B256, String> {
    fixed::<32>(raw, "common.Hash").map(B256::from)
}

/// A 32-byte value with its prefix: no client that must be borne with omits it here.
pub(crate) fn prefixed_hash(raw: &RawValue) -> Result<B256, String> {
    let text = text(raw, "common.Hash")?;
    digits(&text).map_err(|reason| wrapped(reason, "common.Hash"))?;
    hash(raw)
}

/// A seal's nonce.
pub(crate) fn nonce(raw: &RawValue) -> Result<B64, String> {
    fixed::<8>(raw, "types.BlockNonce").map(B64::from)
}

/// Bytes.
pub(crate) fn bytes(raw: &RawValue) -> Result<Bytes, String> {
    let text = text(raw, "hexutil.Bytes")?;
    bytes_text(&text).map(Bytes::from).map_err(|reason| wrapped(reason, "hexutil.Bytes"))
}

/// A quantity of 64 bits.
pub(crate) fn quantity(raw: &RawValue) -> Result<u64, String> {
    let text = text(raw, "hexutil.Uint64")?;
    u64_text(&text).map_err(|reason| wrapped(reason, "hexutil.Uint64"))
}

/// A quantity of 256 bits.
pub(crate) fn amount(raw: &RawValue) -> Result<U256, String> {
    let text = text(raw, "*hexutil.Big")?;
    u256_text(&text).map_err(|reason| wrapped(reason, "*hexutil.Big"))
}

/// A small count, as a quantity or as a plain number.
pub(crate) fn count(raw: &RawValue) -> Result<u64, String> {
    raw.get().parse().or_else(|_| quantity(raw))
}

/// `true` or `false`.
pub(crate) fn boolean(raw: &RawValue) -> Result<bool, String> {
    json_ref(raw)
}

/// A string.
pub(crate) fn string(raw: &RawValue) -> Result<String, String> {
    text(raw, "string").map(std::borrow::Cow::into_owned)
}

/// The name of a filter or a subscription.
pub(crate) fn rpc_id(raw: &RawValue) -> Result<String, String> {
    text(raw, "rpc.ID").map(std::borrow::Cow::into_owned)
}

/// Anything that has its own reader.
pub(crate) fn json_ref<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| error.to_string())
}

/// A storage slot: geth reads hex of any length, with or without prefix, and keeps the low 256 bits.
pub(crate) fn slot(raw: &RawValue) -> Result<U256, String> {
    let text = text(raw, "string")?;
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(&text);
    if digits.len() > 64 {
        return Err(
            "unable to decode storage key: hex string too long, want at most 32 bytes".into()
        );
    }
    if digits.is_empty() {
        return Ok(U256::ZERO);
    }
    U256::from_str_radix(digits, 16)
        .map_err(|_| "unable to decode storage key: hex string invalid".into())
}

/// A block by tag or number.
pub(crate) fn block_tag(raw: &RawValue) -> Result<BlockTag, String> {
    block_tag_text(raw.get().trim_matches('"')).map_err(str::to_owned)
}

pub(crate) fn block_tag_text(text: &str) -> Result<BlockTag, &'static str> {
    Ok(match text {
        "earliest" => BlockTag::Earliest,
        "latest" => BlockTag::Latest,
        "pending" => BlockTag::Pending,
        "safe" => BlockTag::Safe,
        "finalized" => BlockTag::Finalized,
        _ => {
            let number = u64_text(text)?;
            if i64::try_from(number).is_err() {
                return Err("block number larger than int64");
            }
            BlockTag::Number(number)
        }
    })
}

/// A block by tag, number, hash or object.
pub(crate) fn block_id(raw: &RawValue) -> Result<BlockId, String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Object<'a> {
        #[serde(borrow)]
        block_number: Option<&'a RawValue>,
        #[serde(borrow)]
        block_hash: Option<&'a RawValue>,
        #[serde(default)]
        require_canonical: bool,
    }
    if raw.get().starts_with('{') {
        let object: Object<'_> =
            serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
        return match (object.block_number, object.block_hash) {
            (Some(_), Some(_)) => {
                Err("cannot specify both BlockHash and BlockNumber, choose one or the other".into())
            }
            (Some(number), None) => block_tag(number).map(BlockId::Tag),
            (None, Some(block)) => Ok(BlockId::Hash {
                hash: hash(block)?,
                require_canonical: object.require_canonical,
            }),
            (None, None) => Err("missing block number or hash".into()),
        };
    }
    if raw.get().len() == 68 {
        return hash(raw).map(|hash| BlockId::Hash { hash, require_canonical: false });
    }
    block_tag(raw).map(BlockId::Tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn refuses_quantities_in_geths_words() {
        for (json, reason) in [
            ("1", "json: cannot unmarshal non-string into Go value of type hexutil.Uint64"),
            (
                r#""""#,
                "json: cannot unmarshal empty hex string into Go value of type hexutil.Uint64",
            ),
            (
                r#""1""#,
                "json: cannot unmarshal hex string without 0x prefix into Go value of type hexutil.Uint64",
            ),
            (
                r#""0x""#,
                "json: cannot unmarshal hex string \"0x\" into Go value of type hexutil.Uint64",
            ),
            (
                r#""0xg""#,
                "json: cannot unmarshal invalid hex string into Go value of type hexutil.Uint64",
            ),
            (
                r#""0x+1""#,
                "json: cannot unmarshal invalid hex string into Go value of type hexutil.Uint64",
            ),
            (
                r#""0x10000000000000000""#,
                "json: cannot unmarshal hex number > 64 bits into Go value of type hexutil.Uint64",
            ),
        ] {
            assert_eq!(quantity(&raw(json)).unwrap_err(), reason, "{json}");
        }
        assert_eq!(quantity(&raw(r#""0xffffffffffffffff""#)), Ok(u64::MAX));
        assert_eq!(quantity(&raw(r#""0x0""#)), Ok(0));
        assert_eq!(quantity(&raw(r#""0x0400""#)), Ok(0x400));
        assert_eq!(amount(&raw(r#""0x00""#)), Ok(U256::ZERO));
    }

    #[test]
    fn refuses_short_and_odd_addresses() {
        assert_eq!(
            address(&raw(r#""0x1234""#)).unwrap_err(),
            "hex string has length 4, want 40 for common.Address"
        );
        assert_eq!(
            address(&raw(r#""0x123""#)).unwrap_err(),
            "json: cannot unmarshal hex string of odd length into Go value of type common.Address"
        );
        for prefix in ["0x", "0X", ""] {
            assert!(address(&raw(&format!("\"{prefix}{}\"", "Ab".repeat(20)))).is_ok(), "{prefix}");
        }
    }

    #[test]
    fn a_block_is_named_by_tag_number_hash_or_object() {
        let hash = B256::repeat_byte(7);
        for (json, want) in [
            (r#""latest""#.to_owned(), BlockId::Tag(BlockTag::Latest)),
            (r#""0x10""#.to_owned(), BlockId::Tag(BlockTag::Number(16))),
            (r#"{"blockNumber":"0x1"}"#.to_owned(), BlockId::Tag(BlockTag::Number(1))),
            (format!("\"{hash}\""), BlockId::Hash { hash, require_canonical: false }),
            (
                format!(r#"{{"blockHash":"{hash}","requireCanonical":true}}"#),
                BlockId::Hash { hash, require_canonical: true },
            ),
        ] {
            assert_eq!(block_id(&raw(&json)), Ok(want), "{json}");
        }
        assert_eq!(
            block_id(&raw(&format!(r#"{{"blockHash":"{hash}","blockNumber":"0x1"}}"#)))
                .unwrap_err(),
            "cannot specify both BlockHash and BlockNumber, choose one or the other"
        );
        assert_eq!(
            block_id(&raw(r#""0xffffffffffffffff""#)).unwrap_err(),
            "block number larger than int64"
        );
        assert_eq!(block_id(&raw("16")).unwrap_err(), "hex string without 0x prefix");
    }

    #[test]
    fn slots_are_read_leniently() {
        for json in [r#""0x1""#, r#""0x01""#, r#""1""#, r#""0X0001""#] {
            assert_eq!(slot(&raw(json)), Ok(U256::from(1)), "{json}");
        }
        assert_eq!(slot(&raw(r#""0x""#)), Ok(U256::ZERO));
        assert!(slot(&raw(&format!("\"0x1{}\"", "0".repeat(64)))).is_err());
    }
}
