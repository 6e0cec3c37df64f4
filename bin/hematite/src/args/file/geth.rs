//! geth's tables, by the names of its Go structures.

use eyre::{Result, bail, eyre};
use toml::Value;

use super::text;
use crate::args::{argv::Layer, go::format_duration};

/// What a field of geth means here.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// The value of this flag.
    Flag(&'static str),
    /// This switch.
    Switch(&'static str),
    /// A duration in nanoseconds, or in words.
    Duration(&'static str),
    /// The address of a server: empty means no server. The switch, and the flag of the address.
    Host(&'static str, &'static str),
    /// `host:port`, of which the port matters.
    Port(&'static str),
    /// The socket; empty means none.
    Socket,
    /// Ignored.
    Nothing,
}

use Meaning::{Duration, Flag, Host, Nothing, Port, Socket, Switch};

/// A table: its name in the file, its name in Go, the fields that mean something.
type Fields =
    (&'static str, &'static str, &'static [(&'static str, Meaning)], &'static [&'static str]);

/// Every table of geth 1.9.13 to 1.11.6. The last list are fields without effect.
const TABLES: [Fields; 10] = [
    ("Eth", "ethconfig.Config", &ETH, &ETH_IGNORED),
    ("Eth.Miner", "miner.Config", &MINER, &["NewPayloadTimeout"]),
    ("Eth.TxPool", "core.TxPoolConfig", &POOL, &[]),
    ("Eth.GPO", "gasprice.Config", &GPO, &["MaxHeaderHistory", "MaxBlockHistory", "Default"]),
    ("Eth.Ethash", "ethash.Config", &ETHASH, &ETHASH_IGNORED),
    ("Node", "node.Config", &NODE, &NODE_IGNORED),
    ("Node.P2P", "p2p.Config", &P2P, &P2P_IGNORED),
    (
        "Node.HTTPTimeouts",
        "rpc.HTTPTimeouts",
        &[],
        &["ReadTimeout", "ReadHeaderTimeout", "WriteTimeout", "IdleTimeout"],
    ),
    ("Ethstats", "main.ethstatsConfig", &[("URL", Flag("ethstats"))], &[]),
    ("Metrics", "metrics.Config", &METRICS, &METRICS_IGNORED),
];

const ETH: [(&str, Meaning); 8] = [
    ("NetworkId", Flag("networkid")),
    ("RPCGasCap", Flag("rpc.gascap")),
    ("RPCEVMTimeout", Duration("rpc.evmtimeout")),
    ("RPCTxFeeCap", Flag("rpc.txfeecap")),
    ("Etherbase", Flag("miner.etherbase")),
    ("MinerThreads", Flag("miner.threads")),
    ("GasPrice", Flag("miner.gasprice")),
    ("ExtraData", Flag("miner.extradata")),
];

const ETH_IGNORED: [&str; 44] = [
    "SyncMode",
    "DiscoveryURLs",
    "EthDiscoveryURLs",
    "SnapDiscoveryURLs",
    "NoPruning",
    "NoPrefetch",
    "TxLookupLimit",
    "RequiredBlocks",
    "Whitelist",
    "LightServ",
    "LightIngress",
    "LightEgress",
    "LightPeers",
    "LightNoPrune",
    "LightNoSyncServe",
    "SyncFromCheckpoint",
    "UltraLightServers",
    "UltraLightFraction",
    "UltraLightOnlyAnnounce",
    "OnlyAnnounce",
    "SkipBcVersionCheck",
    "DatabaseHandles",
    "DatabaseCache",
    "DatabaseFreezer",
    "TrieCleanCache",
    "TrieCleanCacheJournal",
    "TrieCleanCacheRejournal",
    "TrieDirtyCache",
    "TrieTimeout",
    "SnapshotCache",
    "Preimages",
    "FilterLogCacheSize",
    "EnablePreimageRecording",
    "DocRoot",
    "EWASMInterpreter",
    "EVMInterpreter",
    "Checkpoint",
    "CheckpointOracle",
    "OverrideLondon",
    "OverrideArrowGlacier",
    "OverrideGrayGlacier",
    "OverrideShanghai",
    "OverrideTerminalTotalDifficulty",
    "OverrideTerminalTotalDifficultyPassed",
];

const MINER: [(&str, Meaning); 10] = [
    ("Etherbase", Flag("miner.etherbase")),
    ("Notify", Flag("miner.notify")),
    ("NotifyFull", Switch("miner.notify.full")),
    ("ExtraData", Flag("miner.extradata")),
    // geth moves between floor and ceiling; here they are one, and the ceiling comes last.
    ("GasFloor", Nothing),
    ("GasCeil", Flag("miner.gaslimit")),
    ("GasPrice", Flag("miner.gasprice")),
    ("Recommit", Duration("miner.recommit")),
    ("Noverify", Switch("miner.noverify")),
    ("Threads", Flag("miner.threads")),
];

const POOL: [(&str, Meaning); 11] = [
    ("Locals", Flag("txpool.locals")),
    ("NoLocals", Switch("txpool.nolocals")),
    ("Journal", Flag("txpool.journal")),
    ("Rejournal", Duration("txpool.rejournal")),
    ("PriceLimit", Flag("txpool.pricelimit")),
    ("PriceBump", Flag("txpool.pricebump")),
    ("AccountSlots", Flag("txpool.accountslots")),
    ("GlobalSlots", Flag("txpool.globalslots")),
    ("AccountQueue", Flag("txpool.accountqueue")),
    ("GlobalQueue", Flag("txpool.globalqueue")),
    ("Lifetime", Duration("txpool.lifetime")),
];

const GPO: [(&str, Meaning); 4] = [
    ("Blocks", Flag("gpo.blocks")),
    ("Percentile", Flag("gpo.percentile")),
    ("MaxPrice", Flag("gpo.maxprice")),
    ("IgnorePrice", Flag("gpo.ignoreprice")),
];

const ETHASH: [(&str, Meaning); 6] = [
    ("CacheDir", Flag("ethash.cachedir")),
    ("CachesInMem", Flag("ethash.cachesinmem")),
    ("CachesOnDisk", Flag("ethash.cachesondisk")),
    ("DatasetDir", Flag("ethash.dagdir")),
    ("DatasetsInMem", Flag("ethash.dagsinmem")),
    ("DatasetsOnDisk", Flag("ethash.dagsondisk")),
];

const ETHASH_IGNORED: [&str; 5] =
    ["CachesLockMmap", "DatasetsLockMmap", "PowMode", "NotifyFull", "Log"];

const NODE: [(&str, Meaning); 20] = [
    ("UserIdent", Flag("identity")),
    ("DataDir", Flag("datadir")),
    ("KeyStoreDir", Flag("keystore")),
    ("UseLightweightKDF", Switch("lightkdf")),
    ("InsecureUnlockAllowed", Switch("allow-insecure-unlock")),
    ("IPCPath", Socket),
    ("HTTPHost", Host("http", "http.addr")),
    ("HTTPPort", Flag("http.port")),
    ("HTTPCors", Flag("http.corsdomain")),
    ("HTTPVirtualHosts", Flag("http.vhosts")),
    ("HTTPModules", Flag("http.api")),
    ("HTTPPathPrefix", Flag("http.rpcprefix")),
    ("WSHost", Host("ws", "ws.addr")),
    ("WSPort", Flag("ws.port")),
    ("WSOrigins", Flag("ws.origins")),
    ("WSModules", Flag("ws.api")),
    ("WSPathPrefix", Flag("ws.rpcprefix")),
    ("AllowUnprotectedTxs", Switch("rpc.allow-unprotected-txs")),
    ("Name", Nothing),
    ("Version", Nothing),
];

const NODE_IGNORED: [&str; 22] = [
    "ExternalSigner",
    "NoUSB",
    "USB",
    "SmartCardDaemonPath",
    "AuthAddr",
    "AuthPort",
    "AuthVirtualHosts",
    "WSExposeAll",
    "GraphQLHost",
    "GraphQLPort",
    "GraphQLCors",
    "GraphQLVirtualHosts",
    "JWTSecret",
    "EnablePersonal",
    "DBEngine",
    "BatchRequestLimit",
    "BatchResponseMaxSize",
    "StaticNodes",
    "TrustedNodes",
    "OldGethResourceWarning",
    "EnableDeprecatedPersonal",
    "Logger",
];

const P2P: [(&str, Meaning); 10] = [
    ("MaxPeers", Flag("maxpeers")),
    ("MaxPendingPeers", Flag("maxpendpeers")),
    ("NoDiscovery", Switch("nodiscover")),
    ("DiscoveryV4", Switch("discovery.v4")),
    ("DiscoveryV5", Switch("discovery.v5")),
    ("BootstrapNodes", Flag("bootnodes")),
    ("NetRestrict", Flag("netrestrict")),
    ("NAT", Flag("nat")),
    ("ListenAddr", Port("port")),
    ("DiscAddr", Port("discovery.port")),
];

const P2P_IGNORED: [&str; 9] = [
    "Name",
    "DiscoveryV5Addr",
    "BootstrapNodesV5",
    "StaticNodes",
    "TrustedNodes",
    "NodeDatabase",
    "DialRatio",
    "NoDial",
    "EnableMsgEvents",
];

const METRICS: [(&str, Meaning); 3] = [
    ("Enabled", Switch("metrics")),
    ("HTTP", Flag("metrics.addr")),
    ("Port", Flag("metrics.port")),
];

const METRICS_IGNORED: [&str; 11] = [
    "EnabledExpensive",
    "EnableInfluxDB",
    "InfluxDBEndpoint",
    "InfluxDBDatabase",
    "InfluxDBUsername",
    "InfluxDBPassword",
    "InfluxDBTags",
    "EnableInfluxDBV2",
    "InfluxDBToken",
    "InfluxDBBucket",
    "InfluxDBOrganization",
];

/// Reads one of geth's tables, and the tables in it.
pub(super) fn read(
    name: &str,
    value: &Value,
    layer: &mut Layer,
    ignored: &mut Vec<String>,
) -> Result<()> {
    let Value::Table(fields) = value else {
        bail!("field '{name}' is not defined in main.gethConfig");
    };
    if name == "Shh" {
        ignored.push(name.to_owned());
        return Ok(());
    }
    let Some((_, go, known, without_effect)) = TABLES.iter().find(|(table, ..)| *table == name)
    else {
        bail!("field '{name}' is not defined in main.gethConfig");
    };
    for (key, value) in fields {
        let full = format!("{name}.{key}");
        if name == "Eth" && key == "Genesis" {
            bail!(
                "field 'Genesis' in {go}: write the genesis to a JSON file, and name it with --genesis"
            );
        }
        if TABLES.iter().any(|(table, ..)| *table == full) {
            read(&full, value, layer, ignored)?;
        } else if let Some((_, meaning)) = known.iter().find(|(field, _)| field == key) {
            meaning.apply(value, layer).map_err(|why| eyre!("field '{key}' in {go} {why}"))?;
        } else if without_effect.contains(&key.as_str()) {
            ignored.push(full);
        } else {
            bail!("field '{key}' is not defined in {go}");
        }
    }
    Ok(())
}

impl Meaning {
    fn apply(self, value: &Value, layer: &mut Layer) -> Result<(), String> {
        let text = || text(value).ok_or_else(|| format!("cannot be {value}"));
        match self {
            Flag(flag) => layer.set(flag, text()?, false),
            Switch(flag) => match value {
                Value::Boolean(value) => layer.set(flag, value.to_string(), false),
                other => return Err(format!("is true or false, not {other}")),
            },
            Duration(flag) => layer.set(flag, duration_text(value)?, false),
            Host(switch, flag) => {
                let host = text()?;
                layer.set(switch, (!host.is_empty()).to_string(), false);
                if !host.is_empty() {
                    layer.set(flag, host, false);
                }
            }
            Port(flag) => {
                let address = text()?;
                let port = address.rsplit_once(':').map(|(_, port)| port);
                layer.set(flag, port.ok_or("has no port")?.to_owned(), false);
            }
            Socket => match text()? {
                path if path.is_empty() => layer.set("ipcdisable", true.to_string(), false),
                path => layer.set("ipcpath", path, false),
            },
            Nothing => {}
        }
        Ok(())
    }
}

fn duration_text(value: &Value) -> Result<String, String> {
    match value {
        Value::Integer(nanoseconds) => match u64::try_from(*nanoseconds) {
            Ok(nanoseconds) => Ok(format_duration(std::time::Duration::from_nanos(nanoseconds))),
            Err(_) => Err("is below zero".to_owned()),
        },
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("cannot be {other}")),
    }
}
