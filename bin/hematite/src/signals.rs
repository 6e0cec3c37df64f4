//! SIGTERM and SIGINT end the node, and so may the end of standard input.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use eyre::{Result, WrapErr};
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Cancels the token at SIGTERM. SIGINT is for somebody else, such as a console.
///
/// # Errors
///
/// When the system refuses a handler.
pub fn listen_for_terminate(
    tasks: &mut JoinSet<Result<()>>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).wrap_err("cannot listen for SIGTERM")?;
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            () = shutdown.cancelled() => {}
        }
        shutdown.cancel();
        Ok(())
    });
    Ok(())
}

/// Cancels the token at the first signal.
///
/// # Errors
///
/// When the system refuses a handler.
pub fn listen(tasks: &mut JoinSet<Result<()>>, shutdown: CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).wrap_err("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).wrap_err("cannot listen for SIGINT")?;
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = shutdown.cancelled() => {}
        }
        shutdown.cancel();
        Ok(())
    });
    Ok(())
}

/// Sends this process SIGTERM when its standard input ends: whoever holds the other end has gone,
/// however that went.
///
/// # Errors
///
/// When the system refuses a thread.
pub fn follow_stdin() -> Result<()> {
    let follow = || {
        // What comes is of no interest.
        let ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        tracing::debug!(?ended, "Standard input ended");
        if let Err(error) = kill_process(getpid(), Signal::TERM) {
            tracing::error!(%error, "Could not end with standard input");
        }
    };
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(follow)
        .map(drop)
        .wrap_err("cannot follow standard input")
}

/// Sets a flag at SIGTERM or SIGINT, for commands without a runtime.
///
/// # Errors
///
/// When the system refuses a thread or a handler.
pub fn flag(stop: &Arc<AtomicBool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .wrap_err("cannot listen for signals")?;
    let (terminate, interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    };
    let mut terminate = terminate.wrap_err("cannot listen for SIGTERM")?;
    let mut interrupt = interrupt.wrap_err("cannot listen for SIGINT")?;
    let stop = stop.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            stop.store(true, Ordering::Relaxed);
        })
        .wrap_err("cannot listen for signals")?;
    Ok(())
}
