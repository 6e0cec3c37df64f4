//! The commit ledger: a small file of our own that says how many commits there were.
//!
//! RocksDB opens without complaint after its log was damaged, with the newest commits gone. So every
//! commit also appends a checksummed record here, after the database has it, and opening compares the
//! two. The file is one of `ledger`'s records after another; only the newest one matters, the ones
//! before it are what makes a torn end harmless.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use primitives::{B256, BlockNumHash};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Durability, StorageError};

/// Length of a record: commit (8), number (8), hash (32), zeros (8), checksum of all that (8).
const RECORD_BYTES: usize = 64;
/// How many records the file holds before it begins again: 4 MiB.
const RECORDS_MAX: u64 = 65_536;
/// Seed of the checksum, so that a page of zeros is no record.
const CHECKSUM_SEED: u64 = u64::from_be_bytes(*b"hematite");

/// What the ledger says about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerState {
    /// The database has everything that was committed, or misses the one commit that a crash
    /// interrupted.
    Agrees,
    /// More than one commit is gone: the database was damaged or replaced by an older copy. It stays
    /// so until the chain is as long again or [`crate::Writer::accept_rollback`] is called.
    DatabaseBehind {
        /// The newest head that was committed.
        missing: BlockNumHash,
        /// The head that the database has instead; `None` if it is empty.
        have: Option<BlockNumHash>,
    },
    /// The database knows more than the ledger, which has been written anew.
    DatabaseAhead,
}

/// One commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its number, from 1.
    pub(crate) commit: u64,
    /// The head after it.
    pub(crate) head: BlockNumHash,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    records: u64,
}

impl Record {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.commit.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.head.number.to_be_bytes());
        bytes[16..48].copy_from_slice(self.head.hash.as_slice());
        let checksum = xxh3_64_with_seed(&bytes[..56], CHECKSUM_SEED);
        bytes[56..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<8>()?;
        if xxh3_64_with_seed(content, CHECKSUM_SEED) != u64::from_be_bytes(*checksum) {
            return None;
        }
        let (commit, rest) = content.split_first_chunk::<8>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let head = BlockNumHash {
            number: u64::from_be_bytes(*number),
            hash: B256::from_slice(rest.get(..32)?),
        };
        Some(Self { commit: u64::from_be_bytes(*commit), head })
    }
}

impl Ledger {
    /// Opens or creates the file, and reads its newest record. A torn end is cut off.
    pub(crate) fn open(path: &Path) -> Result<(Self, Option<Record>), StorageError> {
        Self::read(path).map_err(|error| StorageError::at(path, &error))
    }

    fn read(path: &Path) -> io::Result<(Self, Option<Record>)> {
        let is_new = !path.exists();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if is_new {
            sync_directory(path)?;
        }
        let length = file.metadata()?.len();
        let tail_bytes_max = RECORDS_MAX * bytes_of(1);
        let start = length.saturating_sub(tail_bytes_max).next_multiple_of(bytes_of(1));
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.by_ref().take(tail_bytes_max).read_to_end(&mut tail)?;
        let found = tail
            .chunks_exact(RECORD_BYTES)
            .enumerate()
            .rev()
            .find_map(|(index, bytes)| Some((index, Record::decode(bytes)?)));
        let end = match found {
            None => 0,
            Some((index, _)) => start + bytes_of(to_u64(index) + 1),
        };
        if end != length {
            file.set_len(end)?;
        }
        let ledger = Self { path: path.to_owned(), file, records: end / bytes_of(1) };
        Ok((ledger, found.map(|(_, record)| record)))
    }

    /// Appends a record; with [`Durability::Sync`] it is on the disk when this returns.
    pub(crate) fn append(
        &mut self,
        record: Record,
        durability: Durability,
    ) -> Result<(), StorageError> {
        if self.records >= RECORDS_MAX {
            return self.restart(record);
        }
        let written = self.file.write_all_at(&record.encode(), bytes_of(self.records));
        written.map_err(|error| StorageError::at(&self.path, &error))?;
        self.records += 1;
        match durability {
            Durability::Sync => self.sync(),
            Durability::Buffered => Ok(()),
        }
    }

    /// Replaces the file by one with this record alone.
    pub(crate) fn restart(&mut self, record: Record) -> Result<(), StorageError> {
        self.replace(record).map_err(|error| StorageError::at(&self.path, &error))
    }

    fn replace(&mut self, record: Record) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
        file.write_all_at(&record.encode(), 0)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        sync_directory(&self.path)?;
        self.file = file;
        self.records = 1;
        Ok(())
    }

    /// Brings everything appended so far to the disk.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(|error| StorageError::at(&self.path, &error))
    }
}

/// Compares the ledger's newest record with the database.
pub(crate) fn compare(
    newest: Option<Record>,
    commits: u64,
    head: Option<BlockNumHash>,
) -> LedgerState {
    match newest {
        None if commits == 0 => LedgerState::Agrees,
        Some(record) if record.commit > commits + 1 => {
            LedgerState::DatabaseBehind { missing: record.head, have: head }
        }
        Some(record) if record.commit == commits + 1 => LedgerState::Agrees,
        Some(record) if record.commit == commits && Some(record.head) == head => {
            LedgerState::Agrees
        }
        None | Some(_) => LedgerState::DatabaseAhead,
    }
}

fn bytes_of(records: u64) -> u64 {
    records * to_u64(RECORD_BYTES)
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("a length in memory fits in 64 bits")
}

/// Makes a new or renamed file's name survive a power cut.
fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(commit: u64) -> Record {
        let hash = B256::with_last_byte(u8::try_from(commit % 251).unwrap());
        Record { commit, head: BlockNumHash { number: commit - 1, hash } }
    }

    fn ledger_of(path: &Path, commits: u64) {
        let (mut ledger, newest) = Ledger::open(path).unwrap();
        assert_eq!(newest, None);
        for commit in 1..=commits {
            ledger.append(record(commit), Durability::Buffered).unwrap();
        }
    }

    #[test]
    fn the_newest_record_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        ledger_of(&path, 5);
        let (mut ledger, newest) = Ledger::open(&path).unwrap();
        assert_eq!(newest, Some(record(5)));
        ledger.append(record(6), Durability::Sync).unwrap();
        assert_eq!(Ledger::open(&path).unwrap().1, Some(record(6)));
    }

    #[test]
    fn a_torn_end_costs_one_record_wherever_it_tore() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        ledger_of(&path, 3);
        let whole = fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut ledger, newest) = Ledger::open(&path).unwrap();
            let complete = to_u64(length / RECORD_BYTES);
            assert_eq!(newest, (complete > 0).then(|| record(complete)), "cut at {length}");
            ledger.append(record(complete + 1), Durability::Buffered).unwrap();
            assert_eq!(Ledger::open(&path).unwrap().1, Some(record(complete + 1)));
        }
    }

    #[test]
    fn a_flipped_bit_costs_the_record_it_is_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        ledger_of(&path, 2);
        let whole = fs::read(&path).unwrap();
        for bit in 0..RECORD_BYTES * 8 {
            let mut damaged = whole.clone();
            damaged[RECORD_BYTES + bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            assert_eq!(Ledger::open(&path).unwrap().1, Some(record(1)), "bit {bit}");
        }
        fs::write(&path, vec![0; 4096]).unwrap();
        assert_eq!(Ledger::open(&path).unwrap().1, None);
    }

    #[test]
    fn a_full_ledger_begins_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        ledger_of(&path, RECORDS_MAX);
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes_of(RECORDS_MAX));
        let (mut ledger, newest) = Ledger::open(&path).unwrap();
        assert_eq!(newest, Some(record(RECORDS_MAX)));
        ledger.append(record(RECORDS_MAX + 1), Durability::Sync).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes_of(1));
        assert_eq!(Ledger::open(&path).unwrap().1, Some(record(RECORDS_MAX + 1)));
    }

    #[test]
    fn only_more_than_one_missing_commit_is_a_loss() {
        let head = |commits| Some(record(commits).head);
        let behind =
            |newest, have| LedgerState::DatabaseBehind { missing: record(newest).head, have };
        assert_eq!(compare(None, 0, None), LedgerState::Agrees);
        assert_eq!(compare(Some(record(1)), 0, None), LedgerState::Agrees);
        assert_eq!(compare(Some(record(2)), 0, None), behind(2, None));
        assert_eq!(compare(Some(record(5)), 5, head(5)), LedgerState::Agrees);
        assert_eq!(compare(Some(record(6)), 5, head(5)), LedgerState::Agrees);
        assert_eq!(compare(Some(record(7)), 5, head(5)), behind(7, head(5)));
        assert_eq!(compare(Some(record(4)), 5, head(5)), LedgerState::DatabaseAhead);
        assert_eq!(compare(Some(record(5)), 5, head(9)), LedgerState::DatabaseAhead);
        assert_eq!(compare(None, 5, head(5)), LedgerState::DatabaseAhead);
    }
}
