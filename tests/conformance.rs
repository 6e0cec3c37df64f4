//! The archives of official vectors and real chains, unpacked where need be.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// How archives end.
const ENDING: &str = ".tar.zst";

/// Where the archives or their folders are.
pub(crate) fn root() -> PathBuf {
    match env::var_os("CONFORMANCE_DIR").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"),
    }
}

/// The unpacked folder of an archive; `None` if there is neither.
pub(crate) fn folder_of(root: &Path, archive: &str) -> Result<Option<PathBuf>, String> {
    let unpacked = root.join(archive);
    if unpacked.is_dir() {
        return Ok(Some(unpacked));
    }
    let packed = root.join(format!("{archive}{ENDING}"));
    if !packed.is_file() {
        return Ok(None);
    }
    unpack_once(&packed, archive)
        .map(Some)
        .map_err(|error| format!("{} cannot be unpacked: {error}", packed.display()))
}

/// Unpacks into a folder that is named after the archive's size and age, unless it is there.
fn unpack_once(packed: &Path, archive: &str) -> io::Result<PathBuf> {
    let meta = fs::metadata(packed)?;
    let age = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let home = env::var_os("HOME").map_or_else(env::temp_dir, PathBuf::from);
    let cache = home.join(".cache/hematite/conformance");
    let folder = cache.join(format!("{archive}-{}-{age}", meta.len()));
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = cache.join(format!("{archive}.part-{}", std::process::id()));
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    let packed = BufReader::new(File::open(packed)?);
    let plain = ruzstd::decoding::StreamingDecoder::new(packed).map_err(io::Error::other)?;
    tar::Archive::new(plain).unpack(&part)?;
    match fs::rename(&part, &folder) {
        // Somebody else was faster.
        Err(_) if folder.is_dir() => fs::remove_dir_all(&part)?,
        renamed => renamed?,
    }
    forget_others(&cache, archive, &folder)?;
    Ok(folder)
}

/// Removes what older packs of the same archive were unpacked to.
fn forget_others(cache: &Path, archive: &str, kept: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cache)? {
        let other = entry?.path();
        let name = other.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let Some(version) = name.strip_prefix(archive).and_then(|end| end.strip_prefix('-')) else {
            continue;
        };
        let is_version = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if is_version && other != kept {
            // Somebody else may be at it, too.
            let _ = fs::remove_dir_all(&other);
        }
    }
    Ok(())
}
