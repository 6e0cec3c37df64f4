use std::{fs, fs::OpenOptions, os::unix::fs::symlink};

use alloy_rlp::Encodable as _;
use tempfile::TempDir;

use super::{file::beside, *};
use crate::testing::{draft, with_access_list};

struct Bench {
    directory: TempDir,
    config: JournalConfig,
}

impl Bench {
    fn new(sync: JournalSync) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("hematite/transactions");
        let geth_path = Some(directory.path().join("transactions.rlp"));
        let config = JournalConfig { geth_path, sync, ..JournalConfig::at(path) };
        Self { directory, config }
    }

    /// A journal on the disk with these transactions, all of them appended.
    fn with(transactions: &[Arc<PooledTransaction>]) -> Self {
        let bench = Self::new(JournalSync::Batch);
        let (journal, _) = bench.open();
        journal.rotate(Vec::new).unwrap();
        for tx in transactions {
            journal.enter().append(std::slice::from_ref(tx)).unwrap();
        }
        bench
    }

    fn open(&self) -> (Journal, Loaded) {
        Journal::open(&self.config)
    }

    fn loaded(&self) -> Vec<B256> {
        self.open().1.transactions.iter().map(|tx| *tx.tx_hash()).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.config.path).unwrap()
    }
}

fn three() -> Vec<Arc<PooledTransaction>> {
    vec![draft(1, 0, 1).pooled(), with_access_list(2, 0), draft(1, 1, 1).input(300).pooled()]
}

fn hashes(transactions: &[Arc<PooledTransaction>]) -> Vec<B256> {
    transactions.iter().map(|tx| tx.hash()).collect()
}

#[test]
fn what_was_appended_is_read_again_in_order() {
    for sync in [JournalSync::Batch, JournalSync::Always] {
        let bench = Bench::new(sync);
        let (journal, loaded) = bench.open();
        assert!(loaded.transactions.is_empty());
        journal.rotate(Vec::new).unwrap();
        journal.enter().append(&three()[..2]).unwrap();
        journal.enter().append(&three()[2..]).unwrap();
        // Read while it is open: what was answered survives a process that is killed now.
        assert_eq!(bench.loaded(), hashes(&three()));
    }
}

#[test]
fn nothing_is_appended_before_the_first_rotation() {
    let (journal, _) = Bench::new(JournalSync::Batch).open();
    assert!(journal.wants_rotation());
    journal.enter().append(&three()).unwrap_err();
    journal.rotate(Vec::new).unwrap();
    assert!(!journal.wants_rotation());
}

#[test]
fn a_rotation_keeps_what_is_live_and_can_be_appended_to() {
    let bench = Bench::with(&three());
    let (journal, _) = bench.open();
    journal.rotate(|| three()[1..2].to_vec()).unwrap();
    journal.enter().append(&three()[..1]).unwrap();
    assert_eq!(bench.loaded(), [three()[1].hash(), three()[0].hash()]);
    assert!(!beside(&bench.config.path, file::NEW).exists());
    assert!(!beside(&bench.config.path, file::CORRUPT).exists());
}

#[test]
fn a_cancelled_transaction_stays_out_until_it_is_appended_again() {
    let bench = Bench::with(&three());
    let (journal, _) = bench.open();
    journal.rotate(three).unwrap();
    journal.enter().cancel(vec![three()[0].hash(), three()[2].hash()]);
    assert_eq!(bench.loaded(), [three()[1].hash()]);
    journal.enter().append(&three()[2..]).unwrap();
    journal.enter().append(&three()[2..]).unwrap();
    assert_eq!(bench.loaded(), [three()[1].hash(), three()[2].hash()]);
}

#[test]
fn a_torn_tail_costs_only_the_torn_record() {
    let bench = Bench::with(&three());
    let whole = bench.bytes();
    let last = whole.len() - { Bench::with(&three()[2..]).bytes().len() };
    for length in last + 1..whole.len() {
        fs::write(&bench.config.path, &whole[..length]).unwrap();
        assert_eq!(bench.loaded(), hashes(&three()[..2]), "cut at {length}");
    }
    let (journal, loaded) = bench.open();
    assert!(loaded.set_aside);
    journal.rotate(|| three()[..2].to_vec()).unwrap();
    let aside = fs::read(beside(&bench.config.path, file::CORRUPT)).unwrap();
    assert_eq!(aside, whole[..whole.len() - 1]);
    assert_eq!(bench.loaded(), hashes(&three()[..2]));
    assert!(!bench.open().1.set_aside);
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let bench = Bench::with(&three());
    let whole = bench.bytes();
    let first = Bench::with(&three()[..1]).bytes().len();
    for bit in first * 8..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let loaded = load::decode(&bytes);
        assert!(loaded.set_aside, "bit {bit}");
        assert!(loaded.transactions.len() < 3);
        assert_eq!(*loaded.transactions[0].tx_hash(), three()[0].hash());
    }
}

#[test]
fn a_zeroed_page_ends_the_file() {
    let bench = Bench::with(&three());
    let mut bytes = bench.bytes();
    bytes.extend([0; 4_096]);
    fs::write(&bench.config.path, bytes).unwrap();
    let (_, loaded) = bench.open();
    assert_eq!(loaded.transactions.len(), 3);
    assert!(loaded.set_aside);
}

#[test]
fn a_huge_file_is_read_only_so_far() {
    let bench = Bench::with(&three());
    let file = OpenOptions::new().append(true).open(&bench.config.path).unwrap();
    file.set_len(2 * 1_024 * 1_024 * 1_024).unwrap();
    let (_, loaded) = bench.open();
    assert_eq!(loaded.transactions.len(), 3);
    assert!(loaded.set_aside);
}

#[test]
fn no_more_records_are_read_than_a_start_has_time_for() {
    let mut bytes = Vec::new();
    for _ in 0..=2 * JOURNAL_RECORDS_MAX {
        Record::Cancel(B256::ZERO).encode(&mut bytes);
    }
    assert!(load::decode(&bytes).set_aside);
    bytes.truncate(bytes.len() - bytes.len() / (2 * JOURNAL_RECORDS_MAX + 1));
    assert!(!load::decode(&bytes).set_aside);
}

#[test]
fn a_link_is_not_followed() {
    let bench = Bench::with(&three());
    let elsewhere = bench.directory.path().join("elsewhere");
    fs::rename(&bench.config.path, &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    symlink(&elsewhere, &bench.config.path).unwrap();
    symlink(&elsewhere, beside(&bench.config.path, file::NEW)).unwrap();
    let (journal, loaded) = bench.open();
    assert!(loaded.transactions.is_empty());
    journal.rotate(Vec::new).unwrap();
    journal.enter().append(&three()[..1]).unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert!(fs::symlink_metadata(beside(&bench.config.path, file::CORRUPT)).unwrap().is_symlink());
    assert!(fs::symlink_metadata(&bench.config.path).unwrap().is_file());
}

#[test]
fn a_full_disk_refuses_and_a_rotation_repairs() {
    let bench = Bench::with(&[]);
    let (journal, _) = bench.open();
    journal.rotate(Vec::new).unwrap();
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    journal.shared.appender().file = Some(Arc::new(full));
    let error = journal.enter().append(&three()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(journal.wants_rotation());
    let error = journal.enter().append(&three()).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    journal.rotate(Vec::new).unwrap();
    journal.enter().append(&three()).unwrap();
    assert_eq!(bench.loaded(), hashes(&three()));
}

#[test]
fn a_failed_sync_is_not_tried_again_on_the_same_file() {
    let bench = Bench::new(JournalSync::Always);
    let (journal, _) = bench.open();
    journal.rotate(Vec::new).unwrap();
    // A pipe takes bytes and cannot be synced.
    let (_reader, writer) = io::pipe().unwrap();
    let writer = std::os::fd::OwnedFd::from(writer);
    journal.shared.appender().file = Some(Arc::new(File::from(writer)));
    journal.enter().append(&three()).unwrap_err();
    assert!(journal.wants_rotation());
    assert!(journal.enter().append(&three()).is_err());
    journal.rotate(Vec::new).unwrap();
    journal.enter().append(&three()).unwrap();
}

#[test]
fn a_rotation_that_fails_leaves_the_old_file() {
    let bench = Bench::with(&three());
    let (journal, _) = bench.open();
    journal.rotate(three).unwrap();
    fs::create_dir_all(beside(&bench.config.path, file::NEW).join("in the way")).unwrap();
    journal.rotate(Vec::new).unwrap_err();
    assert_eq!(bench.loaded(), hashes(&three()));
    journal.enter().append(&[draft(9, 0, 1).pooled()]).unwrap();
    assert_eq!(bench.loaded().len(), 4);
}

#[test]
fn a_start_finds_what_an_interrupted_rotation_left() {
    let bench = Bench::with(&three());
    fs::rename(&bench.config.path, beside(&bench.config.path, file::NEW)).unwrap();
    assert_eq!(bench.loaded(), hashes(&three()));
}

#[test]
fn the_journal_of_geth_is_imported_once() {
    let bench = Bench::new(JournalSync::Batch);
    let mut bytes = Vec::new();
    three().iter().for_each(|tx| tx.tx.encode(&mut bytes));
    bytes.extend([0xb8, 0xff, 0x02]);
    let geth = bench.config.geth_path.clone().unwrap();
    fs::write(&geth, &bytes).unwrap();
    let (journal, loaded) = bench.open();
    assert_eq!(loaded.transactions.len(), 3);
    journal.rotate(Vec::new).unwrap();
    assert!(bench.loaded().is_empty());
    assert_eq!(fs::read(&geth).unwrap(), bytes, "geth's file stays as it was");
}

#[test]
fn a_journal_that_is_too_long_wants_to_be_rewritten() {
    let bench = Bench::with(&[]);
    let (journal, _) = bench.open();
    journal.rotate(Vec::new).unwrap();
    journal.shared.appender().records = JOURNAL_RECORDS_MAX;
    assert!(!journal.wants_rotation());
    journal.enter().append(&three()[..1]).unwrap();
    assert!(journal.wants_rotation());
    journal.rotate(Vec::new).unwrap();
    journal.shared.appender().length = JOURNAL_BYTES_MAX;
    assert!(!journal.wants_rotation());
    journal.enter().append(&three()[..1]).unwrap();
    assert!(journal.wants_rotation());
}
