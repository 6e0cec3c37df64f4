use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use crate::conformance::{folder_of, root};

use super::{
    cache, installed,
    node::{Node, finish, shown},
    text,
};

/// The network of the tests.
pub(crate) const ID: &str = "27587";

/// A node of ours that takes peers on this machine.
pub(crate) fn start(genesis: &str, datadir: &Path, args: &[&str]) -> Node {
    start_on(ID, genesis, datadir, args)
}

/// The same, on another network.
pub(crate) fn start_on(id: &str, genesis: &str, datadir: &Path, args: &[&str]) -> Node {
    let mut all = vec!["--genesis", genesis, "--datadir", text(datadir)];
    all.extend(["--maxpeers", "10", "--port", "0", "--nat", "extip:127.0.0.1"]);
    all.extend(["--networkid", id]);
    all.extend(args);
    Node::start(&all)
}

/// Answers each who asks over HTTP with a list, as a registrar does; the port. Ends with the process.
pub(crate) fn list_over_http(list: String) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            // Who hangs up has no answer.
            drop(BufReader::new(&stream).read_line(&mut line));
            drop(write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len()));
        }
    });
    port
}

/// A bootnode by geth's name, ours or theirs. Killed when dropped.
pub(crate) struct Bootnode {
    child: Child,
    /// geth's dies when it cannot write.
    _out: BufReader<ChildStdout>,
    /// How nodes find it.
    pub(crate) url: String,
}

impl Bootnode {
    /// Starts one with a key in a file.
    pub(crate) fn start(program: &Path, key: &str) -> Self {
        Self::start_with(program, key, &[])
    }

    /// The same, with some variables.
    pub(crate) fn start_with(program: &Path, key: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .args(["-nodekey", key, "-addr", "127.0.0.1:0"])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the bootnode starts");
        let mut url = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        out.read_line(&mut url).expect("the bootnode says its URL");
        Self { child, _out: out, url: url.trim_end().to_owned() }
    }

    /// Starts one with a key of its own, in a new folder.
    pub(crate) fn make(program: &Path, folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("the folder can be made");
        let (link, key) = (folder.join("bootnode"), folder.join("key"));
        symlink(installed(program.to_owned()), &link).expect("a link can be made");
        let mut command = Command::new(&link);
        command.args(["-genkey", text(&key)]);
        let made = finish(command, "");
        assert!(made.status.success(), "{}", shown(&made));
        Self::start(&link, text(&key))
    }
}

impl Drop for Bootnode {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The chain of geth's own suites.
pub(crate) fn suite_chain() -> PathBuf {
    let root = root();
    let archive = folder_of(&root, "realchain").expect("the archive can be unpacked");
    let archive = archive.unwrap_or_else(|| panic!("{} has no realchain", root.display()));
    archive.join("synthetic/geth-v1.10.26-ethtest")
}

/// Runs a suite of geth's `devp2p`; what it says.
pub(crate) fn suite(version: &str, args: &[&str], more: &[impl AsRef<OsStr>]) -> String {
    let program = installed(cache().join("geth").join(version).join("devp2p"));
    let mut command = Command::new(program);
    command.args(args).args(more);
    let output = finish(command, "");
    let said = [output.stdout, output.stderr].map(|out| String::from_utf8_lossy(&out).into_owned());
    said.concat().trim_end().to_owned()
}
