//! The nodes that URLs name: of nodes, by address or by name, or of registrars, which list some.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use devp2p::{Enr, NodeRecord, PeerId};
use eyre::{Result, WrapErr, bail, eyre};
use tokio::{task::JoinSet, time};

use crate::{nat::is_name, plain_http};

/// Addresses of one name that are tried.
pub(crate) const ADDRESSES_MAX: usize = 16;
/// Nodes of one registrar.
pub(crate) const REGISTERED_MAX: usize = 64;
/// How often names are resolved again.
pub(crate) const RESOLVE_PERIOD: Duration = Duration::from_secs(30);
/// How long a name may take to be resolved.
const RESOLVE_PERIOD_MAX: Duration = Duration::from_secs(5);
/// Addresses that are read of an answer, before they are sorted.
const ANSWERS_MAX: usize = 4_096;

/// Of a registrar whose URL names none.
const HTTP_PORT: u16 = 80;
/// How the variables end in which Kubernetes tells a pod of the services of its namespace, if one of
/// them is a registrar: the book's is called `eth-bootnode-registrar`.
const LINK_HOST: &str = "BOOTNODE_REGISTRAR_SERVICE_HOST";
const LINK_PORT: &str = "BOOTNODE_REGISTRAR_SERVICE_PORT";
/// Registrars that are asked without being named.
const LINKS_MAX: usize = 4;

/// What a list of URLs means.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    sources: Vec<Source>,
    records: Vec<Enr>,
}

#[derive(Debug, Clone)]
enum Source {
    /// A node at an address.
    Node(NodeRecord),
    /// A node at a host that has a name.
    Name(Name),
    /// `host:port` of a registrar.
    Registrar(String),
}

/// A node at a host that has a name, and where it was last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// The node, but for its address.
    node: NodeRecord,
    host: String,
    addresses: Vec<SocketAddr>,
    /// Which of the addresses is tried.
    turn: usize,
}

/// What was asked, and what came back.
enum Answer {
    Addresses(io::Result<Vec<SocketAddr>>),
    Nodes(Result<Vec<NodeRecord>>),
}

impl Sources {
    /// Reads URLs; what is none is said and left out.
    pub(crate) fn lenient(urls: &[String]) -> Self {
        let mut sources = Self::default();
        for url in urls {
            if let Err(error) = sources.add(url) {
                tracing::warn!(error = format!("{error:#}"), "Could not use bootnode URL");
            }
        }
        sources
    }

    /// The lists of a data directory with this name, in geth's folder and at the top.
    ///
    /// # Errors
    ///
    /// If one is no JSON array of URLs of nodes.
    pub(crate) fn of_files(datadir: &Path, name: &str) -> Result<Self> {
        let mut sources = Self::default();
        for path in [datadir.join("geth").join(name), datadir.join(name)] {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).wrap_err_with(|| format!("cannot read {}", path.display()));
                }
            };
            let Ok(urls) = serde_json::from_str::<Option<Vec<String>>>(&text) else {
                bail!("{} is no JSON array of enode URLs", path.display());
            };
            for url in urls.unwrap_or_default().iter().filter(|url| !url.is_empty()) {
                sources.add(url).wrap_err_with(|| format!("in {}", path.display()))?;
            }
        }
        Ok(sources)
    }

    /// Adds the registrars among the services that Kubernetes tells a pod of.
    ///
    /// The book's pods ask once, before their node starts. When those bootnodes are gone, a node
    /// would know of no others, and bootnodes that came in their place would know of no node.
    pub(crate) fn add_linked(&mut self, variables: &BTreeMap<String, String>) {
        let link = |(name, host): (&String, &String)| {
            let port = variables.get(&format!("{}{LINK_PORT}", name.strip_suffix(LINK_HOST)?))?;
            Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, port.parse().ok()?))
        };
        for address in variables.iter().filter_map(link).take(LINKS_MAX) {
            tracing::info!(%address, "Found a registrar among the services of this namespace");
            self.sources.push(Source::Registrar(address.to_string()));
        }
    }

    fn add(&mut self, url: &str) -> Result<()> {
        if let Some(registrar) = url.strip_prefix("http://") {
            let host = registrar.trim_end_matches('/');
            // A name before the last colon, or an address in brackets, and what follows.
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port { String::new() } else { format!(":{HTTP_PORT}") };
            self.sources.push(Source::Registrar(format!("{host}{port}")));
            return Ok(());
        }
        if let Ok(enr) = url.parse() {
            self.records.push(enr);
        }
        let source = match url.parse() {
            Ok(node) => Source::Node(node),
            Err(_) if url.starts_with("enode:") => Source::Name(Name::parse(url)?),
            Err(error) => return Err(error).wrap_err_with(|| url.to_owned()),
        };
        self.sources.push(source);
        Ok(())
    }

    /// Nodes whose address is written in the URL.
    pub(crate) fn known(&self) -> Vec<NodeRecord> {
        let node = |source: &Source| match source {
            Source::Node(node) => Some(*node),
            Source::Name(_) | Source::Registrar(_) => None,
        };
        self.sources.iter().filter_map(node).collect()
    }

    /// Signed records among the URLs.
    pub(crate) fn records(&self) -> Vec<Enr> {
        self.records.clone()
    }

    /// Who the nodes are, wherever they are.
    pub(crate) fn ids(&self) -> Vec<PeerId> {
        let id = |source: &Source| match source {
            Source::Node(node) | Source::Name(Name { node, .. }) => Some(node.id),
            Source::Registrar(_) => None,
        };
        self.sources.iter().filter_map(id).collect()
    }

    /// Whether anybody has to be asked.
    pub(crate) fn are_known(&self) -> bool {
        self.sources.iter().all(|source| matches!(source, Source::Node(_)))
    }

    /// Asks for all that may have changed, at once. Who does not answer is where it was.
    pub(crate) async fn resolve(&mut self) -> Vec<NodeRecord> {
        let mut asking = JoinSet::new();
        for (place, source) in self.sources.iter().enumerate() {
            match source {
                Source::Node(_) => {}
                Source::Name(name) => {
                    let host = (name.host.clone(), name.node.tcp);
                    asking.spawn(async move { (place, Answer::Addresses(look_up(host).await)) });
                }
                Source::Registrar(host) => {
                    let host = host.clone();
                    asking.spawn(async move { (place, Answer::Nodes(ask(&host).await)) });
                }
            }
        }
        let mut nodes = self.known();
        while let Some(answered) = asking.join_next().await {
            let Ok((place, answer)) = answered else { continue };
            match (&mut self.sources[place], answer) {
                (Source::Name(name), Answer::Addresses(answer)) => {
                    nodes.extend(name.on_answer(answer));
                }
                (Source::Registrar(host), Answer::Nodes(Ok(listed))) => {
                    if listed.is_empty() {
                        tracing::warn!(host, "The registrar lists no bootnode");
                    }
                    nodes.extend(listed);
                }
                (Source::Registrar(host), Answer::Nodes(Err(error))) => {
                    let error = format!("{error:#}");
                    tracing::warn!(host, error, "Could not ask registrar");
                }
                (Source::Node(_) | Source::Name(_), Answer::Nodes(_))
                | (Source::Node(_) | Source::Registrar(_), Answer::Addresses(_)) => {}
            }
        }
        nodes
    }
}

impl Name {
    fn parse(url: &str) -> Result<Self> {
        let invalid =
            || eyre!("{url} is no enode URL: expected enode://<128 hex digits>@<host>:<port>");
        let (id, rest) = url.split_once('@').ok_or_else(invalid)?;
        let (host, ports) = rest.split_once(':').ok_or_else(invalid)?;
        if !is_name(host) {
            return Err(invalid());
        }
        let node = format!("{id}@0.0.0.0:{ports}").parse().wrap_err_with(invalid)?;
        Ok(Self { node, host: host.to_owned(), addresses: Vec::new(), turn: 0 })
    }

    /// Where the node may be now. A name with several addresses, as of a service without one of its
    /// own, says not which is the node's: they are tried in turn.
    fn on_answer(&mut self, answer: io::Result<Vec<SocketAddr>>) -> Option<NodeRecord> {
        match answer {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.sort_unstable();
                addresses.dedup();
                addresses.truncate(ADDRESSES_MAX);
                if addresses == self.addresses {
                    self.turn = (self.turn + 1) % addresses.len();
                } else {
                    (self.addresses, self.turn) = (addresses, 0);
                }
            }
            Ok(_) => tracing::debug!(host = self.host, "Host has no address"),
            Err(error) => tracing::debug!(host = self.host, %error, "Could not resolve host"),
        }
        let address = self.addresses.get(self.turn)?;
        Some(NodeRecord { ip: address.ip(), ..self.node })
    }
}

async fn look_up(host: (String, u16)) -> io::Result<Vec<SocketAddr>> {
    let found = time::timeout(RESOLVE_PERIOD_MAX, tokio::net::lookup_host(host)).await;
    Ok(found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.take(ANSWERS_MAX).collect())
}

/// What a registrar lists: URLs by comma.
async fn ask(registrar: &str) -> Result<Vec<NodeRecord>> {
    let found = time::timeout(RESOLVE_PERIOD_MAX, tokio::net::lookup_host(registrar)).await;
    let mut addresses = found
        .wrap_err_with(|| format!("{registrar} was not resolved in time"))?
        .wrap_err_with(|| format!("cannot resolve {registrar}"))?;
    let address = addresses.next().ok_or_else(|| eyre!("{registrar} has no address"))?;
    Ok(listed(&plain_http::fetch(address, registrar, "/").await?))
}

/// The nodes of a registrar's list; what is none is left out.
fn listed(list: &str) -> Vec<NodeRecord> {
    let urls = list.trim().split(',').map(str::trim).filter(|url| !url.is_empty());
    let node = |url: &str| match url.parse() {
        Ok(node) => Some(node),
        Err(error) => {
            tracing::debug!(url, %error, "Registrar lists what is no node");
            None
        }
    };
    urls.take(REGISTERED_MAX).filter_map(node).collect()
}

#[cfg(test)]
mod tests;
