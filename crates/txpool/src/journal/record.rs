//! One record: length of what follows the checksum (4 bytes, big-endian), CRC-32 of it (IEEE
//! polynomial, 4 bytes, big-endian), kind (1 byte), payload.

use alloy_eips::{Decodable2718, Encodable2718};
use primitives::{B256, Transaction};

use crate::validate::TRANSACTION_BYTES_MAX;

/// Bytes before the kind.
const HEAD_BYTES: usize = 8;
/// Kind and payload of the longest record.
const RECORD_BYTES_MAX: usize = 1 + TRANSACTION_BYTES_MAX;

const ADD: u8 = 1;
const CANCEL: u8 = 2;

/// What is written.
#[derive(Debug)]
pub(super) enum Record<'a> {
    /// A transaction was accepted. Payload: its envelope (EIP-2718).
    Add(&'a Transaction),
    /// The transaction with this hash was refused after its record was written. Payload: the hash.
    Cancel(B256),
}

/// What is read.
#[derive(Debug)]
pub(super) enum Entry {
    Add(Box<Transaction>),
    Cancel(B256),
}

impl Record<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        match self {
            Self::Add(tx) => {
                out.reserve(1 + tx.encode_2718_len());
                out.push(ADD);
                tx.encode_2718(out);
            }
            Self::Cancel(hash) => {
                out.push(CANCEL);
                out.extend_from_slice(hash.as_slice());
            }
        }
        let body = &out[start + HEAD_BYTES..];
        let length = u32::try_from(body.len()).expect("no transaction in the pool is that large");
        let checksum = crc32fast::hash(body);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        out[start + 4..start + HEAD_BYTES].copy_from_slice(&checksum.to_be_bytes());
    }
}

impl Entry {
    /// The first record of these bytes and how long it is; `None` if there is no whole and sound one.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
        let checksum = u32::from_be_bytes(bytes.get(4..HEAD_BYTES)?.try_into().ok()?);
        let length = usize::try_from(length).ok().filter(|length| *length <= RECORD_BYTES_MAX)?;
        let body = bytes.get(HEAD_BYTES..HEAD_BYTES + length)?;
        if crc32fast::hash(body) != checksum {
            return None;
        }
        let (kind, payload) = body.split_first()?;
        let entry = match *kind {
            ADD => {
                let mut rest = payload;
                let tx = Transaction::decode_2718(&mut rest).ok()?;
                if !rest.is_empty() {
                    return None;
                }
                Self::Add(Box::new(tx))
            }
            CANCEL => Self::Cancel(B256::try_from(payload).ok()?),
            _ => return None,
        };
        Some((entry, HEAD_BYTES + length))
    }
}
