//! What was typed: the command line, the environment and the configuration file, in one form.
//!
//! Every flag of geth 1.9.13 to 1.11.6 is understood, with one dash or two, before or after the
//! command. What it means is for [`crate::config`].

mod argv;
mod bench;
mod devnet;
mod environment;
mod file;
mod flags;
mod go;
mod ignored;

use std::{
    any::TypeId,
    convert::Infallible,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use eyre::{Result, bail, eyre};

use self::argv::{Layer, Source, Table};
pub use self::{
    bench::{BenchCommand, CompareArgs, HashrateArgs, MeasureArgs, ThreadList},
    devnet::DevnetArgs,
    environment::Surroundings,
    flags::{
        AccountArgs, ChainArgs, EthashArgs, GasPriceArgs, HttpArgs, IpcArgs, JournalSync, LogArgs,
        LogFormatArg, MinerArgs, NetworkArgs, OpsArgs, PoolArgs, Role, RpcArgs, SecretText, WsArgs,
    },
    go::format_duration,
};

/// The name that the binary was called by. It decides defaults and exit codes, not abilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// `hematite`, or any other name.
    Hematite,
    /// `geth`: data in `~/.ethereum`, network id 1, exit code 1 for every failure.
    Geth,
    /// `bootnode`: geth's tool of that name.
    Bootnode,
}

/// A command line that was understood.
#[derive(Debug)]
pub enum Parsed {
    /// Help was asked for: print this on stdout and end well.
    Show(String),
    /// There is something to do.
    Invocation(Box<Invocation>),
}

/// Everything that was typed or set.
#[derive(Debug)]
pub struct Invocation {
    /// By which name.
    pub personality: Personality,
    /// What to do.
    pub command: Command,
    /// The flags of the node; every command may need some of them.
    pub node: NodeArgs,
    /// The parts of the environment that have a meaning.
    pub surroundings: Surroundings,
    /// Flags of geth that are understood and have no effect here, as they were written.
    pub ignored: Vec<String>,
}

/// The flags of a node, by subject.
#[derive(Debug, Default, Args)]
pub struct NodeArgs {
    /// The chain and its place on disk.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Keys.
    #[command(flatten)]
    pub accounts: AccountArgs,
    /// Peers.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Mining.
    #[command(flatten)]
    pub miner: MinerArgs,
    /// The transaction pool.
    #[command(flatten)]
    pub pool: PoolArgs,
    /// JSON-RPC over HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
    /// JSON-RPC over WebSocket.
    #[command(flatten)]
    pub ws: WsArgs,
    /// JSON-RPC over a local socket.
    #[command(flatten)]
    pub ipc: IpcArgs,
    /// Limits of all three.
    #[command(flatten)]
    pub rpc: RpcArgs,
    /// What `eth_gasPrice` answers.
    #[command(flatten)]
    pub gas_price: GasPriceArgs,
    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// Probes and metrics.
    #[command(flatten)]
    pub ops: OpsArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node (the default)
    #[command(hide = true)]
    Run,
    /// Write the genesis block of a geth-format file into an empty data directory
    Init {
        /// The genesis, as JSON
        genesis: PathBuf,
    },
    /// Import blocks from files: RLP, .gz or .era1
    Import {
        /// The files, in the order of their blocks
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Export blocks to a file; .gz compresses. With a range, the file is appended to
    #[command(name = "export")]
    Export(ExportArgs),
    /// Manage accounts
    #[command(subcommand)]
    Account(AccountCommand),
    /// Generate the ethash DAG of a block's epoch
    Makedag {
        /// A block number
        block: u64,
        /// The directory for the file
        directory: PathBuf,
    },
    /// Print a built-in genesis, or that of the data directory, as JSON
    Dumpgenesis,
    /// Print the state of blocks as JSON
    Dump(DumpArgs),
    /// Remove the blockchain and state databases; keys stay
    Removedb,
    /// Print the configuration that the flags amount to, as TOML
    Dumpconfig {
        /// Where to write it, instead of stdout
        file: Option<PathBuf>,
    },
    /// Measure this machine
    #[command(subcommand, after_help = bench::EXAMPLES)]
    Bench(BenchCommand),
    /// Run a whole network on this machine: miners, tx nodes, bootnode, dashboard
    #[command(after_help = devnet::EXAMPLES)]
    Devnet(DevnetArgs),
    /// Connect a console to a running node
    Attach(AttachArgs),
    /// Run a node with a console
    Console(ConsoleArgs),
    /// Run JavaScript files against a node
    Js {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Where loadScript and preload look for files
        #[arg(long, value_name = "DIR")]
        jspath: Option<PathBuf>,
    },
    /// Look after the database
    #[command(subcommand)]
    Db(DbCommand),
    /// Look after the peers of a running node
    #[command(subcommand)]
    Peers(PeersCommand),
    /// Print version numbers
    Version,
    /// Print the licence
    License,
    /// Answer discovery only (under the name `bootnode`)
    #[command(hide = true)]
    Bootnode(BootnodeArgs),
}

/// What to do with accounts.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AccountCommand {
    /// Print all accounts
    List,
    /// Make a new account
    New,
    /// Store a private key in the keystore
    Import {
        /// A file with 64 hex digits
        key_file: PathBuf,
    },
    /// Change passwords
    Update {
        /// Addresses or indices
        #[arg(required = true)]
        accounts: Vec<String>,
    },
}

/// What to do with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum DbCommand {
    /// Check that the database agrees with itself and with the commit ledger
    Verify,
}

/// What to do about peers.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PeersCommand {
    /// Say why nodes are not connected, and what to do about it
    Doctor(DoctorArgs),
}

/// Whom to ask, and about whom.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// The running node, over HTTP, WebSocket or its local socket; it must offer `admin` there
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    pub url: String,
    /// Nodes that it should be connected to; it calls them
    #[arg(value_name = "ENODE")]
    pub nodes: Vec<String>,
}

/// What to export.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ExportArgs {
    /// The file to write
    pub file: PathBuf,
    /// The first block
    #[arg(requires = "last")]
    pub first: Option<u64>,
    /// The last block
    pub last: Option<u64>,
}

/// Which state to dump, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DumpArgs {
    /// Block hashes or numbers; none means the head
    pub blocks: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    pub iterative: Option<bool>,
    /// Leave the code out
    #[arg(long)]
    pub nocode: Option<bool>,
    /// Leave the storage out
    #[arg(long)]
    pub nostorage: Option<bool>,
    /// Include accounts whose address is unknown
    #[arg(long)]
    pub incompletes: Option<bool>,
    /// The hash of the first account
    #[arg(long, value_name = "HASH")]
    pub start: Option<String>,
    /// The most accounts
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// How to attach.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AttachArgs {
    /// A socket's path, or a URL: http, https, ws or wss, with user:password@ before the host if need
    /// be; the data directory's socket by default
    pub endpoint: Option<String>,
    /// How the console behaves.
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// How a console behaves.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ConsoleArgs {
    /// Evaluate one expression, print it, and end
    #[arg(long, value_name = "EXPRESSION")]
    pub exec: Option<String>,
    /// JavaScript files to run first, by comma
    #[arg(long, value_name = "FILES")]
    pub preload: Option<String>,
    /// Where loadScript and preload look for files
    #[arg(long, value_name = "DIR")]
    pub jspath: Option<PathBuf>,
}

/// The flags of geth's `bootnode`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BootnodeArgs {
    /// The UDP address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = ":30301")]
    pub addr: String,
    /// Write a new node key to a file
    #[arg(long, value_name = "FILE")]
    pub genkey: Option<PathBuf>,
    /// Print the public key, and end
    #[arg(long)]
    pub writeaddress: Option<bool>,
    /// The file of the node key
    #[arg(long, value_name = "FILE")]
    pub nodekey: Option<PathBuf>,
    /// The node key
    #[arg(long, value_name = "HEX")]
    pub nodekeyhex: Option<SecretText>,
    /// How the outside address is found
    #[arg(long, value_name = "HOW", default_value = "none")]
    pub nat: String,
    /// Answer only these networks, by comma
    #[arg(long, value_name = "CIDRS")]
    pub netrestrict: Option<String>,
    /// Run discovery v5 beside v4
    #[arg(long)]
    pub v5: Option<bool>,
    /// 0 silent, 1 error, 2 warn, 3 info, 4 debug, 5 trace
    #[arg(long, value_name = "LEVEL")]
    pub verbosity: Option<u8>,
}

/// A whole command line of `hematite` or `geth`.
#[derive(Debug, Parser)]
#[command(
    name = "hematite",
    about = "A proof-of-work Ethereum node",
    disable_version_flag = true,
    max_term_width = 100
)]
struct NodeCommandLine {
    #[command(flatten)]
    node: NodeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// A whole command line of `bootnode`.
#[derive(Debug, Parser)]
#[command(name = "bootnode", about = "Answers discovery", disable_version_flag = true)]
struct BootnodeCommandLine {
    #[command(flatten)]
    bootnode: BootnodeArgs,
}

impl Personality {
    /// The personality for the name in `argv[0]`, whatever its directory.
    #[must_use]
    pub fn of(name: Option<&OsStr>) -> Self {
        match name.and_then(|name| Path::new(name).file_name()).and_then(OsStr::to_str) {
            Some("geth") => Self::Geth,
            Some("bootnode") => Self::Bootnode,
            _ => Self::Hematite,
        }
    }
}

/// Understands a command line, `argv[0]` included. A flag wins over the environment, and that over
/// the file of `--config`.
///
/// # Errors
///
/// With the flag, variable or field at fault, and what would be right.
pub fn parse(argv: Vec<OsString>, surroundings: Surroundings) -> Result<Parsed> {
    let personality = Personality::of(argv.first().map(OsString::as_os_str));
    let mut words = Vec::with_capacity(argv.len());
    for word in argv.into_iter().skip(1) {
        words.push(word.into_string().map_err(|word| eyre!("{word:?} is not UTF-8"))?);
    }
    match personality {
        Personality::Hematite | Personality::Geth => parse_node(personality, words, surroundings),
        Personality::Bootnode => parse_bootnode(words, surroundings),
    }
}

fn parse_node(
    personality: Personality,
    words: Vec<String>,
    surroundings: Surroundings,
) -> Result<Parsed> {
    let definition = with_switches(NodeCommandLine::command());
    let table = Table::new(&definition);
    let mut typed = table.read(personality, words)?;
    if let Some(name) = typed.positionals.first() {
        check_command(&definition, name)?;
    }
    let environment = environment::layer(&table, &surroundings)?;
    let config = typed.node.value("config").or_else(|| environment.value("config"));
    let file = match config.filter(|path| !path.is_empty()) {
        Some(path) => file::layer(&table, Path::new(path), &mut typed.ignored)?,
        None => Layer::new(Source::File),
    };
    let node = typed.node.over(environment).over(file);
    if typed.version {
        typed.positionals = vec!["version".to_owned()];
    }
    // It has no meaning alone: what can be measured is the answer.
    typed.help |= typed.positionals == ["bench"];
    let missing = missing_argument(&typed.positionals);
    let words = std::iter::once("hematite".to_owned())
        .chain(node.words())
        .chain(std::mem::take(&mut typed.positionals))
        .chain(std::mem::take(&mut typed.command))
        .chain(typed.help.then(|| "--help".to_owned()));
    let matches = match definition.try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(Parsed::Show(error.to_string())),
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            bail!(missing.map_or_else(|| plain(&error), str::to_owned))
        }
        Err(error) => bail!(explain(&error, &node)),
    };
    let NodeCommandLine { node, command } =
        NodeCommandLine::from_arg_matches(&matches).map_err(|error| eyre!("{}", plain(&error)))?;
    Ok(Parsed::Invocation(Box::new(Invocation {
        personality,
        command: command.unwrap_or(Command::Run),
        node,
        surroundings,
        ignored: typed.ignored,
    })))
}

fn parse_bootnode(words: Vec<String>, surroundings: Surroundings) -> Result<Parsed> {
    let definition = with_switches(BootnodeCommandLine::command());
    let table = Table::new(&definition);
    let typed = table.read(Personality::Bootnode, words)?;
    let words = std::iter::once("bootnode".to_owned())
        .chain(typed.node.words())
        .chain(typed.positionals)
        .chain(typed.help.then(|| "--help".to_owned()));
    let matches = match definition.try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(Parsed::Show(error.to_string())),
        Err(error) => bail!(plain(&error)),
    };
    let BootnodeCommandLine { bootnode } = BootnodeCommandLine::from_arg_matches(&matches)
        .map_err(|error| eyre!("{}", plain(&error)))?;
    Ok(Parsed::Invocation(Box::new(Invocation {
        personality: Personality::Bootnode,
        command: Command::Bootnode(bootnode),
        node: NodeArgs::default(),
        surroundings,
        ignored: typed.ignored,
    })))
}

/// Makes every flag of type `bool` one that needs no value, and lets paths be empty, as geth does.
fn with_switches(command: clap::Command) -> clap::Command {
    let path = |text: &str| Ok::<_, Infallible>(PathBuf::from(text));
    command
        .mut_args(|arg| {
            let value = arg.get_value_parser().type_id();
            if arg.get_long().is_some() && value == TypeId::of::<PathBuf>() {
                arg.value_parser(path)
            } else if value == TypeId::of::<bool>() {
                arg.num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .hide_possible_values(true)
                    .value_name("BOOL")
            } else {
                arg
            }
        })
        .mut_subcommands(with_switches)
}

fn check_command(definition: &clap::Command, name: &str) -> Result<()> {
    let known = || definition.get_subcommands().map(clap::Command::get_name);
    if name == "help" || known().any(|command| command == name) {
        return Ok(());
    }
    match argv::closest(name, known()) {
        Some(command) => bail!("invalid command: {name:?}; did you mean {command:?}?"),
        None => bail!("invalid command: {name:?}; `hematite --help` lists the commands"),
    }
}

/// geth's text for a command without its argument.
fn missing_argument(positionals: &[String]) -> Option<&'static str> {
    let words: Vec<&str> = positionals.iter().map(String::as_str).collect();
    match words[..] {
        ["init", ..] => Some("Must supply path to genesis JSON file"),
        ["account", "import", ..] => Some("keyfile must be given as argument"),
        ["account", "update", ..] => Some("No accounts specified to update"),
        ["import" | "export", ..] => Some("This command requires an argument."),
        ["makedag", ..] => Some("Usage: makedag <block number> <outputdir>"),
        _ => None,
    }
}

/// clap's text, and where the value came from if it was not typed.
fn explain(error: &clap::Error, layer: &Layer) -> String {
    let text = plain(error);
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => flag.trim_start_matches('-'),
        _ => return text,
    };
    let name = flag.split([' ', '=', '[']).next().unwrap_or(flag);
    match layer.source(name) {
        Some(Source::Environment) => {
            format!("{text}\nset by the variable {}", environment::variable(name))
        }
        Some(Source::File) => format!("{text}\nset by the configuration file"),
        Some(Source::CommandLine) | None => text,
    }
}

/// clap's text without the word that our own printing puts before it.
fn plain(error: &clap::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
