//! Opening: what is in the directory, is it ours, is it whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use primitives::BlockNumHash;
use rocksdb::{Cache, ColumnFamilyDescriptor, DB, Env, Options};
use state::{Layer, Layers};

use crate::{
    StorageConfig, StorageError, View,
    codec::{bad, decode, decode_u64},
    database::Pinned,
    error::is_lock_held,
    ledger::{self, Ledger, LedgerState, Record},
    options,
    schema::{Column, SCHEMA_VERSION, SCHEMA_VERSION_OLDEST, meta, parse_block_key},
    writer::Writer,
};

/// The column that RocksDB insists on. It stays empty.
const UNUSED_COLUMN: &str = "default";
/// Where a database in memory believes to be: a directory that exists, as RocksDB looks for it.
const MEMORY_PATH: &str = "/.";

/// What `meta` says.
struct Meta {
    head: Option<BlockNumHash>,
    base: BlockNumHash,
    commits: u64,
    missing: Option<BlockNumHash>,
}

/// Opens or creates the database. The writer is handed out exactly once: while it or a view of it
/// lives, opening the same directory again fails with [`StorageError::InUse`].
///
/// # Errors
///
/// See [`StorageError`]. Nothing of ours is written when the directory turns out to be another
/// version's or somebody else's.
pub fn open(config: &StorageConfig) -> Result<(Writer, View), StorageError> {
    let db = Arc::new(if config.in_memory { open_memory(config)? } else { open_disk(config)? });
    let pinned = Pinned::now(db.clone());
    let meta = read_meta(&pinned)?;
    let layers = read_layers(&pinned, &meta)?;
    let (ledger, newest) = if config.in_memory {
        (None, None)
    } else {
        let (ledger, newest) = Ledger::open(&config.path.join("ledger"))?;
        (Some(ledger), newest)
    };
    let view = View::now(db.clone(), layers, meta.head, meta.base);
    check(&view)?;
    let mut writer = Writer {
        db,
        view: view.clone(),
        ledger,
        commits: meta.commits,
        state: LedgerState::Agrees,
        failed: false,
    };
    settle_ledger(&mut writer, newest, &meta)?;
    Ok((writer, view))
}

fn open_memory(config: &StorageConfig) -> Result<DB, StorageError> {
    let env = Env::mem_env()?;
    let mut options = options::database();
    options.set_env(&env);
    Ok(DB::open_cf_descriptors(&options, MEMORY_PATH, descriptors(config))?)
}

fn open_disk(config: &StorageConfig) -> Result<DB, StorageError> {
    let path = config.path.join("db");
    fs::create_dir_all(&path).map_err(|error| StorageError::at(&path, &error))?;
    let options = options::database();
    if is_new(&path)? {
        tracing::info!(path = %path.display(), "Creating database");
    } else {
        check_columns(&options, &path)?;
    }
    DB::open_cf_descriptors(&options, &path, descriptors(config)).map_err(|error| {
        if is_lock_held(&error) { StorageError::InUse { path } } else { error.into() }
    })
}

fn descriptors(config: &StorageConfig) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(config.cache_bytes);
    let unused = ColumnFamilyDescriptor::new(UNUSED_COLUMN, Options::default());
    let ours = Column::ALL
        .map(|column| ColumnFamilyDescriptor::new(column.name(), options::column(column, &cache)));
    std::iter::once(unused).chain(ours).collect()
}

/// Whether the directory holds no database yet: it is empty, or creating one was interrupted before
/// anything could be written to it.
fn is_new(path: &Path) -> Result<bool, StorageError> {
    if path.join("CURRENT").exists() {
        return Ok(false);
    }
    for (name, bytes) in files(path).map_err(|error| StorageError::at(path, &error))? {
        let holds_data = name.ends_with(".sst") || (name.ends_with(".log") && bytes > 0);
        if holds_data {
            let detail = format!("{} is missing beside {name}", path.join("CURRENT").display());
            return Err(StorageError::corrupt("database", detail));
        }
        let expected = ["LOCK", "LOG", "IDENTITY", "MANIFEST-", "OPTIONS-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if !expected && !name.ends_with(".dbtmp") && !name.ends_with(".log") {
            let detail = format!("found {name}");
            return Err(StorageError::Foreign { path: path.to_owned(), detail });
        }
    }
    Ok(true)
}

/// Names and sizes of what is in a directory, sizes in bytes.
fn files(path: &Path) -> io::Result<Vec<(String, u64)>> {
    let one = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()))
    };
    fs::read_dir(path)?.map(one).collect()
}

/// Refuses a database with other columns than ours, before it is opened for writing.
fn check_columns(options: &Options, path: &PathBuf) -> Result<(), StorageError> {
    let present = DB::list_cf(options, path)?;
    let is_known = |name: &str| {
        name == UNUSED_COLUMN || Column::ALL.iter().any(|column| column.name() == name)
    };
    if !present.iter().any(|name| name == Column::Meta.name()) && present.len() > 1 {
        let is_ours = present.iter().all(|name| is_known(name));
        // Our own creation, interrupted: `meta` comes last.
        if is_ours {
            return Ok(());
        }
        let detail = format!("it has a column named {}", present[present.len() - 1]);
        return Err(StorageError::Foreign { path: path.clone(), detail });
    }
    let unknown = present.iter().any(|name| !is_known(name));
    let complete = present.len() == Column::ALL.len() + 1;
    if present.len() <= 1 || (complete && !unknown) {
        return Ok(());
    }
    let db = DB::open_cf_for_read_only(options, path, [UNUSED_COLUMN, Column::Meta.name()], false)?;
    let handle = db.cf_handle(Column::Meta.name()).expect("it was opened with this column");
    match db.get_cf(handle, meta::SCHEMA)? {
        None => Err(StorageError::Foreign {
            path: path.clone(),
            detail: "its columns are not ours".to_owned(),
        }),
        Some(version) => Err(StorageError::WrongSchema {
            have: decode_u64(Column::Meta, meta::SCHEMA, &version)?,
            expected: SCHEMA_VERSION,
        }),
    }
}

fn read_meta(pinned: &Pinned) -> Result<Meta, StorageError> {
    let number = |key| match pinned.record(Column::Meta, key)? {
        None => Ok(None),
        Some(value) => decode_u64(Column::Meta, key, &value).map(Some),
    };
    let block = |key| match pinned.record(Column::Meta, key)? {
        None => Ok(None),
        Some(value) => parse_block_key(&value)
            .map(Some)
            .ok_or_else(|| bad(Column::Meta, key, "is not a block's number and hash")),
    };
    let head = block(meta::HEAD)?;
    let base = block(meta::BASE)?;
    match number(meta::SCHEMA)? {
        Some(SCHEMA_VERSION_OLDEST..=SCHEMA_VERSION) => {}
        None if head.is_none() && base.is_none() => {}
        version => {
            let have = version.unwrap_or(0);
            return Err(StorageError::WrongSchema { have, expected: SCHEMA_VERSION });
        }
    }
    if head.is_some() != base.is_some() {
        return Err(StorageError::corrupt("meta", "one of head and base is missing".to_owned()));
    }
    Ok(Meta {
        head,
        base: base.unwrap_or_default(),
        commits: number(meta::COMMITS)?.unwrap_or(0),
        missing: block(meta::MISSING)?,
    })
}

/// Puts the layers above the base together again.
fn read_layers(pinned: &Pinned, meta: &Meta) -> Result<Layers, StorageError> {
    let mut found: Vec<Arc<Layer>> = Vec::new();
    let mut cursor = pinned.cursor(Column::Layers, &[], None);
    while let Some((key, value)) = cursor.item()? {
        let layer: Layer = decode(Column::Layers, key, value)?;
        if layer.block.hash.as_slice() != key {
            return Err(bad(Column::Layers, key, "is the layer of another block"));
        }
        found.push(Arc::new(layer));
        cursor.advance();
    }
    found.sort_by_key(|layer| layer.block.number);
    let mut layers = Layers::new(meta.base);
    for layer in found {
        if layer.parent != meta.base.hash && !layers.contains(layer.parent) {
            let detail =
                format!("the parent of the layer of block {} is missing", layer.block.hash);
            return Err(StorageError::corrupt("layers", detail));
        }
        layers = layers.with(layer);
    }
    match meta.head {
        Some(head) if head != meta.base => {
            if !layers.contains(head.hash) {
                let detail = format!("the layer of the head, block {}, is missing", head.hash);
                return Err(StorageError::corrupt("layers", detail));
            }
            Ok(layers.with_head(head.hash))
        }
        _ => Ok(layers),
    }
}

/// Head and base must be readable and agree.
fn check(view: &View) -> Result<(), StorageError> {
    let Some(head) = view.head() else { return Ok(()) };
    let base = view.base();
    for (name, id) in [("head", head), ("base", base)] {
        if view.canonical_hash(id.number)? != Some(id.hash) {
            let detail = format!("{name}, block {} {}, is not canonical", id.number, id.hash);
            return Err(StorageError::corrupt("meta", detail));
        }
        if view.header(id.hash)?.is_none() {
            let detail = format!("{name}, block {} {}, is missing", id.number, id.hash);
            return Err(StorageError::corrupt("headers", detail));
        }
    }
    if base.number > head.number {
        return Err(StorageError::corrupt("meta", "the base is above the head".to_owned()));
    }
    Ok(())
}

/// Compares the ledger with what was opened, and writes it anew where it is the one that is wrong.
fn settle_ledger(
    writer: &mut Writer,
    newest: Option<Record>,
    meta: &Meta,
) -> Result<(), StorageError> {
    let Some(ledger) = &mut writer.ledger else { return Ok(()) };
    writer.state = ledger::compare(newest, meta.commits, meta.head);
    match (writer.state, meta.head) {
        (LedgerState::DatabaseBehind { missing, have }, _) => {
            let have = have.map_or(0, |have| have.number);
            tracing::error!(missing = missing.number, have, "Database lost commits");
            // Counting goes on above the ledger, so that its record stays the newest until then.
            writer.commits = newest.map_or(meta.commits, |record| record.commit);
        }
        (LedgerState::DatabaseAhead, Some(head)) => {
            tracing::warn!(
                head = head.number,
                "Ledger was behind the database and is written anew"
            );
            ledger.restart(Record { commit: meta.commits, head })?;
        }
        (LedgerState::DatabaseAhead | LedgerState::Agrees, _) => {}
    }
    if let (Some(missing), Some(head)) = (meta.missing, meta.head)
        && missing.number > head.number
        && !matches!(writer.state, LedgerState::DatabaseBehind { .. })
    {
        writer.state = LedgerState::DatabaseBehind { missing, have: Some(head) };
    }
    Ok(())
}
