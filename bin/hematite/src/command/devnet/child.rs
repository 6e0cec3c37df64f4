//! A node of the network: a process of this program.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio},
    thread,
};

use eyre::{Result, WrapErr};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

/// The last lines of each node that are kept, to be shown if it dies.
const LAST_LINES_MAX: usize = 12;
/// Longest line that is read whole, in bytes.
const LINE_BYTES_MAX: u64 = 16 * 1_024;
/// Variables that would tell all nodes the same, or that mean something to a pod.
const FOREIGN: [&str; 5] = ["WS_SECRET", "WS_SECRET_FILE", "PORT", "BOOTNODE_SERVICE", "POD_IP"];

/// What a node does.
#[derive(Debug)]
pub(super) enum Word {
    /// It logged a line.
    Line(usize, String),
    /// It is over.
    Ended(usize, Option<ExitStatus>),
}

/// A running node. It ends when its standard input does, so also when this process is killed.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    id: Option<Pid>,
    stdin: Option<ChildStdin>,
    last: VecDeque<String>,
    /// How it ended, if it did.
    pub(super) ended: Option<Option<ExitStatus>>,
}

impl Node {
    /// Starts a node; what it does is told with its `place`.
    pub(super) fn start(
        (place, name): (usize, String),
        arguments: &[String],
        words: mpsc::Sender<Word>,
    ) -> Result<Self> {
        let program = std::env::current_exe().wrap_err("cannot find this program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C is for this process, which tells the nodes in order.
        command.process_group(0);
        for (variable, _) in std::env::vars_os() {
            let is_ours = variable
                .to_str()
                .is_some_and(|name| name.starts_with("HEMATITE_") || FOREIGN.contains(&name));
            if is_ours {
                command.env_remove(variable);
            }
        }
        let mut child = command.spawn().wrap_err_with(|| format!("cannot start {name}"))?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        thread::Builder::new()
            .name(name.clone())
            .spawn(move || follow(place, child, stderr, &words))
            .wrap_err_with(|| format!("cannot follow {name}"))?;
        Ok(Self { name, id, stdin, last: VecDeque::new(), ended: None })
    }

    /// Asks it to end.
    pub(super) fn stop(&mut self) {
        self.stdin = None;
    }

    /// Ends it without asking.
    pub(super) fn kill(&self) {
        if let (Some(id), None) = (self.id, &self.ended)
            && let Err(error) = kill_process(id, Signal::KILL)
        {
            tracing::debug!(node = self.name, %error, "Could not kill");
        }
    }

    /// Keeps a line among the last.
    pub(super) fn note(&mut self, line: String) {
        if self.last.len() == LAST_LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// How it ended, in words, with its last lines.
    pub(super) fn obituary(&self) -> String {
        let how = match self.ended.flatten() {
            Some(status) => status.to_string(),
            None => "nobody knows how".to_owned(),
        };
        let lines: Vec<String> = self.last.iter().map(|line| format!("    {line}\n")).collect();
        let (name, lines) = (&self.name, lines.concat());
        format!("{name} ended by itself ({how}). Its last lines:\n{lines}")
    }
}

/// Tells what a node logs, until it is over.
fn follow(place: usize, mut child: Child, stderr: Option<ChildStderr>, words: &mpsc::Sender<Word>) {
    if let Some(stderr) = stderr {
        let mut lines = BufReader::new(stderr);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
            if !matches!(read, Ok(count) if count > 0) {
                break;
            }
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if words.blocking_send(Word::Line(place, line)).is_err() {
                break;
            }
        }
    }
    // Nobody may be left to be told.
    drop(words.blocking_send(Word::Ended(place, child.wait().ok())));
}
