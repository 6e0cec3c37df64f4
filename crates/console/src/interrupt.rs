//! Ctrl-C: what breaks a running script.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often somebody who waits looks up.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A console's Ctrl-C. Clones press the same key.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_running: AtomicBool,
    is_pressed: AtomicBool,
}

/// What a Ctrl-C did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// A script was running, and is told to end.
    Script,
    /// Nothing was running, or a script that was told already still runs: the console should end.
    Nothing,
}

impl Interrupt {
    /// Breaks what is running.
    #[must_use = "when nothing was running, the console should end"]
    pub fn press(&self) -> Interrupted {
        let is_running = self.0.is_running.load(Ordering::SeqCst);
        if is_running && !self.0.is_pressed.swap(true, Ordering::SeqCst) {
            Interrupted::Script
        } else {
            Interrupted::Nothing
        }
    }

    pub(crate) fn begin(&self) {
        self.0.is_pressed.store(false, Ordering::SeqCst);
        self.0.is_running.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.0.is_running.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.0.is_pressed.load(Ordering::SeqCst)
    }

    /// Waits; returns early when the key is pressed.
    pub(crate) fn sleep(&self, duration: Duration) {
        let started = Instant::now();
        while !self.is_pressed() {
            let left = duration.saturating_sub(started.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK_INTERVAL));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_press_is_for_the_console() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.press(), Interrupted::Nothing);
        interrupt.begin();
        assert_eq!(interrupt.press(), Interrupted::Script);
        assert_eq!(interrupt.press(), Interrupted::Nothing);
        interrupt.begin();
        assert_eq!(interrupt.press(), Interrupted::Script);
    }

    #[test]
    fn who_sleeps_wakes_when_the_key_is_pressed() {
        let interrupt = Interrupt::default();
        interrupt.begin();
        let other = interrupt.clone();
        let sleeper = thread::spawn(move || other.sleep(Duration::from_secs(3600)));
        assert_eq!(interrupt.press(), Interrupted::Script);
        sleeper.join().expect("it woke up");
    }
}
