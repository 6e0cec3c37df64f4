//! How many lines one place in the program may write: what strangers cause there must not fill the
//! disk that the log goes to.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Level, Metadata, callsite::Identifier};

/// Lines at once of one place; so many may follow in a minute.
const LINES_PER_MINUTE_MAX: u32 = 600;
/// How long one of them counts.
const LINE_PERIOD: Duration = Duration::from_millis(60_000 / LINES_PER_MINUTE_MAX as u64);

/// What each place has written lately. There are as many as the program has.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<Identifier, Place>>);

#[derive(Debug)]
struct Place {
    /// When all that it has written will have been long ago.
    clear: Instant,
    left_out: u64,
}

impl Limiter {
    /// Whether a line may be written, and how many like it were left out since the last one. Whoever
    /// asks for more than what is usual gets all of that.
    pub(super) fn admit(&self, about: &Metadata<'_>, now: Instant) -> Option<u64> {
        if *about.level() > Level::INFO {
            return Some(0);
        }
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(about.callsite());
        let place = place.or_insert(Place { clear: now, left_out: 0 });
        let clear = place.clear.max(now);
        if clear.duration_since(now) + LINE_PERIOD > LINE_PERIOD * LINES_PER_MINUTE_MAX {
            place.left_out += 1;
            return None;
        }
        place.clear = clear + LINE_PERIOD;
        Some(std::mem::take(&mut place.left_out))
    }
}
