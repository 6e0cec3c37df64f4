//! What the console prints.

use std::io::{self, IsTerminal, Write};

/// Where it goes, and how it looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) is_terminal: bool,
    pub(crate) is_coloured: bool,
}

impl Output {
    /// The process's stdout: in colours on a terminal that has them.
    pub(crate) fn of_process() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_plain = std::env::var_os("NO_COLOR").is_some()
            || std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { is_terminal, is_coloured: is_terminal && !is_plain }
    }

    /// Prints text as it is.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more, or the disk is full.
    pub(crate) fn print(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
