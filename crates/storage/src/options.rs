//! How RocksDB is set up: little memory, quick to open, nothing lost.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options};
use rustix::process::{Resource, getrlimit};

use crate::schema::Column;

/// Room for one column's newest records before they are written out, in bytes.
const COLUMN_BUFFER_BYTES: usize = 8 << 20;
/// Room for the newest records of all columns together, in bytes.
const BUFFERS_BYTES: usize = 32 << 20;
/// Size of the log after which the oldest records are written out, in bytes. It is read again when
/// the database is opened after a crash, so it bounds how long that takes.
const LOG_BYTES_MAX: u64 = 48 << 20;
/// Open files at the same time, of all that the database consists of, and at most a quarter of what
/// the process may have open.
const OPEN_FILES_MAX: i32 = 512;
/// Fewer than this, and it would open and close files all the time.
const OPEN_FILES_MIN: i32 = 32;
/// Bits of the filter per key: one look-up of an absent key in a hundred reads the disk in vain.
const FILTER_BITS: f64 = 10.0;

/// What a column's records look like, and so how they are best kept.
enum Shape {
    /// Read one by one by a hash: filtered, in small pages.
    Hashed,
    /// Large, in the order of blocks, and seldom read again: compressed well, in large pages.
    Blocks,
    /// Small, in the order of keys.
    Ordered,
}

/// The options of the database as a whole.
pub(crate) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn end of the log is an ordinary crash. Damage further up cuts off what comes after it,
    // which the ledger notices.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_db_write_buffer_size(BUFFERS_BYTES);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    options.set_max_open_files(open_files(getrlimit(Resource::Nofile).current));
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(1 << 20);
    options.set_keep_log_file_num(2);
    options
}

fn open_files(descriptors: Option<u64>) -> i32 {
    let quarter = descriptors.and_then(|count| i32::try_from(count / 4).ok());
    quarter.unwrap_or(OPEN_FILES_MAX).clamp(OPEN_FILES_MIN, OPEN_FILES_MAX)
}

/// The options of one column; all share one cache.
pub(crate) fn column(column: Column, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(COLUMN_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Indexes and filters count against the cache, else they would grow with the database.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    match shape(column) {
        Shape::Hashed => {
            table.set_bloom_filter(FILTER_BITS, false);
            table.set_block_size(8 << 10);
        }
        Shape::Blocks => {
            options.set_compression_type(DBCompressionType::Zstd);
            table.set_block_size(32 << 10);
        }
        Shape::Ordered => {
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
            table.set_block_size(8 << 10);
        }
    }
    options.set_block_based_table_factory(&table);
    options
}

const fn shape(column: Column) -> Shape {
    match column {
        Column::Numbers
        | Column::TxIndex
        | Column::Accounts
        | Column::Slots
        | Column::AccountNodes
        | Column::SlotNodes
        | Column::Codes
        | Column::Layers
        | Column::Preimages => Shape::Hashed,
        Column::Headers | Column::Bodies | Column::Receipts | Column::Changes => Shape::Blocks,
        Column::Td
        | Column::Canonical
        | Column::History
        | Column::Unexecuted
        | Column::LogIndex
        | Column::Meta => Shape::Ordered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_leaves_descriptors_to_others() {
        let open = [Some(64), Some(512), Some(2_048), Some(1 << 40), None].map(open_files);
        assert_eq!(open, [OPEN_FILES_MIN, 128, OPEN_FILES_MAX, OPEN_FILES_MAX, OPEN_FILES_MAX]);
    }
}
