//! Every flag that has an effect, by subject. Names are geth's where geth has them; geth's other
//! spellings are aliases. Nothing here has a default: that is for [`crate::config`], because the
//! role and the name of the binary decide it.

// The doc comments are help texts too, where `[…]` is a default and not a link.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::go::{duration, integer, wide_integer};

/// What a node is for. A role sets defaults; flags win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Seals blocks; RPC on loopback
    Miner,
    /// Serves RPC
    Tx,
    /// Answers discovery
    Bootnode,
    /// Publishes the bootnodes of a Kubernetes service
    Registrar,
    /// The network's dashboard
    Ethstats,
}

/// A secret that was typed: it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

/// The chain and its place on disk.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Chain")]
pub struct ChainArgs {
    /// What this node is for: miner, tx, bootnode, registrar or ethstats; flags win over it
    #[arg(long, value_name = "ROLE", hide_possible_values = true)]
    pub role: Option<Role>,
    /// Everything this node keeps [~/.hematite; as geth ~/.ethereum]
    #[arg(long, value_name = "DIR")]
    pub datadir: Option<PathBuf>,
    /// A TOML file of flags, or of geth's tables
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Initialise an empty data directory with a genesis file or preset; refuse a different one
    #[arg(long, value_name = "FILE|PRESET")]
    pub genesis: Option<String>,
    /// Network id [the genesis' chain id; as geth 1]
    #[arg(long, value_name = "ID", value_parser = integer)]
    pub networkid: Option<u64>,
    /// A name of your choice in the client version
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
    /// Go on although the database has lost blocks that were once written
    #[arg(long)]
    pub accept_rollback: Option<bool>,
    /// Neither make nor check proofs of work: for tests and benchmarks
    #[arg(long)]
    pub fakepow: Option<bool>,
    /// The preset mainnet
    #[arg(long)]
    pub mainnet: Option<bool>,
    /// The preset ropsten
    #[arg(long, alias = "testnet")]
    pub ropsten: Option<bool>,
    /// The preset sepolia
    #[arg(long)]
    pub sepolia: Option<bool>,
    /// A chain for development, in memory, that seals at once
    #[arg(long)]
    pub dev: Option<bool>,
    /// Seconds between its blocks; 0 seals when there are transactions [0]
    #[arg(long = "dev.period", value_name = "S", value_parser = integer)]
    pub dev_period: Option<u64>,
    /// Its gas limit [11500000]
    #[arg(long = "dev.gaslimit", value_name = "GAS", value_parser = integer)]
    pub dev_gas_limit: Option<u64>,
    /// Ethash.
    #[command(flatten)]
    pub ethash: EthashArgs,
}

/// The files and the kernel of ethash.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Ethash")]
pub struct EthashArgs {
    /// Where light caches are kept [<datadir>/hematite/ethash]
    #[arg(long = "ethash.cachedir", value_name = "DIR")]
    pub ethash_cachedir: Option<PathBuf>,
    /// How many light caches stay in memory [3]
    #[arg(long = "ethash.cachesinmem", value_name = "N", value_parser = integer)]
    pub ethash_caches_in_memory: Option<u64>,
    /// How many light caches stay on disk; 0 writes none [3]
    #[arg(long = "ethash.cachesondisk", value_name = "N", value_parser = integer)]
    pub ethash_caches_on_disk: Option<u64>,
    /// Where DAGs are kept; geth's are used as well [<datadir>/hematite/ethash]
    #[arg(long = "ethash.dagdir", value_name = "DIR")]
    pub ethash_dagdir: Option<PathBuf>,
    /// How many DAGs stay in memory [1]
    #[arg(long = "ethash.dagsinmem", value_name = "N", value_parser = integer)]
    pub ethash_dags_in_memory: Option<u64>,
    /// How many DAGs stay on disk; 0 writes none, 1 does not prepare the next [2]
    #[arg(long = "ethash.dagsondisk", value_name = "N", value_parser = integer)]
    pub ethash_dags_on_disk: Option<u64>,
    /// Mine on the DAG's file and not on a copy in memory: for several miners on one machine
    #[arg(long = "ethash.dagsmapped")]
    pub ethash_dags_mapped: Option<bool>,
    /// The instructions to use: portable, avx2, avx512 or neon [the best there are]
    #[arg(long = "ethash.kernel", value_name = "NAME")]
    pub ethash_kernel: Option<String>,
}

/// Keys.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Accounts")]
pub struct AccountArgs {
    /// The directory of key files [<datadir>/keystore]
    #[arg(long, value_name = "DIR")]
    pub keystore: Option<PathBuf>,
    /// Make guessing passwords cheap: 4 MiB instead of 256 MiB
    #[arg(long)]
    pub lightkdf: Option<bool>,
    /// Accounts to unlock at start, by comma: addresses or indices
    #[arg(long, value_name = "ACCOUNTS")]
    pub unlock: Option<String>,
    /// A file of passwords, one a line
    #[arg(long, value_name = "FILE")]
    pub password: Option<PathBuf>,
    /// Sign with clef, by its socket or URL, and not with the keystore
    #[arg(long, value_name = "URL")]
    pub signer: Option<String>,
    /// Unlock although RPC can be reached over HTTP
    #[arg(long)]
    pub allow_insecure_unlock: Option<bool>,
}

/// Peers.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// TCP and UDP port; 0 takes a free one [30303]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// UDP port, if another than TCP's
    #[arg(long = "discovery.port", value_name = "PORT")]
    pub discovery_port: Option<u16>,
    /// Enode URLs, node records, or a registrar's address, by comma
    #[arg(long, alias = "bootnodesv4", value_name = "URLS")]
    pub bootnodes: Option<String>,
    /// Most peers; 0 turns the network off [50]
    #[arg(long, value_name = "N")]
    pub maxpeers: Option<usize>,
    /// Most connections being made; 0 means the default [50]
    #[arg(long, value_name = "N")]
    pub maxpendpeers: Option<usize>,
    /// Outside address: none, any, upnp, pmp[:IP], extip:IP or extip:NAME [any]
    #[arg(long, value_name = "HOW")]
    pub nat: Option<String>,
    /// The file of the node key [<datadir>/geth/nodekey]
    #[arg(long, value_name = "FILE")]
    pub nodekey: Option<PathBuf>,
    /// The node key, as hex
    #[arg(long, value_name = "HEX")]
    pub nodekeyhex: Option<SecretText>,
    /// Do not look for peers; with --discovery.v5 by v5 only
    #[arg(long)]
    pub nodiscover: Option<bool>,
    /// Look for peers by discovery v4 [true]
    #[arg(long = "discovery.v4", alias = "discv4")]
    pub discovery_v4: Option<bool>,
    /// Look for peers by discovery v5, at the same UDP port
    #[arg(long = "discovery.v5", aliases = ["v5disc", "discv5"])]
    pub discovery_v5: Option<bool>,
    /// Talk to these networks only, by comma
    #[arg(long, value_name = "CIDRS")]
    pub netrestrict: Option<String>,
    /// Report to a dashboard: name:secret@host:port, or name:secret@wss://host:port
    #[arg(long, value_name = "URL")]
    pub ethstats: Option<SecretText>,
    /// PEM file of the only authorities to trust at https and wss, in attach and --ethstats [the
    /// system's]
    #[arg(long = "tls.cafile", value_name = "FILE")]
    pub tls_cafile: Option<PathBuf>,
}

/// Mining.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Mining")]
pub struct MinerArgs {
    /// Mine
    #[arg(long)]
    pub mine: Option<bool>,
    /// Threads that search; 0 leaves it to eth_getWork [all cores; as geth 0]
    #[arg(long = "miner.threads", alias = "minerthreads", value_name = "N")]
    pub threads: Option<i64>,
    /// Most hashes a second, all threads together
    #[arg(long = "miner.hashrate", value_name = "N", value_parser = integer)]
    pub hashrate: Option<u64>,
    /// Who is paid: an address, or an index into the accounts
    #[arg(long = "miner.etherbase", alias = "etherbase", value_name = "ACCOUNT")]
    pub etherbase: Option<String>,
    /// Lowest price of gas that is mined, in wei [1000000000]
    #[arg(
        long = "miner.gasprice", alias = "gasprice", value_name = "WEI", value_parser = wide_integer
    )]
    pub gas_price: Option<u128>,
    /// The gas limit that blocks move towards [8000000]
    #[arg(
        long = "miner.gaslimit",
        alias = "miner.gastarget",
        alias = "targetgaslimit",
        value_name = "GAS",
        value_parser = integer
    )]
    pub gas_limit: Option<u64>,
    /// Text in the blocks, at most 32 bytes [client and version]
    #[arg(long = "miner.extradata", alias = "extradata", value_name = "TEXT")]
    pub extra_data: Option<String>,
    /// How often work is renewed for new transactions [3s]
    #[arg(long = "miner.recommit", value_name = "DURATION", value_parser = duration)]
    pub recommit: Option<Duration>,
    /// Do not check solutions of eth_submitWork
    #[arg(long = "miner.noverify")]
    pub no_verify: Option<bool>,
    /// URLs that are told of new work, by comma
    #[arg(long = "miner.notify", value_name = "URLS")]
    pub notify: Option<String>,
    /// Tell them the whole header
    #[arg(long = "miner.notify.full")]
    pub notify_full: Option<bool>,
}

/// The transaction pool.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Transaction pool")]
pub struct PoolArgs {
    /// Addresses whose transactions are local, by comma
    #[arg(long = "txpool.locals", value_name = "ADDRESSES")]
    pub locals: Option<String>,
    /// Treat transactions from RPC like any other
    #[arg(long = "txpool.nolocals")]
    pub no_locals: Option<bool>,
    /// The file of local transactions [<datadir>/hematite/transactions]
    #[arg(long = "txpool.journal", value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// When the journal is synced: batch, always or off [batch]
    #[arg(long = "txpool.journal-sync", value_name = "WHEN", hide_possible_values = true)]
    pub journal_sync: Option<JournalSync>,
    /// How often the journal is rewritten [1h]
    #[arg(long = "txpool.rejournal", value_name = "DURATION", value_parser = duration)]
    pub rejournal: Option<Duration>,
    /// Lowest price of gas, in wei [1]
    #[arg(long = "txpool.pricelimit", value_name = "WEI", value_parser = wide_integer)]
    pub price_limit: Option<u128>,
    /// By how much a replacement must raise the price, in percent [10]
    #[arg(long = "txpool.pricebump", value_name = "PERCENT", value_parser = integer)]
    pub price_bump: Option<u64>,
    /// Executable transactions kept for each account at least [16]
    #[arg(long = "txpool.accountslots", value_name = "N")]
    pub account_slots: Option<usize>,
    /// Executable transactions of all accounts [5120]
    #[arg(long = "txpool.globalslots", value_name = "N")]
    pub global_slots: Option<usize>,
    /// Waiting transactions of each account [64]
    #[arg(long = "txpool.accountqueue", value_name = "N")]
    pub account_queue: Option<usize>,
    /// Waiting transactions of all accounts [1024]
    #[arg(long = "txpool.globalqueue", value_name = "N")]
    pub global_queue: Option<usize>,
    /// How long a transaction may wait [3h]
    #[arg(long = "txpool.lifetime", value_name = "DURATION", value_parser = duration)]
    pub lifetime: Option<Duration>,
}

/// When the journal of local transactions is synced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JournalSync {
    /// Within 50 ms, many at once
    Batch,
    /// Before each answer
    Always,
    /// When the operating system likes
    Off,
}

/// JSON-RPC over HTTP.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "RPC")]
pub struct HttpArgs {
    /// Serve JSON-RPC over HTTP
    #[arg(long, alias = "rpc")]
    pub http: Option<bool>,
    /// Its address [localhost]
    #[arg(long = "http.addr", alias = "rpcaddr", value_name = "ADDRESS")]
    pub http_addr: Option<String>,
    /// Its port; 0 takes a free one [8545]
    #[arg(long = "http.port", alias = "rpcport", value_name = "PORT")]
    pub http_port: Option<u16>,
    /// Its namespaces, by comma [eth,net,web3]
    #[arg(long = "http.api", alias = "rpcapi", value_name = "NAMES")]
    pub http_api: Option<String>,
    /// Origins that browsers may call from, by comma
    #[arg(long = "http.corsdomain", alias = "rpccorsdomain", value_name = "ORIGINS")]
    pub http_corsdomain: Option<String>,
    /// Host names that are answered, by comma [localhost and names inside the cluster]
    #[arg(long = "http.vhosts", alias = "rpcvhosts", value_name = "NAMES")]
    pub http_vhosts: Option<String>,
    /// Serve pages of the chain for people at /explorer/ of the HTTP server
    #[arg(long)]
    pub explorer: Option<bool>,
    /// How its path begins [anything]
    #[arg(long = "http.rpcprefix", value_name = "PATH")]
    pub http_prefix: Option<String>,
}

/// JSON-RPC over WebSocket.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "RPC")]
pub struct WsArgs {
    /// Serve JSON-RPC over WebSocket
    #[arg(long)]
    pub ws: Option<bool>,
    /// Its address [that of HTTP if given, else localhost]
    #[arg(long = "ws.addr", alias = "wsaddr", value_name = "ADDRESS")]
    pub ws_addr: Option<String>,
    /// Its port; 0 takes a free one [8546]
    #[arg(long = "ws.port", alias = "wsport", value_name = "PORT")]
    pub ws_port: Option<u16>,
    /// Its namespaces, by comma [eth,net,web3]
    #[arg(long = "ws.api", alias = "wsapi", value_name = "NAMES")]
    pub ws_api: Option<String>,
    /// Origins that browsers may connect from, by comma
    #[arg(long = "ws.origins", alias = "wsorigins", value_name = "ORIGINS")]
    pub ws_origins: Option<String>,
    /// How its path begins [anything]
    #[arg(long = "ws.rpcprefix", value_name = "PATH")]
    pub ws_prefix: Option<String>,
}

/// JSON-RPC over a local socket.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "RPC")]
pub struct IpcArgs {
    /// Do not serve JSON-RPC over a local socket
    #[arg(long)]
    pub ipcdisable: Option<bool>,
    /// The socket; a bare name is inside the data directory [geth.ipc]
    #[arg(long, value_name = "FILE")]
    pub ipcpath: Option<PathBuf>,
}

/// Who may use JSON-RPC over HTTP and WebSocket, and how much.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "RPC")]
pub struct RpcArgs {
    /// Serve HTTP and WebSocket over TLS, with the certificate of this PEM file; clients then use
    /// https and wss
    #[arg(long = "rpc.tls.cert", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, as a PEM file without a password
    #[arg(long = "rpc.tls.key", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Answer HTTP and WebSocket only with a token (JWT, HS256) made with this file's secret, 64 hex
    /// digits as in geth
    #[arg(long = "rpc.jwtsecret", value_name = "FILE")]
    pub jwt_secret: Option<PathBuf>,
    /// Answer HTTP and WebSocket only with a user and password of this file, user:password a line;
    /// with --rpc.jwtsecret either will do
    #[arg(long = "rpc.basicauth", value_name = "FILE")]
    pub basic_auth: Option<PathBuf>,
    /// Connections of each listener, at most half as many as the process may open files [1000]
    #[arg(long = "rpc.connections", value_name = "N")]
    pub connections: Option<usize>,
    /// Most gas of eth_call and eth_estimateGas; 0 is no limit [50000000]
    #[arg(long = "rpc.gascap", value_name = "GAS", value_parser = integer)]
    pub gas_cap: Option<u64>,
    /// Longest time of an eth_call; 0 is no limit [5s]
    #[arg(long = "rpc.evmtimeout", value_name = "DURATION", value_parser = duration)]
    pub evm_timeout: Option<Duration>,
    /// Highest fee that is sent, in ether; 0 is no limit [1; as geth 0]
    #[arg(long = "rpc.txfeecap", value_name = "ETHER")]
    pub tx_fee_cap: Option<f64>,
    /// Take legacy transactions without a chain id [true]
    #[arg(long = "rpc.allow-unprotected-txs")]
    pub allow_unprotected: Option<bool>,
    /// How far below the head `finalized` and `safe` are; not given, there are no such blocks
    #[arg(long = "rpc.finalized-depth", value_name = "BLOCKS", value_parser = integer)]
    pub finalized_depth: Option<u64>,
    /// Answer receipts exactly as geth 1.9.13
    #[arg(long = "rpc.strict-receipts")]
    pub strict_receipts: Option<bool>,
}

/// What `eth_gasPrice` answers.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Gas price")]
pub struct GasPriceArgs {
    /// Blocks that are looked at [20]
    #[arg(long = "gpo.blocks", alias = "gpoblocks", value_name = "N", value_parser = integer)]
    pub gpo_blocks: Option<u64>,
    /// Percentile of their prices [60]
    #[arg(long = "gpo.percentile", alias = "gpopercentile", value_name = "P")]
    pub gpo_percentile: Option<u8>,
    /// Highest answer, in wei [500000000000]
    #[arg(long = "gpo.maxprice", value_name = "WEI", value_parser = wide_integer)]
    pub gpo_max_price: Option<u128>,
    /// Prices below are not looked at, in wei [2]
    #[arg(long = "gpo.ignoreprice", value_name = "WEI", value_parser = wide_integer)]
    pub gpo_ignore_price: Option<u128>,
}

/// Logs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Logs, probes and metrics")]
pub struct LogArgs {
    /// 0 silent, 1 error, 2 warn, 3 info, 4 debug, 5 trace [3]
    #[arg(long, value_name = "LEVEL")]
    pub verbosity: Option<u8>,
    /// terminal or json [terminal]
    #[arg(long = "log.format", value_name = "FORMAT", hide_possible_values = true)]
    pub log_format: Option<LogFormatArg>,
    /// JSON lines
    #[arg(long = "log.json")]
    pub log_json: Option<bool>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// As geth writes them
    #[value(alias = "logfmt")]
    Terminal,
    /// One JSON object a line
    Json,
}

/// Probes and metrics.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Logs, probes and metrics")]
pub struct OpsArgs {
    /// Address of probes and metrics; `off` for none [:6061]
    #[arg(long = "ops.addr", value_name = "ADDRESS")]
    pub ops_addr: Option<String>,
    /// End as on SIGTERM when standard input does: for whoever starts nodes and may be killed
    #[arg(long, hide = true)]
    pub end_with_stdin: Option<bool>,
    /// Serve metrics also as geth does, at /debug/metrics/prometheus
    #[arg(long)]
    pub metrics: Option<bool>,
    /// Their address [127.0.0.1]
    #[arg(
        long = "metrics.addr",
        alias = "pprof.addr",
        alias = "pprofaddr",
        value_name = "ADDRESS"
    )]
    pub metrics_addr: Option<String>,
    /// Their port; 0 takes a free one [6060]
    #[arg(long = "metrics.port", alias = "pprof.port", alias = "pprofport", value_name = "PORT")]
    pub metrics_port: Option<u16>,
}

impl SecretText {
    /// The secret. The caller sees to it that it is not shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}
