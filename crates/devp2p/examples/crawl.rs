//! Runs discovery alone and prints what it finds: `crawl <port> <key in hex> [enode]…`.
//!
//! Listens on loopback, so that nodes on one machine can be watched finding each other.

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use devp2p::{Discovery, DiscoveryConfig};
use secp256k1::SecretKey;
use tokio::{sync::mpsc, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

/// Found nodes that wait to be printed.
const FOUND_MAX: usize = 64;
/// How often to search.
const SEARCH_PERIOD: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let port = arguments.next().ok_or("which port?")?.parse()?;
    let key = arguments.next().ok_or("which key?")?.parse::<SecretKey>()?;
    let bootnodes = arguments.map(|enode| enode.parse()).collect::<Result<Vec<_>, _>>()?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (found, mut nodes) = mpsc::channel(FOUND_MAX);
    let config = DiscoveryConfig {
        // All of 127.0.0.0/8 can reach it there.
        listen: SocketAddr::new(loopback, port),
        tcp: port,
        external: Some(loopback),
        guess: None,
        bootnodes,
        restrict: Some("127.0.0.0/8".parse()?),
        fork_id: None,
        seeds: Vec::new(),
        last_sequence: 0,
        v4: true,
        v5: None,
        found,
    };
    let stop = CancellationToken::new();
    let (discovery, run) = Discovery::start(config, key, stop.clone()).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(run);
    let mut out = io::stdout();
    writeln!(out, "own {}\nown {}", discovery.node(), discovery.enr())?;
    let mut searches = time::interval(SEARCH_PERIOD);
    loop {
        tokio::select! {
            _ = searches.tick() => discovery.look_up().await?,
            Some(node) = nodes.recv() => {
                let known = discovery.nodes().await?.len();
                writeln!(out, "found {node} of {known}")?;
            }
            ended = tokio::signal::ctrl_c() => {
                ended?;
                stop.cancel();
                break;
            }
        }
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}
