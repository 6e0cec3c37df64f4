use std::hash::Hash;

use alloy_rlp::{BufMut, Decodable, Encodable, Error, Header, RlpDecodable, RlpEncodable};
use alloy_trie::Nibbles;
use primitives::{B256, Bytes, U256, map::HashMap};

use super::StateChanges;
use crate::{Account, StorageOwner};

/// Changes as lists, each sorted by its key.
#[derive(RlpEncodable, RlpDecodable)]
struct Rows {
    accounts: Vec<AccountRow>,
    slots: Vec<SlotsRow>,
    account_nodes: Vec<NodeRow>,
    slot_nodes: Vec<NodesRow>,
    codes: Vec<BytesRow>,
    preimages: Vec<BytesRow>,
}

/// One item more, the account, if it is there.
#[derive(RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
struct AccountRow {
    hash: B256,
    account: Option<Account>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct SlotsRow {
    address_hash: B256,
    incarnation: u64,
    slots: Vec<SlotRow>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct SlotRow {
    hash: B256,
    value: U256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct NodesRow {
    address_hash: B256,
    incarnation: u64,
    nodes: Vec<NodeRow>,
}

/// One item more, the node, if there is one.
#[derive(RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
struct NodeRow {
    path: Path,
    node: Option<Bytes>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct BytesRow {
    hash: B256,
    bytes: Bytes,
}

/// A path as a string: how many nibbles, then two of them in each byte.
struct Path(Nibbles);

impl Path {
    fn write(&self, buffer: &mut [u8; 33]) -> usize {
        buffer[0] = u8::try_from(self.0.len()).expect("a path has at most 64 nibbles");
        self.0.pack_to(&mut buffer[1..]);
        1 + self.0.byte_len()
    }
}

impl Encodable for Path {
    fn encode(&self, out: &mut dyn BufMut) {
        let mut buffer = [0; 33];
        let length = self.write(&mut buffer);
        buffer[..length].encode(out);
    }

    fn length(&self) -> usize {
        let mut buffer = [0; 33];
        let length = self.write(&mut buffer);
        buffer[..length].length()
    }
}

impl Decodable for Path {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let bytes = Header::decode_bytes(buf, false)?;
        let (&count, packed) = bytes.split_first().ok_or(Error::Custom("a path without length"))?;
        let count = usize::from(count);
        if count > 64 || packed.len() != count.div_ceil(2) {
            return Err(Error::Custom("a path of another length than it says"));
        }
        let path = Nibbles::unpack(packed);
        if path.len() > count && path.last() != Some(0) {
            return Err(Error::Custom("a path with something behind its end"));
        }
        Ok(Self(path.slice(..count)))
    }
}

impl From<&StateChanges> for Rows {
    fn from(changes: &StateChanges) -> Self {
        let StateChanges { accounts, slots, account_nodes, slot_nodes, codes, preimages } = changes;
        Self {
            accounts: rows(accounts, |hash, account| AccountRow { hash, account: *account }),
            slots: rows(slots, |StorageOwner { address_hash, incarnation }, slots| SlotsRow {
                address_hash,
                incarnation,
                slots: rows(slots, |hash, value| SlotRow { hash, value: *value }),
            }),
            account_nodes: rows(account_nodes, node_row),
            slot_nodes: rows(slot_nodes, |StorageOwner { address_hash, incarnation }, nodes| {
                NodesRow { address_hash, incarnation, nodes: rows(nodes, node_row) }
            }),
            codes: rows(codes, bytes_row),
            preimages: rows(preimages, bytes_row),
        }
    }
}

impl TryFrom<Rows> for StateChanges {
    type Error = Error;

    fn try_from(rows: Rows) -> Result<Self, Error> {
        let Rows { accounts, slots, account_nodes, slot_nodes, codes, preimages } = rows;
        Ok(Self {
            accounts: map(accounts, |row| Ok((row.hash, row.account)))?,
            slots: map(slots, |SlotsRow { address_hash, incarnation, slots }| {
                let slots = map(slots, |row| Ok((row.hash, row.value)))?;
                Ok((StorageOwner { address_hash, incarnation }, slots))
            })?,
            account_nodes: map(account_nodes, |row| Ok((row.path.0, row.node)))?,
            slot_nodes: map(slot_nodes, |NodesRow { address_hash, incarnation, nodes }| {
                let nodes = map(nodes, |row| Ok((row.path.0, row.node)))?;
                Ok((StorageOwner { address_hash, incarnation }, nodes))
            })?,
            codes: map(codes, |row| Ok((row.hash, row.bytes)))?,
            preimages: map(preimages, |row| Ok((row.hash, row.bytes)))?,
        })
    }
}

fn rows<K: Copy + Ord, V, T>(map: &HashMap<K, V>, row: impl Fn(K, &V) -> T) -> Vec<T> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    entries.into_iter().map(|(key, value)| row(*key, value)).collect()
}

/// Refuses rows out of order, so that every set of changes has one encoding.
fn map<K: Copy + Ord + Hash, V, T>(
    rows: Vec<T>,
    entry: impl Fn(T) -> Result<(K, V), Error>,
) -> Result<HashMap<K, V>, Error> {
    let mut map = HashMap::with_capacity_and_hasher(rows.len(), Default::default());
    let mut last = None;
    for row in rows {
        let (key, value) = entry(row)?;
        if last.is_some_and(|last| last >= key) {
            return Err(Error::Custom("state changes out of order"));
        }
        last = Some(key);
        map.insert(key, value);
    }
    Ok(map)
}

fn node_row(path: Nibbles, node: &Option<Bytes>) -> NodeRow {
    NodeRow { path: Path(path), node: node.clone() }
}

fn bytes_row(hash: B256, bytes: &Bytes) -> BytesRow {
    BytesRow { hash, bytes: bytes.clone() }
}

impl Encodable for StateChanges {
    fn encode(&self, out: &mut dyn BufMut) {
        Rows::from(self).encode(out);
    }

    fn length(&self) -> usize {
        Rows::from(self).length()
    }
}

impl Decodable for StateChanges {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        Rows::decode(buf)?.try_into()
    }
}
