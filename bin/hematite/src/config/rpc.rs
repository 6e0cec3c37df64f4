//! JSON-RPC: who may ask, from where, and how much.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use eyre::{Result, bail, ensure};

use super::{given, list};
use crate::args::{GasPriceArgs, HttpArgs, Personality, Role, RpcArgs, Surroundings, WsArgs};

/// The namespaces that are served over HTTP and WebSocket when none are named.
const APIS: [&str; 3] = ["eth", "net", "web3"];
/// The address that only this machine reaches.
const LOOPBACK: &str = "localhost";
/// Wei in an ether.
const ETHER: f64 = 1e18;

/// JSON-RPC over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The address, a name or an IP.
    pub addr: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The namespaces.
    pub apis: Vec<String>,
    /// Origins that browsers may call from; `*` is any.
    pub cors: Vec<String>,
    /// The `Host` names that are answered.
    pub vhosts: Vhosts,
    /// Whether the explorer's pages are there.
    pub explorer: bool,
    /// How the path begins; empty is anything.
    pub prefix: String,
}

/// JSON-RPC over WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ws {
    /// The address, a name or an IP.
    pub addr: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The namespaces.
    pub apis: Vec<String>,
    /// Origins that browsers may connect from; `*` is any.
    pub origins: Vec<String>,
    /// How the path begins; empty is anything.
    pub prefix: String,
}

/// The `Host` names that are answered. IP addresses always are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vhosts {
    /// `localhost`, names of one label, `*.svc`, `*.svc.cluster.local`, and `*.<namespace>`.
    Cluster {
        /// The namespace of the pod, if this is one.
        namespace: Option<String>,
    },
    /// These; `*` is any.
    Listed(Vec<String>),
}

/// What HTTP and WebSocket are encrypted with, and who may ask there: files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doors {
    /// A certificate and its private key; `None` leaves the connections in clear.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The secret that tokens are made with.
    pub jwt_secret: Option<PathBuf>,
    /// Users and passwords.
    pub basic_auth: Option<PathBuf>,
}

/// Limits of JSON-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcLimits {
    /// Most gas of `eth_call` and `eth_estimateGas`; `None` is no limit.
    pub gas_cap: Option<u64>,
    /// Longest time of an `eth_call`; `None` is no limit.
    pub evm_timeout: Option<Duration>,
    /// Highest fee that is sent, in wei; `None` is no limit.
    pub tx_fee_cap: Option<u128>,
    /// Take legacy transactions without a chain id.
    pub allow_unprotected: bool,
    /// How far below the head `finalized` and `safe` are, in blocks; `None` is that there is no
    /// such block.
    pub finalized_depth: Option<u64>,
    /// Answer receipts exactly as geth 1.9.13.
    pub strict_receipts: bool,
    /// Connections of each listener.
    pub connections: usize,
}

/// What `eth_gasPrice` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GasPrice {
    /// Blocks that are looked at.
    pub blocks: u64,
    /// Percentile of their prices, 0 to 100.
    pub percentile: u8,
    /// Highest answer, in wei.
    pub max_price: u128,
    /// Prices below are not looked at, in wei.
    pub ignore_price: u128,
}

pub(super) fn http(
    args: &HttpArgs,
    role: Option<Role>,
    surroundings: &Surroundings,
) -> Result<Option<Http>> {
    let HttpArgs {
        http,
        http_addr,
        http_port,
        http_api,
        http_corsdomain,
        http_vhosts,
        http_prefix,
        explorer,
    } = args;
    // A miner's RPC is for the probes and people beside it: on loopback.
    if !http.unwrap_or(role == Some(Role::Miner)) {
        ensure!(!explorer.unwrap_or(false), "--explorer is served over HTTP: add --http");
        return Ok(None);
    }
    let prefix = prefix("http.rpcprefix", http_prefix.as_deref())?;
    ensure!(
        !explorer.unwrap_or(false) || prefix.is_empty(),
        "--explorer asks at the path /; leave out --http.rpcprefix"
    );
    Ok(Some(Http {
        addr: http_addr.clone().unwrap_or_else(|| LOOPBACK.to_owned()),
        port: http_port.unwrap_or(8545),
        apis: apis(http_api.as_deref()),
        cors: list(http_corsdomain.as_deref()),
        vhosts: match http_vhosts {
            Some(names) => Vhosts::Listed(list(Some(names))),
            None => Vhosts::Cluster { namespace: surroundings.namespace.clone() },
        },
        explorer: explorer.unwrap_or(false),
        prefix,
    }))
}

/// `--ws` alone follows an explicit HTTP address, whoever turned HTTP on: who opened one to the
/// cluster means the other.
pub(super) fn ws(args: &WsArgs, http: &HttpArgs) -> Result<Option<Ws>> {
    let WsArgs { ws, ws_addr, ws_port, ws_api, ws_origins, ws_prefix } = args;
    if !ws.unwrap_or(false) {
        return Ok(None);
    }
    let prefix = prefix("ws.rpcprefix", ws_prefix.as_deref())?;
    Ok(Some(Ws {
        addr: ws_addr.clone().or(http.http_addr.clone()).unwrap_or_else(|| LOOPBACK.to_owned()),
        port: ws_port.unwrap_or(8546),
        apis: apis(ws_api.as_deref()),
        origins: list(ws_origins.as_deref()),
        prefix,
    }))
}

/// How paths begin.
fn prefix(flag: &str, given: Option<&str>) -> Result<String> {
    let prefix = given.unwrap_or_default();
    ensure!(
        prefix.is_empty() || prefix.starts_with('/') && !prefix.contains(['?', '#']),
        "--{flag} {prefix} must begin with / and have neither ? nor #"
    );
    Ok(prefix.to_owned())
}

/// One certificate for both listeners, because both are the same host; and for those that
/// `admin_startHTTP` opens later.
pub(super) fn doors(
    args: &RpcArgs,
    http: Option<&Http>,
    expand: &impl Fn(&Path) -> PathBuf,
) -> Result<Doors> {
    let file = |path: &Option<PathBuf>| given(path).map(|path| expand(path));
    let tls = match (file(&args.tls_cert), file(&args.tls_key)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => bail!("--rpc.tls.cert needs its private key: add --rpc.tls.key FILE"),
        (None, Some(_)) => bail!("--rpc.tls.key needs its certificate: add --rpc.tls.cert FILE"),
    };
    let doors =
        Doors { tls, jwt_secret: file(&args.jwt_secret), basic_auth: file(&args.basic_auth) };
    ensure!(
        doors.jwt_secret.is_none()
            || doors.basic_auth.is_some()
            || !http.is_some_and(|http| http.explorer),
        "a browser makes no tokens for --explorer: add --rpc.basicauth FILE to --rpc.jwtsecret"
    );
    Ok(doors)
}

pub(super) fn limits(args: &RpcArgs, personality: Personality) -> Result<RpcLimits> {
    let RpcArgs {
        gas_cap,
        evm_timeout,
        tx_fee_cap,
        allow_unprotected,
        finalized_depth,
        strict_receipts,
        connections,
        // Those are `doors`.
        tls_cert: _,
        tls_key: _,
        jwt_secret: _,
        basic_auth: _,
    } = args;
    ensure!(*connections != Some(0), "--rpc.connections 0 leaves nobody in; leave out --http");
    // geth 1.9.13 had no cap on fees.
    let default_fee_cap = if personality == Personality::Geth { 0.0 } else { 1.0 };
    let ether = tx_fee_cap.unwrap_or(default_fee_cap);
    ensure!(
        (0.0..=1e12).contains(&ether),
        "--rpc.txfeecap {ether} is not an amount of ether; 0 is no limit"
    );
    Ok(RpcLimits {
        gas_cap: Some(gas_cap.unwrap_or(50_000_000)).filter(|gas| *gas > 0),
        evm_timeout: Some(evm_timeout.unwrap_or(Duration::from_secs(5)))
            .filter(|time| !time.is_zero()),
        tx_fee_cap: (ether > 0.0).then(|| wei(ether)),
        allow_unprotected: allow_unprotected.unwrap_or(true),
        finalized_depth: *finalized_depth,
        strict_receipts: strict_receipts.unwrap_or(false),
        connections: connections.unwrap_or(::rpc::CONNECTIONS_MAX),
    })
}

pub(super) fn gas_price(args: &GasPriceArgs) -> Result<GasPrice> {
    let GasPriceArgs { gpo_blocks, gpo_percentile, gpo_max_price, gpo_ignore_price } = args;
    let percentile = gpo_percentile.unwrap_or(60);
    ensure!(percentile <= 100, "--gpo.percentile {percentile} is above 100");
    Ok(GasPrice {
        blocks: gpo_blocks.unwrap_or(20).max(1),
        percentile,
        max_price: gpo_max_price.filter(|price| *price > 0).unwrap_or(500_000_000_000),
        ignore_price: gpo_ignore_price.filter(|price| *price > 0).unwrap_or(2),
    })
}

fn apis(names: Option<&str>) -> Vec<String> {
    match names {
        Some(names) => list(Some(names)),
        None => APIS.map(str::to_owned).to_vec(),
    }
}

/// Ether as wei, to the nearest gwei: fractions of ether are not exact in a float.
fn wei(ether: f64) -> u128 {
    let gwei = format!("{:.0}", ether * ETHER / 1e9);
    gwei.parse::<u128>().expect("a checked amount has only digits") * 1_000_000_000
}

/// Wei as ether.
pub(super) fn ether(wei: u128) -> f64 {
    let gwei = (wei / 1_000_000_000).to_string();
    gwei.parse::<f64>().expect("digits are a number") / 1e9
}
