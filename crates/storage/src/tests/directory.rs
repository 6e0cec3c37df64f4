use std::{env, fs, path::Path, process::Command};

use super::fixture::*;
use crate::{
    Commit, Durability, LedgerState, StorageConfig, StorageError, View, Writer, open,
    schema::{Column, meta},
};

fn config(directory: &Path) -> StorageConfig {
    StorageConfig::at(directory.join("hematite"))
}

fn synced(blocks: &[Grown]) -> Commit {
    Commit { durability: Durability::Sync, ..extension(blocks, &[]) }
}

/// Writes genesis and these many blocks, one commit each, and drops everything without a flush.
fn fill(directory: &Path, count: usize) -> Vec<Grown> {
    let (mut writer, _) = open(&config(directory)).unwrap();
    let genesis = genesis();
    initialise(&mut writer, &genesis);
    let mut blocks = vec![genesis];
    for _ in 0..count {
        let next = child(&blocks[blocks.len() - 1], 1);
        writer.commit(synced(std::slice::from_ref(&next))).unwrap();
        blocks.push(next);
    }
    blocks
}

fn reopen(directory: &Path) -> (Writer, View) {
    open(&config(directory)).unwrap()
}

/// Removes RocksDB's log, as damage to it may do.
fn lose_log(directory: &Path) {
    for entry in fs::read_dir(directory.join("hematite/db")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Copies the whole directory, as a backup does.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("hematite/db")).unwrap();
    for part in ["hematite", "hematite/db"] {
        for entry in fs::read_dir(from.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(part).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

#[test]
fn everything_is_there_again_after_a_drop_without_flush() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = fill(directory.path(), 150);
    for _ in 0..2 {
        let (writer, view) = reopen(directory.path());
        assert_eq!(writer.ledger(), LedgerState::Agrees);
        assert_eq!(view.head(), Some(blocks[150].id()));
        assert_eq!(view.base(), blocks[22].id());
        for block in &blocks {
            let state = view.state_at(block.id().hash).unwrap();
            assert_flat(&state, &block.state, &[&blocks[150].state]);
            assert_eq!(view.receipts(block.id().hash).unwrap(), block.record.receipts);
        }
        assert_nodes(&view.state_at(blocks[150].id().hash).unwrap(), &blocks[150].state);
    }
}

#[test]
fn writing_goes_on_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut blocks = fill(directory.path(), 20);
    for round in 0..4 {
        let (mut writer, _) = reopen(directory.path());
        let new = line(&blocks[blocks.len() - 1], 40, round);
        writer.commit(extension(&new, &[])).unwrap();
        blocks.extend(new);
        if round % 2 == 0 {
            writer.close().unwrap();
        }
    }
    let (_, view) = reopen(directory.path());
    assert_eq!(view.head(), Some(blocks[180].id()));
    for block in &blocks {
        assert_flat(&view.state_at(block.id().hash).unwrap(), &block.state, &[]);
    }
}

#[test]
fn buffered_commits_are_there_after_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = fill(directory.path(), 1);
    let (mut writer, _) = reopen(directory.path());
    let new = line(&blocks[1], 3, 1);
    writer.commit(extension(&new, &[])).unwrap();
    writer.sync().unwrap();
    drop(writer);
    assert_eq!(reopen(directory.path()).1.head(), Some(new[2].id()));
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 1);
    let (writer, view) = reopen(directory.path());
    drop(writer);
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }), "{error:?}");
    drop(view);
    reopen(directory.path());
}

#[test]
fn somebody_elses_files_are_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("hematite/db");
    fs::create_dir_all(&db).unwrap();
    fs::write(db.join("ancient.0000.cdat"), b"geth").unwrap();
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::Foreign { .. }), "{error:?}");
    assert_eq!(fs::read_dir(&db).unwrap().count(), 1);
}

#[test]
fn another_programs_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("hematite/db");
    fs::create_dir_all(&db).unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(rocksdb::DB::open_cf(&options, &db, ["headers", "theirs"]).unwrap());
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::Foreign { .. }), "{error:?}");
}

#[test]
fn an_interrupted_creation_is_made_up_for() {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("hematite/db");
    fs::create_dir_all(&db).unwrap();
    for name in ["LOCK", "LOG", "IDENTITY", "MANIFEST-000001", "000001.dbtmp"] {
        fs::write(db.join(name), b"").unwrap();
    }
    drop(reopen(directory.path()));
    fs::remove_dir_all(&db).unwrap();
    fs::create_dir_all(&db).unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(rocksdb::DB::open_cf(&options, &db, ["default", "headers", "bodies"]).unwrap());
    fill(directory.path(), 2);
    reopen(directory.path());
}

#[test]
fn a_database_without_its_entry_file_is_corrupt_and_not_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 3);
    fs::remove_file(directory.path().join("hematite/db/CURRENT")).unwrap();
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("CURRENT"), "{error}");
}

#[test]
fn a_missing_table_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 3);
    reopen(directory.path()).0.close().unwrap();
    let tables: Vec<_> = fs::read_dir(directory.path().join("hematite/db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .collect();
    assert!(!tables.is_empty());
    for table in tables {
        fs::remove_file(table).unwrap();
    }
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
}

#[test]
fn another_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 1);
    let (writer, view) = reopen(directory.path());
    let handle = writer.db.cf_handle(Column::Meta.name()).unwrap();
    writer.db.put_cf(handle, meta::SCHEMA, 3_u64.to_be_bytes()).unwrap();
    drop((writer, view));
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::WrongSchema { have: 3, expected: 2 }), "{error:?}");

    // A later version with one more column is told by its version too.
    let db = directory.path().join("hematite/db");
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let names = Column::ALL.map(Column::name);
    let columns = names.iter().copied().chain(["default", "later"]);
    drop(rocksdb::DB::open_cf(&options, &db, columns).unwrap());
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::WrongSchema { have: 3, expected: 2 }), "{error:?}");
}

#[test]
fn a_head_that_is_not_canonical_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = fill(directory.path(), 3);
    let (writer, view) = reopen(directory.path());
    let handle = writer.db.cf_handle(Column::Canonical.name()).unwrap();
    writer.db.delete_cf(handle, 3_u64.to_be_bytes()).unwrap();
    drop((writer, view));
    let error = open(&config(directory.path())).unwrap_err();
    assert!(error.to_string().contains(&blocks[3].id().hash.to_string()), "{error}");
}

#[test]
fn a_missing_layer_is_corrupt() {
    for lost in [2, 3] {
        let directory = tempfile::tempdir().unwrap();
        let blocks = fill(directory.path(), 3);
        let (writer, view) = reopen(directory.path());
        let handle = writer.db.cf_handle(Column::Layers.name()).unwrap();
        writer.db.delete_cf(handle, blocks[lost].id().hash).unwrap();
        drop((writer, view));
        let error = open(&config(directory.path())).unwrap_err();
        assert!(error.to_string().starts_with("corrupt layers"), "{error}");
    }
}

#[test]
fn a_lost_log_is_noticed_until_the_chain_is_as_long_again() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = fill(directory.path(), 5);
    reopen(directory.path()).0.close().unwrap();
    let (mut writer, view) = reopen(directory.path());
    let new = line(&blocks[5], 4, 1);
    for block in &new {
        writer.commit(synced(std::slice::from_ref(block))).unwrap();
    }
    drop((writer, view));
    lose_log(directory.path());

    let behind =
        |have: &Grown| LedgerState::DatabaseBehind { missing: new[3].id(), have: Some(have.id()) };
    let (mut writer, view) = reopen(directory.path());
    assert_eq!(view.head(), Some(blocks[5].id()));
    assert_eq!(writer.ledger(), behind(&blocks[5]));
    // Looking again changes nothing, and neither does a part of what is missing.
    drop((writer, view));
    (writer, _) = reopen(directory.path());
    assert_eq!(writer.ledger(), behind(&blocks[5]));
    writer.commit(synced(&new[..2])).unwrap();
    assert_eq!(writer.ledger(), behind(&new[1]));
    drop(writer);
    (writer, _) = reopen(directory.path());
    assert_eq!(writer.ledger(), behind(&new[1]));
    writer.commit(synced(&new[2..])).unwrap();
    assert_eq!(writer.ledger(), LedgerState::Agrees);
    drop(writer);
    assert_eq!(reopen(directory.path()).0.ledger(), LedgerState::Agrees);
}

#[test]
fn an_accepted_rollback_is_not_reported_again() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 5);
    let old = tempfile::tempdir().unwrap();
    copy(directory.path(), old.path());
    let (mut writer, view) = reopen(directory.path());
    let new = line(&child(&genesis(), 1), 0, 1);
    assert!(new.is_empty());
    for _ in 0..3 {
        writer.set_config("{}").unwrap();
    }
    drop((writer, view));
    fs::copy(directory.path().join("hematite/ledger"), old.path().join("hematite/ledger")).unwrap();
    let (mut writer, _) = reopen(old.path());
    assert!(matches!(writer.ledger(), LedgerState::DatabaseBehind { .. }));
    writer.accept_rollback().unwrap();
    assert_eq!(writer.ledger(), LedgerState::Agrees);
    drop(writer);
    assert_eq!(reopen(old.path()).0.ledger(), LedgerState::Agrees);
}

#[test]
fn a_database_that_lost_everything_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = fill(directory.path(), 5);
    fs::remove_dir_all(directory.path().join("hematite/db")).unwrap();
    let (mut writer, view) = reopen(directory.path());
    assert_eq!(view.head(), None);
    let missing = blocks[5].id();
    assert_eq!(writer.ledger(), LedgerState::DatabaseBehind { missing, have: None });
    initialise(&mut writer, &blocks[0]);
    let have = Some(blocks[0].id());
    assert_eq!(writer.ledger(), LedgerState::DatabaseBehind { missing, have });
    drop((writer, view));
    let (mut writer, _) = reopen(directory.path());
    assert_eq!(writer.ledger(), LedgerState::DatabaseBehind { missing, have });
    writer.commit(synced(&blocks[1..])).unwrap();
    assert_eq!(writer.ledger(), LedgerState::Agrees);
}

#[test]
fn a_lost_or_older_ledger_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 5);
    let ledger = directory.path().join("hematite/ledger");
    let whole = fs::read(&ledger).unwrap();
    for damaged in [&whole[..0], &whole[..64 * 3], &whole[..64 * 4 + 10], &[0; 4096]] {
        fs::write(&ledger, damaged).unwrap();
        assert_eq!(reopen(directory.path()).0.ledger(), LedgerState::DatabaseAhead);
        assert_eq!(reopen(directory.path()).0.ledger(), LedgerState::Agrees);
    }
    fs::remove_file(&ledger).unwrap();
    assert_eq!(reopen(directory.path()).0.ledger(), LedgerState::DatabaseAhead);
}

#[test]
fn one_record_too_many_in_the_ledger_is_an_ordinary_crash() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = fill(directory.path(), 5);
    let older = tempfile::tempdir().unwrap();
    copy(directory.path(), older.path());
    let (mut writer, _) = reopen(directory.path());
    let next = child(&blocks[5], 1);
    writer.commit(synced(std::slice::from_ref(&next))).unwrap();
    fs::copy(directory.path().join("hematite/ledger"), older.path().join("hematite/ledger"))
        .unwrap();
    let (mut writer, view) = reopen(older.path());
    assert_eq!(view.head(), Some(blocks[5].id()));
    assert_eq!(writer.ledger(), LedgerState::Agrees);
    writer.commit(synced(&[next])).unwrap();
    drop((writer, view));
    assert_eq!(reopen(older.path()).0.ledger(), LedgerState::Agrees);
}

#[test]
fn nothing_is_written_after_a_failed_write() {
    let (mut writer, genesis) = memory();
    writer.failed = true;
    let commit = extension(&[child(&genesis, 1)], &[]);
    assert!(matches!(writer.commit(commit), Err(StorageError::Failed)));
    assert!(matches!(writer.sync(), Err(StorageError::Failed)));
}

/// Names the directory that the process killed below writes to.
const VICTIM: &str = "STORAGE_TEST_VICTIM";

/// Does nothing by itself. As the process that the next test starts, it dies in the middle of its work.
#[test]
fn a_process_that_is_killed() {
    if let Some(directory) = env::var_os(VICTIM) {
        let blocks = fill(Path::new(&directory), 3);
        let (mut writer, _) = reopen(Path::new(&directory));
        for block in line(&blocks[3], 50, 1) {
            writer.commit(extension(std::slice::from_ref(&block), &[])).unwrap();
        }
        std::process::abort();
    }
}

#[test]
fn commits_survive_the_process_being_killed_even_if_not_synced() {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tests::directory::a_process_that_is_killed"])
        .env(VICTIM, directory.path())
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
    let (writer, view) = reopen(directory.path());
    let blocks = line(&genesis(), 53, 1);
    assert_eq!(view.head(), Some(blocks[52].id()));
    assert_eq!(writer.ledger(), LedgerState::Agrees);
    assert_sound(&writer);
}

#[test]
fn an_unusable_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hematite"), b"a file").unwrap();
    let error = open(&config(directory.path())).unwrap_err();
    assert!(matches!(error, StorageError::Io(_)), "{error:?}");
    assert!(error.to_string().contains("hematite"), "{error}");
}
