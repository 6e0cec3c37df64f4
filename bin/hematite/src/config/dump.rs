//! The configuration as a file that `--config` reads.

use std::{path::Path, time::Duration};

use toml::{Table, Value};

use super::{Config, GenesisSource, Vhosts};
use crate::args::{JournalSync, Role, format_duration};
use crate::logging::LogFormat;

/// The flags that amount to a configuration, with their values.
struct Flags(Vec<(&'static str, Value)>);

impl Config {
    /// The configuration as TOML, every default written out. Secrets are left out.
    ///
    /// # Panics
    ///
    /// If a path is not UTF-8; flags are, so none is.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut flags = Flags(Vec::new());
        self.chain_flags(&mut flags);
        self.network_flags(&mut flags);
        self.mining_flags(&mut flags);
        self.pool_flags(&mut flags);
        self.rpc_flags(&mut flags);
        self.ops_flags(&mut flags);
        flags.into_toml()
    }

    fn chain_flags(&self, flags: &mut Flags) {
        let role = self.role.map(|role| match role {
            Role::Miner => "miner",
            Role::Tx => "tx",
            Role::Bootnode => "bootnode",
            Role::Registrar => "registrar",
            Role::Ethstats => "ethstats",
        });
        flags.some("role", role);
        // Named in the file, it would no longer be in memory.
        if self.datadir_given || self.dev.is_none() {
            flags.path("datadir", &self.paths.datadir);
        }
        flags.path("keystore", &self.paths.keystore);
        match &self.paths.ipc {
            Some(ipc) => flags.path("ipcpath", ipc),
            None => flags.set("ipcdisable", true),
        }
        flags.path("ethash.cachedir", &self.paths.ethash_caches);
        flags.path("ethash.dagdir", &self.paths.ethash_dags);
        flags.number("ethash.cachesinmem", self.ethash.caches_in_memory as u64);
        flags.number("ethash.cachesondisk", self.ethash.caches_on_disk as u64);
        flags.number("ethash.dagsinmem", self.ethash.datasets_in_memory as u64);
        flags.number("ethash.dagsondisk", self.ethash.datasets_on_disk as u64);
        flags.set("ethash.dagsmapped", self.ethash.datasets_mapped);
        flags.some("ethash.kernel", self.ethash.kernel.map(ethash::Kernel::name));
        match &self.genesis {
            Some(GenesisSource::File(path)) => flags.path("genesis", path),
            // `--dev` says so itself.
            Some(GenesisSource::Preset(name)) if self.dev.is_none() => {
                flags.set("genesis", name.as_str());
            }
            Some(GenesisSource::Preset(_)) | None => {}
        }
        flags.some("networkid", self.network_id.map(|id| id.to_string()));
        flags.some("identity", self.identity.as_deref());
        flags.set("accept-rollback", self.accept_rollback);
        flags.set("fakepow", self.fake_pow);
        flags.set("dev", self.dev.is_some());
        if let Some(dev) = self.dev {
            flags.number("dev.period", dev.period.as_secs());
            flags.number("dev.gaslimit", dev.gas_limit);
        }
        flags.set("lightkdf", self.accounts.kdf == accounts::Kdf::Light);
        flags.list_if_any("unlock", &self.accounts.unlock);
        if let Some(path) = &self.accounts.password_file {
            flags.path("password", path);
        }
        flags.set("allow-insecure-unlock", self.accounts.allow_insecure_unlock);
    }

    fn network_flags(&self, flags: &mut Flags) {
        let network = &self.network;
        flags.number("port", network.port);
        flags.number("discovery.port", network.discovery_port);
        if let Some(bootnodes) = &network.bootnodes {
            flags.list("bootnodes", bootnodes);
        }
        flags.number("maxpeers", network.peers_max);
        flags.number("maxpendpeers", network.pending_peers_max);
        flags.set("nat", network.nat.as_str());
        if self.paths.nodekey != super::Paths::in_datadir(self.paths.datadir.clone()).nodekey {
            flags.path("nodekey", &self.paths.nodekey);
        }
        flags.set("nodiscover", !network.discovers());
        flags.set("discovery.v4", network.discovery_v4);
        flags.set("discovery.v5", network.discovery_v5);
        flags.list_if_any("netrestrict", &network.netrestrict);
    }

    fn mining_flags(&self, flags: &mut Flags) {
        let mining = &self.mining;
        flags.set("mine", mining.enabled);
        if let Some(threads) = mining.threads {
            flags.number("miner.threads", threads);
        }
        if let Some(cap) = mining.hashrate_cap {
            flags.number("miner.hashrate", cap);
        }
        flags.some("miner.etherbase", mining.etherbase.as_deref());
        flags.number("miner.gasprice", mining.gas_price);
        flags.number("miner.gaslimit", mining.gas_target);
        flags.some("miner.extradata", mining.extra_data.as_deref());
        flags.duration("miner.recommit", mining.recommit);
        flags.set("miner.noverify", mining.no_verify);
        flags.list_if_any("miner.notify", &mining.notify);
        flags.set("miner.notify.full", mining.notify_full);
    }

    fn pool_flags(&self, flags: &mut Flags) {
        let pool = &self.pool;
        let locals: Vec<String> = pool.locals.iter().map(ToString::to_string).collect();
        flags.list_if_any("txpool.locals", &locals);
        flags.set("txpool.nolocals", pool.no_locals);
        match &pool.journal {
            Some(journal) => flags.path("txpool.journal", journal),
            None => flags.set("txpool.journal", ""),
        }
        let sync = match pool.journal_sync {
            JournalSync::Batch => "batch",
            JournalSync::Always => "always",
            JournalSync::Off => "off",
        };
        flags.set("txpool.journal-sync", sync);
        flags.duration("txpool.rejournal", pool.rejournal);
        flags.number("txpool.pricelimit", pool.price_limit);
        flags.number("txpool.pricebump", pool.price_bump);
        flags.number("txpool.accountslots", pool.account_slots);
        flags.number("txpool.globalslots", pool.global_slots);
        flags.number("txpool.accountqueue", pool.account_queue);
        flags.number("txpool.globalqueue", pool.global_queue);
        flags.duration("txpool.lifetime", pool.lifetime);
    }

    fn rpc_flags(&self, flags: &mut Flags) {
        flags.set("http", self.http.is_some());
        if let Some(http) = &self.http {
            flags.set("http.addr", http.addr.as_str());
            flags.number("http.port", http.port);
            flags.list("http.api", &http.apis);
            flags.list("http.corsdomain", &http.cors);
            flags.set("http.rpcprefix", http.prefix.as_str());
            if let Vhosts::Listed(names) = &http.vhosts {
                flags.list("http.vhosts", names);
            }
            flags.set("explorer", http.explorer);
        }
        flags.set("ws", self.ws.is_some());
        if let Some(ws) = &self.ws {
            flags.set("ws.addr", ws.addr.as_str());
            flags.number("ws.port", ws.port);
            flags.list("ws.api", &ws.apis);
            flags.list("ws.origins", &ws.origins);
            flags.set("ws.rpcprefix", ws.prefix.as_str());
        }
        if let Some((certificate, key)) = &self.doors.tls {
            flags.path("rpc.tls.cert", certificate);
            flags.path("rpc.tls.key", key);
        }
        for (name, path) in [
            ("rpc.jwtsecret", &self.doors.jwt_secret),
            ("rpc.basicauth", &self.doors.basic_auth),
            ("tls.cafile", &self.authorities),
        ] {
            if let Some(path) = path {
                flags.path(name, path);
            }
        }
        let rpc = &self.rpc;
        flags.number("rpc.connections", rpc.connections);
        flags.number("rpc.gascap", rpc.gas_cap.unwrap_or(0));
        flags.duration("rpc.evmtimeout", rpc.evm_timeout.unwrap_or_default());
        flags.set("rpc.txfeecap", super::rpc::ether(rpc.tx_fee_cap.unwrap_or(0)));
        flags.set("rpc.allow-unprotected-txs", rpc.allow_unprotected);
        if let Some(depth) = rpc.finalized_depth {
            flags.number("rpc.finalized-depth", depth);
        }
        flags.set("rpc.strict-receipts", rpc.strict_receipts);
        flags.number("gpo.blocks", self.gas_price.blocks);
        flags.number("gpo.percentile", self.gas_price.percentile);
        flags.number("gpo.maxprice", self.gas_price.max_price);
        flags.number("gpo.ignoreprice", self.gas_price.ignore_price);
    }

    fn ops_flags(&self, flags: &mut Flags) {
        flags.number("verbosity", self.log.verbosity);
        let format = match self.log.format {
            LogFormat::Terminal => "terminal",
            LogFormat::Json => "json",
        };
        flags.set("log.format", format);
        flags.set("ops.addr", self.ops_addr.as_deref().unwrap_or("off"));
        flags.set("metrics", self.geth_metrics.is_some());
        if let Some((addr, port)) = &self.geth_metrics {
            flags.set("metrics.addr", addr.as_str());
            flags.number("metrics.port", *port);
        }
    }
}

impl Flags {
    fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }

    fn some(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn path(&mut self, name: &'static str, path: &Path) {
        self.set(name, path.to_str().expect("paths come from flags, which are UTF-8"));
    }

    /// A number, as TOML's 64-bit integer where it fits, else as text.
    fn number(&mut self, name: &'static str, number: impl TryInto<i64> + ToString + Copy) {
        match number.try_into() {
            Ok(small) => self.set(name, small),
            Err(_) => self.set(name, number.to_string()),
        }
    }

    fn duration(&mut self, name: &'static str, duration: Duration) {
        self.set(name, format_duration(duration));
    }

    fn list(&mut self, name: &'static str, items: &[String]) {
        self.set(name, items.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn list_if_any(&mut self, name: &'static str, items: &[String]) {
        if !items.is_empty() {
            self.list(name, items);
        }
    }

    /// Nests names at their dots; a switch that heads other names is `enabled` among them.
    fn into_toml(self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        let heads = |name: &str| {
            names
                .iter()
                .any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
        };
        let mut root = Table::new();
        for (name, value) in &self.0 {
            let mut path: Vec<&str> = name.split('.').collect();
            if heads(name) {
                path.push("enabled");
            }
            let (last, tables) = path.split_last().expect("a split has a part");
            let mut table = &mut root;
            for part in tables {
                let entry = table.entry(*part).or_insert_with(|| Value::Table(Table::new()));
                table = entry.as_table_mut().expect("a name that heads others is a table");
            }
            table.insert((*last).to_owned(), value.clone());
        }
        toml::to_string_pretty(&root).expect("a table of plain values is TOML")
    }
}
