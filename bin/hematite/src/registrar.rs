//! `--role registrar`: asks the pods of a service for their enode URLs, and lists them. The port,
//! the variable and the text are those of jpoon/bootnode-registrar.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use devp2p::NodeRecord;
use eyre::{Result, WrapErr};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    exit::UsageError,
    network::any_address,
    plain_http::{self, Answers, Text},
    signals,
};

/// Names the service whose pods are asked.
const SERVICE_VARIABLE: &str = "BOOTNODE_SERVICE";
/// Where the list is.
const PORT: u16 = 9_898;
/// Where pods tell their URL.
const POD_PORT: u16 = 8_080;
/// How often pods are asked.
const PERIOD: Duration = Duration::from_secs(20);
/// The same while there is no list yet.
const FIRST_PERIOD: Duration = Duration::from_secs(2);
/// Pods of a service.
const PODS_MAX: usize = 64;

/// What each pod said last. A pod that does not answer keeps its place as long as the service
/// names it.
type Pods = BTreeMap<IpAddr, NodeRecord>;

/// Runs until it is told to stop.
///
/// # Errors
///
/// When no service is named, or the port is taken.
pub fn run() -> Result<()> {
    let service = std::env::var(SERVICE_VARIABLE).unwrap_or_default();
    if service.is_empty() {
        let text = format!("{SERVICE_VARIABLE} is not set: it names the service of the bootnodes");
        return Err(UsageError(text).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    runtime.block_on(live(service))
}

async fn live(service: String) -> Result<()> {
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    signals::listen(&mut tasks, shutdown.clone())?;
    let listener = TcpListener::bind(SocketAddr::new(any_address(), PORT))
        .await
        .wrap_err_with(|| format!("cannot listen on port {PORT}"))?;
    tracing::info!(%service, port = PORT, "Started registrar");
    let (publish, pods) = watch::channel(Pods::new());
    tasks.spawn(plain_http::serve(listener, answers(pods), shutdown.clone()));
    let mut wait = Duration::ZERO;
    while shutdown.run_until_cancelled(time::sleep(wait)).await.is_some() {
        let known = publish.borrow().clone();
        match survey(&service, &known).await {
            Ok(pods) => {
                if pods != known {
                    tracing::info!(pods = pods.len(), "Bootnodes changed");
                    publish.send_replace(pods);
                }
            }
            // The last list is better than none.
            Err(error) => tracing::warn!(error = format!("{error:#}"), "Could not find bootnodes"),
        }
        wait = if publish.borrow().is_empty() { FIRST_PERIOD } else { PERIOD };
    }
    while let Some(ended) = tasks.join_next().await {
        ended.wrap_err("a part of the registrar panicked")??;
    }
    Ok(())
}

/// Asks all pods at once.
async fn survey(service: &str, known: &Pods) -> Result<Pods> {
    let found = tokio::net::lookup_host((service, POD_PORT))
        .await
        .wrap_err_with(|| format!("cannot resolve {service}"))?;
    let mut asking = JoinSet::new();
    for address in found.take(PODS_MAX) {
        asking.spawn(async move { (address.ip(), ask(address).await) });
    }
    let mut pods = Pods::new();
    while let Some(answer) = asking.join_next().await {
        let (ip, answer) = answer.wrap_err("asking a pod panicked")?;
        match answer {
            Ok(node) => drop(pods.insert(ip, node)),
            Err(error) => {
                tracing::debug!(%ip, error = format!("{error:#}"), "Bootnode did not say its URL");
                pods.extend(known.get(&ip).map(|node| (ip, *node)));
            }
        }
    }
    Ok(pods)
}

async fn ask(address: SocketAddr) -> Result<NodeRecord> {
    let text = plain_http::fetch(address, &address.to_string(), "/").await?;
    Ok(text.trim().parse()?)
}

fn answers(pods: watch::Receiver<Pods>) -> Answers {
    Arc::new(move |path, query| {
        let pods = pods.borrow().clone();
        if path == "/readyz" {
            return Text {
                good: !pods.is_empty(),
                ..Text::plain(format!("{} nodes\n", pods.len()))
            };
        }
        list(&pods, query)
    })
}

/// By comma, as the book's pods read it, unless another form is asked for.
fn list(pods: &Pods, query: &str) -> Text {
    let mut urls: Vec<String> = pods.values().map(NodeRecord::to_string).collect();
    urls.sort();
    urls.dedup();
    match query {
        "format=json" => {
            let body = format!("{}\n", serde_json::Value::from(urls));
            Text { kind: "application/json", ..Text::plain(body) }
        }
        "format=lines" => Text::plain(urls.into_iter().map(|url| url + "\n").collect()),
        _ => Text::plain(urls.join(",") + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;

    fn pods(count: u8) -> Pods {
        let node = |number: u8| {
            let key = SecretKey::from_slice(&[number; 32]).unwrap();
            let (id, ip) = (devp2p::PeerId::of(&key), IpAddr::from([10, 0, 0, number]));
            (ip, NodeRecord { id, ip, tcp: 0, udp: 30_301 })
        };
        (1..=count).map(node).collect()
    }

    #[test]
    fn the_list_has_the_form_that_the_books_pods_read() {
        assert_eq!(list(&Pods::new(), "").body, "\n");
        let two = list(&pods(2), "").body;
        let urls: Vec<&str> = two.trim_end().split(',').collect();
        assert!(
            urls.iter()
                .all(|url| url.starts_with("enode://") && url.ends_with(":0?discport=30301"))
        );
        assert_eq!((urls.len(), two.ends_with('\n')), (2, true));
        assert_eq!(list(&pods(2), "format=lines").body, urls.join("\n") + "\n");
        let json: Vec<String> = serde_json::from_str(&list(&pods(2), "format=json").body).unwrap();
        assert_eq!(json, urls);
    }

    #[tokio::test]
    async fn a_pod_that_falls_silent_keeps_its_place_while_the_service_names_it() {
        // Nobody listens on the pods' port here.
        let ip = IpAddr::from([127, 0, 0, 1]);
        let node = pods(1).into_values().next().unwrap();
        let known = Pods::from([(ip, node), (IpAddr::from([10, 9, 9, 9]), node)]);
        assert_eq!(survey("127.0.0.1", &known).await.unwrap(), Pods::from([(ip, node)]));
        assert!(survey("no-such-host.invalid", &known).await.is_err());
    }
}
