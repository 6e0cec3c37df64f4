//! Local transactions on disk, so that one whose hash was given out survives the process.
//!
//! The file is a sequence of records (see [`record`]). A local transaction is first judged, then
//! written, and only then put into the pool: what was answered is always in the file, and what could
//! not be written was never visible to anybody. If the pool refuses it after all, because the ground
//! moved in between, a second record takes the first one back.
//!
//! Whoever adds holds the gate for reading from before the record is written until the pool has the
//! transaction; rotation holds it for writing. So a rotation, which writes what the pool has, never
//! misses a record that is not in the pool yet.

mod file;
mod flush;
mod load;
mod record;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard},
    time::Duration,
};

use primitives::B256;

use crate::transaction::PooledTransaction;
use flush::Flusher;
pub(crate) use load::Loaded;
use record::Record;

/// How large the file may grow before it is rewritten, in bytes.
pub const JOURNAL_BYTES_MAX: u64 = 96 * 1_024 * 1_024;
/// How many records the file may have before it is rewritten: reading them costs a signature each,
/// and a node must serve seconds after its start.
pub const JOURNAL_RECORDS_MAX: usize = 32_768;

/// When a journaled transaction is on the disk itself, and not only in the system's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JournalSync {
    /// Within 20 ms, together with its neighbours: safe from `kill -9` at once.
    #[default]
    Batch,
    /// Before it is answered: safe from a power cut at once.
    Always,
}

/// Where the journal is and how it is written.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The file.
    pub path: PathBuf,
    /// A journal of geth, imported while [`Self::path`] does not exist yet. It is never changed.
    pub geth_path: Option<PathBuf>,
    /// When it is synced.
    pub sync: JournalSync,
    /// How often it is rewritten with what the pool still has.
    pub rotation: Duration,
}

impl JournalConfig {
    /// A journal in this file: synced in groups, rewritten hourly.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            geth_path: None,
            sync: JournalSync::Batch,
            rotation: Duration::from_secs(60 * 60),
        }
    }
}

/// The journal, open for writing.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    gate: RwLock<()>,
    shared: Arc<Shared>,
    /// Absent if every append syncs.
    flusher: Option<Flusher>,
}

/// What writers and the flusher share.
#[derive(Debug, Default)]
struct Shared {
    /// Up to where the bytes are on the disk; whoever holds the lock is syncing. Taken before
    /// `appender`.
    synced: Mutex<u64>,
    appender: Mutex<Appender>,
}

/// The end of the file.
#[derive(Debug, Default)]
struct Appender {
    file: Option<Arc<File>>,
    /// Length up to which the file is whole.
    length: u64,
    records: usize,
    /// Bytes written since the start, over all rotations.
    written: u64,
    /// Why nothing can be appended until a rotation succeeds.
    failure: Option<String>,
    /// The file holds something that does not belong to it and is kept beside the next one.
    set_aside: bool,
}

/// Proof that no rotation is under way.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    journal: &'a Journal,
    _gate: RwLockReadGuard<'a, ()>,
}

impl Journal {
    /// Reads what is there. Nothing can be appended before the first [`Self::rotate`].
    pub(crate) fn open(config: &JournalConfig) -> (Self, Loaded) {
        let loaded = load::load(&config.path, config.geth_path.as_deref());
        let appender = Appender {
            failure: Some("it was never written".into()),
            set_aside: loaded.set_aside,
            ..Appender::default()
        };
        let shared = Arc::new(Shared { synced: Mutex::new(0), appender: Mutex::new(appender) });
        let flusher = match config.sync {
            JournalSync::Batch => Some(Flusher::start(shared.clone())),
            JournalSync::Always => None,
        };
        let path = config.path.clone();
        (Self { path, gate: RwLock::new(()), shared, flusher }, loaded)
    }

    /// Keeps rotations away until the answer is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        Entered { journal: self, _gate: self.gate.read().expect(NO_PANIC) }
    }

    /// Whether the file has grown too large or cannot be appended to.
    pub(crate) fn wants_rotation(&self) -> bool {
        let appender = self.shared.appender();
        appender.failure.is_some()
            || appender.length > JOURNAL_BYTES_MAX
            || appender.records > JOURNAL_RECORDS_MAX
    }

    /// Rewrites the file with what `live` answers: under another name, synced, then renamed.
    ///
    /// # Errors
    ///
    /// When the disk refuses. The old file then stays as it was.
    pub(crate) fn rotate(
        &self,
        live: impl FnOnce() -> Vec<Arc<PooledTransaction>>,
    ) -> io::Result<()> {
        let _gate = self.gate.write().expect(NO_PANIC);
        let transactions = live();
        let mut synced = self.shared.synced.lock().expect(NO_PANIC);
        let mut appender = self.shared.appender();
        let (file, length) = file::rewrite(&self.path, &transactions, appender.set_aside)?;
        *synced = appender.written;
        *appender = Appender {
            file: Some(Arc::new(file)),
            length,
            records: transactions.len(),
            written: appender.written,
            failure: None,
            set_aside: false,
        };
        Ok(())
    }

    /// Whether every append waits for the disk.
    pub(crate) const fn waits_for_disk(&self) -> bool {
        self.flusher.is_none()
    }

    /// Waits until everything appended is on the disk.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.shared.sync()
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Entered<'_> {
    /// Writes transactions, all or none, and as durably as configured.
    ///
    /// # Errors
    ///
    /// When they could not be written. None of them is in the file then.
    pub(crate) fn append(&self, transactions: &[Arc<PooledTransaction>]) -> io::Result<()> {
        let records = transactions.iter().map(|tx| Record::Add(&tx.tx));
        self.write(transactions.len(), records)?;
        match &self.journal.flusher {
            Some(flusher) => flusher.wake(),
            None => {
                if let Err(error) = self.journal.shared.sync() {
                    // Nobody is told that these were accepted, so they must not come back.
                    self.cancel(transactions.iter().map(|tx| tx.hash()).collect());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes back transactions that the pool refused after all. If that cannot be written, they are
    /// judged again at the next start.
    pub(crate) fn cancel(&self, hashes: Vec<B256>) {
        let count = hashes.len();
        if let Err(error) = self.write(count, hashes.into_iter().map(Record::Cancel)) {
            tracing::warn!(%error, count, "Could not take refused transactions out of the journal");
        }
    }

    fn write<'r>(&self, count: usize, records: impl Iterator<Item = Record<'r>>) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        records.for_each(|record| record.encode(&mut bytes));
        self.journal.shared.appender().append(&bytes, count)
    }
}

impl Shared {
    fn appender(&self) -> MutexGuard<'_, Appender> {
        self.appender.lock().expect(NO_PANIC)
    }

    /// Whoever comes first syncs for all who have written; the others wait and find it done.
    fn sync(&self) -> io::Result<()> {
        let target = self.appender().written;
        let mut synced = self.synced.lock().expect(NO_PANIC);
        if *synced >= target {
            return Ok(());
        }
        let (file, written) = {
            let appender = self.appender();
            (appender.file.clone(), appender.written)
        };
        let Some(file) = file else { return Ok(()) };
        if let Err(error) = file.sync_data() {
            // The system may have dropped the pages that it failed to write, so a second sync would
            // prove nothing. Only a new file does.
            self.appender().failure = Some(error.to_string());
            return Err(error);
        }
        *synced = written;
        Ok(())
    }
}

impl Appender {
    fn append(&mut self, bytes: &[u8], records: usize) -> io::Result<()> {
        let file = match (&self.failure, &self.file) {
            (None, Some(file)) => file,
            (failure, _) => {
                return Err(io::Error::other(failure.clone().unwrap_or_default()));
            }
        };
        if let Err(error) = (&**file).write_all(bytes) {
            // Half a record would hide those written after it.
            if file.set_len(self.length).is_err() {
                self.failure = Some(error.to_string());
            }
            return Err(error);
        }
        let count = u64::try_from(bytes.len()).expect("a length fits into 64 bits");
        self.length += count;
        self.written += count;
        self.records += records;
        Ok(())
    }
}

/// Why a lock is never poisoned.
const NO_PANIC: &str = "nothing panics while it holds the journal";

#[cfg(test)]
mod tests;
