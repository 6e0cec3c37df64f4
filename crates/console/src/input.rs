//! What a person types, or a pipe brings.

use std::{
    io::{self, BufRead, IsTerminal},
    sync::mpsc::{SyncSender, sync_channel},
    time::Duration,
};

use rustyline::{
    CompletionType, Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::MemHistory, validate::Validator,
};

use crate::{history::History, output::Output, session::Command};

/// The longest line of a pipe.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long the names behind a key press may take; some are questions to the node.
const COMPLETION_TIME_MAX: Duration = Duration::from_secs(3);

/// Where lines come from.
pub(crate) enum Input {
    /// A person at a terminal, who can edit.
    Terminal(Box<Editor<Names, MemHistory>>),
    /// A pipe or a file.
    Lines,
}

/// What the next line is.
pub(crate) enum Line {
    /// This.
    Text(String),
    /// Ctrl-C: the person wants to begin again.
    Aborted,
    /// There are no more.
    End,
}

/// The names that could follow what was typed, by asking the objects themselves.
pub(crate) struct Names {
    commands: SyncSender<Command>,
}

impl Input {
    /// The process's stdin.
    pub(crate) fn of_process(
        commands: &SyncSender<Command>,
        history: &History,
    ) -> Result<Self, ReadlineError> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Lines);
        }
        let config =
            Config::builder().auto_add_history(false).completion_type(CompletionType::List).build();
        let lines = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, lines)?;
        editor.set_helper(Some(Names { commands: commands.clone() }));
        for line in history.lines() {
            editor.add_history_entry(line.as_str())?;
        }
        Ok(Self::Terminal(Box::new(editor)))
    }

    /// Asks for a line.
    ///
    /// # Errors
    ///
    /// When the terminal or the pipe fails.
    pub(crate) fn line(&mut self, prompt: &str, output: Output) -> io::Result<Line> {
        match self {
            Self::Terminal(editor) => match editor.readline(prompt) {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted) => Ok(Line::Aborted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(io::Error::other(error)),
            },
            Self::Lines => {
                output.print(prompt)?;
                let line = piped_line();
                output.print("\n")?;
                Ok(line?.map_or(Line::End, Line::Text))
            }
        }
    }

    /// Asks for a password, which a terminal does not show.
    ///
    /// # Errors
    ///
    /// When there is none to be had.
    pub(crate) fn password(&self, prompt: &str, output: Output) -> io::Result<String> {
        match self {
            Self::Terminal(_) => rpassword::prompt_password(prompt),
            Self::Lines if io::stdin().is_terminal() => rpassword::prompt_password(prompt),
            Self::Lines => {
                output.print(prompt)?;
                let line = piped_line();
                output.print("\n")?;
                line?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    /// Keeps a command within reach of the arrow keys.
    pub(crate) fn remember(&mut self, command: &str) {
        if let Self::Terminal(editor) = self {
            // Only a command that is there already is refused.
            editor.add_history_entry(command).ok();
        }
    }

    pub(crate) fn forget(&mut self) {
        if let Self::Terminal(editor) = self {
            editor.clear_history().ok();
        }
    }
}

fn piped_line() -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut stdin = io::Read::take(io::stdin().lock(), LINE_BYTES_MAX);
    if stdin.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if stdin.limit() == 0 {
        return Err(io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
    }
    let line = String::from_utf8_lossy(&bytes);
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Where the name begins that the cursor is in, as geth finds it.
fn start_of_name(line: &str) -> usize {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "._$".contains(character);
    let name = line.trim_end_matches(is_part);
    // A number is no name, but its digits may be part of one.
    line.len() - line[name.len()..].trim_start_matches(|c: char| c.is_ascii_digit()).len()
}

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let start = start_of_name(&line[..position]);
        let name = &line[start..position];
        if name.is_empty() {
            return Ok((start, Vec::new()));
        }
        let (reply, replied) = sync_channel(1);
        let asked = self.commands.send(Command::Complete { line: name.to_owned(), reply });
        let found = asked.ok().and_then(|()| replied.recv_timeout(COMPLETION_TIME_MAX).ok());
        Ok((start, found.unwrap_or_default()))
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_after_what_cannot_be_part_of_it() {
        for (line, name) in [
            ("eth.get", "eth.get"),
            ("x = web3.eth", "web3.eth"),
            ("f(eth.accounts[0].b", ".b"),
            ("1+2*eth.", "eth."),
            ("12", ""),
            ("", ""),
            ("a ", ""),
        ] {
            assert_eq!(&line[start_of_name(line)..], name, "{line}");
        }
    }
}
