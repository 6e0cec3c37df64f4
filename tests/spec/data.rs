//! The files of vectors.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::conformance::{folder_of, root};

/// The archives, without their endings.
const ARCHIVES: [&str; 5] =
    ["ethereum-tests", "legacytests", "realchain", "jsonrpc", "geth-testdata"];

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
