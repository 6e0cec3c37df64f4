//! The thread of the scripts: it evaluates, one after the other, and runs timers in between.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use boa_engine::{JsString, JsValue};
use serde_json::{Map, Value, json};

use crate::{
    ConsoleError,
    client::{Client, RequestError},
    engine::{Engine, Host, Question, Thrown},
    interrupt::Interrupt,
    output::Output,
};

/// The engine recurses for nested calls of the language's own functions, and its parser for nested
/// brackets.
const STACK_BYTES: usize = 512 * 1024 * 1024;

/// What waits to be done.
const COMMANDS_MAX: usize = 16;

/// JSON-RPC's code for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// What a node has that does not tell, as geth assumes.
const MODULES_UNTOLD: [&str; 3] = ["eth", "net", "debug"];

/// The thread of the scripts, from outside.
#[derive(Debug)]
pub(crate) struct Session {
    commands: SyncSender<Command>,
    pub(crate) output: Output,
}

/// Something to do.
pub(crate) enum Command {
    /// Finds out what the node has. Comes first.
    Attach { reply: SyncSender<Result<(), ConsoleError>> },
    /// Says which node it is.
    Greet { greeting: String, hint: String, reply: SyncSender<()> },
    /// Evaluates, and prints what came of it.
    Evaluate { text: String, listener: SyncSender<Question>, reply: SyncSender<()> },
    /// Runs a file.
    Run { file: PathBuf, listener: SyncSender<Question>, reply: SyncSender<Result<(), Failure>> },
    /// Finds names.
    Complete { line: String, reply: SyncSender<Vec<String>> },
    /// Waits until no timer is left, or Ctrl-C is pressed.
    Drain { reply: SyncSender<()> },
}

/// A script that did not run to its end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
}

/// The thread of the scripts, from inside.
struct Loop {
    engine: Engine,
    interrupt: Interrupt,
}

impl Session {
    /// Starts the thread.
    pub(crate) fn start(
        client: Client,
        interrupt: Interrupt,
        script_directory: &Path,
    ) -> io::Result<Self> {
        let (commands, queue) = sync_channel(COMMANDS_MAX);
        let directory = script_directory.to_owned();
        thread::Builder::new().name("console-js".into()).stack_size(STACK_BYTES).spawn(
            move || {
                let host = Host::new(client, interrupt.clone(), &directory);
                let engine = Engine::new(host, interrupt.clone());
                match engine {
                    Ok(engine) => Loop { engine, interrupt }.run(&queue),
                    Err(thrown) => refuse(&queue, &format!("{thrown:?}")),
                }
            },
        )?;
        Ok(Self { commands, output: Output::of_process() })
    }

    pub(crate) const fn commands(&self) -> &SyncSender<Command> {
        &self.commands
    }

    /// Has something done, and waits for it.
    ///
    /// # Errors
    ///
    /// When the thread is gone.
    pub(crate) fn ask<T>(
        &self,
        command: impl FnOnce(SyncSender<T>) -> Command,
    ) -> Result<T, ConsoleError> {
        let (reply, replied) = sync_channel(1);
        let gone = || ConsoleError::Setup("the thread of the scripts ended".into());
        self.commands.send(command(reply)).map_err(|_| gone())?;
        replied.recv().map_err(|_| gone())
    }
}

/// Our own scripts do not load: says so to whoever attaches.
fn refuse(queue: &Receiver<Command>, reason: &str) {
    while let Ok(command) = queue.recv() {
        if let Command::Attach { reply } = command {
            reply.send(Err(ConsoleError::Setup(reason.to_owned()))).ok();
        }
    }
}

impl Loop {
    fn run(mut self, queue: &Receiver<Command>) {
        loop {
            let command = match self.time_to_next_timer() {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(time) => queue.recv_timeout(time),
            };
            match command {
                Ok(command) => self.execute(command),
                Err(RecvTimeoutError::Timeout) => self.fire_due_timer(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn time_to_next_timer(&self) -> Option<Duration> {
        let due = self.engine.host().next_timer()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    // Whoever asked may have stopped waiting: replies that nobody takes are no failures.
    fn execute(&mut self, command: Command) {
        match command {
            Command::Attach { reply } => {
                let attached = self.attach();
                reply.send(attached).ok();
            }
            Command::Greet { greeting, hint, reply } => {
                self.greet(&greeting, &hint);
                reply.send(()).ok();
            }
            Command::Evaluate { text, listener, reply } => {
                self.engine.host().listen(Some(listener));
                self.evaluate(&text);
                self.engine.host().listen(None);
                reply.send(()).ok();
            }
            Command::Run { file, listener, reply } => {
                self.engine.host().listen(Some(listener));
                let ended = self.run_file(&file);
                self.engine.host().listen(None);
                reply.send(ended).ok();
            }
            Command::Complete { line, reply } => {
                let found = self.complete(&line);
                reply.send(found).ok();
            }
            Command::Drain { reply } => {
                while let Some(time) = self.time_to_next_timer() {
                    self.interrupt.begin();
                    self.interrupt.sleep(time);
                    self.interrupt.end();
                    if self.interrupt.is_pressed() {
                        break;
                    }
                    self.fire_due_timer();
                }
                reply.send(()).ok();
            }
        }
    }

    fn attach(&mut self) -> Result<(), ConsoleError> {
        let client = self.engine.host().client();
        let unreachable =
            |source| ConsoleError::Unreachable { endpoint: client.endpoint().to_string(), source };
        let modules = modules(client).map_err(unreachable)?;
        let modules = Value::Object(modules).to_string();
        let published = self.breakable(|engine| engine.call("attach", vec![text(&modules)]));
        published.map(drop).map_err(ConsoleError::from)
    }

    fn greet(&mut self, greeting: &str, hint: &str) {
        let arguments = vec![text(greeting), text(hint)];
        let banner = self.breakable(|engine| engine.text("welcome", arguments));
        let banner =
            banner.unwrap_or_else(|failure| format!("{greeting}\n\n{}\n{hint}", failure.text));
        self.engine.host().print(&format!("{banner}\n"));
    }

    fn evaluate(&mut self, text: &str) {
        let shown = self.breakable(|engine| {
            let value = engine.evaluate(text, "<eval>")?;
            engine.text("inspect.shown", vec![value])
        });
        let shown = shown.unwrap_or_else(|failure| failure.text);
        self.engine.host().print(&format!("{shown}\n"));
    }

    fn run_file(&mut self, file: &Path) -> Result<(), Failure> {
        let text = self.engine.host().script(file);
        let text = text.map_err(|error| Failure { text: error.to_string() })?;
        let name = file.display().to_string();
        self.breakable(|engine| engine.evaluate(&text, &name)).map(drop)
    }

    fn complete(&mut self, line: &str) -> Vec<String> {
        let arguments = vec![text(line)];
        let found = self.breakable(|engine| engine.text("inspect.completed", arguments));
        found.map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
    }

    fn fire_due_timer(&mut self) {
        let Some(id) = self.engine.host().take_due_timer() else { return };
        // More than this many timers were never made.
        let id = u32::try_from(id).unwrap_or(u32::MAX);
        let fired = self.breakable(|engine| engine.call("timers.fire", vec![id.into()]));
        if let Err(failure) = fired {
            self.engine.host().print(&format!("{}\n", failure.text));
        }
    }

    /// Does something that Ctrl-C ends.
    fn breakable<T>(
        &mut self,
        work: impl FnOnce(&mut Engine) -> Result<T, Thrown>,
    ) -> Result<T, Failure> {
        self.interrupt.begin();
        let done = work(&mut self.engine);
        let is_pressed = self.interrupt.is_pressed();
        self.interrupt.end();
        done.map_err(|thrown| {
            // What is thrown is shown by a script, too.
            self.interrupt.begin();
            let thrown = if is_pressed { Thrown::Interrupted } else { thrown };
            let text = thrown.shown(&mut self.engine);
            self.interrupt.end();
            Failure { text }
        })
    }
}

fn text(text: &str) -> JsValue {
    JsString::from(text).into()
}

/// What a node says that it has.
fn modules(client: &Client) -> Result<Map<String, Value>, RequestError> {
    let payload = json!({ "jsonrpc": "2.0", "id": 1, "method": "rpc_modules", "params": [] });
    let mut answer = client.request(payload.to_string())?;
    match answer.get_mut("result").map(Value::take) {
        Some(Value::Object(modules)) => Ok(modules),
        _ if answer["error"]["code"] == METHOD_NOT_FOUND => {
            Ok(MODULES_UNTOLD.iter().map(|name| ((*name).to_owned(), json!("1.0"))).collect())
        }
        _ => {
            let message =
                answer["error"]["message"].as_str().unwrap_or("rpc_modules has no result");
            Err(RequestError::Garbled(message.to_owned()))
        }
    }
}
