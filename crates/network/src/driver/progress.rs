//! What the operator sees of a sync.

use std::time::{Duration, Instant};

use crate::SyncProgress;

/// How often a line is shown.
const PERIOD: Duration = Duration::from_secs(8);

/// Remembers what was shown, to tell how fast it goes.
#[derive(Debug, Default)]
pub(crate) struct ProgressLog {
    shown: Option<(Instant, u64)>,
    /// Whether what was shown is about this sync.
    is_running: bool,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) current: u64,
    pub(crate) highest: u64,
    /// Blocks in a second, once that is known.
    pub(crate) rate: Option<u64>,
    /// How long the rest takes at this rate.
    pub(crate) eta: Option<String>,
}

impl ProgressLog {
    /// The line to show now, if it is time for one.
    pub(crate) fn line(&mut self, progress: Option<SyncProgress>, now: Instant) -> Option<Line> {
        let Some(SyncProgress { current, highest, .. }) = progress else {
            self.is_running = false;
            return None;
        };
        let was_running = std::mem::replace(&mut self.is_running, true);
        if let Some((shown, _)) = self.shown
            && now - shown < PERIOD
        {
            if !was_running {
                // Short rounds that follow each other are one sync to the operator.
                self.shown = Some((shown, current));
            }
            return None;
        }
        let earlier = self.shown.replace((now, current)).filter(|_| was_running);
        let rate = earlier.and_then(|(shown, from)| {
            current.saturating_sub(from).checked_div((now - shown).as_secs())
        });
        let left = rate.and_then(|rate| highest.saturating_sub(current).checked_div(rate));
        let eta = left.map(|seconds| format!("{:?}", Duration::from_secs(seconds)));
        Some(Line { current, highest, rate, eta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(current: u64) -> Option<SyncProgress> {
        Some(SyncProgress { starting: 0, current, highest: 1_000 })
    }

    #[test]
    fn tells_how_fast_it_goes_and_how_long_it_takes_but_not_at_every_step() {
        let (mut log, start) = (ProgressLog::default(), Instant::now());
        let first = log.line(at(0), start).unwrap();
        assert_eq!((first.rate, first.eta), (None, None));
        assert_eq!(log.line(at(50), start + PERIOD / 2), None);
        let line = log.line(at(200), start + PERIOD).unwrap();
        let expected =
            Line { current: 200, highest: 1_000, rate: Some(25), eta: Some("32s".into()) };
        assert_eq!(line, expected);
        let stuck = log.line(at(200), start + PERIOD * 2).unwrap();
        assert_eq!((stuck.rate, stuck.eta), (Some(0), None));
    }

    #[test]
    fn a_new_sync_does_not_count_what_came_between() {
        let (mut log, start) = (ProgressLog::default(), Instant::now());
        assert!(log.line(at(0), start).is_some());
        assert_eq!(log.line(None, start + PERIOD), None);
        assert_eq!(log.line(at(900), start + PERIOD * 2).unwrap().rate, None);
    }
}
