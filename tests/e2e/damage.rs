//! Disks that fail, fill up, or come back older than they were.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{
    branches::{Branches, rlp, write},
    node::{fail, finish, hematite, run, shown, succeed, verified_head},
    text,
};

/// A directory with a short chain, and the rest of the chain in a file.
struct Chain {
    branches: Branches,
    genesis: String,
    datadir: PathBuf,
    all: String,
    part: String,
}

impl Chain {
    /// Imports this many blocks of 300.
    fn new(folder: &Path, blocks: usize) -> Self {
        let branches = Branches::grow(0, 300);
        let genesis = write(folder, "genesis.json", branches.genesis.to_string());
        let all = write(folder, "all.rlp", rlp(&branches.first));
        let part = write(folder, "part.rlp", rlp(&branches.first[..=blocks]));
        let chain = Self { branches, genesis, datadir: folder.join("node"), all, part };
        succeed(&chain.import_args(&chain.part));
        chain
    }

    fn import_args<'a>(&'a self, file: &'a str) -> [&'a str; 7] {
        let datadir = text(&self.datadir);
        ["import", "--fakepow", "--genesis", &self.genesis, "--datadir", datadir, file]
    }

    fn database(&self) -> PathBuf {
        self.datadir.join("hematite/db")
    }

    /// Files of the database whose names contain this.
    fn files(&self, name: &str) -> Vec<PathBuf> {
        let entries = self.database().read_dir().expect("a folder");
        let paths = entries.map(|entry| entry.expect("it is readable").path());
        let mut files: Vec<PathBuf> = paths.filter(|path| text(path).contains(name)).collect();
        files.sort();
        files
    }
}

/// Turns bits over in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("it is readable");
    let middle = bytes.len() / 2;
    let end = (middle + 16).min(bytes.len());
    for byte in &mut bytes[middle..end] {
        *byte ^= 0xff;
    }
    fs::write(path, bytes).expect("it is writable");
}

#[test]
fn a_damaged_manifest_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Chain::new(folder.path(), 100);
    for file in chain.files("MANIFEST") {
        damage(&file);
    }
    fail(&["--fakepow", "--datadir", text(&chain.datadir)], 3, &["corrupt", text(&chain.datadir)]);
}

#[test]
fn a_damaged_table_is_found_by_verification() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Chain::new(folder.path(), 300);
    let tables = chain.files(".sst");
    assert!(!tables.is_empty(), "closing the database leaves tables");
    for file in &tables {
        damage(file);
    }
    let said = fail(&["db", "verify", "--datadir", text(&chain.datadir)], 3, &["corrupt"]);
    assert!(said.contains(".sst") || said.contains("problem"), "{said}");
}

#[test]
fn a_missing_table_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Chain::new(folder.path(), 300);
    let tables = chain.files(".sst");
    fs::remove_file(tables.first().expect("a table")).expect("it is ours");
    fail(&["--fakepow", "--datadir", text(&chain.datadir)], 3, &["corrupt"]);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", text(from), text(to)]).status();
    assert!(copied.expect("cp runs").success());
}

#[test]
fn an_older_copy_of_the_database_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Chain::new(folder.path(), 100);
    let older = folder.path().join("older");
    copy(&chain.database(), &older);
    // One commit is what a crash may interrupt, so this makes several.
    for end in [150, 200, 250] {
        let more = write(folder.path(), "more.rlp", rlp(&chain.branches.first[..=end]));
        succeed(&chain.import_args(&more));
    }
    succeed(&chain.import_args(&chain.all));
    assert_eq!(verified_head(&chain.datadir), chain.branches.first_end());
    fs::remove_dir_all(chain.database()).expect("it is ours");
    copy(&older, &chain.database());
    let output = run(&["db", "verify", "--datadir", text(&chain.datadir)]);
    let said = shown(&output);
    let lost = chain.branches.first_end().1;
    assert!(said.contains("lost blocks") && said.contains(&lost), "{said}");
    // Importing them again heals it.
    succeed(&chain.import_args(&chain.all));
    let output = run(&["db", "verify", "--datadir", text(&chain.datadir)]);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(!shown(&output).contains("lost blocks"), "{}", shown(&output));
    assert_eq!(verified_head(&chain.datadir), chain.branches.first_end());
}

/// Runs a script in a namespace of its own where it may mount.
fn with_mounts(script: &str, args: &[&str]) -> std::process::Output {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-euc", script]).args(args);
    finish(command, "")
}

#[test]
fn a_full_disk_is_reported_and_what_was_written_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Chain::new(folder.path(), 100);
    let small = folder.path().join("small");
    fs::create_dir(&small).expect("the folder is writable");
    // The copy of the data directory fills up; another that has room gets what was left of it.
    let script = "mount -t tmpfs -o size=3m none \"$1\"; cp -a \"$2\" \"$1/node\"; code=0; \
                  \"$0\" import --fakepow --datadir \"$1/node\" \"$3\" || code=$?; \
                  cp -a \"$1/node\" \"$4\"; exit $code";
    let rest = folder.path().join("rest");
    let big = write(folder.path(), "big.rlp", rlp(&Branches::grow(0, 3_000).first));
    let args = [text(hematite()), text(&small), text(&chain.datadir), &big, text(&rest)];
    let output = with_mounts(script, &args);
    assert_eq!(output.status.code(), Some(4), "{}", shown(&output));
    assert!(shown(&output).contains("full"), "{}", shown(&output));
    let (number, _) = verified_head(&rest);
    assert!(number >= 100, "the chain fell to block {number}");
}

#[test]
fn a_read_only_disk_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Chain::new(folder.path(), 10);
    let script = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; \
                  exec \"$0\" --fakepow --datadir \"$1\" --http.port 0 --ops.addr off";
    let output = with_mounts(script, &[text(hematite()), text(&chain.datadir)]);
    assert_eq!(output.status.code(), Some(4), "{}", shown(&output));
    let said = shown(&output);
    assert!(said.contains("Read-only") && said.contains(text(&chain.datadir)), "{said}");
    assert_eq!(verified_head(&chain.datadir).0, 10);
}
