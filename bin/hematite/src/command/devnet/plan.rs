//! What the nodes of a development network are told.

use std::path::{Path, PathBuf};

use primitives::{Address, address};

use crate::report;

/// What the nodes say to the dashboard. Both are on loopback, so it keeps nobody out.
pub(super) const SECRET: &str = "devnet";
/// Who is paid for blocks: accounts of the development genesis whose keys are not printed.
const BENEFICIARIES: [Address; 4] = [
    address!("0x90F79bf6EB2c4f870365E785982E1f101E93b906"),
    address!("0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
    address!("0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
    address!("0x976EA74026E726554dB657fA54763abd0C3a0aa9"),
];
/// What is served to whoever is on this machine.
const APIS: &str = "admin,eth,net,txpool,web3";
/// The network is this machine.
const LOOPBACK: &str = "127.0.0.1";

/// A node of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It mines.
    Miner,
    /// It serves RPC at these ports of HTTP and WebSocket; 0 is a free one.
    Tx(u16, u16),
}

/// What is the same for all nodes.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Where everything is kept.
    pub(super) root: PathBuf,
    /// A genesis file or a preset.
    pub(super) genesis: String,
    /// What transactions are signed for.
    pub(super) chain_id: u64,
    /// Where the DAG is kept.
    pub(super) dags: PathBuf,
    /// The URL of the bootnode.
    pub(super) bootnode: String,
    /// The dashboard's port.
    pub(super) dashboard: u16,
    /// Nodes that mine.
    pub(super) miners: u16,
    /// Hashes a second of all miners together.
    pub(super) hashrate: u64,
    /// Threads that each miner may use.
    pub(super) threads: usize,
    /// Whether blocks carry no proof of work.
    pub(super) fake_pow: bool,
    /// What the nodes log.
    pub(super) verbosity: u8,
}

impl Plan {
    /// The name of a node: `miner-1`, `tx-2`.
    pub(super) fn name(kind: Kind, index: u16) -> String {
        match kind {
            Kind::Miner => format!("miner-{}", index + 1),
            Kind::Tx(..) => format!("tx-{}", index + 1),
        }
    }

    /// A node's data directory.
    pub(super) fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The command line of a node.
    pub(super) fn arguments(&self, kind: Kind, index: u16) -> Vec<String> {
        let name = Self::name(kind, index);
        let mut arguments = Arguments::default();
        arguments.path("--datadir", &self.directory(&name));
        arguments.add("--genesis", &self.genesis);
        arguments.add("--identity", &name);
        arguments.add("--port", "0");
        arguments.add("--nat", &format!("extip:{LOOPBACK}"));
        arguments.add("--netrestrict", "127.0.0.0/8");
        arguments.add("--bootnodes", &self.bootnode);
        let dashboard = self.dashboard;
        arguments.add("--ethstats", &format!("{name}:{SECRET}@{LOOPBACK}:{dashboard}"));
        arguments.add("--ops.addr", &format!("{LOOPBACK}:0"));
        arguments.path("--ethash.dagdir", &self.dags);
        arguments.add("--verbosity", &self.verbosity.to_string());
        arguments.flag("--log.json");
        arguments.flag("--end-with-stdin");
        if self.fake_pow {
            arguments.flag("--fakepow");
        }
        match kind {
            Kind::Miner => self.mine(index, &mut arguments),
            Kind::Tx(http, ws) => {
                arguments.add("--role", "tx");
                arguments.flag("--http");
                arguments.add("--http.addr", LOOPBACK);
                arguments.add("--http.port", &http.to_string());
                arguments.add("--http.api", APIS);
                // Pages that are being developed are served from anywhere.
                arguments.add("--http.corsdomain", "*");
                arguments.flag("--explorer");
                arguments.flag("--ws");
                arguments.add("--ws.port", &ws.to_string());
                arguments.add("--ws.api", APIS);
                arguments.add("--ws.origins", "*");
            }
        }
        arguments.0
    }

    fn mine(&self, index: u16, arguments: &mut Arguments) {
        arguments.add("--role", "miner");
        arguments.flag("--http=false");
        let beneficiary = BENEFICIARIES[usize::from(index) % BENEFICIARIES.len()];
        arguments.add("--miner.etherbase", &beneficiary.to_string());
        arguments.add("--miner.gasprice", "1");
        arguments.add("--miner.threads", &self.threads.to_string());
        let share = (self.hashrate / u64::from(self.miners.max(1))).max(1);
        arguments.add("--miner.hashrate", &share.to_string());
        // So that processes share its pages.
        arguments.flag("--ethash.dagsmapped");
    }

    /// What to type to add a node.
    pub(super) fn invitation(&self) -> String {
        format!(
            "hematite --role tx --http --http.port 0 --port 0 --nat extip:{LOOPBACK} --ops.addr off \
             --datadir DIR --genesis {} --bootnodes '{}' --ethstats NAME:{SECRET}@{LOOPBACK}:{}",
            self.genesis, self.bootnode, self.dashboard
        )
    }
}

/// A command line in the making.
#[derive(Debug, Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, flag: &str, value: &str) {
        self.0.extend([flag.to_owned(), value.to_owned()]);
    }

    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn path(&mut self, flag: &str, path: &Path) {
        self.add(flag, &path.display().to_string());
    }
}

/// Whom the development genesis funds, with their keys.
pub(super) fn funded() -> String {
    let line = |(address, key): (Address, &str)| format!("  {address}  {key}\n");
    report::dev_accounts().map(line).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        args::{Parsed, Surroundings, parse},
        config::Config,
    };

    fn plan() -> Plan {
        Plan {
            root: "/net".into(),
            genesis: "book".into(),
            chain_id: 1,
            dags: "/dags".into(),
            bootnode: "enode://x@127.0.0.1:0?discport=7".into(),
            dashboard: 3_000,
            miners: 3,
            hashrate: 30_000,
            threads: 2,
            fake_pow: false,
            verbosity: 3,
        }
    }

    fn config(kind: Kind, index: u16) -> Config {
        let mut argv: Vec<std::ffi::OsString> = vec!["hematite".into()];
        argv.extend(plan().arguments(kind, index).into_iter().map(Into::into));
        let parsed = parse(argv, Surroundings::default()).unwrap();
        let Parsed::Invocation(invocation) = parsed else { panic!("it is no help") };
        Config::try_from(&*invocation).unwrap()
    }

    #[test]
    fn miners_share_the_hashrate_and_the_dag_and_serve_nobody() {
        let config = config(Kind::Miner, 1);
        assert_eq!(config.paths.datadir, Path::new("/net/miner-2"));
        assert_eq!(config.paths.ethash_dags, Path::new("/dags"));
        assert_eq!(config.mining.hashrate_cap, Some(10_000));
        assert_eq!(config.mining.threads, Some(2));
        assert_eq!((config.http, config.ws), (None, None));
        assert!(config.mining.enabled && config.ethash.datasets_mapped && config.ends_with_stdin);
    }

    #[test]
    fn tx_nodes_are_reached_from_this_machine_only() {
        let config = config(Kind::Tx(8_545, 8_546), 0);
        let (http, ws) = (config.http.unwrap(), config.ws.unwrap());
        assert_eq!((http.addr.as_str(), http.port), ("127.0.0.1", 8_545));
        assert_eq!((ws.addr.as_str(), ws.port), ("127.0.0.1", 8_546));
        assert_eq!(config.network.netrestrict, ["127.0.0.0/8"]);
        assert_eq!(config.ops_addr.as_deref(), Some("127.0.0.1:0"));
        assert!(!config.mining.enabled);
    }

    #[test]
    fn nodes_are_paid_to_accounts_that_exist() {
        let genesis = primitives::ChainSpec::preset("dev").unwrap().genesis.alloc;
        for index in 0..9 {
            let account = config(Kind::Miner, index).mining.etherbase.unwrap();
            let account: Address = account.parse().unwrap();
            assert!(genesis.contains_key(&account), "{account}");
        }
        assert_eq!(funded().lines().count(), 3);
    }
}
