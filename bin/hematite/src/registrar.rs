//! `--role registrar`: asks the pods of a service for their enode URLs, and lists them. The port,
//! the variable and the text are those of jpoon/bootnode-registrar.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::{Discovery, NodeRecord};
use eyre::{Result, WrapErr};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    bootnode,
    config::Config,
    exit::UsageError,
    network::any_address,
    ops::{self, Check, Criterion, Family, Ops, Report},
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
/// Says how old the list is, in seconds.
const AGE_HEADER: &str = "x-registrar-age";
/// Pods of a service.
const PODS_MAX: usize = 64;
/// Why a service gives no bootnode though it answers.
const SILENT: &str = "the service has no pod that says its URL; are bootnodes running, and does the \
                      service publish those that are not ready?";
/// Addresses that are read of an answer, before they are sorted.
const ANSWERS_MAX: usize = 4_096;

/// What each pod said last. A pod that does not answer keeps its place as long as the service
/// names it.
type Pods = BTreeMap<IpAddr, NodeRecord>;

/// What is known.
#[derive(Debug, Clone, Default)]
struct List {
    pods: Pods,
    /// When the service was last asked and answered.
    answered: Option<Instant>,
    /// What was wrong when it was asked last, in words.
    trouble: Option<String>,
    /// The bootnode that this process is, if it is one.
    own: Option<Discovery>,
}

/// Runs until it is told to stop.
///
/// # Errors
///
/// When no service is named, or the port is taken.
pub fn run(config: &Config) -> Result<()> {
    let service = std::env::var(SERVICE_VARIABLE).unwrap_or_default();
    if service.is_empty() {
        let text = format!("{SERVICE_VARIABLE} is not set: it names the service of the bootnodes");
        return Err(UsageError(text).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    runtime.block_on(live(config, service))
}

async fn live(config: &Config, service: String) -> Result<()> {
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    signals::listen(&mut tasks, shutdown.clone())?;
    let ops = Ops::new("registrar", shutdown.clone());
    let _server = ops::start(config, &ops).await?;
    let listener = TcpListener::bind(SocketAddr::new(any_address(), PORT))
        .await
        .wrap_err_with(|| format!("cannot listen on port {PORT}"))?;
    tracing::info!(%service, port = PORT, "Started registrar");
    let (publish, list) = watch::channel(List::default());
    tasks.spawn(watch(ops, list.clone(), shutdown.clone()));
    tasks.spawn(plain_http::serve(listener, answers(list), shutdown.clone()));
    survey_always(service, publish, shutdown).await?;
    while let Some(ended) = tasks.join_next().await {
        ended.wrap_err("a part of the registrar panicked")??;
    }
    Ok(())
}

/// Tells once a second how things stand.
async fn watch(ops: Ops, list: watch::Receiver<List>, shutdown: CancellationToken) -> Result<()> {
    let mut period = time::interval(ops::LOOK_PERIOD);
    while shutdown.run_until_cancelled(period.tick()).await.is_some() {
        let report = list.borrow().report();
        ops.tell(report, Instant::now());
    }
    Ok(())
}

/// The same beside a bootnode, which is listed always; others of its service are if it has one. A
/// port that is taken is no reason for a bootnode not to start.
pub(crate) async fn serve_beside(
    own: Discovery,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) {
    let listen = SocketAddr::new(any_address(), PORT);
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%listen, %error, "Could not listen as registrar");
            return;
        }
    };
    let (publish, list) = watch::channel(List { own: Some(own), ..List::default() });
    tasks.spawn(plain_http::serve(listener, answers(list), shutdown.clone()));
    match std::env::var(SERVICE_VARIABLE) {
        Ok(service) if !service.is_empty() => {
            tracing::info!(%service, port = PORT, "Started registrar");
            tasks.spawn(survey_always(service, publish, shutdown.clone()));
        }
        _ => tracing::info!(port = PORT, "Started registrar of this bootnode alone"),
    }
}

async fn survey_always(
    service: String,
    publish: watch::Sender<List>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut wait = Duration::ZERO;
    while shutdown.run_until_cancelled(time::sleep(wait)).await.is_some() {
        let known = publish.borrow().pods.clone();
        let surveying = shutdown.run_until_cancelled(survey((&service, POD_PORT), &known));
        match surveying.await {
            Some(Ok(pods)) => {
                let is_first = publish.borrow().answered.is_none();
                if pods.is_empty() && (is_first || pods != known) {
                    tracing::warn!(
                        %service, port = POD_PORT,
                        "No bootnode: {SILENT}"
                    );
                } else if pods != known {
                    tracing::info!(pods = pods.len(), "Bootnodes changed");
                }
                publish.send_modify(|list| {
                    list.trouble = pods.is_empty().then(|| SILENT.to_owned());
                    (list.pods, list.answered) = (pods, Some(Instant::now()));
                });
            }
            // The last list is better than none.
            Some(Err(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "Could not find bootnodes");
                publish.send_modify(|list| list.trouble = Some(error));
            }
            None => break,
        }
        wait = if publish.borrow().pods.is_empty() { FIRST_PERIOD } else { PERIOD };
    }
    Ok(())
}

/// Asks all pods at once.
async fn survey((service, port): (&str, u16), known: &Pods) -> Result<Pods> {
    let found = tokio::net::lookup_host((service, port))
        .await
        .wrap_err_with(|| format!("cannot resolve {service}"))?;
    ask_all(bounded(found), known).await
}

async fn ask_all(pods: Vec<SocketAddr>, known: &Pods) -> Result<Pods> {
    let mut asking = JoinSet::new();
    for address in pods {
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

/// The same pods whatever the order of the answer is, and each once.
fn bounded(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = found.take(ANSWERS_MAX).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(PODS_MAX);
    addresses
}

async fn ask(address: SocketAddr) -> Result<NodeRecord> {
    let text = plain_http::fetch_line(address, &address.to_string(), "/").await?;
    Ok(text.trim().parse()?)
}

fn answers(list: watch::Receiver<List>) -> Answers {
    Arc::new(move |path, query| answer(&list.borrow(), path, query))
}

fn answer(list: &List, path: &str, query: &str) -> Text {
    let urls = list.urls();
    let mut text = match path {
        "/healthz" | "/livez" => Text::plain("ok\n".to_owned()),
        "/readyz" => Text::plain(format!("{} nodes\n", urls.len())).if_good(!urls.is_empty()),
        "/metrics" => ops::exposition(list.families()),
        // As the registrar before: any other path is the list.
        _ => write(urls, query),
    };
    text.header = list.age().map(|age| (AGE_HEADER, age.to_string()));
    text
}

impl List {
    /// In an order of their own, which no answer of a name server changes.
    fn urls(&self) -> Vec<String> {
        let own = self.own.as_ref().map(|own| bootnode::told(own.node()));
        let mut nodes: Vec<NodeRecord> = self.pods.values().copied().collect();
        if let Some(own) = own.filter(|own| nodes.iter().all(|node| node.id != own.id)) {
            nodes.push(own);
        }
        let mut urls: Vec<String> = nodes.iter().map(NodeRecord::to_string).collect();
        urls.sort();
        urls.dedup();
        urls
    }

    /// Seconds since the service answered; `None` if nobody was asked, or nobody answered yet.
    fn age(&self) -> Option<u64> {
        self.answered.map(|answered| answered.elapsed().as_secs())
    }

    fn report(&self) -> Report {
        let nodes = self.urls().len();
        // Even where others are still listed: they may be gone.
        let trouble = self.trouble.as_ref().map(|trouble| format!(": {trouble}"));
        let words = format!("{nodes} of at least 1{}", trouble.unwrap_or_default());
        Report {
            alive: vec![Check::new("registrar", true, "ok")],
            criteria: vec![Criterion::new("nodes", nodes > 0, words)],
            families: self.families(),
            ..Report::default()
        }
    }

    fn families(&self) -> Vec<Family> {
        let nodes = self.urls().len() as f64;
        let age = self.age().map(|age| {
            let help = "Seconds since the service was last asked and answered.";
            Family::gauge("registrar_age_seconds", help, age as f64)
        });
        let nodes = Family::gauge("registrar_nodes", "Bootnodes in the list.", nodes);
        [nodes].into_iter().chain(age).collect()
    }
}

/// By comma, as the book's pods read it, unless another form is asked for.
fn write(urls: Vec<String>, query: &str) -> Text {
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
    use http::StatusCode;
    use secp256k1::SecretKey;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn node(number: u8, ip: IpAddr) -> NodeRecord {
        let key = SecretKey::from_byte_array(&[number; 32]).unwrap();
        NodeRecord { id: devp2p::PeerId::of(&key), ip, tcp: 0, udp: 30_301 }
    }

    fn pods(count: u8) -> Pods {
        let ip = |number: u8| IpAddr::from([10, 0, 0, number]);
        (1..=count).map(|number| (ip(number), node(number, ip(number)))).collect()
    }

    fn of(pods: Pods) -> List {
        List { pods, ..List::default() }
    }

    #[test]
    fn the_list_has_the_form_that_the_books_pods_read() {
        assert_eq!(answer(&List::default(), "/", "").body, "\n");
        let two = answer(&of(pods(2)), "/", "").body;
        let urls: Vec<&str> = two.trim_end().split(',').collect();
        assert!(
            urls.iter()
                .all(|url| url.starts_with("enode://") && url.ends_with(":0?discport=30301"))
        );
        assert_eq!((urls.len(), two.ends_with('\n')), (2, true));
        assert_eq!(answer(&of(pods(2)), "/enodes", "").body, two);
        let lines = answer(&of(pods(2)), "/", "format=lines").body;
        assert_eq!(lines, urls.join("\n") + "\n");
        let json = answer(&of(pods(2)), "/", "format=json");
        assert_eq!(json.kind, "application/json");
        let json: Vec<String> = serde_json::from_str(&json.body).unwrap();
        assert_eq!(json, urls);
    }

    #[test]
    fn the_order_of_the_list_is_that_of_the_urls() {
        let ip = |number: u8| IpAddr::from([10, 0, 0, number]);
        let one: Pods = [(ip(1), node(1, ip(1))), (ip(2), node(2, ip(2)))].into();
        let other: Pods = [(ip(9), node(1, ip(1))), (ip(3), node(2, ip(2)))].into();
        assert_eq!(of(one).urls(), of(other).urls());
        let v6: IpAddr = "fd00::7".parse().unwrap();
        let urls = of([(v6, node(1, v6))].into()).urls();
        assert!(urls[0].ends_with("@[fd00::7]:0?discport=30301"), "{}", urls[0]);
    }

    #[test]
    fn the_age_of_the_list_is_in_a_header() {
        assert_eq!(answer(&of(pods(1)), "/", "").header, None);
        let age = Duration::from_secs(70);
        let list = List { answered: Instant::now().checked_sub(age), ..of(pods(1)) };
        for path in ["/", "/readyz", "/metrics"] {
            let (name, value) = answer(&list, path, "").header.unwrap();
            assert_eq!(name, "x-registrar-age");
            assert!(value.parse::<u64>().unwrap() >= 70);
        }
        let metrics = answer(&list, "/metrics", "").body;
        assert!(metrics.contains("registrar_nodes 1\n"), "{metrics}");
        assert!(metrics.contains("registrar_age_seconds 7"), "{metrics}");
    }

    #[test]
    fn only_a_list_with_nodes_is_ready() {
        let status = |list: &List, path| answer(list, path, "").status;
        assert_eq!(status(&List::default(), "/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&of(pods(1)), "/readyz"), StatusCode::OK);
        assert_eq!(status(&List::default(), "/healthz"), StatusCode::OK);
    }

    #[test]
    fn of_many_pods_the_same_are_asked_whatever_the_order() {
        let pod = |number: u32| SocketAddr::new(IpAddr::from(number.to_be_bytes()), POD_PORT);
        let one = bounded((0..1_000).map(pod));
        let other = bounded((0..1_000).rev().flat_map(|number| [pod(number); 2]));
        assert_eq!((one.len(), one), (PODS_MAX, other));
    }

    #[tokio::test]
    async fn a_pod_that_falls_silent_keeps_its_place_while_the_service_names_it() {
        // Nobody listens on the pods' port here.
        let ip = IpAddr::from([127, 0, 0, 1]);
        let node = pods(1).into_values().next().unwrap();
        let known = Pods::from([(ip, node), (IpAddr::from([10, 9, 9, 9]), node)]);
        let free = TcpListener::bind((ip, 0)).await.unwrap().local_addr().unwrap().port();
        let surveyed = survey(("127.0.0.1", free), &known).await.unwrap();
        assert_eq!(surveyed, Pods::from([(ip, node)]));
        assert!(survey(("no-such-host.invalid", free), &known).await.is_err());
    }

    #[tokio::test]
    async fn a_pod_that_never_answers_does_not_keep_the_others_out() {
        let [silent, good]: [IpAddr; 2] = [[127, 0, 0, 2].into(), [127, 0, 0, 3].into()];
        // Accepts in the kernel, and says nothing.
        let silent_pod = TcpListener::bind((silent, 0)).await.unwrap();
        let port = silent_pod.local_addr().unwrap().port();
        let good_pod = TcpListener::bind((good, port)).await.unwrap();
        let url = node(1, good).to_string();
        let answers: Answers = Arc::new(move |_, _| Text::plain(url.clone() + "\n"));
        let mut tasks = JoinSet::new();
        tasks.spawn(plain_http::serve(good_pod, answers, CancellationToken::new()));
        let addresses = vec![(silent, port).into(), (good, port).into()];
        let pods = ask_all(addresses, &Pods::new()).await.unwrap();
        assert_eq!(pods, Pods::from([(good, node(1, good))]));
    }

    #[tokio::test]
    async fn a_script_that_never_hangs_up_is_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let expected = node(1, address.ip());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The answer of the book's bootnodes, before they have read the question.
            let answer = format!("HTTP/1.1 200 OK\n\n{expected}\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
        });
        assert_eq!(ask(address).await.unwrap(), expected);
        tasks.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_service_that_cannot_be_found_is_said_to_probes_in_words() {
        let shutdown = CancellationToken::new();
        let (publish, mut list) = watch::channel(List::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(survey_always("no-such.invalid".to_owned(), publish, shutdown.clone()));
        list.wait_for(|list| list.trouble.is_some()).await.unwrap();
        let report = list.borrow().report();
        let check = report.criteria[0].check(Default::default());
        assert!(!check.good, "{check}");
        assert!(
            check.words.starts_with("0 of at least 1: cannot resolve no-such.invalid"),
            "{check}"
        );
        shutdown.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}
