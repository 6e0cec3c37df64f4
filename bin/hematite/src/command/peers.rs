//! `peers doctor`: why a running node has not the peers that it should have, and what to do.

use std::{
    collections::HashSet,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use ::console::{Client, Endpoint, Interrupt};
use devp2p::{NodeRecord, discovery::clock_of, discv4::is_off};
use eyre::{Result, WrapErr, bail, eyre};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{args::DoctorArgs, config::Config, exit::UsageError, secured};

/// How long a node that is asked about may take to be connected or to fail: a call's own limit, and
/// the handshake's.
const VERDICT_PERIOD_MAX: Duration = Duration::from_secs(25);
/// How often the running node is asked meanwhile.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// How long the running node has for an answer.
const ANSWER_PERIOD_MAX: Duration = Duration::from_secs(2);
/// How long a node has to tell its clock.
const CLOCK_PERIOD_MAX: Duration = Duration::from_secs(3);
/// Nodes whose clock is asked for.
const CLOCKS_MAX: usize = 64;

/// A running node, by its JSON-RPC.
struct Node {
    client: Arc<Client>,
    /// Where it is, as it can be shown.
    door: String,
}

/// Examines a running node and prints what it finds.
///
/// # Errors
///
/// If the node does not answer or does not offer `admin`, or if something is wrong with a peer.
pub fn doctor(config: &Config, args: &DoctorArgs, out: &mut dyn Write) -> Result<()> {
    let nodes = args.nodes.iter().map(|url| {
        url.parse::<NodeRecord>().map_err(|error| eyre!(UsageError(format!("{url}: {error}"))))
    });
    let nodes = nodes.collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start a runtime")?;
    runtime.block_on(examine(&Node::of(config, &args.url)?, &nodes, out))
}

async fn examine(node: &Node, wanted: &[NodeRecord], out: &mut dyn Write) -> Result<()> {
    let info = node.call("admin_nodeInfo", json!([])).await?;
    let eth = &info["protocols"]["eth"];
    writeln!(out, "node     {}", word(&info["enode"]))?;
    writeln!(
        out,
        "         {}, network {}, genesis {}, head {}",
        word(&info["name"]),
        eth["network"],
        word(&eth["genesis"]),
        word(&eth["head"]),
    )?;
    for record in wanted {
        node.try_out(record).await?;
    }
    let peers = node.list("admin_peers").await?;
    for peer in &peers {
        writeln!(
            out,
            "peer     {} at {}, eth/{}, {}",
            word(&peer["name"]),
            word(&peer["network"]["remoteAddress"]),
            peer["protocols"]["eth"]["version"],
            if peer["network"]["inbound"] == true { "it called" } else { "we called" },
        )?;
    }
    let troubles = node.list("admin_peerTroubles").await?;
    for trouble in &troubles {
        let id = trouble["id"].as_str().map_or("unknown", |id| &id[..id.len().min(16)]);
        let way = if trouble["inbound"] == true { "which called us" } else { "called by us" };
        writeln!(
            out,
            "trouble  node {id} at {}, {way}, {} times, last {} s ago:",
            word(&trouble["address"]),
            trouble["count"],
            trouble["secondsAgo"],
        )?;
        writeln!(out, "         {}", word(&trouble["reason"]))?;
    }
    let clocks = compare_clocks(&info, wanted, &peers, out).await?;
    if peers.is_empty() && troubles.is_empty() {
        bail!(
            "no peer, and nobody was called: give --bootnodes, or check that UDP reaches the \
             bootnodes (both ways) and that --netrestrict and --nodiscover do not forbid it"
        );
    }
    let missing = wanted.iter().filter(|record| !peers.iter().any(|peer| is_of(peer, record)));
    match (missing.count(), troubles.len() + clocks) {
        (0, 0) => Ok(writeln!(out, "no trouble found")?),
        (_, troubles) => bail!("{} peers, {troubles} in trouble", peers.len()),
    }
}

/// Asks nodes for their clocks, those that are wanted and those that were called, and says whose
/// differs from that of the examined node: how many do. Who answers no ping is left out.
async fn compare_clocks(
    info: &Value,
    wanted: &[NodeRecord],
    peers: &[Value],
    out: &mut dyn Write,
) -> Result<usize> {
    let called = peers.iter().filter(|peer| peer["network"]["inbound"] == false);
    let called = called.filter_map(|peer| word(&peer["enode"]).parse().ok());
    let mut nodes: Vec<NodeRecord> = wanted.iter().copied().chain(called).collect();
    nodes.retain(|node| node.udp != 0);
    let mut seen = HashSet::new();
    nodes.retain(|node| seen.insert(node.id));
    let examined = word(&info["enode"]).parse::<NodeRecord>().ok().filter(|node| node.udp != 0);
    let own = async {
        let seconds = clock_of(&examined?, CLOCK_PERIOD_MAX).await.ok()??;
        Some(seconds)
    };
    let mut asked = JoinSet::new();
    for node in nodes.into_iter().take(CLOCKS_MAX) {
        asked.spawn(async move { (node, clock_of(&node, CLOCK_PERIOD_MAX).await) });
    }
    let (own, answers) = tokio::join!(own, asked.join_all());
    let (whose, own) = own.map_or(("this machine's", 0), |own| ("this node's", own));
    let mut count = 0;
    for (node, answer) in answers {
        let Ok(Some(seconds)) = answer else { continue };
        let seconds = seconds - own;
        if is_off(seconds) {
            count += 1;
            writeln!(
                out,
                "clock    node {:?} at {}: {whose} clock or its is off by about {} s (its is {}); \
                 run NTP on both",
                node.id,
                node.udp_address(),
                seconds.unsigned_abs(),
                if seconds < 0 { "behind" } else { "ahead" },
            )?;
        }
    }
    Ok(count)
}

impl Node {
    fn of(config: &Config, url: &str) -> Result<Self> {
        let endpoint = Endpoint::parse(url).map_err(|error| {
            eyre!(UsageError(format!("--url: {error}; for example http://<host>:<port>")))
        })?;
        let connector = secured::connector(config.authorities.as_deref())?;
        let door = endpoint.to_string();
        let client = Client::start(endpoint, &connector, Interrupt::default(), ANSWER_PERIOD_MAX)?;
        Ok(Self { client: Arc::new(client), door })
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let client = Arc::clone(&self.client);
        let asking = move || client.request(request.to_string());
        let answer = tokio::task::spawn_blocking(asking).await.wrap_err("asking panicked")?;
        // As text: exit codes of I/O errors are for those of our own disk.
        let mut answer = answer.map_err(|error| {
            eyre!("cannot reach {}: {error}; is the node running, with --http?", self.door)
        })?;
        match answer.get("error") {
            Some(error) if error["code"] == -32_601 => bail!(
                "{} does not offer {method}: start the node with --http.api eth,net,web3,admin",
                self.door
            ),
            Some(error) => bail!("{method}: {}", word(&error["message"])),
            None => Ok(answer["result"].take()),
        }
    }

    async fn list(&self, method: &str) -> Result<Vec<Value>> {
        Ok(match self.call(method, json!([])).await? {
            Value::Array(list) => list,
            _ => Vec::new(),
        })
    }

    /// Has the node call another one, unless it has done so lately, and waits for the outcome. A
    /// node that cannot be reached is not called again afterwards.
    async fn try_out(&self, record: &NodeRecord) -> Result<()> {
        if self.is_known(record).await? {
            return Ok(());
        }
        let url = record.to_string();
        self.call("admin_addPeer", json!([url])).await?;
        let deadline = Instant::now() + VERDICT_PERIOD_MAX;
        while !self.is_known(record).await? && Instant::now() < deadline {
            tokio::time::sleep(LOOK_PERIOD).await;
        }
        if !self.list("admin_peers").await?.iter().any(|peer| is_of(peer, record)) {
            self.call("admin_removePeer", json!([url])).await?;
        }
        Ok(())
    }

    async fn is_known(&self, record: &NodeRecord) -> Result<bool> {
        let id = hex::encode(record.id.to_bytes());
        Ok(self.list("admin_peers").await?.iter().any(|peer| is_of(peer, record))
            || self.list("admin_peerTroubles").await?.iter().any(|trouble| trouble["id"] == *id))
    }
}

fn is_of(peer: &Value, record: &NodeRecord) -> bool {
    let id = hex::encode(record.id.to_bytes());
    word(&peer["enode"]).contains(&id)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
