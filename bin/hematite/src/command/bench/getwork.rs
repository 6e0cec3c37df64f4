//! `bench hashrate --getwork`: another miner, measured by what it finds.
//!
//! It is served easy work over JSON-RPC as geth serves it. What it claims by `eth_submitHashrate`
//! proves nothing; each valid solution stands for as many hashes as its difficulty says, so their
//! number bounds the rate, like counted decays.

mod desk;
mod http;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ethash::LightCache;
use eyre::{Result, WrapErr, ensure};

use self::desk::{Desk, Phase};
use super::report::Miner;
use crate::{exit::UsageError, progress::Progress};

/// How often phases are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Serves work at an address until solutions were counted for so long, from the first one on. If
/// told to stop, what was counted so far; `None` if that is nothing.
///
/// # Errors
///
/// If the address cannot be listened on.
pub(super) fn measure(
    address: &str,
    cache: LightCache,
    length: Duration,
    stop: &AtomicBool,
) -> Result<Option<Miner>> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    ensure!(
        port.is_some(),
        UsageError(format!("--getwork {address} is no address: write one like 127.0.0.1:8545"))
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start a runtime")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .wrap_err_with(|| format!("cannot listen on {address}; choose another --getwork"))?;
        let address = listener.local_addr().wrap_err("cannot listen")?.to_string();
        let desk = std::sync::Arc::new(Mutex::new(Desk::new(cache, length)));
        tracing::info!(%address, "Serving eth_getWork; the clock starts at the first solution");
        let clock = async {
            let mut progress = None;
            loop {
                tokio::time::sleep(TICK).await;
                let mut desk = desk.lock().expect("nobody panics with the lock held");
                let phase = desk.tick(Instant::now());
                if phase == Phase::Done || stop.load(Ordering::Relaxed) {
                    return;
                }
                if phase != Phase::Waiting {
                    let (done, total) = desk.progress(Instant::now());
                    let total = total.as_millis() as u64;
                    let progress =
                        progress.get_or_insert_with(|| Progress::new("Counting solutions", total));
                    progress.set(done.as_millis() as u64);
                }
            }
        };
        tokio::select! {
            () = clock => {}
            () = http::serve(listener, desk.clone()) => {}
        }
        let desk = desk.lock().expect("nobody panics with the lock held");
        let found = desk.result(address, Instant::now());
        Ok((found.seconds > 0.0).then_some(found))
    })
}
