//! The lines that a person typed, kept between consoles.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The most lines that are kept.
const LINES_MAX: usize = 1000;

/// The most of a file that is read.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Typed commands, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    path: Option<PathBuf>,
    lines: Vec<String>,
}

impl History {
    /// Reads the file. One that is not there or cannot be read is empty.
    pub(crate) fn load(path: Option<&Path>) -> Self {
        let mut text = Vec::new();
        if let Some(file) = path.and_then(|path| File::open(path).ok()) {
            // What cannot be read is forgotten.
            file.take(BYTES_MAX).read_to_end(&mut text).ok();
        }
        let text = String::from_utf8_lossy(&text);
        let lines =
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        let mut history = Self { path: path.map(Path::to_owned), lines };
        history.trim();
        history
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Keeps a command, unless it is the last one again, begins with a space, or may have a
    /// password in it. Returns whether it was kept.
    pub(crate) fn push(&mut self, input: &str) -> bool {
        let command = input.trim();
        let is_repeated = self.lines.last().is_some_and(|last| last == command);
        if input.starts_with(' ') || command.is_empty() || is_repeated || is_secret(command) {
            return false;
        }
        self.lines.push(command.to_owned());
        self.trim();
        true
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }

    /// Writes the file, for its owner only.
    pub(crate) fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let new = path.with_extension("new");
        // A file that another left there may be readable by everybody.
        fs::remove_file(&new).ok();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        for line in &self.lines {
            writeln!(file, "{line}")?;
        }
        fs::rename(&new, path)
    }

    fn trim(&mut self) {
        let surplus = self.lines.len().saturating_sub(LINES_MAX);
        self.lines.drain(..surplus);
    }
}

/// Whether a command may name a password: geth's `personal.[nusi]`, and the raw `jeth`.
fn is_secret(command: &str) -> bool {
    ["personal", "jeth"].iter().any(|object| {
        command.match_indices(object).any(|(at, _)| {
            let rest = command[at + object.len()..].chars().nth(1);
            rest.is_some_and(|letter| "nusio".contains(letter))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn passwords_are_not_kept() {
        let mut history = History::default();
        for secret in [
            "personal.unlockAccount(eth.accounts[0], 'x')",
            "a = 1; web3.personal.newAccount('x')",
            "personal.sign('0x', a, 'x')",
            "personal.importRawKey('0x', 'x')",
            "jeth.newAccount('x')",
            " eth.blockNumber",
            "  ",
        ] {
            assert!(!history.push(secret), "{secret}");
        }
        assert!(history.push("personal.listAccounts"));
        assert!(history.push("eth.blockNumber\n"));
        assert!(!history.push("eth.blockNumber"));
        assert_eq!(history.lines(), ["personal.listAccounts", "eth.blockNumber"]);
    }

    #[test]
    fn the_file_is_its_owners_and_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history");
        fs::write(&path, b"eth.accounts\n\nb\xff\n").expect("it can be written");
        let mut history = History::load(Some(&path));
        assert_eq!(history.lines().len(), 2);
        for number in 0..2 * LINES_MAX {
            history.push(&format!("f({number})"));
        }
        history.save().expect("it can be saved");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = History::load(Some(&path));
        assert_eq!(again.lines(), history.lines());
        assert_eq!((again.lines().len(), again.lines()[0].as_str()), (LINES_MAX, "f(1000)"));
    }
}
