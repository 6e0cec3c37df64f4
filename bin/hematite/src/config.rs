//! What the flags mean: checked, typed, complete. Built once, by [`Config::try_from`].

mod dump;
mod node;
mod rpc;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use accounts::Kdf;
use eyre::{Result, WrapErr, bail, ensure};
use primitives::ChainSpec;

pub use self::{
    node::{Ethash, Mining, Network, Pool},
    rpc::{Doors, GasPrice, Http, RpcLimits, Vhosts, Ws},
};
use crate::{
    args::{
        AccountArgs, ChainArgs, Invocation, LogArgs, NodeArgs, OpsArgs, Personality, Role,
        Surroundings,
    },
    logging::{LogConfig, LogFormat},
};

/// Where probes and metrics are served when no flag says otherwise.
const OPS_ADDRESS: &str = ":6061";
/// Most bytes of a password file.
const PASSWORD_FILE_BYTES_MAX: u64 = 1 << 20;
/// Gas limit of a chain for development, geth's.
const DEV_GAS_LIMIT: u64 = 11_500_000;
/// What `network id` means under the name geth.
const GETH_NETWORK_ID: u64 = 1;

/// The configuration of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// By which name the binary was called.
    pub personality: Personality,
    /// What the node is for, if that was said.
    pub role: Option<Role>,
    /// Where everything is kept.
    pub paths: Paths,
    /// Whether the data directory was named; a chain for development is in memory if it was not.
    pub datadir_given: bool,
    /// The genesis to start with, if the data directory is empty, or to compare with.
    pub genesis: Option<GenesisSource>,
    /// The network id; `None` is the chain id of the genesis.
    pub network_id: Option<u64>,
    /// A name of the operator's choice, for the client version.
    pub identity: Option<String>,
    /// Go on although the database has lost blocks.
    pub accept_rollback: bool,
    /// Neither make nor check proofs of work.
    pub fake_pow: bool,
    /// A chain for development, in memory.
    pub dev: Option<Dev>,
    /// Keys.
    pub accounts: Accounts,
    /// Peers.
    pub network: Network,
    /// Ethash: its files and its kernel.
    pub ethash: Ethash,
    /// Mining.
    pub mining: Mining,
    /// The transaction pool.
    pub pool: Pool,
    /// JSON-RPC over HTTP, if it is served.
    pub http: Option<Http>,
    /// JSON-RPC over WebSocket, if it is served.
    pub ws: Option<Ws>,
    /// What HTTP and WebSocket are encrypted with, and who may ask there.
    pub doors: Doors,
    /// Whom this node trusts at `https` and `wss`; `None` are the system's authorities.
    pub authorities: Option<PathBuf>,
    /// Limits of JSON-RPC.
    pub rpc: RpcLimits,
    /// What `eth_gasPrice` answers.
    pub gas_price: GasPrice,
    /// Logs.
    pub log: LogConfig,
    /// Address of probes and metrics, `host:port` or `:port`; `None` serves none.
    pub ops_addr: Option<String>,
    /// Whether that was said; the default may be taken.
    pub ops_addr_given: bool,
    /// Whether the node ends when its standard input does.
    pub ends_with_stdin: bool,
    /// Whether this is a pod that others reach: they need a moment to learn that it goes.
    pub is_behind_service: bool,
    /// Address of metrics as geth serves them, if they are.
    pub geth_metrics: Option<(String, u16)>,
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The data directory.
    pub datadir: PathBuf,
    /// The directory of key files.
    pub keystore: PathBuf,
    /// The socket of JSON-RPC; `None` serves none.
    pub ipc: Option<PathBuf>,
    /// What is ours alone: the database, the commit ledger, the pool's journal.
    pub hematite: PathBuf,
    /// The node key.
    pub nodekey: PathBuf,
    /// The lines typed into the console.
    pub history: PathBuf,
    /// Ethash caches.
    pub ethash_caches: PathBuf,
    /// Ethash DAGs.
    pub ethash_dags: PathBuf,
}

/// Where a genesis comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenesisSource {
    /// A file in geth's format.
    File(PathBuf),
    /// One of [`ChainSpec::PRESETS`].
    Preset(String),
}

/// A chain for development.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dev {
    /// Time between blocks; zero seals when there are transactions.
    pub period: Duration,
    /// The gas limit of its genesis.
    pub gas_limit: u64,
}

/// Keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// How dear guessing the password of a new key is.
    pub kdf: Kdf,
    /// Accounts to unlock at start: addresses or indices, as written.
    pub unlock: Vec<String>,
    /// A file of passwords, one a line.
    pub password_file: Option<PathBuf>,
    /// Unlock although RPC can be reached over HTTP.
    pub allow_insecure_unlock: bool,
    /// Who signs instead of the keystore: a socket or a URL.
    pub signer: Option<String>,
}

impl Default for Paths {
    /// Those in `./hematite-data`; a place to start from in tests.
    fn default() -> Self {
        Self::in_datadir(PathBuf::from("hematite-data"))
    }
}

impl Paths {
    /// Every path at its place in a data directory.
    #[must_use]
    pub fn in_datadir(datadir: PathBuf) -> Self {
        Self {
            keystore: datadir.join("keystore"),
            ipc: Some(datadir.join("geth.ipc")),
            hematite: datadir.join("hematite"),
            nodekey: datadir.join("geth").join("nodekey"),
            history: datadir.join("history"),
            ethash_caches: datadir.join("hematite").join("ethash"),
            ethash_dags: datadir.join("hematite").join("ethash"),
            datadir,
        }
    }
}

impl TryFrom<&Invocation> for Config {
    type Error = eyre::Report;

    fn try_from(invocation: &Invocation) -> Result<Self> {
        let Invocation { personality, command: _, node, surroundings, ignored: _ } = invocation;
        let NodeArgs {
            chain,
            accounts,
            network,
            miner,
            pool,
            http,
            ws,
            ipc,
            rpc,
            gas_price,
            log,
            ops,
        } = node;
        let paths = paths(*personality, node, surroundings)?;
        let http_config = rpc::http(http, chain.role, surroundings)?;
        let is_behind_service = surroundings.namespace.is_some() && http_config.is_some();
        let ws_config = rpc::ws(ws, http)?;
        let dev = dev(chain);
        let genesis = genesis(chain, surroundings)?;
        let rpc_limits = rpc::limits(rpc, *personality)?;
        ensure!(
            !(ipc.ipcdisable == Some(true) && ipc.ipcpath.is_some()),
            "flags --ipcdisable and --ipcpath exclude each other; give one"
        );
        let mining = node::mining(miner, *personality, chain.role, dev.is_some())?;
        let expand = |path: &Path| expand(path, surroundings);
        let pool = node::pool(pool, &paths, &expand)?;
        let doors = rpc::doors(rpc, http_config.as_ref(), &expand)?;
        let authorities = given(&network.tls_cafile).map(|path| expand(path));
        let network = node::network(network, chain.role, &expand)?;
        let (ops_addr, geth_metrics) = ops_addresses(ops);
        Ok(Self {
            personality: *personality,
            role: chain.role,
            network_id: network_id(chain, *personality, genesis.as_ref()),
            genesis,
            identity: chain.identity.clone().filter(|name| !name.is_empty()),
            accept_rollback: chain.accept_rollback.unwrap_or(false),
            fake_pow: chain.fakepow.unwrap_or(false),
            dev,
            accounts: accounts_config(accounts, surroundings),
            network,
            ethash: node::ethash(&chain.ethash)?,
            mining,
            pool,
            http: http_config,
            ws: ws_config,
            doors,
            authorities,
            rpc: rpc_limits,
            gas_price: rpc::gas_price(gas_price)?,
            log: log_config(log),
            ops_addr,
            ops_addr_given: ops.ops_addr.is_some(),
            ends_with_stdin: ops.end_with_stdin.unwrap_or(false),
            is_behind_service,
            geth_metrics,
            datadir_given: chain.datadir.is_some(),
            paths,
        })
    }
}

impl Config {
    /// Whether the chain is gone with the process.
    #[must_use]
    pub const fn is_in_memory(&self) -> bool {
        self.dev.is_some() && !self.datadir_given
    }

    /// The gas limit of a chain for development: that of `--dev.gaslimit`, or geth's.
    #[must_use]
    pub fn dev_gas_limit(&self) -> u64 {
        self.dev.map_or(DEV_GAS_LIMIT, |dev| dev.gas_limit)
    }
}

impl Accounts {
    /// The passwords for accounts in their order: line *i* for account *i*, the last line for all
    /// that follow. Empty if no file was named.
    ///
    /// # Errors
    ///
    /// If the file cannot be read; the text names it.
    pub fn passwords(&self) -> Result<Vec<zeroize::Zeroizing<String>>> {
        let Some(path) = &self.password_file else { return Ok(Vec::new()) };
        let shown = path.display();
        let bytes =
            fs::metadata(path).wrap_err_with(|| format!("Failed to read password file {shown}"))?;
        ensure!(bytes.len() <= PASSWORD_FILE_BYTES_MAX, "the password file {shown} is over 1 MiB");
        let text = fs::read_to_string(path).map(zeroize::Zeroizing::new);
        let text = text.wrap_err_with(|| format!("Failed to read password file {shown}"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        // geth splits at each newline, so a file that ends in one has an empty last line; nobody
        // means that as a password unless it is the only one.
        let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let line = |line: &str| zeroize::Zeroizing::new(line.trim_end_matches('\r').to_owned());
        Ok(lines.map(line).collect())
    }
}

/// What to tell somebody who starts a miner in an empty data directory without a genesis.
#[must_use]
pub fn missing_genesis(datadir: &Path) -> String {
    format!(
        "the data directory {} is empty, and a miner needs to know its chain: give --genesis FILE, \
         or --genesis with one of the presets {}",
        datadir.display(),
        ChainSpec::PRESETS.join(", ")
    )
}

/// A path with a leading `~` and `$VARIABLES` replaced, as geth does.
fn expand(path: &Path, surroundings: &Surroundings) -> PathBuf {
    let Some(text) = path.to_str() else { return path.to_owned() };
    let text = match (text.strip_prefix('~'), &surroundings.home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            format!("{}{rest}", home.display())
        }
        _ => text.to_owned(),
    };
    let mut parts = text.split('$');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = match part.strip_prefix('{').and_then(|part| part.split_once('}')) {
            Some(braced) => braced,
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                part.split_at(part.find(|c| !word(c)).unwrap_or(part.len()))
            }
        };
        expanded.push_str(surroundings.variables.get(name).map_or("", String::as_str));
        expanded.push_str(rest);
    }
    PathBuf::from(expanded)
}

fn paths(personality: Personality, node: &NodeArgs, surroundings: &Surroundings) -> Result<Paths> {
    let expand = |path: &PathBuf| expand(path, surroundings);
    let datadir = match (&node.chain.datadir, &surroundings.home) {
        (Some(datadir), _) if datadir.as_os_str().is_empty() => {
            bail!("flag --datadir is empty; name a directory")
        }
        (Some(datadir), _) => expand(datadir),
        (None, Some(home)) => home.join(match personality {
            Personality::Hematite => ".hematite",
            Personality::Geth | Personality::Bootnode => ".ethereum",
        }),
        (None, None) => bail!("there is no home directory; give --datadir DIR"),
    };
    let mut paths = Paths::in_datadir(datadir);
    if let Some(keystore) = given(&node.accounts.keystore) {
        paths.keystore = expand(keystore);
    }
    if let Some(nodekey) = given(&node.network.nodekey) {
        paths.nodekey = expand(nodekey);
    }
    if let Some(directory) = given(&node.chain.ethash.ethash_cachedir) {
        paths.ethash_caches = expand(directory);
    }
    if let Some(directory) = given(&node.chain.ethash.ethash_dagdir) {
        paths.ethash_dags = expand(directory);
    }
    paths.ipc = match (&node.ipc.ipcpath, node.ipc.ipcdisable) {
        (_, Some(true)) => None,
        // As in geth: an empty name is none.
        (Some(path), _) if path.as_os_str().is_empty() => None,
        (Some(path), _) if path.components().count() == 1 && !path.is_absolute() => {
            Some(paths.datadir.join(path))
        }
        (Some(path), _) => Some(expand(path)),
        (None, _) => paths.ipc,
    };
    Ok(paths)
}

fn genesis(chain: &ChainArgs, surroundings: &Surroundings) -> Result<Option<GenesisSource>> {
    let switches = [
        ("mainnet", chain.mainnet),
        ("ropsten", chain.ropsten),
        ("sepolia", chain.sepolia),
        ("dev", chain.dev),
    ];
    let mut named: Vec<(String, GenesisSource)> = switches
        .into_iter()
        .filter(|(_, set)| *set == Some(true))
        .map(|(name, _)| (format!("--{name}"), GenesisSource::Preset(name.to_owned())))
        .collect();
    if let Some(text) = &chain.genesis {
        let source = if ChainSpec::PRESETS.contains(&text.as_str()) {
            GenesisSource::Preset(text.clone())
        } else {
            GenesisSource::File(genesis_file(text, surroundings)?)
        };
        named.push(("--genesis".to_owned(), source));
    }
    if named.len() > 1 {
        let flags: Vec<&str> = named.iter().map(|(flag, _)| flag.as_str()).collect();
        bail!("flags {} exclude each other; give one", flags.join(" and "));
    }
    Ok(named.pop().map(|(_, source)| source))
}

/// Under the name geth it is 1 unless a preset says otherwise, whatever the genesis.
fn network_id(
    chain: &ChainArgs,
    personality: Personality,
    genesis: Option<&GenesisSource>,
) -> Option<u64> {
    let of_preset = matches!(genesis, Some(GenesisSource::Preset(_)));
    let default = (personality == Personality::Geth && !of_preset).then_some(GETH_NETWORK_ID);
    chain.networkid.or(default)
}

fn genesis_file(text: &str, surroundings: &Surroundings) -> Result<PathBuf> {
    let path = expand(Path::new(text), surroundings);
    ensure!(
        path.is_file(),
        "--genesis {text} is no preset and there is no such file; presets are {}",
        ChainSpec::PRESETS.join(", ")
    );
    Ok(path)
}

fn dev(chain: &ChainArgs) -> Option<Dev> {
    (chain.dev == Some(true)).then(|| Dev {
        period: Duration::from_secs(chain.dev_period.unwrap_or(0)),
        gas_limit: chain.dev_gas_limit.unwrap_or(DEV_GAS_LIMIT),
    })
}

fn accounts_config(args: &AccountArgs, surroundings: &Surroundings) -> Accounts {
    let AccountArgs { keystore: _, lightkdf, unlock, password, signer, allow_insecure_unlock } =
        args;
    Accounts {
        kdf: if *lightkdf == Some(true) { Kdf::Light } else { Kdf::Standard },
        unlock: list(unlock.as_deref()),
        password_file: given(password).map(|path| expand(path, surroundings)),
        allow_insecure_unlock: allow_insecure_unlock.unwrap_or(false),
        signer: signer.clone().filter(|signer| !signer.is_empty()),
    }
}

fn log_config(args: &LogArgs) -> LogConfig {
    let LogArgs { verbosity, log_format, log_json } = args;
    // 5 shows everything; geth's scripts write 9 as well.
    let verbosity = verbosity.unwrap_or(3).min(5);
    let format = match (log_format, log_json) {
        (Some(format), _) => LogFormat::from(*format),
        (None, Some(true)) => LogFormat::Json,
        (None, _) => LogFormat::Terminal,
    };
    LogConfig { verbosity, format }
}

fn ops_addresses(args: &OpsArgs) -> (Option<String>, Option<(String, u16)>) {
    let OpsArgs { ops_addr, end_with_stdin: _, metrics, metrics_addr, metrics_port } = args;
    let ops = ops_addr.clone().unwrap_or_else(|| OPS_ADDRESS.to_owned());
    let ops = (!ops.is_empty() && ops != "off").then_some(ops);
    let geth = (*metrics == Some(true)).then(|| {
        let address = metrics_addr.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
        (address, metrics_port.unwrap_or(6060))
    });
    (ops, geth)
}

/// A path that was given, unless it is empty, which means that it was not.
fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}

/// The parts of a list by comma, without the spaces around them and without empty parts.
fn list(text: Option<&str>) -> Vec<String> {
    let parts = text.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
