//! Replacing the file as a whole.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::record::Record;
use crate::transaction::PooledTransaction;

/// What is being written, until it is whole.
pub(super) const NEW: &str = ".new";
/// What was found and could not be read to its end.
pub(super) const CORRUPT: &str = ".corrupt";

/// The path with something appended to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Writes a new journal and puts it in the place of the old one, which is kept as `.corrupt` if
/// asked. Answers with the file, open for appending, and its length.
///
/// The new file is synced before anything is renamed, so that at every moment one of the two names
/// is whole.
pub(super) fn rewrite(
    path: &Path,
    transactions: &[Arc<PooledTransaction>],
    set_aside: bool,
) -> io::Result<(File, u64)> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let new = beside(path, NEW);
    let written = write(&new, transactions);
    let (file, length) = match written {
        Ok(written) => written,
        Err(error) => {
            // Half a file helps nobody, and on a full disk it takes the last room.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
    };
    if set_aside && fs::symlink_metadata(path).is_ok() {
        let aside = beside(path, CORRUPT);
        tracing::warn!(path = %aside.display(), "Set a damaged transaction journal aside");
        fs::rename(path, aside)?;
    }
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()?;
    Ok((file, length))
}

fn write(path: &Path, transactions: &[Arc<PooledTransaction>]) -> io::Result<(File, u64)> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // `create_new` follows no link.
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    let mut length = 0;
    let mut writer = BufWriter::new(&file);
    let mut bytes = Vec::new();
    for tx in transactions {
        bytes.clear();
        Record::Add(&tx.tx).encode(&mut bytes);
        writer.write_all(&bytes)?;
        length += u64::try_from(bytes.len()).expect("a length fits into 64 bits");
    }
    writer.flush()?;
    drop(writer);
    file.sync_all()?;
    Ok((file, length))
}
