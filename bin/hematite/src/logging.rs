//! Log lines on stderr: as geth writes them, or as JSON.

mod json;
mod limiter;
mod terminal;

use std::{
    io::{self, IsTerminal},
    sync::{Mutex, OnceLock, PoisonError},
};

use eyre::{Result, eyre};
use rpc::LogChange;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use self::json::Json;
pub use self::terminal::Terminal;
use crate::args::{LogFormatArg, Surroundings};

/// Whose lines below warnings are left out.
const DEPENDENCIES: [&str; 7] =
    ["hyper", "hyper_util", "jsonrpsee", "jsonrpsee_server", "mio", "tower", "trie"];

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// 0 silent, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    pub verbosity: u8,
    /// How lines look.
    pub format: LogFormat,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// As geth writes them.
    Terminal,
    /// One JSON object a line.
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Terminal => Self::Terminal,
            LogFormatArg::Json => Self::Json,
        }
    }
}

/// Sends log lines to stderr from now on. `RUST_LOG` wins over the verbosity.
///
/// # Errors
///
/// If `RUST_LOG` is not a filter, or log lines already go somewhere.
pub fn start(config: LogConfig, surroundings: &Surroundings) -> Result<()> {
    let colour = io::stderr().is_terminal() && surroundings.variable("TERM") != Some("dumb");
    let filter = filter(config.verbosity, surroundings.variable("RUST_LOG"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let layer = layer(config.format, colour, io::stderr).with_filter(filter);
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|_| eyre!("log lines already go somewhere"))?;
    let levels = Levels { handle, verbosity: config.verbosity, modules: String::new() };
    LEVELS.set(Mutex::new(levels)).map_err(|_| eyre!("log lines already go somewhere"))
}

/// What is logged at the moment.
struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    verbosity: u8,
    /// Directives of parts, each with a comma before it.
    modules: String,
}

/// There is one log in a process.
static LEVELS: OnceLock<Mutex<Levels>> = OnceLock::new();

/// Changes what is logged from now on, whatever `RUST_LOG` said at the start.
///
/// # Errors
///
/// In words for whoever asked, if the parts are not named as they should be.
pub fn change(change: LogChange) -> Result<(), String> {
    let levels = LEVELS.get().ok_or("nothing is logged here")?;
    let mut levels = levels.lock().unwrap_or_else(PoisonError::into_inner);
    let (verbosity, modules) = match change {
        LogChange::Verbosity(verbosity) => (verbosity, levels.modules.clone()),
        LogChange::Modules(pattern) => (levels.verbosity, modules(&pattern)?),
    };
    let text = directives(verbosity) + &modules;
    let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    levels.handle.reload(filter).map_err(|error| error.to_string())?;
    (levels.verbosity, levels.modules) = (verbosity, modules);
    Ok(())
}

/// geth's `eth/*=5,p2p=4` as directives: a path of parts, and a verbosity.
fn modules(pattern: &str) -> Result<String, String> {
    let mut directives = String::new();
    for rule in pattern.split(',').map(str::trim).filter(|rule| !rule.is_empty()) {
        let invalid = || format!("{rule:?} is not PART=LEVEL");
        let (part, level) = rule.split_once('=').ok_or_else(invalid)?;
        let level = level.parse::<u8>().map_err(|_| invalid())?;
        let part = part.trim_end_matches("/*").replace('/', "::");
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
        if part.is_empty() || !part.chars().all(is_name) {
            return Err(invalid());
        }
        directives.push_str(&format!(",{part}={}", level_filter(level)));
    }
    Ok(directives)
}

/// What a verbosity lets through: below `debug` also what our dependencies have to say, from
/// `debug` on only their warnings, for theirs is another trade.
fn filter(verbosity: u8, override_by: Option<&str>) -> Result<EnvFilter> {
    if let Some(directives) = override_by {
        return EnvFilter::try_new(directives)
            .map_err(|error| eyre!("the variable RUST_LOG is not a filter: {error}"));
    }
    EnvFilter::try_new(directives(verbosity)).map_err(|error| eyre!("{error}"))
}

const fn level_filter(verbosity: u8) -> LevelFilter {
    match verbosity {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

fn directives(verbosity: u8) -> String {
    let level = level_filter(verbosity);
    // All it has to say is that a client asked for too large an answer, which the client is told.
    let mut directives = format!("{level},jsonrpsee-core=off");
    if verbosity >= 1 {
        // Any stranger can make it warn.
        directives.push_str(",discv5=error");
    }
    if verbosity >= 3 {
        for dependency in DEPENDENCIES {
            directives.push_str(&format!(",{dependency}=warn"));
        }
    }
    directives
}

/// The layer that writes lines of a format.
fn layer<W>(format: LogFormat, colour: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let base = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(writer);
    match format {
        LogFormat::Terminal => base.event_format(Terminal::default()).boxed(),
        LogFormat::Json => base.event_format(Json::default()).boxed(),
    }
}

#[cfg(test)]
mod tests;
