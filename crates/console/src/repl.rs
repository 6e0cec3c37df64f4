//! What a console does from its beginning to its end: banner, lines, answers.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
};

use crate::{
    ConsoleError, Options, Task,
    engine::Question,
    history::History,
    indents::open_brackets,
    input::{Input, Line},
    interrupt::LOOK_INTERVAL,
    session::{Command, Session},
};

/// What stands before a new command.
const PROMPT: &str = "> ";

/// What is said below the banner.
const HINT: &str = "To exit, press ctrl-d or type exit";

/// The longest command of several lines.
const COMMAND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Dots before a line that goes on; more would leave no room for it.
const DOTS_MAX: usize = 60;

/// What a script may ask before it gets an answer.
const QUESTIONS_MAX: usize = 4;

/// A conversation.
struct Repl<'a> {
    session: &'a Session,
    input: Input,
    history: History,
}

/// Does the task.
pub(crate) fn run(options: &Options, session: &Session) -> Result<(), ConsoleError> {
    session.ask(|reply| Command::Attach { reply })??;
    let history = match options.task {
        Task::Converse => History::load(options.history.as_deref()),
        Task::Evaluate(_) | Task::Run(_) => History::default(),
    };
    let input = match options.task {
        Task::Converse => Input::of_process(session.commands(), &history)
            .map_err(|error| ConsoleError::Input(io::Error::other(error)))?,
        Task::Evaluate(_) | Task::Run(_) => Input::Lines,
    };
    let mut repl = Repl { session, input, history };
    for file in &options.preload {
        repl.run_file(file)?;
    }
    match &options.task {
        Task::Evaluate(text) => repl.evaluate(text),
        Task::Run(files) => {
            for file in files {
                repl.run_file(file)?;
            }
            session.ask(|reply| Command::Drain { reply })
        }
        Task::Converse => {
            let (greeting, hint) = (options.greeting.clone(), HINT.to_owned());
            session.ask(|reply| Command::Greet { greeting, hint, reply })?;
            let ended = repl.converse();
            // The answers were given; a full disk must not hide them.
            repl.history.save().ok();
            ended
        }
    }
}

impl Repl<'_> {
    fn converse(&mut self) -> Result<(), ConsoleError> {
        let mut command = String::new();
        let mut prompt = PROMPT.to_owned();
        loop {
            let line = self.input.line(&prompt, self.session.output);
            match line.map_err(ConsoleError::Input)? {
                Line::End => return Ok(()),
                Line::Aborted => command.clear(),
                Line::Text(line) if command.is_empty() && is_exit(&line) => return Ok(()),
                Line::Text(line) if line.trim().is_empty() => continue,
                Line::Text(line) => {
                    command.push_str(&line);
                    command.push('\n');
                }
            }
            let open = usize::try_from(open_brackets(&command)).unwrap_or(0);
            if open > 0 && command.len() < COMMAND_BYTES_MAX {
                prompt = format!("{} ", ".".repeat((3 * open).min(DOTS_MAX)));
                continue;
            }
            PROMPT.clone_into(&mut prompt);
            if command.is_empty() {
                continue;
            }
            if self.history.push(&command) {
                self.input.remember(command.trim());
                self.history.save().ok();
            }
            self.evaluate(&command)?;
            command.clear();
        }
    }

    fn evaluate(&mut self, text: &str) -> Result<(), ConsoleError> {
        let text = text.to_owned();
        self.answering(|listener, reply| Command::Evaluate { text, listener, reply })
    }

    fn run_file(&mut self, file: &Path) -> Result<(), ConsoleError> {
        let path: PathBuf = file.to_owned();
        let ended =
            self.answering(|listener, reply| Command::Run { file: path, listener, reply })?;
        ended.map_err(|failure| ConsoleError::Script {
            file: file.display().to_string(),
            reason: failure.text,
        })
    }

    /// Has a script run, and answers its questions meanwhile.
    fn answering<T>(
        &mut self,
        command: impl FnOnce(SyncSender<Question>, SyncSender<T>) -> Command,
    ) -> Result<T, ConsoleError> {
        let (listener, questions) = sync_channel(QUESTIONS_MAX);
        let (reply, replied) = sync_channel(1);
        let gone = || ConsoleError::Setup("the thread of the scripts ended".into());
        self.session.commands().send(command(listener, reply)).map_err(|_| gone())?;
        loop {
            while let Ok(question) = questions.try_recv() {
                self.answer(question);
            }
            match replied.recv_timeout(LOOK_INTERVAL) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
        }
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Password { prompt, reply } => {
                // The script may have been broken meanwhile.
                reply.send(self.input.password(&prompt, self.session.output)).ok();
            }
            Question::ClearHistory => {
                self.history.clear();
                self.input.forget();
                self.history.save().ok();
            }
        }
    }
}

fn is_exit(line: &str) -> bool {
    line.trim().trim_end_matches(';').trim() == "exit"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_may_have_spaces_and_semicolons() {
        for line in ["exit", "  exit ;;", "exit;"] {
            assert!(is_exit(line), "{line}");
        }
        for line in ["exit()", "exits", "x = exit"] {
            assert!(!is_exit(line), "{line}");
        }
    }
}
