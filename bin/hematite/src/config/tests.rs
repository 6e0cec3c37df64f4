use std::ffi::OsString;

use super::*;
use crate::args::{Parsed, parse};

fn surroundings() -> Surroundings {
    Surroundings {
        home: Some("/root".into()),
        namespace: Some("data".into()),
        variables: [("HOME".to_owned(), "/root".to_owned())].into(),
    }
}

fn config_of(argv: Vec<OsString>) -> Result<Config> {
    match parse(argv, surroundings())? {
        Parsed::Invocation(invocation) => Config::try_from(&*invocation),
        Parsed::Show(text) => bail!("shown: {text}"),
    }
}

fn try_config(line: &str) -> Result<Config> {
    config_of(line.split_whitespace().map(OsString::from).collect())
}

fn config(line: &str) -> Config {
    try_config(line).unwrap_or_else(|error| panic!("{line}: {error:#}"))
}

fn error(line: &str) -> String {
    format!("{:#}", try_config(line).expect_err(line))
}

/// The miner of the book's cluster: `40-miner/30-deployment.yml`, as its shell passes it on.
#[test]
fn runs_the_books_miner() {
    let argv = [
        "geth",
        "--bootnodes=enode://aa@10.0.0.1:30301,enode://bb@10.0.0.2:30301",
        "--mine",
        "--minerthreads=1",
        "--nousb",
        "--miner.etherbase=0",
        "--networkid=27587",
        "--ethstats=eth-geth-miner-0:book@eth-ethstats:8080",
        "--verbosity=3",
    ];
    let config = config_of(argv.map(OsString::from).to_vec()).unwrap();
    assert!(config.mining.enabled);
    assert_eq!(config.mining.threads, Some(1));
    assert_eq!(config.mining.etherbase.as_deref(), Some("0"));
    assert_eq!((config.mining.gas_target, config.mining.gas_price), (8_000_000, 1_000_000_000));
    assert_eq!(config.mining.recommit, Duration::from_secs(3));
    assert_eq!(config.network_id, Some(27_587));
    assert_eq!(config.network.bootnodes.as_ref().map(Vec::len), Some(2));
    let ethstats = config.network.ethstats.as_ref().unwrap();
    assert_eq!(ethstats.expose(), "eth-geth-miner-0:book@eth-ethstats:8080");
    assert_eq!(config.log, LogConfig { verbosity: 3, format: LogFormat::Terminal });
    assert_eq!(config.paths.datadir, Path::new("/root/.ethereum"));
    assert_eq!(config.paths.ipc.as_deref(), Some(Path::new("/root/.ethereum/geth.ipc")));
    assert_eq!((config.http, config.ws, config.genesis), (None, None, None));
}

/// The transaction node: `50-tx/30-deployment.yml`. Its Service publishes 8546 as well.
#[test]
fn runs_the_books_tx_node() {
    let argv = [
        "geth",
        "--nousb",
        "--bootnodes=",
        "--rpc",
        "--rpcaddr=0.0.0.0",
        "--rpcapi=eth,net,web3",
        "--rpcvhosts=*",
        "--rpccorsdomain=*",
        "--ws",
        "--networkid=27587",
        "--ethstats=eth-geth-tx-0:book@eth-ethstats:8080",
        "--verbosity=2",
    ];
    let config = config_of(argv.map(OsString::from).to_vec()).unwrap();
    let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let apis = strings(&["eth", "net", "web3"]);
    assert_eq!(
        config.http,
        Some(Http {
            addr: "0.0.0.0".into(),
            port: 8545,
            apis: apis.clone(),
            cors: strings(&["*"]),
            vhosts: Vhosts::Listed(strings(&["*"])),
            explorer: false,
            prefix: String::new(),
        })
    );
    assert_eq!(
        config.ws,
        Some(Ws {
            addr: "0.0.0.0".into(),
            port: 8546,
            apis,
            origins: Vec::new(),
            prefix: String::new()
        })
    );
    assert_eq!(config.network.bootnodes, Some(Vec::new()));
    assert!(!config.mining.enabled);
    assert!(config.rpc.allow_unprotected);
}

#[test]
fn has_geths_defaults_under_its_name_and_ours_otherwise() {
    let geth = config("geth --mine");
    assert_eq!(geth.network_id, Some(1));
    assert_eq!(config("geth --ropsten").network_id, None, "the preset knows");
    assert_eq!(config("geth --dev --networkid 7").network_id, Some(7));
    assert_eq!(geth.mining.threads, Some(0), "geth leaves sealing to eth_getWork");
    assert_eq!(geth.rpc.tx_fee_cap, None);
    let ours = config("hematite --mine");
    assert_eq!((ours.network_id, ours.mining.threads), (None, None));
    assert_eq!(ours.paths.datadir, Path::new("/root/.hematite"));
    assert_eq!(ours.rpc.tx_fee_cap, Some(1_000_000_000_000_000_000));
    assert_eq!((ours.ops_addr.as_deref(), ours.ops_addr_given), (Some(":6061"), false));
    let pool = ours.pool;
    assert_eq!((pool.price_limit, pool.price_bump), (1, 10));
    let slots = [pool.account_slots, pool.global_slots, pool.account_queue, pool.global_queue];
    assert_eq!(slots, [16, 5120, 64, 1024]);
    assert_eq!(pool.lifetime, Duration::from_secs(10_800));
    assert_eq!(pool.journal, Some("/root/.hematite/hematite/transactions".into()));
}

#[test]
fn lets_flags_win_over_the_role() {
    let miner = config("hematite --role miner");
    assert!(miner.mining.enabled);
    let http = miner.http.unwrap();
    assert_eq!((http.addr.as_str(), http.port), ("localhost", 8545));
    assert_eq!(http.vhosts, Vhosts::Cluster { namespace: Some("data".into()) });
    let quiet = config("hematite --role miner --http=false --mine=false");
    assert_eq!((quiet.http, quiet.mining.enabled), (None, false));
    let tx = config("hematite --role tx");
    assert_eq!((tx.http, tx.ws, tx.mining.enabled), (None, None, false));
    assert_eq!(config("hematite --role bootnode").network.discovery_port, 30_301);
    assert_eq!(config("hematite --role ethstats").network.ethstats, None);
}

#[test]
fn takes_a_wish_for_discovery_v5_over_nodiscover_as_geth_does() {
    for (flags, versions) in [
        ("", (true, false)),
        ("--v5disc", (true, true)),
        ("--nodiscover", (false, false)),
        ("--nodiscover --v5disc", (false, true)),
        ("--nodiscover --v5disc=false", (false, false)),
        ("--nodiscover --discovery.v4", (false, false)),
        ("--discovery.v4=false --discovery.v5", (false, true)),
        ("--discovery.v4=false", (false, false)),
        ("--role bootnode", (true, true)),
        ("--role bootnode --nodiscover", (false, true)),
    ] {
        let network = config(&format!("hematite {flags}")).network;
        assert_eq!((network.discovery_v4, network.discovery_v5), versions, "{flags}");
        assert_eq!(network.discovers(), versions != (false, false), "{flags}");
    }
    let idle = error("hematite --role bootnode --nodiscover --v5disc=false");
    assert!(idle.contains("both versions are turned off"), "{idle}");
}

#[test]
fn opens_websockets_where_http_is_open() {
    let ws = |line| config(line).ws.unwrap().addr;
    assert_eq!(ws("hematite --ws"), "localhost");
    assert_eq!(ws("hematite --ws --http"), "localhost");
    assert_eq!(ws("hematite --ws --http --http.addr 0.0.0.0"), "0.0.0.0");
    assert_eq!(ws("hematite --ws --http.addr 0.0.0.0"), "0.0.0.0");
    assert_eq!(ws("hematite --role miner --ws"), "localhost");
    assert_eq!(ws("hematite --role miner --http.addr 0.0.0.0 --ws"), "0.0.0.0");
    assert_eq!(ws("geth --rpc --rpcaddr=0.0.0.0 --rpcapi=eth,net,web3 --ws"), "0.0.0.0");
    assert_eq!(ws("geth --ws --wsaddr 127.0.0.1 --rpc --rpcaddr 0.0.0.0"), "127.0.0.1");
    assert_eq!(ws("hematite --ws --ws.addr 1.2.3.4 --http --http.addr 0.0.0.0"), "1.2.3.4");
}

#[test]
fn places_and_expands_paths() {
    let paths = |line| config(line).paths;
    let check = |path: &Path, expect: &str| assert_eq!(path, Path::new(expect));
    check(&paths("hematite --datadir ~/chain").datadir, "/root/chain");
    check(&paths("hematite --datadir $HOME/chain").datadir, "/root/chain");
    check(&paths("hematite --datadir ${HOME}chain$NOTHING").datadir, "/rootchain");
    check(&paths("hematite --datadir ~else/chain").datadir, "~else/chain");
    check(&paths("hematite --datadir /d").nodekey, "/d/geth/nodekey");
    check(&paths("hematite --datadir /d").keystore, "/d/keystore");
    check(&paths("hematite --datadir /d --keystore ~/keys").keystore, "/root/keys");
    check(&paths("hematite --datadir /d --ipcpath x.ipc").ipc.unwrap(), "/d/x.ipc");
    check(&paths("hematite --datadir /d --ipcpath /x.ipc").ipc.unwrap(), "/x.ipc");
    assert_eq!(paths("hematite --ipcdisable").ipc, None);
    let doors = config(
        "hematite --rpc.tls.cert ~/c --rpc.tls.key $HOME/k --rpc.jwtsecret ~/j --rpc.basicauth b",
    );
    assert_eq!(doors.doors.tls, Some(("/root/c".into(), "/root/k".into())));
    assert_eq!(doors.doors.jwt_secret, Some("/root/j".into()));
    assert_eq!((doors.doors.basic_auth, doors.authorities), (Some("b".into()), None));
    let trusted = config("hematite attach --tls.cafile ~/ca https://host").authorities;
    assert_eq!(trusted, Some("/root/ca".into()));
    let journal = |line| config(line).pool.journal;
    assert_eq!(journal("hematite --datadir /d --txpool.journal j"), Some("/d/hematite/j".into()));
    assert_eq!(journal("hematite --txpool.journal="), None);
}

#[test]
fn knows_presets_and_files_of_genesis() {
    let genesis = |line| config(line).genesis;
    let preset = |name: &str| Some(GenesisSource::Preset(name.to_owned()));
    assert_eq!(genesis("hematite --genesis book"), preset("book"));
    assert_eq!(genesis("geth --mainnet"), preset("mainnet"));
    assert_eq!(genesis("geth --testnet"), preset("ropsten"));
    assert_eq!(genesis("geth --dev"), preset("dev"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("genesis.json");
    std::fs::write(&file, "{}").unwrap();
    let line = format!("hematite --genesis {}", file.display());
    assert_eq!(genesis(&line), Some(GenesisSource::File(file)));
    assert_eq!(
        error("hematite --genesis bok"),
        "--genesis bok is no preset and there is no such file; \
         presets are mainnet, ropsten, sepolia, book, dev"
    );
    assert_eq!(
        error("hematite --mainnet --genesis book"),
        "flags --mainnet and --genesis exclude each other; give one"
    );
    assert!(missing_genesis(Path::new("/d")).contains("mainnet, ropsten, sepolia, book, dev"));
}

#[test]
fn says_what_is_wrong_and_what_would_be_right() {
    let check = |line: &str, expect: &str| {
        let error = error(line);
        assert!(error.contains(expect), "{line}: {error}");
    };
    let long = "x".repeat(33);
    check(&format!("hematite --miner.extradata {long}"), "33 bytes; a header takes 32");
    check("hematite --miner.hashrate 0", "--miner.threads 0 turns the search off");
    check("hematite --ipcdisable --ipcpath x", "exclude each other");
    check("hematite --nodekey a --nodekeyhex b", "mutually exclusive");
    check("hematite --nodekey /nowhere", "--nodekey /nowhere is not a file");
    check("hematite --txpool.locals 0x12", "\"0x12\" is not an address");
    check("hematite --rpc.txfeecap -1", "not an amount of ether");
    check("hematite --http --rpc.connections 0", "leaves nobody in");
    check("hematite --gpo.percentile 101", "above 100");
    check("hematite --datadir=", "name a directory");
    check("hematite --rpc.tls.cert c.pem", "add --rpc.tls.key FILE");
    check("hematite --rpc.tls.key k.pem", "add --rpc.tls.cert FILE");
    check("hematite --http --explorer --rpc.jwtsecret j", "add --rpc.basicauth FILE");
}

#[test]
fn takes_limits_at_their_edges() {
    let at = "x".repeat(32);
    let config = config(&format!(
        "hematite --miner.extradata {at} --rpc.gascap 0 --rpc.evmtimeout 0 --rpc.txfeecap 0.5 \
         --rpc.connections 1 --verbosity 9 --txpool.globalslots 0 --miner.recommit 1ms --miner.threads=-1 \
         --miner.hashrate 1 --ops.addr off --metrics --metrics.addr 0.0.0.0"
    ));
    assert_eq!(config.mining.extra_data, Some(at));
    assert_eq!((config.rpc.gas_cap, config.rpc.evm_timeout), (None, None));
    assert_eq!((config.rpc.tx_fee_cap, config.rpc.connections), (Some(500_000_000_000_000_000), 1));
    assert_eq!((config.log.verbosity, config.pool.global_slots), (5, 5120));
    assert_eq!(config.mining.recommit, Duration::from_secs(1));
    assert_eq!((config.mining.threads, config.mining.hashrate_cap), (Some(0), Some(1)));
    assert_eq!(config.ops_addr, None);
    assert_eq!(config.geth_metrics, Some(("0.0.0.0".into(), 6060)));
}

#[test]
fn reads_password_files_as_geth_does() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    let line = format!("hematite --password {}", file.display());
    let passwords = |content: &str| {
        std::fs::write(&file, content).unwrap();
        let passwords = config(&line).accounts.passwords().unwrap();
        passwords.iter().map(|password| password.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(passwords("one\r\ntwo \r\n"), ["one", "two "]);
    assert_eq!(passwords("\u{feff}ünï"), ["ünï"]);
    assert_eq!(passwords(""), [""]);
    assert_eq!(passwords("\n"), [""]);
    std::fs::remove_file(&file).unwrap();
    let error = config(&line).accounts.passwords().unwrap_err().to_string();
    assert!(error.starts_with("Failed to read password file "), "{error}");
}

#[test]
fn reads_back_what_it_dumps() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    for line in [
        "hematite",
        "geth --mine --nodiscover --v5disc",
        "hematite --role miner --genesis book --miner.threads 2 --miner.hashrate 100 --identity x",
        "hematite --role tx --http --http.addr 0.0.0.0 --http.vhosts * --ws --ipcdisable --metrics",
        "hematite --dev --dev.period 3 --log.json --bootnodes= --unlock 0,1 --password /p",
        "hematite --port 0 --txpool.journal= --rpc.gascap 0 --rpc.txfeecap 0.5 --rpc.connections 6000 --gpo.maxprice \
         340282366920938463463374607431768211455 --discovery.v5 --miner.notify http://a,http://b",
        "hematite --http --rpc.tls.cert /c --rpc.tls.key /k --rpc.jwtsecret /j --rpc.basicauth /b \
         --tls.cafile /a",
    ] {
        let mut config = config(line);
        std::fs::write(&file, config.to_toml()).unwrap();
        config.datadir_given = config.dev.is_none();
        config.ops_addr_given = true;
        let name = line.split(' ').next().unwrap();
        let again = try_config(&format!("{name} --config {}", file.display()));
        assert_eq!(again.unwrap_or_else(|e| panic!("{line}: {e:#}\n{}", config.to_toml())), config);
    }
}

#[test]
fn refuses_a_dashboards_url_without_showing_its_secret() {
    let said = error("hematite --ethstats miner:hidden@");
    let form = "should be nodename:secret@host:port";
    assert_eq!(said, format!("invalid netstats url: \"miner:***@\", {form}"));
}

#[test]
fn dumps_no_secret() {
    let text = config("hematite --ethstats a:hidden@b --nodekeyhex abcdef").to_toml();
    assert!(!text.contains("hidden") && !text.contains("abcdef"), "{text}");
    insta::assert_snapshot!(text);
}
