//! Reading a journal, ours or geth's.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use alloy_rlp::Decodable as _;
use primitives::{
    B256, Transaction,
    map::{HashMap, HashSet},
};

use super::{JOURNAL_BYTES_MAX, JOURNAL_RECORDS_MAX, file, record::Entry};

/// How much of a file is read, in bytes. A file of ours is rewritten long before it is that large.
const READ_BYTES_MAX: u64 = 2 * JOURNAL_BYTES_MAX;
/// How many records are read.
const READ_RECORDS_MAX: usize = 2 * JOURNAL_RECORDS_MAX;

/// What a journal held.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Accepted transactions in the order in which they came, each once.
    pub(crate) transactions: Vec<Transaction>,
    /// Something in the file was not ours or not whole: it is to be kept beside the next one.
    pub(super) set_aside: bool,
}

/// Reads the journal, or geth's if there is none yet. Whatever is wrong with a file costs only what
/// comes after it.
pub(super) fn load(path: &Path, geth_path: Option<&Path>) -> Loaded {
    let unfinished = file::beside(path, file::NEW);
    // A rotation that set a damaged file aside may have died before its last step.
    let found = if is_there(path) || !is_there(&unfinished) { path } else { &unfinished };
    if is_there(found) {
        return match read(found) {
            Ok(bytes) => decode(&bytes),
            Err(error) => {
                tracing::warn!(path = %found.display(), %error, "Could not read the transaction journal");
                Loaded { transactions: Vec::new(), set_aside: true }
            }
        };
    }
    let Some(geth_path) = geth_path.filter(|path| is_there(path)) else { return Loaded::default() };
    match read(geth_path) {
        Ok(bytes) => Loaded { transactions: decode_geth(&bytes), set_aside: false },
        Err(error) => {
            tracing::warn!(path = %geth_path.display(), %error, "Could not read geth's transaction journal");
            Loaded::default()
        }
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The file's beginning. Links and devices are not followed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn decode(bytes: &[u8]) -> Loaded {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && entries.len() < READ_RECORDS_MAX {
        let Some((entry, length)) = Entry::decode(rest) else { break };
        entries.push(entry);
        rest = &rest[length..];
    }
    Loaded { transactions: accepted(entries), set_aside: !rest.is_empty() }
}

/// The transactions that were not taken back, each at its first place.
fn accepted(entries: Vec<Entry>) -> Vec<Transaction> {
    let mut last_cancel: HashMap<B256, usize> = HashMap::default();
    for (place, entry) in entries.iter().enumerate() {
        if let Entry::Cancel(hash) = entry {
            last_cancel.insert(*hash, place);
        }
    }
    let mut seen: HashSet<B256> = HashSet::default();
    let kept = entries.into_iter().enumerate().filter_map(|(place, entry)| {
        let Entry::Add(tx) = entry else { return None };
        let stands = last_cancel.get(tx.tx_hash()).is_none_or(|cancel| *cancel < place);
        (stands && seen.insert(*tx.tx_hash())).then_some(*tx)
    });
    kept.collect()
}

/// geth's journal: transactions one after the other, each as the wire has it.
fn decode_geth(bytes: &[u8]) -> Vec<Transaction> {
    let mut rest = bytes;
    let mut transactions = Vec::new();
    while !rest.is_empty() && transactions.len() < READ_RECORDS_MAX {
        let Ok(tx) = Transaction::decode(&mut rest) else { break };
        transactions.push(tx);
    }
    transactions
}
