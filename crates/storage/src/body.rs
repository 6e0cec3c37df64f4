//! A record of `bodies`: what a block carries, and who signed its transactions.
//!
//! The senders stand behind the RLP, so that one read has both and no key is stored twice.
//! Recovering them from the signatures takes longer than all the rest of an answer.

use alloy_rlp::{Decodable, Header as RlpHeader};
use primitives::{Address, B256, BlockBody, SignerRecoverable, Transaction, keccak256};

use crate::{
    StorageError,
    codec::{bad, decode},
    schema::Column,
};

const ADDRESS_BYTES: usize = Address::len_bytes();

/// The record of a body.
///
/// # Panics
///
/// If there are more or fewer senders than transactions: a block that was not verified.
pub(crate) fn encode(body: &BlockBody, senders: &[Address]) -> Vec<u8> {
    assert_eq!(senders.len(), body.transactions.len(), "a sender for each transaction");
    let mut record = alloy_rlp::encode(body);
    record.extend(senders.iter().flat_map(|sender| sender.as_slice()));
    record
}

/// A record, taken apart but not decoded.
pub(crate) struct Record<'a> {
    key: &'a [u8],
    pub(crate) rlp: &'a [u8],
    senders: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn parse(key: &'a [u8], record: &'a [u8]) -> Result<Self, StorageError> {
        let mut behind = record;
        RlpHeader::decode_bytes(&mut behind, true).map_err(|error| wrong(key, error))?;
        let (rlp, senders) = record.split_at(record.len() - behind.len());
        Ok(Self { key, rlp, senders })
    }

    /// Transactions and ommers.
    pub(crate) fn body(&self) -> Result<BlockBody, StorageError> {
        let body: BlockBody = decode(Column::Bodies, self.key, self.rlp)?;
        self.check(body.transactions.len())?;
        Ok(body)
    }

    /// Transactions and ommers, and who signed each transaction.
    pub(crate) fn body_and_senders(&self) -> Result<(BlockBody, Vec<Address>), StorageError> {
        let body = self.body()?;
        let senders = match self.stored_senders() {
            [] => body.transactions.iter().map(|tx| self.recover(tx)).collect::<Result<_, _>>()?,
            stored => stored.iter().map(Address::from).collect(),
        };
        Ok((body, senders))
    }

    /// Who was noted to have signed the transactions; nobody in records of schema 1.
    pub(crate) const fn stored_senders(&self) -> &'a [[u8; ADDRESS_BYTES]] {
        self.senders.as_chunks().0
    }

    fn recover(&self, tx: &Transaction) -> Result<Address, StorageError> {
        let signer = tx.recover_signer_unchecked();
        signer.map_err(|error| bad(Column::Bodies, self.key, &error.to_string()))
    }

    /// One transaction and who signed it; the others are not decoded.
    pub(crate) fn transaction(
        &self,
        index: usize,
    ) -> Result<Option<(Transaction, Address)>, StorageError> {
        let mut items = self.transactions()?;
        for _ in 0..index {
            if items.is_empty() {
                return Ok(None);
            }
            self.skip(&mut items)?;
        }
        if items.is_empty() {
            return Ok(None);
        }
        let tx = Transaction::decode(&mut items).map_err(|error| wrong(self.key, error))?;
        let stored = self.stored_senders().get(index);
        let sender = stored.map_or_else(|| self.recover(&tx), |sender| Ok(sender.into()))?;
        Ok(Some((tx, sender)))
    }

    /// The hashes of the transactions at these places, which are in ascending order; places that there
    /// are not are left out. Nothing is decoded: a hash is that of the bytes.
    pub(crate) fn hashes(&self, places: &[usize]) -> Result<Vec<B256>, StorageError> {
        let mut items = self.transactions()?;
        let mut hashes = Vec::with_capacity(places.len());
        let mut next = 0;
        for place in places {
            while next < *place && !items.is_empty() {
                self.skip(&mut items)?;
                next += 1;
            }
            let Some(mut payload) = (!items.is_empty()).then_some(items) else { break };
            let header = RlpHeader::decode(&mut payload).map_err(|error| wrong(self.key, error))?;
            let mut behind = items;
            self.skip(&mut behind)?;
            // A typed transaction (EIP-2718) is a string, whose head is not part of it.
            let hashed = if header.list { items } else { payload };
            hashes.push(keccak256(&hashed[..hashed.len() - behind.len()]));
        }
        Ok(hashes)
    }

    /// The items of the list of transactions.
    fn transactions(&self) -> Result<&'a [u8], StorageError> {
        let mut rlp = self.rlp;
        let mut items = RlpHeader::decode_bytes(&mut rlp, true).map_err(|e| wrong(self.key, e))?;
        RlpHeader::decode_bytes(&mut items, true).map_err(|error| wrong(self.key, error))
    }

    fn skip(&self, items: &mut &[u8]) -> Result<(), StorageError> {
        let item = RlpHeader::decode(items).map_err(|error| wrong(self.key, error))?;
        // Checked by the decoder: the payload is there.
        *items = &items[item.payload_length..];
        Ok(())
    }

    fn check(&self, transactions: usize) -> Result<(), StorageError> {
        if self.senders.is_empty() || self.senders.len() == transactions * ADDRESS_BYTES {
            return Ok(());
        }
        Err(bad(Column::Bodies, self.key, "has not one sender for each transaction"))
    }
}

fn wrong(key: &[u8], error: alloy_rlp::Error) -> StorageError {
    bad(Column::Bodies, key, &error.to_string())
}
