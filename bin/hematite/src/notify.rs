//! `--miner.notify`: new work, told to those who seal elsewhere and do not want to ask for it.

use std::{sync::Arc, time::Duration};

use eyre::{Result, WrapErr, ensure, eyre};
use http::Uri;
use miner::{MinerHandle, WorkPackage};
use primitives::{B256, U256, hex};
use serde_json::{Value, json};
use tokio::{net::lookup_host, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{config::Mining, plain_http};

/// Places that are told.
const URLS_MAX: usize = 64;
/// How long telling one of them may take; newer work waits as long at most.
const TELL_PERIOD_MAX: Duration = Duration::from_secs(2);

/// Tells everybody of new work until the node stops.
///
/// # Errors
///
/// When a URL is none that can be told.
pub(crate) fn start(
    mining: &Mining,
    miner: &MinerHandle,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<()> {
    let count = mining.notify.len();
    ensure!(count <= URLS_MAX, "--miner.notify has {count} URLs, at most {URLS_MAX} are told");
    for url in &mining.notify {
        let place = Place::parse(url).wrap_err_with(|| format!("--miner.notify {url}"))?;
        let telling = tell(place, miner.clone(), mining.notify_full, shutdown.clone());
        tasks.spawn(telling);
    }
    Ok(())
}

/// Who is told.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    path: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().wrap_err("is no URL")?;
        ensure!(uri.scheme_str() == Some("http"), "only http:// URLs are told of work");
        let host = uri.host().ok_or_else(|| eyre!("has no host"))?.to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(80), path })
    }

    async fn post(&self, body: String) -> Result<()> {
        let name = self.host.trim_matches(['[', ']']);
        let mut addresses = lookup_host((name, self.port)).await?;
        let address = addresses.next().ok_or_else(|| eyre!("{name} has no address"))?;
        plain_http::post_json(address, &self.host, &self.path, body).await.map(drop)
    }
}

async fn tell(
    place: Place,
    miner: MinerHandle,
    full: bool,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut work = miner.work();
    while let Some(Ok(())) = shutdown.run_until_cancelled(work.changed()).await {
        let package = work.borrow_and_update().clone();
        let Some(package) = package else { continue };
        let body = if full { header(&package) } else { package_of_four(&package) };
        // Only the newest work is of use, so nothing is told twice.
        match time::timeout(TELL_PERIOD_MAX, place.post(body.to_string())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(host = place.host, %error, "Could not tell of work");
            }
            Err(_) => tracing::debug!(host = place.host, "Could not tell of work in time"),
        }
    }
    Ok(())
}

/// What `eth_getWork` says.
fn package_of_four(package: &Arc<WorkPackage>) -> Value {
    let target: U256 = package.target.as_u256();
    let number = format!("{:#x}", package.header.number);
    json!([package.seal_hash, package.epoch.seed(), B256::from(target), number])
}

/// The header without seal, as geth writes one.
fn header(package: &Arc<WorkPackage>) -> Value {
    let header = &package.header;
    let mut value = json!({
        "parentHash": header.parent_hash,
        "sha3Uncles": header.ommers_hash,
        "miner": header.beneficiary,
        "stateRoot": header.state_root,
        "transactionsRoot": header.transactions_root,
        "receiptsRoot": header.receipts_root,
        "logsBloom": header.logs_bloom,
        "difficulty": header.difficulty,
        "number": format!("{:#x}", header.number),
        "gasLimit": format!("{:#x}", header.gas_limit),
        "gasUsed": format!("{:#x}", header.gas_used),
        "timestamp": format!("{:#x}", header.timestamp),
        "extraData": hex::encode_prefixed(&header.extra_data),
        "mixHash": header.mix_hash,
        "nonce": header.nonce,
        "hash": header.hash_slow(),
    });
    if let Some(base_fee) = header.base_fee_per_gas {
        value["baseFeePerGas"] = json!(format!("{base_fee:#x}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_http_url() {
        let place = |host: &str, port, path: &str| Place {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        };
        for (url, want) in [
            ("http://miner:8080/work?x=1", place("miner", 8_080, "/work?x=1")),
            ("http://127.0.0.1", place("127.0.0.1", 80, "/")),
            ("http://[::1]:9", place("[::1]", 9, "/")),
        ] {
            assert_eq!(Place::parse(url).unwrap(), want, "{url}");
        }
        for url in ["https://miner", "miner", "", "http://"] {
            assert!(Place::parse(url).is_err(), "{url}");
        }
    }
}
