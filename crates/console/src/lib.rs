//! The JavaScript console of `attach`: geth's objects on a JavaScript engine.
//!
//! Reaches a node by JSON-RPC only, even one in the same process, and knows nothing else of it.
//! [`Console`] is the whole of it: it runs in threads of its own until its [`Task`] is done, and
//! somebody else listens for signals and tells it by [`Console::interrupt`].
//!
//! ```no_run
//! # async fn example() -> Result<(), console::ConsoleError> {
//! use console::{Console, Endpoint, Options, Task};
//!
//! let endpoint = Endpoint::parse("/root/.hematite/geth.ipc")?;
//! let task = Task::Evaluate("eth.blockNumber".into());
//! Console::start(Options::new(endpoint, task))?.finished().await
//! # }
//! ```

mod client;
mod endpoint;
mod engine;
mod history;
mod indents;
mod input;
mod interrupt;
mod output;
mod repl;
mod session;

use std::{io, path::PathBuf};

use client::REPLY_TIME_MAX;
pub use client::{Client, RequestError};
pub use endpoint::{Endpoint, Url};
pub use interrupt::{Interrupt, Interrupted};
use rustix::termios::{self, OptionalActions, Termios};
use session::{Failure, Session};
use tokio::sync::oneshot;

/// What a console does, and with which node.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node.
    pub endpoint: Endpoint,
    /// Whom `https` and `wss` trust.
    pub connector: tls::Connector,
    /// What is done before the console ends.
    pub task: Task,
    /// Scripts that run first.
    pub preload: Vec<PathBuf>,
    /// Where `loadScript` and `preload` look for files.
    pub script_directory: PathBuf,
    /// The file of the typed lines; none keeps them to this console.
    pub history: Option<PathBuf>,
    /// The first line of a console for people.
    pub greeting: String,
}

/// What a console does before it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Prints what an expression is, or the error that it ends in.
    Evaluate(String),
    /// Runs files, and waits for their timers.
    Run(Vec<PathBuf>),
    /// Reads lines from a person or a pipe until one says `exit`.
    Converse,
}

/// A console at work.
#[derive(Debug)]
pub struct Console {
    finished: oneshot::Receiver<Result<(), ConsoleError>>,
    interrupt: Interrupt,
    /// How the terminal was before a line was read from it.
    terminal: Option<Termios>,
}

/// Why a console could not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The endpoint is none that a console can talk to.
    #[error("{0}")]
    Endpoint(String),
    /// Nobody answers there.
    #[error(
        "unable to attach to {endpoint}; is the node running? --datadir names its data directory, \
         and a socket or a URL can be given, such as attach http://127.0.0.1:8545"
    )]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What happened.
        source: RequestError,
    },
    /// A script could not be read or did not run to its end.
    #[error("failed to execute {file}: {reason}")]
    Script {
        /// The script.
        file: String,
        /// What it threw.
        reason: String,
    },
    /// The objects of the console themselves do not load.
    #[error("cannot set up the console: {0}")]
    Setup(String),
    /// The terminal or the pipe failed.
    #[error("cannot read what was typed")]
    Input(#[source] io::Error),
    /// A thread could not be started.
    #[error("cannot start a thread of the console")]
    Thread(#[source] io::Error),
}

impl Options {
    /// A console that preloads nothing and keeps no history.
    #[must_use]
    pub fn new(endpoint: Endpoint, task: Task) -> Self {
        Self {
            endpoint,
            connector: tls::Connector::default(),
            task,
            preload: Vec::new(),
            script_directory: PathBuf::from("."),
            history: None,
            greeting: "Welcome to the Hematite JavaScript console!".to_owned(),
        }
    }
}

impl Console {
    /// Starts the threads of a console. The node is called by them, not here.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(options: Options) -> Result<Self, ConsoleError> {
        let interrupt = Interrupt::default();
        let terminal = termios::tcgetattr(io::stdin()).ok();
        let (tell, finished) = oneshot::channel();
        let endpoint = options.endpoint.clone();
        let client = Client::start(endpoint, &options.connector, interrupt.clone(), REPLY_TIME_MAX)
            .map_err(ConsoleError::Thread)?;
        let session = Session::start(client, interrupt.clone(), &options.script_directory)
            .map_err(ConsoleError::Thread)?;
        std::thread::Builder::new()
            .name("console".into())
            .spawn(move || {
                // Nobody waits any more: the process ends.
                drop(tell.send(repl::run(&options, &session)));
            })
            .map_err(ConsoleError::Thread)?;
        Ok(Self { finished, interrupt, terminal })
    }

    /// Waits for the end of the task.
    ///
    /// # Errors
    ///
    /// Whatever kept the task from being done.
    pub async fn finished(&mut self) -> Result<(), ConsoleError> {
        let ended = (&mut self.finished).await;
        ended.unwrap_or_else(|_| Err(ConsoleError::Setup("its thread panicked".into())))
    }

    /// What breaks a running script.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A thread that still waits for a key has the terminal in another mode.
        if let Some(terminal) = &self.terminal {
            termios::tcsetattr(io::stdin(), OptionalActions::Now, terminal).ok();
        }
    }
}

impl From<Failure> for ConsoleError {
    fn from(failure: Failure) -> Self {
        Self::Setup(failure.text)
    }
}
