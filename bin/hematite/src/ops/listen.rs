//! Where probes and metrics are served.

use std::net::SocketAddr;

use eyre::{Result, WrapErr, eyre};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Ops, serve};
use crate::{config::Config, exit::UsageError, network::any_address};

/// The listeners that run. They close when this is dropped: after everything else.
#[derive(Debug)]
pub struct Server {
    _tasks: JoinSet<Result<()>>,
}

/// Listens where the configuration says, on `--ops.addr` and on that of `--metrics`.
///
/// # Errors
///
/// When an address that was asked for is none or is taken. The default may be taken: a second node
/// on one machine runs without.
pub async fn start(config: &Config, ops: &Ops) -> Result<Server> {
    let mut tasks = JoinSet::new();
    let mut answer = |listener| tasks.spawn(serve(listener, ops.clone(), CancellationToken::new()));
    if let Some(address) = &config.ops_addr {
        match bind(address).await {
            Ok((listener, address)) => {
                tracing::info!(%address, "Started probes and metrics");
                answer(listener);
            }
            Err(error)
                if !config.ops_addr_given && !error.chain().any(|e| e.is::<UsageError>()) =>
            {
                let error = format!("{error:#}");
                tracing::warn!(%error, "Serving no probes and metrics; --ops.addr takes another address");
            }
            Err(error) => {
                let way_out = "--ops.addr takes another address, off does without";
                return Err(error.wrap_err(format!("cannot serve probes and metrics; {way_out}")));
            }
        }
    }
    if let Some((host, port)) = &config.geth_metrics {
        let address = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let (listener, address) = bind(&address).await.wrap_err(
            "cannot serve metrics as geth does; --metrics.addr and --metrics.port take another address",
        )?;
        let url = format!("http://{address}/debug/metrics/prometheus");
        tracing::info!(%url, "Started metrics as geth has them");
        answer(listener);
    }
    Ok(Server { _tasks: tasks })
}

/// Binds `host:port`, or `:port` for all addresses.
async fn bind(text: &str) -> Result<(TcpListener, SocketAddr)> {
    let no_address = || UsageError(format!("{text} is no address; give HOST:PORT or :PORT"));
    let (host, port) = text.rsplit_once(':').ok_or_else(no_address)?;
    let port: u16 = port.parse().map_err(|_| no_address())?;
    let address = match (host, text.parse()) {
        ("", _) => SocketAddr::new(any_address(), port),
        (_, Ok(address)) => address,
        (host, Err(_)) => tokio::net::lookup_host((host, port))
            .await
            .wrap_err_with(|| format!("{host} is no address of this machine"))?
            .next()
            .ok_or_else(|| eyre!("{host} has no address"))?,
    };
    let listener =
        TcpListener::bind(address).await.wrap_err_with(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr().unwrap_or(address);
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    #[tokio::test]
    async fn addresses_are_read_as_go_does() {
        assert!(bind(":0").await.unwrap().1.ip().is_unspecified());
        for text in ["127.0.0.1:0", "localhost:0"] {
            assert!(bind(text).await.unwrap().1.ip().is_loopback(), "{text}");
        }
        for text in ["6061", "a:b", ":65536", "", "127.0.0.1"] {
            let error = bind(text).await.unwrap_err();
            assert_eq!(ExitCode::of(&error), ExitCode::Usage, "{text}: {error:#}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error_that_says_so() {
        let taken = bind("127.0.0.1:0").await.unwrap();
        let error = bind(&taken.1.to_string()).await.unwrap_err();
        let words = format!("{error:#}");
        assert!(words.contains(&taken.1.to_string()) && words.contains("in use"), "{words}");
        assert_eq!(ExitCode::of(&error), ExitCode::Failed);
    }
}
