use std::{ffi::OsString, fs};

use super::*;

/// Surroundings with these variables.
fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Surroundings {
        home: Some("/home/somebody".into()),
        namespace: None,
        variables: variables.iter().map(owned).collect(),
    }
}

fn parse_with(line: &str, variables: &[(&str, &str)]) -> Result<Invocation> {
    let argv = line.split_whitespace().map(OsString::from).collect();
    match parse(argv, surroundings(variables))? {
        Parsed::Invocation(invocation) => Ok(*invocation),
        Parsed::Show(text) => bail!("shown: {text}"),
    }
}

fn parsed(line: &str) -> Invocation {
    parse_with(line, &[]).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn error(line: &str) -> String {
    format!("{:#}", parse_with(line, &[]).expect_err(line))
}

/// The flags that a file sets, through `--config`.
fn with_file(content: &str, line: &str) -> Result<Invocation> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, content).unwrap();
    parse_with(&format!("{line} --config {}", file.display()), &[])
}

#[test]
fn knows_its_names() {
    let of = |name: &str| Personality::of(Some(OsStr::new(name)));
    assert_eq!(of("/usr/local/bin/geth"), Personality::Geth);
    assert_eq!(of("bootnode"), Personality::Bootnode);
    assert_eq!(of("./hematite"), Personality::Hematite);
    assert_eq!(Personality::of(None), Personality::Hematite);
}

#[test]
fn takes_flags_in_every_form_and_place() {
    for line in [
        "hematite --verbosity=4 --mine init genesis.json",
        "hematite -verbosity 4 init -mine genesis.json",
        "hematite init genesis.json --verbosity 4 -mine=true",
        "hematite init --mine=T -- genesis.json -verbosity=4",
        "hematite --mine=false init genesis.json --verbosity=0x4 --mine",
    ] {
        let result = parse_with(line, &[]);
        match result {
            Ok(Invocation { command: Command::Init { genesis }, node, .. }) => {
                assert_eq!(genesis, Path::new("genesis.json"), "{line}");
                assert_eq!((node.log.verbosity, node.miner.mine), (Some(4), Some(true)), "{line}");
            }
            // After `--` nothing is a flag; and a level is a plain number.
            _ => assert!(line.contains(" -- ") || line.contains("0x"), "{line}"),
        }
    }
}

#[test]
fn takes_the_next_word_as_a_value_whatever_it_looks_like() {
    let node = parsed("hematite --identity --mine").node;
    assert_eq!((node.chain.identity.as_deref(), node.miner.mine), (Some("--mine"), None));
    assert_eq!(error("hematite --identity"), "flag needs an argument: -identity");
}

#[test]
fn takes_every_old_spelling_and_lets_the_new_one_win() {
    let node = parsed(
        "geth --rpc --rpcaddr 0.0.0.0 --rpcport 1 --rpcapi a --rpccorsdomain b --rpcvhosts c \
         --wsaddr d --wsport 2 --wsapi e --wsorigins f --minerthreads 3 --etherbase 0 \
         --gasprice 4 --targetgaslimit 5 --extradata g --gpoblocks 6 --gpopercentile 7 \
         --bootnodesv4 h --v5disc --testnet --pprofaddr i --pprofport 8",
    )
    .node;
    assert_eq!(node.http.http, Some(true));
    assert_eq!(node.http.http_addr.as_deref(), Some("0.0.0.0"));
    assert_eq!(node.http.http_port, Some(1));
    assert_eq!(node.http.http_api.as_deref(), Some("a"));
    assert_eq!(node.http.http_corsdomain.as_deref(), Some("b"));
    assert_eq!(node.http.http_vhosts.as_deref(), Some("c"));
    assert_eq!(node.ws.ws_addr.as_deref(), Some("d"));
    assert_eq!(node.ws.ws_port, Some(2));
    assert_eq!(node.ws.ws_api.as_deref(), Some("e"));
    assert_eq!(node.ws.ws_origins.as_deref(), Some("f"));
    assert_eq!(node.miner.threads, Some(3));
    assert_eq!(node.miner.etherbase.as_deref(), Some("0"));
    assert_eq!(node.miner.gas_price, Some(4));
    assert_eq!(node.miner.gas_limit, Some(5));
    assert_eq!(node.miner.extra_data.as_deref(), Some("g"));
    assert_eq!(node.gas_price.gpo_blocks, Some(6));
    assert_eq!(node.gas_price.gpo_percentile, Some(7));
    assert_eq!(node.network.bootnodes.as_deref(), Some("h"));
    assert_eq!(node.network.discovery_v5, Some(true));
    assert_eq!(node.chain.ropsten, Some(true));
    assert_eq!(node.ops.metrics_addr.as_deref(), Some("i"));
    assert_eq!(node.ops.metrics_port, Some(8));

    let threads = |line| parsed(line).node.miner.threads;
    assert_eq!(threads("geth --miner.threads 1 --minerthreads 2"), Some(1));
    assert_eq!(threads("geth --minerthreads 2 --miner.threads 1"), Some(1));
    assert_eq!(threads("geth --miner.threads 1 --miner.threads 2"), Some(2));
    assert_eq!(threads("geth --miner.threads -1"), Some(-1));
}

#[test]
fn takes_flags_without_effect_and_remembers_them() {
    let invocation = parsed(
        "geth --nousb --syncmode full --gcmode=archive --cache 1024 --cache.noprefetch \
         -lightserv 10 --snapshot=false --ulc.servers=x --metrics.expensive removedb",
    );
    assert!(matches!(invocation.command, Command::Removedb));
    assert_eq!(
        invocation.ignored,
        [
            "--nousb",
            "--syncmode",
            "--gcmode",
            "--cache",
            "--cache.noprefetch",
            "--lightserv",
            "--snapshot",
            "--ulc.servers",
            "--metrics.expensive"
        ]
    );
}

#[test]
fn refuses_what_it_does_not_know_and_says_what_might_be_meant() {
    assert_eq!(
        error("hematite --htp.addr x"),
        "unknown flag --htp.addr; did you mean --http.addr?"
    );
    assert_eq!(error("hematite -zzzzzzzz"), "unknown flag --zzzzzzzz; --help lists the flags");
    assert_eq!(
        error("geth --minerthread=1"),
        "flag provided but not defined: -minerthread\ndid you mean --minerthreads?"
    );
    assert_eq!(error("hematite acount"), "invalid command: \"acount\"; did you mean \"account\"?");
    assert_eq!(
        error("geth genesis.json"),
        "invalid command: \"genesis.json\"; `hematite --help` lists the commands"
    );
    assert_eq!(
        error("hematite --mine=yes"),
        "invalid boolean value \"yes\" for -mine: write true or false"
    );
    assert!(
        error("hematite --port 65536").starts_with("invalid value '65536' for '--port <PORT>'")
    );
    assert!(error("hematite --role chef").contains("[possible values: miner, tx,"));
    assert!(error("hematite --miner.recommit 3").contains("write it like 3s, 500ms or 1h30m"));
    assert_eq!(error("hematite init"), "Must supply path to genesis JSON file");
    assert_eq!(error("geth account import"), "keyfile must be given as argument");
    assert_eq!(error("geth account update"), "No accounts specified to update");
    assert_eq!(error("geth import"), "This command requires an argument.");
    assert_eq!(error("geth makedag 1"), "Usage: makedag <block number> <outputdir>");
    assert!(error("hematite js").contains("<FILES>"));
}

#[test]
fn understands_every_command() {
    let check = |line: &str, fits: fn(&Command) -> bool| {
        let command = parsed(line).command;
        assert!(fits(&command), "{line}: {command:?}");
    };
    check("hematite", |c| matches!(c, Command::Run));
    check("hematite run --mine", |c| matches!(c, Command::Run));
    check("geth init /var/geth/genesis.json", |c| matches!(c, Command::Init { .. }));
    check("hematite import a b", |c| matches!(c, Command::Import { files } if files.len() == 2));
    check("hematite export f", |c| matches!(c, Command::Export(e) if e.last.is_none()));
    check("hematite export f 1 2", |c| matches!(c, Command::Export(e) if e.last == Some(2)));
    check("geth account list", |c| matches!(c, Command::Account(AccountCommand::List)));
    check("geth account new", |c| matches!(c, Command::Account(AccountCommand::New)));
    check(
        "geth account import --password p k",
        |c| matches!(c, Command::Account(AccountCommand::Import { key_file }) if key_file == "k"),
    );
    check(
        "geth account update 0 1",
        |c| matches!(c, Command::Account(AccountCommand::Update { accounts }) if accounts.len() == 2),
    );
    check("geth makedag 30000 /dags", |c| matches!(c, Command::Makedag { block: 30_000, .. }));
    check("geth dumpgenesis --ropsten", |c| matches!(c, Command::Dumpgenesis));
    check("geth dump 1 --nocode", |c| matches!(c, Command::Dump(d) if d.nocode == Some(true)));
    check("geth removedb", |c| matches!(c, Command::Removedb));
    check("geth dumpconfig", |c| matches!(c, Command::Dumpconfig { file: None }));
    check(
        "hematite bench all --report d --seconds 1 --epoch 2",
        |c| matches!(c, Command::Bench(BenchCommand::All(b)) if b.epoch == 2 && b.seconds == Some(1)),
    );
    check(
        "geth attach --exec eth.blockNumber",
        |c| matches!(c, Command::Attach(a) if a.console.exec.as_deref() == Some("eth.blockNumber")),
    );
    check(
        "geth --exec 1 attach http://localhost:8545",
        |c| matches!(c, Command::Attach(a) if a.endpoint.is_some() && a.console.exec.is_some()),
    );
    check("geth console", |c| matches!(c, Command::Console(_)));
    check("geth js a.js", |c| matches!(c, Command::Js { .. }));
    check("hematite db verify", |c| matches!(c, Command::Db(DbCommand::Verify)));
    for line in ["geth version", "geth --version", "geth -v"] {
        check(line, |c| matches!(c, Command::Version));
    }
    check("geth license", |c| matches!(c, Command::License));
}

#[test]
fn understands_the_bootnode_tool() {
    let bootnode = |line: &str| match parsed(line).command {
        Command::Bootnode(bootnode) => bootnode,
        other => panic!("{line}: {other:?}"),
    };
    let genkey = bootnode("bootnode --genkey=/etc/bootnode/node.key").genkey;
    assert_eq!(genkey, Some("/etc/bootnode/node.key".into()));
    let write = bootnode("bootnode -writeaddress --nodekey=/etc/bootnode/node.key");
    assert_eq!(write.writeaddress, Some(true));
    assert_eq!(write.nodekey, Some("/etc/bootnode/node.key".into()));
    let run = bootnode("bootnode --nodekey=/etc/bootnode/node.key --verbosity=4");
    assert_eq!((run.verbosity, run.addr.as_str(), run.nat.as_str()), (Some(4), ":30301", "none"));
    assert_eq!(
        error("bootnode -mine"),
        "flag provided but not defined: -mine\n--help lists the flags"
    );
}

#[test]
fn reads_the_environment_below_the_command_line() {
    let variables = [
        ("HEMATITE_HTTP_ADDR", "1.2.3.4"),
        ("HEMATITE_MINE", "1"),
        ("HEMATITE_ACCEPT_ROLLBACK", "true"),
        ("HEMATITE_VERBOSITY", "5"),
        ("HEMATITE_IDENTITY", ""),
        ("HEMATITE_PORT", "tcp://10.96.0.7:8545"),
        ("HEMATITE_PORT_8545_TCP", "tcp://10.96.0.7:8545"),
        ("HEMATITE_SERVICE_HOST", "10.96.0.7"),
    ];
    let node = parse_with("hematite --verbosity 2", &variables).unwrap().node;
    assert_eq!(node.http.http_addr.as_deref(), Some("1.2.3.4"));
    assert_eq!((node.miner.mine, node.chain.accept_rollback), (Some(true), Some(true)));
    assert_eq!(node.log.verbosity, Some(2));
    assert_eq!((node.network.port, node.chain.identity), (None, None));

    let wrong = |variable| format!("{:#}", parse_with("hematite", &[variable]).unwrap_err());
    assert_eq!(
        wrong(("HEMATITE_MINE", "yes")),
        "the variable HEMATITE_MINE is wrong: invalid boolean value \"yes\" for -mine: write true or false"
    );
    let port = wrong(("HEMATITE_HTTP_PORT", "x"));
    assert!(port.ends_with("set by the variable HEMATITE_HTTP_PORT"), "{port}");
}

#[test]
fn reads_secrets_from_files_that_variables_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, "node:secret@host\n").unwrap();
    let file = file.to_str().unwrap();
    let variables = [("HEMATITE_ETHSTATS_FILE", file), ("HEMATITE_PASSWORD_FILE", file)];
    let node = parse_with("hematite", &[("HEMATITE_RPC_JWTSECRET_FILE", file)]).unwrap().node;
    assert_eq!(node.rpc.jwt_secret, Some(file.into()));
    let node = parse_with("hematite", &variables).unwrap().node;
    assert_eq!(node.network.ethstats.as_ref().unwrap().expose(), "node:secret@host");
    assert_eq!(node.accounts.password, Some(file.into()));
    assert!(!format!("{node:?}").contains("node:secret"), "a secret is never shown");
    let missing = parse_with("hematite", &[("HEMATITE_NODEKEYHEX_FILE", "/nowhere")]).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "cannot read /nowhere, named by the variable HEMATITE_NODEKEYHEX_FILE"
    );
}

#[test]
fn reads_a_file_of_our_own_below_everything_else() {
    let content = r#"
        networkid = 27587
        mine = true
        bootnodes = ["enode://a", "enode://b"]
        verbosity = 5
        syncmode = "full"
        [http]
        enabled = true
        addr = "0.0.0.0"
        [miner]
        recommit = "2s"
        notify.full = true
    "#;
    let invocation = with_file(content, "hematite --verbosity 1").unwrap();
    let node = invocation.node;
    assert_eq!((node.chain.networkid, node.miner.mine), (Some(27_587), Some(true)));
    assert_eq!(node.network.bootnodes.as_deref(), Some("enode://a,enode://b"));
    assert_eq!(node.log.verbosity, Some(1));
    assert_eq!((node.http.http, node.http.http_addr.as_deref()), (Some(true), Some("0.0.0.0")));
    assert_eq!(node.miner.recommit, Some(std::time::Duration::from_secs(2)));
    assert_eq!(node.miner.notify_full, Some(true));
    assert_eq!(invocation.ignored, ["syncmode"]);
}

#[test]
fn reads_a_file_of_geths() {
    let content = r#"
        [Eth]
        NetworkId = 27587
        SyncMode = "fast"
        DatabaseCache = 512
        RPCGasCap = 25000000
        [Eth.Miner]
        Etherbase = "0x06e0266a396460eb52b958110f64181b990ae429"
        GasFloor = 8000000
        GasCeil = 9000000
        GasPrice = 1000000000
        Recommit = 3000000000
        Noverify = true
        [Eth.TxPool]
        Lifetime = 10800000000000
        [Eth.Ethash]
        DatasetDir = "/dags"
        [Shh]
        MaxMessageSize = 1048576
        [Node]
        DataDir = "/data"
        IPCPath = ""
        HTTPHost = "0.0.0.0"
        HTTPPort = 8546
        HTTPModules = ["net", "web3"]
        WSHost = ""
        [Node.P2P]
        MaxPeers = 25
        NoDiscovery = true
        BootstrapNodes = ["enode://a"]
        BootstrapNodesV5 = []
        ListenAddr = ":30304"
        [Node.HTTPTimeouts]
        ReadTimeout = 30000000000
    "#;
    let invocation = with_file(content, "geth").unwrap();
    let node = invocation.node;
    assert_eq!((node.chain.networkid, node.rpc.gas_cap), (Some(27_587), Some(25_000_000)));
    assert_eq!(
        (node.miner.gas_limit, node.miner.gas_price),
        (Some(9_000_000), Some(1_000_000_000))
    );
    assert_eq!(node.miner.recommit, Some(std::time::Duration::from_secs(3)));
    assert_eq!(node.pool.lifetime, Some(std::time::Duration::from_secs(10_800)));
    assert_eq!(node.chain.ethash.ethash_dagdir, Some("/dags".into()));
    assert_eq!(node.chain.datadir, Some("/data".into()));
    assert_eq!(
        (node.ipc.ipcdisable, node.http.http, node.ws.ws),
        (Some(true), Some(true), Some(false))
    );
    assert_eq!(node.http.http_api.as_deref(), Some("net,web3"));
    assert_eq!((node.network.maxpeers, node.network.port), (Some(25), Some(30_304)));
    assert_eq!(node.network.bootnodes.as_deref(), Some("enode://a"));
    assert!(invocation.ignored.iter().any(|name| name == "Eth.DatabaseCache"));
}

#[test]
fn refuses_a_file_with_a_field_it_does_not_know() {
    let cause =
        |content: &str| with_file(content, "hematite").unwrap_err().root_cause().to_string();
    assert_eq!(
        cause("[Eth]\nNetworkID = 1"),
        "field 'NetworkID' is not defined in ethconfig.Config"
    );
    assert_eq!(cause("[Node.P2P]\nX = 1"), "field 'X' is not defined in p2p.Config");
    assert_eq!(cause("[Dashboard]\nX = 1"), "field 'Dashboard' is not defined in main.gethConfig");
    assert_eq!(cause("htp = true"), "field 'htp' is not defined; did you mean http?");
    assert_eq!(cause("mine = 1"), "field 'mine' is true or false, not 1");
    assert_eq!(
        cause("[Node.P2P]\nListenAddr = \"x\""),
        "field 'ListenAddr' in p2p.Config has no port"
    );
    assert!(
        cause("[Eth.Genesis]\nx = 1").starts_with("field 'Genesis' in ethconfig.Config: write")
    );
    assert!(cause("config = \"other.toml\"").starts_with("field 'config' is not defined"));
    assert!(!cause("= 1").is_empty());
    let port = with_file("port = 99999", "hematite").unwrap_err().to_string();
    assert!(port.ends_with("set by the configuration file"), "{port}");
}

#[test]
fn helps() {
    let help = |line: &str| {
        let argv = line.split_whitespace().map(OsString::from).collect();
        match parse(argv, surroundings(&[])).unwrap() {
            Parsed::Show(text) => text,
            Parsed::Invocation(invocation) => panic!("{line}: {invocation:?}"),
        }
    };
    insta::assert_snapshot!("help", help("hematite --help"));
    insta::assert_snapshot!("help_account", help("hematite account --help"));
    insta::assert_snapshot!("help_devnet", help("hematite devnet --help"));
    insta::assert_snapshot!("help_bootnode", help("bootnode -help"));
    insta::assert_snapshot!("help_bench", help("hematite bench"));
    insta::assert_snapshot!("help_bench_hashrate", help("hematite bench hashrate -h"));
    assert_eq!(help("geth -h"), help("hematite --mine --help"));
    assert_eq!(help("geth account -h"), help("geth help account"));
}
