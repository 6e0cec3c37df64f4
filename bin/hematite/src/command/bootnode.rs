//! geth's `bootnode`: a key, its address, or a node that answers discovery and nothing else.

use std::{
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use devp2p::{Discovery, DiscoveryConfig, NodeRecord, PeerId, discovery::V5Config};
use eyre::{Result, WrapErr, eyre};
use secp256k1::SecretKey;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{BootnodeArgs, Surroundings},
    exit::UsageError,
    nat::Nat,
    network::{any_address, follow, parse_key, write_key},
    signals,
    urls::Sources,
};

/// What geth's tool says when it runs.
const NOTE: &str = "\
Note: you're using cmd/bootnode, a developer tool.
We recommend using a regular node as bootstrap node for production deployments.
";

/// Does what the flags say.
///
/// # Errors
///
/// When the flags contradict each other, or the key or the address cannot be had.
pub fn run(args: &BootnodeArgs, out: &mut dyn Write) -> Result<()> {
    let key = key(args)?;
    let Some(key) = key else { return Ok(()) };
    if args.writeaddress == Some(true) {
        return Ok(writeln!(out, "{}", PeerId::of(&key))?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    runtime.block_on(answer(args, key, out))
}

/// The key to be known by; `None` if one was to be made and that is all.
fn key(args: &BootnodeArgs) -> Result<Option<SecretKey>> {
    let usage = |text: &str| Err(UsageError(text.to_owned()).into());
    if let Some(path) = &args.genkey {
        let key = SecretKey::new(&mut secp256k1::rand::thread_rng());
        // As geth does, what was there is replaced.
        if path.exists() {
            fs::remove_file(path).wrap_err_with(|| format!("cannot replace {}", path.display()))?;
        }
        write_key(path, &key).wrap_err_with(|| format!("cannot write {}", path.display()))?;
        return Ok((args.writeaddress == Some(true)).then_some(key));
    }
    match (&args.nodekey, &args.nodekeyhex) {
        (None, None) => usage("Use -nodekey or -nodekeyhex to specify a private key"),
        (Some(_), Some(_)) => usage("Options -nodekey and -nodekeyhex are mutually exclusive"),
        (Some(path), None) => read_key(path).map(Some),
        (None, Some(hex)) => parse_key(hex.expose()).wrap_err("-nodekeyhex").map(Some),
    }
}

fn read_key(path: &Path) -> Result<SecretKey> {
    let text =
        fs::read_to_string(path).wrap_err_with(|| format!("-nodekey: {}", path.display()))?;
    parse_key(text.trim_end()).wrap_err_with(|| format!("-nodekey: {}", path.display()))
}

async fn answer(args: &BootnodeArgs, key: SecretKey, out: &mut dyn Write) -> Result<()> {
    let listen = address(&args.addr)?;
    let restrict = args.netrestrict.as_ref().filter(|list| !list.is_empty());
    let restrict = restrict.map(|list| list.parse().wrap_err("-netrestrict")).transpose()?;
    let place = args.nat.parse::<Nat>()?.place(&[]).await?;
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    signals::listen(&mut tasks, shutdown.clone())?;
    let discovery = DiscoveryConfig {
        listen,
        tcp: 0,
        external: place.external,
        guess: place.guess,
        bootnodes: Vec::new(),
        seeds: Vec::new(),
        last_sequence: 0,
        v4: true,
        v5: (args.v5 == Some(true)).then(V5Config::default),
        restrict,
        fork_id: None,
        // Nobody is called, so whom it finds is of no interest.
        found: mpsc::channel(1).0,
    };
    let (discovery, run) =
        Discovery::start(discovery, key, shutdown.clone()).await.wrap_err_with(|| {
            format!(
                "cannot listen on UDP {listen}; is another bootnode running? -addr takes another"
            )
        })?;
    let own = NodeRecord { tcp: 0, ..discovery.node() };
    // Whoever reads the URL may close the pipe then; others still need the bootnode. At once, so
    // that a reader of the first line has all of it.
    if let Err(error) =
        out.write_all(format!("{own}\n{NOTE}").as_bytes()).and_then(|()| out.flush())
    {
        tracing::debug!(%error, "Nobody reads the URL");
    }
    tracing::info!(enr = %discovery.enr(), v5 = args.v5 == Some(true), "Started bootnode");
    let mut sources = Sources::default();
    sources.add_linked(&Surroundings::of_process().variables);
    tasks.spawn(follow(discovery, sources, None, shutdown));
    Box::pin(run).await;
    Ok(())
}

/// geth's form: the host may be missing.
fn address(text: &str) -> Result<SocketAddr> {
    let invalid = || eyre!("-addr {text} is no address: expected [<ip>]:<port>");
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    let ip: IpAddr = match host {
        "" => any_address(),
        host => host.parse().map_err(|_| invalid())?,
    };
    Ok(SocketAddr::new(ip, port.parse().map_err(|_| invalid())?))
}
