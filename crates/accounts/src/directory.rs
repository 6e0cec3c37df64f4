//! The directory of key files: what is in it, and how a file gets there whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use primitives::hex;
use rand::{TryRngCore, rngs::OsRng};

use crate::key_file::KEY_FILE_BYTES_MAX;

/// A file that might hold a key, and by what a change of it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) modified: Option<SystemTime>,
}

/// Lists the files that may hold keys, in the order of their paths.
///
/// As in geth, names that begin with `.` or end with `~` are editors' and our own temporary files,
/// and anything but a plain file (a link, a directory, a pipe) is none of ours. A directory that
/// does not exist has no files.
pub(crate) fn candidates(directory: &Path) -> io::Result<Vec<Candidate>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut candidates = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b".") || name.ends_with(b"~") {
            continue;
        }
        // A file that vanished since it was listed is not an error.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.file_type().is_file() {
            let modified = metadata.modified().ok();
            candidates.push(Candidate { path: entry.path(), bytes: metadata.len(), modified });
        }
    }
    candidates.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(candidates)
}

/// Reads a key file, and one byte more than the largest allowed if it is larger than that.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let limit = KEY_FILE_BYTES_MAX + 1;
    File::open(path)?.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// Stores a secret in a file of its own, 0600, in a directory that is made 0700 if it has to be.
/// After a crash the file is there whole, or as it was before.
///
/// # Errors
///
/// Those of writing; then the file is as it was before.
pub fn store_privately(path: &Path, content: &[u8]) -> io::Result<()> {
    place(path, content, |read_back| {
        let same = read_back == content;
        if same { Ok(()) } else { Err(io::Error::other("the file reads back differently")) }
    })
}

/// Puts a file in place so that a crash leaves the old content, or the new, or none if there was
/// none: a temporary sibling is written, synced, read back for `verify`, renamed, and the directory
/// is synced.
///
/// The file is for its owner alone (0600), and so is a directory that had to be made (0700).
pub(crate) fn place<E: From<io::Error>>(
    path: &Path,
    content: &[u8],
    verify: impl FnOnce(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut random = [0; 8];
    OsRng.try_fill_bytes(&mut random).expect("the operating system has randomness");
    let sibling = format!(".{}.tmp{}", name.to_string_lossy(), hex::encode(random));
    let sibling = directory.join(sibling);
    let placed = write_synced(&sibling, content)
        .map_err(E::from)
        .and_then(|()| verify(&read(&sibling)?))
        .and_then(|()| Ok(fs::rename(&sibling, path)?))
        .and_then(|()| Ok(File::open(directory)?.sync_all()?));
    if placed.is_err() {
        // It may never have been made, or already have its new name.
        let _ = fs::remove_file(&sibling);
    }
    placed
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
