use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::WorkPackage;

/// Where sealer threads find the newest package. They wait here when there is nothing to do.
#[derive(Debug)]
pub(crate) struct Slot {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Counts packages; a thread that works on an older one stops.
    version: AtomicU64,
    /// Told to the search itself, which looks at it every few milliseconds.
    interrupt: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Inner {
    package: Option<Arc<WorkPackage>>,
    threads: usize,
    closed: bool,
}

/// What a sealer thread should do next.
#[derive(Debug)]
pub(crate) enum Task {
    /// Search this package.
    Search { version: u64, package: Arc<WorkPackage> },
    /// End.
    Stop,
}

impl Slot {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            inner: Mutex::new(Inner { package: None, threads, closed: false }),
            changed: Condvar::new(),
            version: AtomicU64::new(0),
            interrupt: Arc::new(AtomicBool::new(false)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the package; every thread turns to it within milliseconds.
    pub(crate) fn put(&self, package: Option<Arc<WorkPackage>>) {
        let mut inner = self.lock();
        inner.package = package;
        self.version.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_all();
    }

    /// Lets this many threads search; the others sleep.
    pub(crate) fn set_threads(&self, threads: usize) {
        self.lock().threads = threads;
        self.version.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_all();
    }

    pub(crate) fn threads(&self) -> usize {
        self.lock().threads
    }

    /// Ends every thread.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.interrupt.store(true, Ordering::Release);
        self.version.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.interrupt.load(Ordering::Acquire)
    }

    /// True once the slot is closed.
    pub(crate) fn interrupt(&self) -> &AtomicBool {
        &self.interrupt
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The package that is to be searched now, if there is one and anybody may.
    pub(crate) fn newest(&self) -> Option<(u64, Arc<WorkPackage>)> {
        let inner = self.lock();
        let package = inner.package.clone().filter(|_| inner.threads > 0 && !inner.closed)?;
        Some((self.version(), package))
    }

    /// Waits for a package other than the one of version `done`. Thread `index` is one of those
    /// that [`Self::set_threads`] lets work, or sleeps.
    pub(crate) fn wait(&self, index: usize, done: u64) -> Task {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return Task::Stop;
            }
            let version = self.version();
            if let Some(package) = &inner.package
                && version != done
                && index < inner.threads
            {
                return Task::Search { version, package: package.clone() };
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sleeps, or less if the package changes.
    pub(crate) fn pause(&self, version: u64, time: Duration) {
        let inner = self.lock();
        let unchanged = |_: &mut Inner| self.version() == version;
        drop(self.changed.wait_timeout_while(inner, time, unchanged));
    }

    /// Sleeps, or less if the slot is closed. Returns whether it is still open.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |inner| !inner.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}
