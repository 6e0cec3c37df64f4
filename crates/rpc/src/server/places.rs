//! Places for connections, and who gives way when there are none left.
//!
//! A thousand clients that dawdle could keep everybody else out for as long as each may take. So
//! whoever comes gets the place of the connection that has made the node wait longest.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use super::deadline::{Shared, Watch};

/// How long a client may make the node wait, in any phase of a request, before its place is
/// another's. It matters only when there is no place left.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often somebody is looked for who gives way.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    /// Connections that may have to give way; some have ended.
    taken: Vec<Weak<Shared>>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), count, taken: Vec::new() }
    }

    /// Waits for a place, and makes one if somebody dawdles.
    pub(super) async fn take(&mut self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
                return place;
            }
            self.make_room();
            let freed = time::timeout(LOOK_INTERVAL, Arc::clone(&self.free).acquire_owned()).await;
            if let Ok(place) = freed {
                return place.expect("the semaphore is never closed");
            }
        }
    }

    /// This connection has a place.
    pub(super) fn watch(&mut self, watch: &Watch) {
        if self.taken.len() >= 2 * self.count {
            self.forget_ended();
        }
        self.taken.push(watch.downgrade());
    }

    fn forget_ended(&mut self) {
        self.taken.retain(|shared| shared.strong_count() > 0);
    }

    fn make_room(&mut self) {
        self.forget_ended();
        let watches = self.taken.iter().filter_map(Weak::upgrade).map(Watch::of);
        let waits = watches.filter_map(|watch| Some((watch.waits()?, watch)));
        let longest = waits.max_by_key(|(waits, _)| *waits);
        if let Some((waits, watch)) = longest
            && waits >= PATIENCE
        {
            watch.give_way();
        }
    }
}
