//! RLPTests: values and their encodings, and bytes that encode nothing.

use alloy_rlp::{Encodable, Header};
use primitives::hex;
use serde_json::Value;

use crate::{
    json::{maybe_bytes, object, text},
    report::Sink,
};

/// What RLP can express.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    Bytes(Vec<u8>),
    List(Vec<Self>),
}

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    for (name, test) in object(json) {
        sink.case(name, || run_case(test));
    }
}

fn run_case(test: &Value) -> Result<(), String> {
    let Some(encoded) = maybe_bytes(&test["out"]) else {
        return Err("the encoding is no hex".into());
    };
    let decoded = decode(&encoded);
    match test["in"].as_str() {
        Some("VALID") => decoded.map(|_| ()),
        Some("INVALID") => match decoded {
            Ok(item) => Err(format!("decoded as {item:?}")),
            Err(_) => Ok(()),
        },
        _ => {
            let item = item(&test["in"]);
            let mut out = Vec::new();
            encode(&item, &mut out);
            if out != encoded {
                return Err(format!("{}, expected {}", hex::encode(out), test["out"]));
            }
            if decoded? == item { Ok(()) } else { Err("decoded as something else".into()) }
        }
    }
}

fn item(value: &Value) -> Item {
    match value {
        Value::Array(items) => Item::List(items.iter().map(item).collect()),
        Value::Number(number) => Item::Bytes(minimal(&number.to_string())),
        other => {
            let text = text(other);
            match text.strip_prefix('#') {
                Some(digits) => Item::Bytes(minimal(digits)),
                None => Item::Bytes(text.as_bytes().to_vec()),
            }
        }
    }
}

/// The bytes of a decimal number of any length, without leading zeros.
fn minimal(digits: &str) -> Vec<u8> {
    let mut little_endian: Vec<u8> = Vec::new();
    for digit in digits.chars() {
        let mut carry = digit.to_digit(10).expect("a decimal digit");
        for byte in &mut little_endian {
            let sum = u32::from(*byte) * 10 + carry;
            *byte = u8::try_from(sum % 256).expect("a remainder of 256");
            carry = sum / 256;
        }
        if carry > 0 {
            little_endian.push(u8::try_from(carry).expect("less than ten"));
        }
    }
    little_endian.into_iter().rev().collect()
}

fn encode(item: &Item, out: &mut Vec<u8>) {
    match item {
        Item::Bytes(bytes) => bytes.as_slice().encode(out),
        Item::List(items) => {
            let mut payload = Vec::new();
            items.iter().for_each(|item| encode(item, &mut payload));
            Header { list: true, payload_length: payload.len() }.encode(out);
            out.extend(payload);
        }
    }
}

fn decode(encoded: &[u8]) -> Result<Item, String> {
    let mut rest = encoded;
    let item = decode_next(&mut rest)?;
    if rest.is_empty() { Ok(item) } else { Err("bytes are left".into()) }
}

fn decode_next(rest: &mut &[u8]) -> Result<Item, String> {
    let header = Header::decode(rest).map_err(|error| error.to_string())?;
    let payload = rest.split_off(..header.payload_length).ok_or("too short")?;
    if !header.list {
        return Ok(Item::Bytes(payload.to_vec()));
    }
    let (mut payload, mut items) = (payload, Vec::new());
    while !payload.is_empty() {
        items.push(decode_next(&mut payload)?);
    }
    Ok(Item::List(items))
}
