//! The thread that syncs groups of records.

use std::{
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{NO_PANIC, Shared};

/// How long the first record of a group waits for others. With the sync itself a record is on the
/// disk within 20 ms.
const GROUP_WAIT: Duration = Duration::from_millis(10);

/// Syncs what was appended, soon after.
#[derive(Debug)]
pub(super) struct Flusher {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    dirty: bool,
    stop: bool,
}

impl Flusher {
    /// # Panics
    ///
    /// When the system refuses a thread: a node that starts so poor cannot run.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let signal = Arc::<Signal>::default();
        let seen = signal.clone();
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || run(&seen, &shared))
            .expect("the system has a thread at start");
        Self { signal, thread: Some(thread) }
    }

    /// Something was appended.
    pub(super) fn wake(&self) {
        let mut state = self.signal.state.lock().expect(NO_PANIC);
        if !state.dirty {
            state.dirty = true;
            self.signal.changed.notify_one();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.signal.state.lock().expect(NO_PANIC).stop = true;
        self.signal.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn run(signal: &Signal, shared: &Shared) {
    loop {
        let state = signal.state.lock().expect(NO_PANIC);
        let state =
            signal.changed.wait_while(state, |state| !state.dirty && !state.stop).expect(NO_PANIC);
        let (mut state, _) = signal
            .changed
            .wait_timeout_while(state, GROUP_WAIT, |state| !state.stop)
            .expect(NO_PANIC);
        state.dirty = false;
        let stop = state.stop;
        drop(state);
        if let Err(error) = shared.sync() {
            tracing::error!(%error, "Could not sync the transaction journal");
        }
        if stop {
            return;
        }
    }
}
