//! `--ethstats name:secret@host:port`: whom to report to, as whom.

use std::str::FromStr;

/// Longest name of a node, in bytes: a pod's name and more.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// What is wrong with the URL of a dashboard. No variant shows the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A part is missing.
    #[error("invalid netstats url: \"{0}\", should be nodename:secret@host:port")]
    Form(String),
    /// The name is too long.
    #[error("invalid netstats url: the node's name has more than {NAME_BYTES_MAX} bytes")]
    Name,
}

/// Whom to report to, as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    name: String,
    secret: String,
    host: String,
    is_encrypted: bool,
}

impl Target {
    /// What this node is called there. Nodes of one name overwrite each other.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where reports go.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_encrypted { "wss" } else { "ws" };
        format!("{scheme}://{}/api", self.host)
    }

    /// Whether the dashboard is behind TLS.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Host and port to connect to.
    pub(crate) fn address(&self) -> String {
        let (_, port) = self.parts();
        if !port.is_empty() {
            return self.host.clone();
        }
        format!("{}:{}", self.host, if self.is_encrypted { 443 } else { 80 })
    }

    /// The host alone, as its certificate has it.
    pub(crate) fn server_name(&self) -> &str {
        self.parts().0
    }

    /// The host without brackets, and what follows it.
    fn parts(&self) -> (&str, &str) {
        match self.host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some(parts) => parts,
            None => self.host.split_at(self.host.find(':').unwrap_or(self.host.len())),
        }
    }
}

impl std::fmt::Debug for Target {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// The host begins after the last `@`, the secret after the last `:` before it, as in geth
    /// since 1.10.4.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError::Form(masked(text));
        let (login, host) = text.rsplit_once('@').ok_or_else(wrong)?;
        let (name, secret) = login.rsplit_once(':').unwrap_or((login, ""));
        let (host, is_encrypted) = match host.strip_prefix("wss://") {
            Some(host) => (host, true),
            None => (host.strip_prefix("ws://").unwrap_or(host), false),
        };
        let host = host.trim_end_matches('/');
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if name.is_empty() || host.is_empty() || !host.bytes().all(is_host) {
            return Err(wrong());
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(TargetError::Name);
        }
        Ok(Self { name: name.into(), secret: secret.into(), host: host.into(), is_encrypted })
    }
}

/// The text without what may be a secret.
fn masked(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((login, host)) => match login.rsplit_once(':') {
            Some((name, _)) => format!("{name}:***@{host}"),
            None => text.to_owned(),
        },
        None => match text.split_once(':') {
            Some((name, _)) => format!("{name}:***"),
            None => text.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_split_at_the_last_signs() {
        for (text, name, secret, address) in [
            (
                "eth-geth-miner-0:book@eth-ethstats:8080",
                "eth-geth-miner-0",
                "book",
                "eth-ethstats:8080",
            ),
            ("a:b:c@ws://host:1/", "a:b", "c", "host:1"),
            ("node@[::1]:3000", "node", "", "[::1]:3000"),
            ("node:@host", "node", "", "host:80"),
            ("node:s@[::1]", "node", "s", "[::1]:80"),
            ("node:s@wss://[::1]", "node", "s", "[::1]:443"),
            ("node:s@wss://host", "node", "s", "host:443"),
            ("node:s@wss://host:1/", "node", "s", "host:1"),
        ] {
            let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((target.name(), target.secret()), (name, secret), "{text}");
            assert_eq!(target.address(), address, "{text}");
            let scheme = if text.contains("wss://") { "wss://" } else { "ws://" };
            assert!(target.url().starts_with(scheme), "{text}");
            let name = address.rsplit_once(':').unwrap().0.trim_matches(['[', ']']);
            assert_eq!(target.server_name(), name, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_in_geths_words_without_the_secret() {
        for text in ["", "host:3000", "a:hidden@", ":hidden@host", "a:hidden@ho st", "a:hidden@h/x"]
        {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.starts_with("invalid netstats url: \""), "{error}");
            assert!(error.ends_with("should be nodename:secret@host:port"), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let long = format!("{}:s@h", "x".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(long.parse::<Target>(), Err(TargetError::Name));
        let longest = format!("{}:s@h", "x".repeat(NAME_BYTES_MAX));
        assert!(longest.parse::<Target>().is_ok());
        let shown = format!("{:?}", "a:hidden@h".parse::<Target>().unwrap());
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
