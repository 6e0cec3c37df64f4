//! Log lines on stderr: as geth writes them, or as JSON.

mod terminal;

use std::io::{self, IsTerminal};

use eyre::{Result, eyre};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

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
    let layer = layer(config.format, colour, io::stderr).with_filter(filter);
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|_| eyre!("log lines already go somewhere"))
}

/// What a verbosity lets through: below `debug` also what our dependencies have to say, from
/// `debug` on only their warnings, for theirs is another trade.
fn filter(verbosity: u8, override_by: Option<&str>) -> Result<EnvFilter> {
    if let Some(directives) = override_by {
        return EnvFilter::try_new(directives)
            .map_err(|error| eyre!("the variable RUST_LOG is not a filter: {error}"));
    }
    let level = match verbosity {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
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
    EnvFilter::try_new(directives).map_err(|error| eyre!("{error}"))
}

/// The layer that writes lines of a format.
fn layer<W>(format: LogFormat, colour: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let base = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(writer);
    match format {
        LogFormat::Terminal => base.event_format(Terminal::default()).boxed(),
        LogFormat::Json => base.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests;
