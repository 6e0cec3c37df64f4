//! Where the vectors are: unpacked folders, or archives that are unpacked once into a cache.

use std::{
    env, fs,
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// The archives, without their endings.
const ARCHIVES: [&str; 5] =
    ["ethereum-tests", "legacytests", "realchain", "jsonrpc", "geth-testdata"];

const ENDING: &str = ".tar.zst";

/// One file of the data.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its path from the archive's name on, with slashes.
    pub(crate) name: String,
    bytes: u64,
}

impl DataFile {
    /// What sorts files by how long they take: seals and key files need more than their size tells.
    fn weight(&self) -> (bool, u64) {
        let parts = ["realchain/", "keystore", "KeyStore"];
        (parts.iter().any(|part| self.name.contains(part)), self.bytes)
    }

    /// Everything in it.
    pub(crate) fn read(&self) -> Vec<u8> {
        fs::read(&self.path).expect("a listed file can be read")
    }
}

/// All files, those that take longest first, or why there are none.
pub(crate) fn files() -> Result<Vec<DataFile>, String> {
    let root = root();
    let mut files = Vec::new();
    for archive in ARCHIVES {
        match folder_of(&root, archive)? {
            Some(folder) => collect(&folder, archive, &mut files),
            None => println!("absent: {archive}"),
        }
    }
    if files.is_empty() {
        return Err(format!("{} holds none of {ARCHIVES:?}", root.display()));
    }
    files.sort_by(|a, b| b.weight().cmp(&a.weight()).then_with(|| a.name.cmp(&b.name)));
    Ok(files)
}

fn root() -> PathBuf {
    match env::var_os("CONFORMANCE_DIR").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"),
    }
}

/// The unpacked folder of an archive; `None` if there is neither.
fn folder_of(root: &Path, archive: &str) -> Result<Option<PathBuf>, String> {
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
    Ok(folder)
}

fn collect(folder: &Path, name: &str, files: &mut Vec<DataFile>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            collect(&path, &name, files);
        } else {
            let bytes = entry.metadata().map_or(0, |meta| meta.len());
            files.push(DataFile { path, name, bytes });
        }
    }
}
