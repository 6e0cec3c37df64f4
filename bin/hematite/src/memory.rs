//! Gives memory that is not used any more back to the system.
//!
//! glibc keeps what was freed in the arena of each thread, so that after a burst of heavy calls a node
//! would hold for good what it needed for a moment.

use std::time::Duration;

use eyre::Result;
use tokio::time;
use tokio_util::sync::CancellationToken;

/// How often. A walk through the heap of a busy node takes milliseconds.
const INTERVAL: Duration = Duration::from_secs(15);

/// Gives memory back again and again until told to stop.
///
/// # Errors
///
/// None; it is one of the node's tasks.
pub(crate) async fn give_back(shutdown: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = time::sleep(INTERVAL) => {}
        }
        // It locks one arena after the other, for which no thread that serves should wait.
        if tokio::task::spawn_blocking(trim).await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library has no other way to say it")]
fn trim() {
    // SAFETY: it takes a number, and releases only pages that no allocation is in.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
