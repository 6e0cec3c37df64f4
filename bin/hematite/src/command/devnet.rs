//! `hematite devnet`: a whole network on this machine, with one command and without Kubernetes.
//!
//! Bootnode and dashboard are in this process; each node is a process of its own, which ends with
//! this one, however that ends.

mod child;
mod line;
mod plan;

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use devp2p::{Discovery, DiscoveryConfig};
use ethstats::{Dashboard, DashboardConfig, Secrets};
use eyre::{Result, WrapErr, bail, eyre};
use primitives::ChainSpec;
use secp256k1::SecretKey;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use self::{
    child::{Node, Word},
    line::Line,
    plan::{Kind, Plan, SECRET, funded},
};
use crate::{
    args::{DevnetArgs, NodeArgs},
    config::{Config, GenesisSource},
    exit::UsageError,
    signals,
};

/// Where the first tx node listens unless something else is said.
const HTTP_PORT: u16 = 8_545;
/// The lowest difficulty of a block that has a parent, in hashes.
const DIFFICULTY_MIN: u64 = 131_072;
/// Lines of all nodes that wait to be shown. A node that logs more waits.
const WORDS_MAX: usize = 1_024;
/// How long a node may take to listen.
const START_PERIOD_MAX: Duration = Duration::from_secs(120);
/// How long nodes may take to end, once they are told: what Kubernetes would see, and a little.
const STOP_PERIOD_MAX: Duration = Duration::from_secs(15);
/// Bytes of a DAG of the first epoch, in words.
const DAG_SIZE: &str = "1 GiB";

/// Everything that was started.
struct Network {
    nodes: Vec<Node>,
    words: mpsc::Receiver<Word>,
    rpc: Vec<Rpc>,
    everything: bool,
}

/// Where a tx node listens, once it does.
struct Rpc {
    place: usize,
    http: Option<String>,
    ws: Option<String>,
}

/// A directory that goes when the network ends, or stays because it was named.
struct Home {
    path: PathBuf,
    is_temporary: bool,
}

/// Runs the network until Ctrl-C, or until a node of it dies.
///
/// # Errors
///
/// When a port is taken, a node cannot be started, or one died.
pub fn run(args: &DevnetArgs, node: &NodeArgs, config: &Config, out: &mut dyn Write) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    let home = Home::make(config)?;
    let result = runtime.block_on(live(args, node, config, &home, out));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.and(home.leave())
}

async fn live(
    args: &DevnetArgs,
    node: &NodeArgs,
    config: &Config,
    home: &Home,
    out: &mut dyn Write,
) -> Result<()> {
    let kinds = kinds(args, node)?;
    let dashboard = listen(args.dashboard_port).await?;
    let shutdown = CancellationToken::new();
    let halt = CancellationToken::new();
    let mut tasks = JoinSet::new();
    signals::listen(&mut tasks, shutdown.clone())?;
    let port = dashboard.local_addr()?.port();
    tasks.spawn(show(dashboard, halt.clone()));
    let bootnode = bootnode(&mut tasks, &halt).await?;
    let genesis = genesis(config, &home.path)?;
    let spec = spec(config)?;
    let plan = Plan {
        root: home.path.clone(),
        dags: dags(node, config, &home.path),
        bootnode: bootnode.node().to_string(),
        dashboard: port,
        miners: args.miners,
        chain_id: spec.chain_id,
        hashrate: (difficulty(&spec) / args.block_time.max(1)).max(1),
        threads: threads(args.miners),
        fake_pow: config.fake_pow,
        verbosity: config.log.verbosity.max(3),
        genesis,
    };
    let mut network = Network::start(&plan, &kinds)?;
    let result = network.live(&plan, (config, home), &shutdown, out).await;
    network.stop().await;
    halt.cancel();
    shutdown.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.wrap_err("a part of the network panicked")??;
    }
    result
}

impl Network {
    fn start(plan: &Plan, kinds: &[(Kind, u16)]) -> Result<Self> {
        let (sender, words) = mpsc::channel(WORDS_MAX);
        let mut network =
            Self { nodes: Vec::new(), words, rpc: Vec::new(), everything: plan.verbosity > 3 };
        for (place, (kind, index)) in kinds.iter().enumerate() {
            let name = Plan::name(*kind, *index);
            let arguments = plan.arguments(*kind, *index);
            // If one cannot be started, the others end with their standard input.
            network.nodes.push(Node::start((place, name), &arguments, sender.clone())?);
            if let Kind::Tx(..) = kind {
                network.rpc.push(Rpc { place, http: None, ws: None });
            }
        }
        Ok(network)
    }

    /// Says where everything is, then what happens, until it is to end.
    async fn live(
        &mut self,
        plan: &Plan,
        about: (&Config, &Home),
        shutdown: &CancellationToken,
        out: &mut dyn Write,
    ) -> Result<()> {
        let deadline = Instant::now() + START_PERIOD_MAX;
        let mut is_told = false;
        loop {
            let word = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = time::sleep_until(deadline.into()), if !is_told => {
                    bail!("the nodes did not start within {} s", START_PERIOD_MAX.as_secs());
                }
                word = self.words.recv() => word.ok_or_else(|| eyre!("there are no nodes"))?,
            };
            let place = self.take(word);
            if let Some(node) = place.map(|place| &self.nodes[place]) {
                bail!("{}", node.obituary().trim_end());
            }
            let listens = |rpc: &Rpc| rpc.http.is_some() && rpc.ws.is_some();
            if !is_told && self.rpc.iter().all(listens) {
                is_told = true;
                out.write_all(self.banner(plan, about).as_bytes())?;
                out.flush()?;
            }
        }
    }

    /// Takes in what a node did; which one it is if that is over.
    fn take(&mut self, word: Word) -> Option<usize> {
        let (place, text) = match word {
            Word::Line(place, text) => (place, text),
            Word::Ended(place, status) => {
                self.nodes[place].ended = Some(status);
                return Some(place);
            }
        };
        let line = Line::read(&text);
        let name = &self.nodes[place].name;
        let shown = match &line {
            Some(line) => line.shown(name, self.everything),
            None => Some(format!("{name:<8} {text}")),
        };
        if let Some(shown) = shown {
            // A closed stderr is no reason to stop.
            drop(writeln!(io::stderr(), "{shown}"));
        }
        if let Some(line) = &line {
            self.note_address(place, line);
        }
        let kept = line.and_then(|line| line.shown("", true)).unwrap_or(text);
        self.nodes[place].note(kept);
        None
    }

    fn note_address(&mut self, place: usize, line: &Line) {
        let Some(rpc) = self.rpc.iter_mut().find(|rpc| rpc.place == place) else { return };
        match line.message() {
            "HTTP server started" => {
                rpc.http = line.field("address").map(|address| format!("http://{address}"));
            }
            "WebSocket enabled" => rpc.ws = line.field("url"),
            _ => {}
        }
    }

    fn banner(&self, plan: &Plan, (config, home): (&Config, &Home)) -> String {
        let mut text = format!(
            "\nHematite devnet: {} nodes on this machine, chain id {}\n\n  dashboard  \
             http://127.0.0.1:{}\n",
            self.nodes.len(),
            plan.chain_id,
            plan.dashboard
        );
        if let Some(url) = self.rpc.iter().find_map(|rpc| rpc.http.as_deref()) {
            text += &format!("  explorer   {url}/explorer/\n");
        }
        for Rpc { place, http, ws } in &self.rpc {
            let name = &self.nodes[*place].name;
            let (http, ws) = (http.as_deref().unwrap_or("?"), ws.as_deref().unwrap_or("?"));
            text += &format!("  {name:<9}  {http}   {ws}\n");
        }
        if config.genesis.is_none() {
            text += "\nAccounts with 10000 ether each. Everybody knows these keys: never use them on \
                     another network.\n";
            text += &funded();
        }
        text += &format!("\nData: {}", home.path.display());
        text +=
            if home.is_temporary { " (goes at the end; --datadir DIR keeps it)\n" } else { "\n" };
        if plan.fake_pow {
            text += "A block every second or two, without proof of work.\n";
        } else {
            let dags = plan.dags.display();
            text += &format!(
                "DAG:  {dags} ({DAG_SIZE}, made at the first start and kept; blocks come once it is \
                 there)\n"
            );
        }
        text += &format!("One more node: {}\nCtrl-C ends all.\n\n", plan.invitation());
        text
    }

    /// Ends tx nodes first, so that they can pass on what they were given, then the others.
    async fn stop(&mut self) {
        let is_tx = |place: &usize| self.rpc.iter().any(|rpc| rpc.place == *place);
        let (txs, others): (Vec<usize>, Vec<usize>) = (0..self.nodes.len()).partition(is_tx);
        for places in [txs, others] {
            for place in &places {
                self.nodes[*place].stop();
            }
            let ended = time::timeout(STOP_PERIOD_MAX, self.wait_for(&places)).await;
            if ended.is_err() {
                for place in &places {
                    self.nodes[*place].kill();
                }
                drop(time::timeout(STOP_PERIOD_MAX, self.wait_for(&places)).await);
            }
        }
    }

    async fn wait_for(&mut self, places: &[usize]) {
        while places.iter().any(|place| self.nodes[*place].ended.is_none()) {
            let Some(word) = self.words.recv().await else { return };
            // Shown even now: it may say why the end takes long.
            self.take(word);
        }
    }
}

impl Home {
    fn make(config: &Config) -> Result<Self> {
        let is_temporary = !config.datadir_given;
        let path = if is_temporary {
            std::env::temp_dir().join(format!("hematite-devnet-{}", std::process::id()))
        } else {
            config.paths.datadir.clone()
        };
        fs::create_dir_all(&path).wrap_err_with(|| format!("cannot make {}", path.display()))?;
        let path =
            path.canonicalize().wrap_err_with(|| format!("cannot use {}", path.display()))?;
        Ok(Self { path, is_temporary })
    }

    fn leave(self) -> Result<()> {
        if !self.is_temporary {
            return Ok(());
        }
        fs::remove_dir_all(&self.path)
            .wrap_err_with(|| format!("cannot remove {}", self.path.display()))
    }
}

/// The nodes to start. Ports that were named are looked at before anything is.
fn kinds(args: &DevnetArgs, node: &NodeArgs) -> Result<Vec<(Kind, u16)>> {
    let first = node.http.http_port.unwrap_or(HTTP_PORT);
    let mut kinds: Vec<(Kind, u16)> = (0..args.miners).map(|index| (Kind::Miner, index)).collect();
    for index in 0..args.txs {
        let ports = match first {
            0 => (0, 0),
            first => {
                let port = |more: u16| {
                    first.checked_add(index * 2 + more).ok_or_else(|| {
                        UsageError(format!(
                            "--http.port {first} leaves no ports for {} nodes",
                            args.txs
                        ))
                    })
                };
                (port(0)?, port(1)?)
            }
        };
        for port in [ports.0, ports.1] {
            is_free(port).wrap_err_with(|| {
                format!(
                    "port {port} of tx-{} is taken; is another node running? --http.port N takes \
                     others, --http.port 0 free ones",
                    index + 1
                )
            })?;
        }
        kinds.push((Kind::Tx(ports.0, ports.1), index));
    }
    Ok(kinds)
}

fn is_free(port: u16) -> io::Result<()> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.wrap_err_with(|| {
        format!(
            "port {port} of the dashboard is taken; is another devnet running? --dashboard.port N \
             takes another, 0 a free one"
        )
    })
}

async fn show(listener: TcpListener, halt: CancellationToken) -> Result<()> {
    let secrets = Secrets::new(SECRET).ok_or_else(|| eyre!("the secret is not empty"))?;
    let dashboard = Dashboard::new(DashboardConfig { secrets });
    ethstats::serve(dashboard, listener, halt).await.wrap_err("the dashboard stopped")
}

/// By it the nodes find each other.
async fn bootnode(tasks: &mut JoinSet<Result<()>>, halt: &CancellationToken) -> Result<Discovery> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let config = DiscoveryConfig {
        listen: SocketAddr::new(loopback, 0),
        tcp: 0,
        external: Some(loopback),
        guess: None,
        bootnodes: Vec::new(),
        seeds: Vec::new(),
        last_sequence: 0,
        v4: true,
        v5: None,
        restrict: None,
        fork_id: None,
        // It calls nobody, so whom it finds is of no interest.
        found: mpsc::channel(1).0,
    };
    let key = SecretKey::new(&mut secp256k1::rand::thread_rng());
    let started = Discovery::start(config, key, halt.clone()).await;
    let (discovery, run) = started.wrap_err("cannot start the bootnode")?;
    tasks.spawn(async move {
        run.await;
        Ok(())
    });
    Ok(discovery)
}

/// The genesis that was asked for, or that of a development chain as a file that other nodes and
/// geth can be given.
fn genesis(config: &Config, root: &Path) -> Result<String> {
    match &config.genesis {
        Some(GenesisSource::Preset(name)) => Ok(name.clone()),
        Some(GenesisSource::File(path)) => {
            let path = path.canonicalize();
            Ok(path.wrap_err("cannot use the genesis file")?.display().to_string())
        }
        None => {
            let path = root.join("genesis.json");
            let text = ChainSpec::preset("dev").expect("dev is built in").to_geth_json();
            fs::write(&path, text).wrap_err_with(|| format!("cannot write {}", path.display()))?;
            Ok(path.display().to_string())
        }
    }
}

fn spec(config: &Config) -> Result<ChainSpec> {
    match &config.genesis {
        Some(source) => crate::open::named_spec(source),
        None => Ok(ChainSpec::preset("dev").expect("dev is built in")),
    }
}

/// What the first blocks take, in hashes.
fn difficulty(spec: &ChainSpec) -> u64 {
    u64::try_from(spec.genesis.difficulty).unwrap_or(u64::MAX).max(DIFFICULTY_MIN)
}

/// One place for all nodes and all starts.
fn dags(node: &NodeArgs, config: &Config, root: &Path) -> PathBuf {
    if node.chain.ethash.ethash_dagdir.is_some() {
        return config.paths.ethash_dags.clone();
    }
    let home = std::env::home_dir().map(|home| home.join(".hematite").join("ethash"));
    home.unwrap_or_else(|| root.join("ethash"))
}

/// What each miner may use while it makes the DAG.
fn threads(miners: u16) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / usize::from(miners.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(miners: u16, txs: u16) -> DevnetArgs {
        DevnetArgs { miners, txs, dashboard_port: 0, block_time: 5 }
    }

    fn ports(first: u16, txs: u16) -> Result<Vec<(Kind, u16)>> {
        let mut node = NodeArgs::default();
        node.http.http_port = Some(first);
        kinds(&args(1, txs), &node)
    }

    #[test]
    fn free_ports_are_taken_when_asked_for() {
        let kinds = ports(0, 2).unwrap();
        assert_eq!(kinds, [(Kind::Miner, 0), (Kind::Tx(0, 0), 0), (Kind::Tx(0, 0), 1)]);
    }

    #[test]
    fn a_port_that_is_taken_or_does_not_exist_is_said_before_anything_is_started() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let words = format!("{:#}", ports(port, 1).unwrap_err());
        assert!(words.contains(&format!("port {port} of tx-1 is taken")), "{words}");
        let words = format!("{:#}", ports(u16::MAX, 1).unwrap_err());
        assert!(words.contains("leaves no ports"), "{words}");
    }
}
