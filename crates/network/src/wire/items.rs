//! A walk over the items of an RLP list that decodes nothing before it is counted.

use alloy_rlp::{Decodable, Encodable, Header};

use super::EthVersion;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The code means nothing in this version.
    #[error("message code {code:#04x} does not exist in {version}")]
    UnknownCode {
        /// The code, relative to the protocol's first.
        code: u8,
        /// What was agreed on.
        version: EthVersion,
    },
    /// The code is none of a question of snap/1.
    #[error("message code {code:#04x} of snap/1 asks nothing")]
    NoSnapQuestion {
        /// The code, relative to the protocol's first.
        code: u8,
    },
    /// More bytes than any message may have.
    #[error("message of {bytes} bytes is too long")]
    Oversized {
        /// The payload's length.
        bytes: usize,
    },
    /// A list with more items than anybody needs.
    #[error("list has more than {limit} items")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
    /// Something behind the last item that belongs there.
    #[error("list has more items than its kind")]
    Surplus,
    /// Not RLP, not canonical, or another thing than belongs there.
    #[error("invalid RLP: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// A transaction of a type that does not exist, or wrongly wrapped.
    #[error("invalid form of a transaction")]
    TransactionForm,
    /// A header with a field that no proof-of-work header has, or a value that none can reach.
    #[error("header has an impossible {field}")]
    ImpossibleHeader {
        /// Which field.
        field: &'static str,
    },
    /// A receipt that contradicts itself.
    #[error("invalid form of a receipt")]
    ReceiptForm,
    /// More work than was ever done.
    #[error("total difficulty has {bits} bits")]
    TotalDifficultyTooLarge {
        /// How many bits it takes.
        bits: usize,
    },
    /// More bytes than a hash or a path in a trie has.
    #[error("hash or path of {bytes} bytes is too long")]
    PathTooLong {
        /// How many there are.
        bytes: usize,
    },
    /// A question for trie nodes that names none.
    #[error("list of paths is empty")]
    NoPath,
    /// The lists of an eth/68 announcement have different lengths.
    #[error("announcement tells {types} types and {sizes} sizes of {hashes} transactions")]
    AnnouncementLengths {
        /// How many types.
        types: usize,
        /// How many sizes.
        sizes: usize,
        /// How many hashes.
        hashes: usize,
    },
}

/// What is left of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The items of the one list that the payload is.
    pub(super) fn of_payload(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut rest = payload;
        let content = Header::decode_bytes(&mut rest, true)?;
        Self(rest).end()?;
        Ok(Self(content))
    }

    /// The next item with its header.
    pub(super) fn raw(&mut self) -> Result<&'a [u8], WireError> {
        let start = self.0;
        let mut rest = start;
        let header = Header::decode(&mut rest)?;
        let length = start.len() - rest.len() + header.payload_length;
        // The header of a single byte below 0x80 is the byte itself, so the sum is right for it
        // too; that the payload is there was checked with the header.
        let (item, rest) = start.split_at(length);
        self.0 = rest;
        Ok(item)
    }

    pub(super) fn list(&mut self) -> Result<Self, WireError> {
        Ok(Self(Header::decode_bytes(&mut self.0, true)?))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        Ok(Header::decode_bytes(&mut self.0, false)?)
    }

    /// The next item, for types whose own decoding is strict and allocates no more than the bytes.
    pub(super) fn value<T: Decodable>(&mut self) -> Result<T, WireError> {
        Ok(T::decode(&mut self.0)?)
    }

    pub(super) fn next_is_hash(&self) -> bool {
        self.0.first() == Some(&0xa0)
    }

    pub(super) fn next_is_list(&self) -> bool {
        self.0.first().is_some_and(|byte| *byte >= 0xc0)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that nothing is left.
    pub(super) const fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Surplus) }
    }

    /// Decodes what is left, item by item, after counting it.
    pub(super) fn each<T>(
        &mut self,
        limit: usize,
        decode: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        self.count(limit)?;
        self.all(decode)
    }

    /// Decodes what is left, item by item, as it is bounded by the bytes alone. The vector grows
    /// with what was decoded: a byte can claim to be an item, and an item is large.
    pub(super) fn all<T>(
        &mut self,
        mut decode: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let mut decoded = Vec::new();
        while !self.is_empty() {
            decoded.push(decode(self)?);
        }
        Ok(decoded)
    }

    fn count(&self, limit: usize) -> Result<(), WireError> {
        let mut rest = *self;
        let mut count = 0;
        while !rest.is_empty() {
            rest.raw()?;
            count += 1;
            if count > limit {
                return Err(WireError::TooMany { limit });
            }
        }
        Ok(())
    }
}

/// Appends a list of items that are encoded already.
pub(super) fn encode_list(items: &[Vec<u8>], out: &mut Vec<u8>) {
    let payload_length = items.iter().map(Vec::len).sum();
    out.reserve(list_length(payload_length));
    Header { list: true, payload_length }.encode(out);
    for item in items {
        out.extend_from_slice(item);
    }
}

/// Appends a list of these items.
pub(super) fn encode_list_of<'a, T: Encodable + 'a>(
    items: impl Iterator<Item = &'a T> + Clone,
    out: &mut Vec<u8>,
) {
    let payload_length = items.clone().map(Encodable::length).sum();
    out.reserve(list_length(payload_length));
    Header { list: true, payload_length }.encode(out);
    for item in items {
        item.encode(out);
    }
}

/// How long a list with a payload of this length is.
pub(super) fn list_length(payload_length: usize) -> usize {
    payload_length + alloy_rlp::length_of_length(payload_length)
}
