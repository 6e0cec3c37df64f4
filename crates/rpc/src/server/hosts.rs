//! Which names a browser may know this server by.
//!
//! A page from anywhere can point its own name at this machine (DNS rebinding) and would then be
//! "same origin" with the node. So the `Host` header has to be a name that strangers cannot own.

use std::net::IpAddr;

/// Names that are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    patterns: Vec<String>,
    single_labels: bool,
}

impl Hosts {
    /// What is safe in a cluster: `localhost`, IP literals, names of one label, `*.svc`,
    /// `*.svc.cluster.local`, and `*.<namespace>` of the pod.
    #[must_use]
    pub fn cluster(namespace: Option<&str>) -> Self {
        let mut patterns = vec!["*.svc".to_owned(), "*.svc.cluster.local".to_owned()];
        patterns.extend(namespace.map(|name| format!("*.{}", name.to_ascii_lowercase())));
        Self { patterns, single_labels: true }
    }

    /// Exactly these names, besides IP literals. `*` is every name, `*.x` is every name below `x`.
    #[must_use]
    pub fn listed(names: impl IntoIterator<Item = String>) -> Self {
        let patterns = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { patterns, single_labels: false }
    }

    /// Whether a `Host` header is served. geth lets a request without one pass, and so do we.
    pub(crate) fn allows(&self, header: &str) -> bool {
        if header.is_empty() {
            return true;
        }
        let name = without_port(header).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if name.parse::<IpAddr>().is_ok() {
            return true;
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.single_labels && !name.is_empty() && name.bytes().all(plain) {
            return true;
        }
        self.patterns.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some("") => true,
            Some(suffix) if suffix.starts_with('.') => {
                name.len() > suffix.len() && name.ends_with(suffix)
            }
            _ => pattern == name,
        })
    }
}

/// `[::1]:8545` is `::1`, `node:8545` is `node`, `::1` stays.
fn without_port(header: &str) -> &str {
    if let Some(rest) = header.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match header.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_reached_by_the_names_of_its_cluster_only() {
        let hosts = Hosts::cluster(Some("Chain"));
        for name in [
            "",
            "localhost",
            "LOCALHOST:8545",
            "127.0.0.1",
            "10.1.2.3:8545",
            "[::1]:8545",
            "[::1]",
            "::1",
            "geth-tx:8545",
            "geth-tx.chain:8545",
            "geth-tx.other.svc",
            "geth-tx.chain.svc.cluster.local.",
        ] {
            assert!(hosts.allows(name), "{name}");
        }
        for name in [
            "evil.example.com",
            "evil.example.com:8545",
            "localhost.evil",
            ".svc",
            ".",
            "svc.evil",
            "chain.org",
        ] {
            assert!(!hosts.allows(name), "{name}");
        }
    }

    #[test]
    fn a_list_replaces_every_default_but_ip_literals() {
        let hosts = Hosts::listed(["Node.Example.com".to_owned()]);
        assert!(hosts.allows("node.example.com:1"));
        assert!(hosts.allows("127.0.0.1:1"));
        assert!(!hosts.allows("localhost"));
        assert!(!hosts.allows("geth-tx"));
        assert!(Hosts::listed(["*".to_owned()]).allows("evil.example.com"));
    }
}
