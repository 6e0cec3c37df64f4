//! Transactions and their announcements on the wire.

use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_rlp::Encodable;
use primitives::{B256, Bytes, Transaction};

use super::{
    EthVersion, TRANSACTION_HASHES_MAX,
    items::{Items, WireError, encode_list},
};

/// A transaction that somebody says to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnnouncedTransaction {
    /// The transaction's hash.
    pub hash: B256,
    /// Told from eth/68 on.
    pub metadata: Option<TransactionMetadata>,
}

/// What an announcement says about a transaction beside its hash
/// ([EIP-5793](https://eips.ethereum.org/EIPS/eip-5793)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionMetadata {
    /// The EIP-2718 type, 0 for a legacy transaction.
    pub tx_type: u8,
    /// The length of the EIP-2718 form, in bytes.
    pub size: u32,
}

impl AnnouncedTransaction {
    /// What is announced of a transaction.
    #[must_use]
    pub fn of(tx: &Transaction) -> Self {
        let size = u32::try_from(tx.encode_2718_len()).unwrap_or(u32::MAX);
        let tx_type = tx.type_flag().unwrap_or_default();
        Self { hash: *tx.tx_hash(), metadata: Some(TransactionMetadata { tx_type, size }) }
    }
}

/// A legacy transaction is a list; one with a type is a string that begins with it
/// ([EIP-2718](https://eips.ethereum.org/EIPS/eip-2718)).
pub(super) fn decode(items: &mut Items<'_>) -> Result<Transaction, WireError> {
    let envelope = if items.next_is_list() {
        items.raw()?
    } else {
        let envelope = items.bytes()?;
        // The codec would take a legacy transaction, bare or with a type of 0, for a typed one.
        if !matches!(envelope.first(), Some(1..=0x7f)) {
            return Err(WireError::TransactionForm);
        }
        envelope
    };
    Transaction::decode_2718_exact(envelope).map_err(|_| WireError::TransactionForm)
}

pub(super) fn encode_each(transactions: &[Transaction]) -> Vec<Vec<u8>> {
    transactions.iter().map(alloy_rlp::encode).collect()
}

pub(super) fn decode_announcement(
    version: EthVersion,
    items: &mut Items<'_>,
) -> Result<Vec<AnnouncedTransaction>, WireError> {
    if !version.has_metadata() {
        return items.each(TRANSACTION_HASHES_MAX, |items| {
            Ok(AnnouncedTransaction { hash: items.value()?, metadata: None })
        });
    }
    let types = items.bytes()?;
    let sizes: Vec<u32> = items.list()?.each(TRANSACTION_HASHES_MAX, Items::value)?;
    let hashes: Vec<B256> = items.list()?.each(TRANSACTION_HASHES_MAX, Items::value)?;
    if types.len() != hashes.len() || sizes.len() != hashes.len() {
        let (types, sizes, hashes) = (types.len(), sizes.len(), hashes.len());
        return Err(WireError::AnnouncementLengths { types, sizes, hashes });
    }
    let metadata = types.iter().zip(sizes);
    let announced = hashes.into_iter().zip(metadata).map(|(hash, (tx_type, size))| {
        let metadata = Some(TransactionMetadata { tx_type: *tx_type, size });
        AnnouncedTransaction { hash, metadata }
    });
    Ok(announced.collect())
}

pub(super) fn encode_announcement(
    version: EthVersion,
    announced: &[AnnouncedTransaction],
    out: &mut Vec<u8>,
) {
    if !version.has_metadata() {
        let hashes: Vec<B256> = announced.iter().map(|tx| tx.hash).collect();
        hashes.encode(out);
        return;
    }
    let described = || announced.iter().filter_map(|tx| Some((tx.hash, tx.metadata?)));
    let types: Vec<u8> = described().map(|(_, metadata)| metadata.tx_type).collect();
    let sizes: Vec<u32> = described().map(|(_, metadata)| metadata.size).collect();
    let hashes: Vec<B256> = described().map(|(hash, _)| hash).collect();
    let mut content = Vec::new();
    Bytes::from(types).encode(&mut content);
    sizes.encode(&mut content);
    hashes.encode(&mut content);
    encode_list(&[content], out);
}
