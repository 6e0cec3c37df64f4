use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{cache, installed, node::finish, node::shown, text};

/// The versions of real geth that what we mine must suit: the book's, and the last that mines.
pub(crate) const VERSIONS: [&str; 2] = ["v1.9.13", "v1.10.26"];

/// Real geth with a data directory.
pub(crate) struct Geth {
    program: PathBuf,
    datadir: PathBuf,
    /// Flags of this version that keep it to itself.
    quiet: &'static [&'static str],
}

impl Geth {
    /// A version, with a directory.
    pub(crate) fn new(version: &str, datadir: &Path) -> Self {
        let program = installed(cache().join("geth").join(version).join("geth"));
        let quiet: &[&str] = if version == "v1.9.13" { &["--nousb"] } else { &[] };
        Self { program, datadir: datadir.to_owned(), quiet }
    }

    /// Runs a command.
    pub(crate) fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(&self.program);
        command.args(["--datadir", text(&self.datadir), "--ipcdisable"]).args(self.quiet);
        command.args(["--ethash.dagdir", text(&self.datadir)]).args(args);
        finish(command, input)
    }

    /// Runs a command that must succeed; returns what it printed on stdout.
    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args, "");
        assert!(output.status.success(), "geth {args:?}: {}", shown(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What an expression is on a console, without quotes.
    pub(crate) fn evaluate(&self, expression: &str) -> String {
        let mut args = vec!["--nodiscover", "--maxpeers", "0", "--port", "0", "--verbosity", "1"];
        args.extend(["--exec", expression, "console"]);
        let out = self.succeed(&args);
        out.lines().last().unwrap_or_default().trim().trim_matches('"').to_owned()
    }

    /// Imports a file of blocks on a genesis; returns hash and state root of the head.
    pub(crate) fn import(&self, genesis: &Path, file: &Path) -> (String, String) {
        self.succeed(&["init", text(genesis)]);
        self.succeed(&["import", text(file)]);
        let head = self.evaluate("var b = eth.getBlock(\"latest\"); b.hash + \" \" + b.stateRoot");
        let (hash, root) = head.split_once(' ').unwrap_or_else(|| panic!("no head but {head}"));
        (hash.to_owned(), root.to_owned())
    }
}
