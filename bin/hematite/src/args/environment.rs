//! Flags from the environment: `HEMATITE_HTTP_ADDR` is `--http.addr`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use eyre::{Result, WrapErr};

use super::argv::{Layer, Source, Table};

/// Flags whose value is a secret: `HEMATITE_<FLAG>_FILE` names a file that holds it.
const SECRETS: [&str; 2] = ["ethstats", "nodekeyhex"];
/// Flags whose value is a file of secrets: `HEMATITE_<FLAG>_FILE` is another name of the flag.
const SECRET_FILES: [&str; 4] = ["password", "nodekey", "rpc.jwtsecret", "rpc.basicauth"];

/// What surrounds the process, as far as it means something. Read once, at the start.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// The namespace of the pod that this process runs in.
    pub namespace: Option<String>,
    /// All variables whose name and value are UTF-8.
    pub variables: BTreeMap<String, String>,
}

impl std::fmt::Debug for Surroundings {
    /// Without the variables, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("home", &self.home)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        // Kubernetes puts it there with the account's token; without the token there is none.
        let mounted = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
        let namespace = fs::read_to_string(mounted).ok().map(|text| text.trim().to_owned());
        let searched = || namespace_of(&fs::read_to_string("/etc/resolv.conf").ok()?);
        let namespace = variables.get("POD_NAMESPACE").cloned().or(namespace).or_else(searched);
        Self {
            home: std::env::home_dir(),
            namespace: namespace.filter(|name| !name.is_empty()),
            variables,
        }
    }

    /// A variable that is set to something.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The namespace whose services a pod's names are looked up in first.
fn namespace_of(resolv: &str) -> Option<String> {
    let mut domains = resolv
        .lines()
        .filter_map(|line| line.strip_prefix("search "))
        .flat_map(str::split_whitespace);
    let (namespace, _) = domains.find_map(|domain| domain.split_once(".svc."))?;
    Some(namespace.to_owned()).filter(|name| !name.is_empty() && !name.contains('.'))
}

/// The variable of a flag.
pub(crate) fn variable(flag: &str) -> String {
    format!("HEMATITE_{}", flag.to_uppercase().replace(['.', '-'], "_"))
}

/// The flags that the environment sets.
///
/// Kubernetes sets `HEMATITE_PORT=tcp://10.0.0.1:8545` in every pod beside a service called
/// `hematite`; such values are not ours.
pub(crate) fn layer(table: &Table, surroundings: &Surroundings) -> Result<Layer> {
    let mut layer = Layer::new(Source::Environment);
    for flag in table.node_flags() {
        let name = variable(&flag.name);
        if let Some(value) = surroundings.variable(&name).filter(|value| !is_service_link(value)) {
            let value = if flag.takes_value {
                value.to_owned()
            } else {
                flag.switch(value).wrap_err_with(|| format!("the variable {name} is wrong"))?
            };
            layer.set(&flag.name, value, false);
            continue;
        }
        let name = format!("{name}_FILE");
        let Some(path) = surroundings.variable(&name) else { continue };
        if SECRET_FILES.contains(&flag.name.as_str()) {
            layer.set(&flag.name, path.to_owned(), false);
        } else if SECRETS.contains(&flag.name.as_str()) {
            let text = fs::read_to_string(path)
                .wrap_err_with(|| format!("cannot read {path}, named by the variable {name}"))?;
            layer.set(&flag.name, text.trim_end_matches(['\r', '\n']).to_owned(), false);
        }
    }
    Ok(layer)
}

fn is_service_link(value: &str) -> bool {
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_knows_its_namespace_by_the_names_it_looks_up() {
        let pod = "search data.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n";
        assert_eq!(namespace_of(pod).as_deref(), Some("data"));
        let other = "# search a.svc.b\nnameserver 1.1.1.1\nsearch lan\tteam.svc.corp.example\n";
        assert_eq!(namespace_of(other).as_deref(), Some("team"));
        for nowhere in ["", "search lan", "search .svc.x", "search a.b.svc.x", "searching a.svc.x"]
        {
            assert_eq!(namespace_of(nowhere), None, "{nowhere}");
        }
    }
}
