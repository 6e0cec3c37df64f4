//! The JavaScript console: on a running node, or with a node of its own.

use std::path::PathBuf;

use ::console::{Console, ConsoleError, Endpoint, Interrupted, Options, Task};
use eyre::{Result, WrapErr, bail, eyre};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::{AttachArgs, ConsoleArgs, Personality, Role},
    assemble,
    config::Config,
    exit::UsageError,
    secured,
};

/// Talks to a running node.
///
/// # Errors
///
/// When nobody answers, or a script that was named cannot be run.
pub fn attach(config: &Config, args: &AttachArgs) -> Result<()> {
    let endpoint = match &args.endpoint {
        Some(text) => Endpoint::parse(text).map_err(usage)?,
        None => own_endpoint(config)?,
    };
    let mut options = options(config, &args.console, endpoint);
    options.connector = secured::connector(config.authorities.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut console = Console::start(options)?;
        tokio::select! {
            ended = finished(&mut console) => ended,
            _ = terminate.recv() => Ok(()),
        }
    })
}

/// Runs a node, and a console on it.
///
/// # Errors
///
/// Whatever kept the node from starting or made it stop, or the console from starting.
pub fn with_node(config: &Config, args: &ConsoleArgs) -> Result<()> {
    let config = reachable(config)?;
    let options = options(&config, args, own_endpoint(&config)?);
    assemble::run_with_console(&config, options)
}

/// Runs files on a node of their own, and ends with their last timer.
///
/// # Errors
///
/// Whatever kept the node from starting or made it stop, or a file that threw.
pub fn run_files(config: &Config, files: &[PathBuf], jspath: Option<PathBuf>) -> Result<()> {
    let config = reachable(config)?;
    let args = ConsoleArgs { exec: None, preload: None, jspath };
    let mut options = options(&config, &args, own_endpoint(&config)?);
    options.task = Task::Run(files.to_vec());
    assemble::run_with_console(&config, options)
}

/// Waits for the end of a console; Ctrl-C breaks its script, or ends it when none runs.
///
/// # Errors
///
/// Whatever kept the console from doing its task.
pub async fn finished(console: &mut Console) -> Result<()> {
    let mut interrupts = signal(SignalKind::interrupt()).wrap_err("cannot listen for SIGINT")?;
    let interrupt = console.interrupt();
    loop {
        tokio::select! {
            ended = console.finished() => return ended.map_err(eyre::Report::new),
            _ = interrupts.recv() => match interrupt.press() {
                Interrupted::Script => {}
                Interrupted::Nothing => return Ok(()),
            },
        }
    }
}

/// A node with a console always has a door for it.
fn reachable(config: &Config) -> Result<Config> {
    if let Some(role @ (Role::Bootnode | Role::Registrar | Role::Ethstats)) = config.role {
        bail!(UsageError(
            format!("--role {role:?} has no node that a console could talk to").to_lowercase()
        ));
    }
    let mut config = config.clone();
    if config.paths.ipc.is_none() {
        let name = format!("hematite-console-{}.ipc", std::process::id());
        config.paths.ipc = Some(std::env::temp_dir().join(name));
    }
    Ok(config)
}

fn own_endpoint(config: &Config) -> Result<Endpoint> {
    assemble::ipc_path(config).map(Endpoint::Ipc).ok_or_else(|| {
        let error = "with --ipcdisable there is no socket to attach to; give the URL of the node";
        eyre!(UsageError(error.into()))
    })
}

fn options(config: &Config, args: &ConsoleArgs, endpoint: Endpoint) -> Options {
    let task = args.exec.clone().filter(|text| !text.is_empty());
    let mut options = Options::new(endpoint, task.map_or(Task::Converse, Task::Evaluate));
    let files = args.preload.iter().flat_map(|files| files.split(','));
    let files = files.map(str::trim).filter(|file| !file.is_empty());
    options.preload = files.map(PathBuf::from).collect();
    if let Some(directory) = &args.jspath {
        options.script_directory.clone_from(directory);
    }
    options.history = Some(config.paths.history.clone());
    if config.personality == Personality::Geth {
        options.greeting = "Welcome to the Geth JavaScript console!".into();
    }
    options
}

fn usage(error: ConsoleError) -> eyre::Report {
    eyre::Report::new(UsageError(error.to_string()))
}
