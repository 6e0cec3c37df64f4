//! RocksDB, as little of it as we need: columns, one batch, one pinned reader.

use std::sync::Arc;

use rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, DBRawIterator, ReadOptions, Snapshot, WriteBatch,
    WriteOptions,
};
use self_cell::self_cell;

use crate::{Durability, StorageError, schema::Column};

/// Handles of all columns, at the places of [`Column::ALL`].
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a>([&'a ColumnFamily; Column::ALL.len()]);

impl<'a> Columns<'a> {
    pub(crate) fn of(db: &'a DB) -> Self {
        Self(Column::ALL.map(|column| {
            db.cf_handle(column.name()).expect("the database was opened with all columns")
        }))
    }

    pub(crate) const fn handles(&self) -> &[&'a ColumnFamily] {
        &self.0
    }

    const fn handle(&self, column: Column) -> &'a ColumnFamily {
        self.0[column as usize]
    }
}

/// Everything that one commit writes: all of it or nothing.
pub(crate) struct Batch<'a> {
    columns: Columns<'a>,
    inner: WriteBatch,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(db: &'a DB) -> Self {
        Self { columns: Columns::of(db), inner: WriteBatch::default() }
    }

    pub(crate) fn put(&mut self, column: Column, key: &[u8], value: &[u8]) {
        self.inner.put_cf(self.columns.handle(column), key, value);
    }

    pub(crate) fn delete(&mut self, column: Column, key: &[u8]) {
        self.inner.delete_cf(self.columns.handle(column), key);
    }

    /// Puts a value, or deletes the record if it is empty.
    pub(crate) fn put_or_delete(&mut self, column: Column, key: &[u8], value: &[u8]) {
        if value.is_empty() {
            self.delete(column, key);
        } else {
            self.put(column, key, value);
        }
    }

    /// Writes the batch to the log and makes it readable.
    pub(crate) fn write(self, db: &DB, durability: Durability) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Sync);
        Ok(db.write_opt(self.inner, &options)?)
    }
}

/// A snapshot and what is needed to read through it.
pub(crate) struct Reader<'a> {
    db: &'a DB,
    columns: Columns<'a>,
    /// Reads at `snapshot`. Kept, because making it costs as much as a read.
    options: ReadOptions,
    snapshot: Snapshot<'a>,
}

impl<'a> Reader<'a> {
    fn new(db: &'a DB) -> Self {
        let snapshot = db.snapshot();
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        Self { db, columns: Columns::of(db), options, snapshot }
    }
}

self_cell!(
    /// The database as it stood at one moment.
    pub(crate) struct Pinned {
        owner: Arc<DB>,

        #[covariant]
        dependent: Reader,
    }
);

impl Pinned {
    /// Pins the database as it stands now.
    pub(crate) fn now(db: Arc<DB>) -> Self {
        Self::new(db, |db| Reader::new(db))
    }

    /// The record behind a key.
    pub(crate) fn record(
        &self,
        column: Column,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        let reader = self.borrow_dependent();
        let handle = reader.columns.handle(column);
        Ok(reader.db.get_pinned_cf_opt(handle, key, &reader.options)?)
    }

    /// A cursor over the records of a column from a key on, up to and without `end`.
    pub(crate) fn cursor(&self, column: Column, from: &[u8], end: Option<&[u8]>) -> Cursor<'_> {
        let reader = self.borrow_dependent();
        let mut options = ReadOptions::default();
        options.set_snapshot(&reader.snapshot);
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mut inner = reader.db.raw_iterator_cf_opt(reader.columns.handle(column), options);
        inner.seek(from);
        Cursor { inner }
    }

    /// A cursor over the records whose keys begin with `prefix`.
    pub(crate) fn prefix(&self, column: Column, prefix: &[u8]) -> Cursor<'_> {
        let end = after_prefix(prefix);
        self.cursor(column, prefix, end.as_deref())
    }
}

/// A key and its value.
pub(crate) type Item<'a> = (&'a [u8], &'a [u8]);

/// Walks records in the order of their keys.
pub(crate) struct Cursor<'a> {
    inner: DBRawIterator<'a>,
}

impl Cursor<'_> {
    /// The record the cursor stands on; `None` behind the last one.
    pub(crate) fn item(&self) -> Result<Option<Item<'_>>, StorageError> {
        match self.inner.item() {
            Some(item) => Ok(Some(item)),
            None => {
                self.inner.status()?;
                Ok(None)
            }
        }
    }

    /// Goes to the first record that is not before this key.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.inner.seek(key);
    }

    /// Goes on to the next record.
    pub(crate) fn advance(&mut self) {
        self.inner.next();
    }
}

/// The first key behind all keys that begin with `prefix`; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff, 0xff]), None);
        assert_eq!(after_prefix(&[]), None);
    }
}
