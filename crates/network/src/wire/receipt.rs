//! Receipts on the wire: the consensus form, in a string if there is a type.

use alloy_rlp::Encodable;
use primitives::{B256, Bloom, Log, Receipt};

use super::items::{Items, WireError, encode_list};

/// The highest type that a transaction of ours can have.
const TYPE_MAX: u8 = 2;
/// A log has up to four topics (Yellow Paper §4.3.1).
const TOPICS_MAX: usize = 4;

/// The receipts of a block. They are bounded by the message's length: each has a bloom filter.
pub(super) fn decode_block(items: &mut Items<'_>) -> Result<Vec<Receipt>, WireError> {
    items.list()?.all(decode)
}

pub(super) fn encode_block(receipts: &[Receipt]) -> Vec<u8> {
    let receipts: Vec<Vec<u8>> = receipts.iter().map(encode).collect();
    let mut out = Vec::new();
    encode_list(&receipts, &mut out);
    out
}

/// Before Byzantium the form says nothing about success; it is taken for true then.
fn decode(items: &mut Items<'_>) -> Result<Receipt, WireError> {
    let (tx_type, mut parts) = if items.next_is_list() {
        (0, items.list()?)
    } else {
        let envelope = items.bytes()?;
        let (tx_type, payload) = envelope.split_first().ok_or(WireError::ReceiptForm)?;
        if !(1..=TYPE_MAX).contains(tx_type) {
            return Err(WireError::ReceiptForm);
        }
        (*tx_type, Items::of_payload(payload)?)
    };
    let (success, post_state) = if parts.next_is_hash() {
        (true, Some(parts.value::<B256>()?))
    } else {
        (parts.value::<bool>()?, None)
    };
    let cumulative_gas_used = parts.value()?;
    let bloom: Bloom = parts.value()?;
    let logs = parts.list()?.all(decode_log)?;
    parts.end()?;
    let receipt = Receipt { tx_type, success, cumulative_gas_used, logs, post_state };
    if receipt.bloom() != bloom {
        return Err(WireError::ReceiptForm);
    }
    Ok(receipt)
}

fn decode_log(items: &mut Items<'_>) -> Result<Log, WireError> {
    let mut parts = items.list()?;
    let address = parts.value()?;
    let topics = parts.list()?.each(TOPICS_MAX, Items::value)?;
    let data = parts.value()?;
    parts.end()?;
    Log::new(address, topics, data).ok_or(WireError::ReceiptForm)
}

fn encode(receipt: &Receipt) -> Vec<u8> {
    let mut consensus = Vec::new();
    receipt.encode_consensus(&receipt.bloom(), &mut consensus);
    if receipt.tx_type == 0 {
        return consensus;
    }
    let mut out = Vec::with_capacity(consensus.len() + 4);
    consensus.as_slice().encode(&mut out);
    out
}
