//! What a node is judged by, and how long it takes until a judgement changes. Pure: time is given.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Sets of thresholds whose history is kept; one for each kind of probe.
const SETS_MAX: usize = 8;
/// How long a node must have nothing left to do before it counts as started: a peer that just
/// joined may bring a heavier chain.
const SETTLE_PERIOD: Duration = Duration::from_secs(3);

/// Something that is well or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is judged, in one word.
    pub name: &'static str,
    /// Whether it is well.
    pub good: bool,
    /// How it stands, in words.
    pub words: String,
}

/// One thing that readiness depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criterion {
    /// What is judged, in one word.
    pub name: &'static str,
    /// How it stands.
    pub measure: Measure,
}

/// How something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// It is well or not, whoever asks.
    Is {
        /// Whether it is well.
        good: bool,
        /// How it stands, in words.
        words: String,
    },
    /// Peers: whoever asks may say how many there should be.
    Peers {
        /// How many there are.
        connected: usize,
        /// How many there should be unless something else is said.
        wanted: usize,
        /// Why there are none, as far as is known.
        trouble: Option<String>,
    },
    /// Blocks that peers have and this node has not: whoever asks may say how many are well.
    Behind {
        /// How many there are.
        blocks: u64,
        /// How it stands, in words.
        words: String,
    },
}

/// What whoever asks wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Peers at least.
    pub peers_min: Option<usize>,
    /// Blocks behind others at most.
    pub behind_max: Option<u64>,
}

/// A query that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value} is no number")]
pub struct InvalidThreshold {
    name: &'static str,
    value: String,
}

/// Blocks behind others at most, unless something else is said: as many as may be on their way.
pub const BEHIND_MAX: u64 = 3;

/// What has been shown to those who ask, so that it does not change with every wind.
#[derive(Debug, Default)]
pub struct Readiness {
    sets: Vec<Shown>,
}

#[derive(Debug)]
struct Shown {
    thresholds: Thresholds,
    asked: Instant,
    criteria: BTreeMap<&'static str, Hysteresis>,
}

/// A judgement that changes only when the opposite has held for a while.
#[derive(Debug, Clone, Copy)]
pub struct Hysteresis {
    shown: bool,
    /// Since when the opposite holds.
    opposed: Option<Instant>,
}

/// Whether the node has started, once and for all.
#[derive(Debug, Default)]
pub struct Startup {
    /// Since when nothing was left to do.
    settled: Option<Instant>,
    done: bool,
}

impl Check {
    /// Something and how it stands.
    #[must_use]
    pub fn new(name: &'static str, good: bool, words: impl Into<String>) -> Self {
        Self { name, good, words: words.into() }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.words)
    }
}

impl Thresholds {
    /// Reads `minPeers` and `maxBlocksBehind`; other parts of the query mean nothing.
    ///
    /// # Errors
    ///
    /// If one of them is no number.
    pub fn of_query(query: &str) -> Result<Self, InvalidThreshold> {
        let mut thresholds = Self::default();
        for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            let invalid = |name| InvalidThreshold { name, value: value.chars().take(32).collect() };
            match name {
                "minPeers" => {
                    let peers = value.parse().map_err(|_| invalid("minPeers"))?;
                    thresholds.peers_min = Some(peers);
                }
                "maxBlocksBehind" => {
                    let blocks = value.parse().map_err(|_| invalid("maxBlocksBehind"))?;
                    thresholds.behind_max = Some(blocks);
                }
                _ => {}
            }
        }
        Ok(thresholds)
    }
}

impl Criterion {
    /// Something that is well or not.
    #[must_use]
    pub fn new(name: &'static str, good: bool, words: impl Into<String>) -> Self {
        Self { name, measure: Measure::Is { good, words: words.into() } }
    }

    /// The judgement of this moment.
    #[must_use]
    pub fn check(&self, thresholds: Thresholds) -> Check {
        let (good, words) = match &self.measure {
            Measure::Is { good, words } => (*good, words.clone()),
            Measure::Peers { connected, wanted, trouble } => {
                let wanted = thresholds.peers_min.unwrap_or(*wanted);
                let good = *connected >= wanted;
                let why = trouble.as_ref().filter(|_| !good);
                let why = why.map_or_else(String::new, |why| format!("; most recently: {why}"));
                (good, format!("{connected} of at least {wanted}{why}"))
            }
            Measure::Behind { blocks, words } => {
                let most = thresholds.behind_max.unwrap_or(BEHIND_MAX);
                (*blocks <= most, words.clone())
            }
        };
        Check { name: self.name, good, words }
    }

    /// How long it must be well to be shown so, and not well. Peers come and go; but who has just
    /// found one must not be shown as ready before it is known what that one has.
    const fn periods(&self) -> (Duration, Duration) {
        match self.measure {
            Measure::Is { .. } => (Duration::from_secs(2), Duration::from_secs(3)),
            Measure::Peers { .. } => (Duration::from_secs(4), Duration::from_secs(10)),
            Measure::Behind { .. } => (Duration::from_secs(2), Duration::from_secs(2)),
        }
    }
}

impl Readiness {
    /// What is shown to whoever has these thresholds.
    pub fn ask(
        &mut self,
        criteria: &[Criterion],
        thresholds: Thresholds,
        now: Instant,
    ) -> Vec<Check> {
        let place = self.sets.iter().position(|set| set.thresholds == thresholds);
        let place = place.unwrap_or_else(|| {
            if self.sets.len() >= SETS_MAX {
                // The default is asked for by the node itself, so it is never the oldest.
                let oldest = self.sets.iter().enumerate().min_by_key(|(_, set)| set.asked);
                let oldest = oldest.map_or(0, |(place, _)| place);
                self.sets.swap_remove(oldest);
            }
            self.sets.push(Shown { thresholds, asked: now, criteria: BTreeMap::new() });
            self.sets.len() - 1
        });
        let set = &mut self.sets[place];
        set.asked = now;
        set.show(criteria, now)
    }

    /// Lets time pass for all who have asked.
    pub fn look(&mut self, criteria: &[Criterion], now: Instant) {
        for set in &mut self.sets {
            set.show(criteria, now);
        }
    }
}

impl Shown {
    fn show(&mut self, criteria: &[Criterion], now: Instant) -> Vec<Check> {
        let mut checks = Vec::new();
        for criterion in criteria {
            let mut check = criterion.check(self.thresholds);
            let good = check.good;
            let shown =
                self.criteria.entry(check.name).or_insert_with(|| Hysteresis::new(check.good));
            check.good = shown.on(check.good, now, criterion.periods());
            if good != check.good {
                check.words += if good { " (not for long yet)" } else { " (for a moment)" };
            }
            checks.push(check);
        }
        checks
    }
}

impl Hysteresis {
    /// Begins with what is so.
    #[must_use]
    pub const fn new(good: bool) -> Self {
        Self { shown: good, opposed: None }
    }

    /// What is shown now that this is so. The periods are those of rising and of falling.
    pub fn on(&mut self, good: bool, now: Instant, (rise, fall): (Duration, Duration)) -> bool {
        if good == self.shown {
            self.opposed = None;
            return self.shown;
        }
        let since = *self.opposed.get_or_insert(now);
        let period = if good { rise } else { fall };
        if now.saturating_duration_since(since) >= period {
            (self.shown, self.opposed) = (good, None);
        }
        self.shown
    }
}

impl Startup {
    /// Takes in what is left to do. Whether the node has started.
    pub fn on(&mut self, has_work: bool, now: Instant) -> bool {
        if has_work {
            self.settled = None;
        } else {
            let since = *self.settled.get_or_insert(now);
            self.done |= now.saturating_duration_since(since) >= SETTLE_PERIOD;
        }
        self.done
    }

    /// Whether the node has started.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn peers(connected: usize) -> Criterion {
        Criterion { name: "peers", measure: Measure::Peers { connected, wanted: 1, trouble: None } }
    }

    #[test]
    fn who_has_too_few_peers_says_why_as_far_as_is_known() {
        let trouble = Some("another genesis".to_owned());
        let measure = Measure::Peers { connected: 0, wanted: 1, trouble };
        let criterion = Criterion { name: "peers", measure };
        let words = criterion.check(Thresholds::default()).words;
        assert_eq!(words, "0 of at least 1; most recently: another genesis");
        let thresholds = Thresholds { peers_min: Some(0), ..Thresholds::default() };
        assert_eq!(criterion.check(thresholds).words, "0 of at least 0");
        assert_eq!(peers(0).check(Thresholds::default()).words, "0 of at least 1");
    }

    fn behind(blocks: u64) -> Criterion {
        let words = format!("{blocks} behind");
        Criterion { name: "sync", measure: Measure::Behind { blocks, words } }
    }

    /// What is shown second by second.
    fn shown(found: impl IntoIterator<Item = Criterion>) -> Vec<bool> {
        let (mut readiness, mut now) = (Readiness::default(), Instant::now());
        let show = |criterion| {
            let checks = readiness.ask(&[criterion], Thresholds::default(), now);
            now += seconds(1);
            checks[0].good
        };
        found.into_iter().map(show).collect()
    }

    #[test]
    fn a_peer_that_is_lost_for_a_moment_does_not_make_a_node_unready() {
        let gone_for = |count| [peers(1)].into_iter().chain((0..count).map(|_| peers(0)));
        assert!(shown(gone_for(10).chain([peers(1)])).iter().all(|good| *good));
        let longer = shown(gone_for(12));
        assert_eq!(longer.iter().position(|good| !good), Some(11), "{longer:?}");
    }

    #[test]
    fn who_comes_and_goes_all_the_time_does_not_make_it_flap() {
        for (begun, shift) in [(true, 1), (false, 0)] {
            let flapping = (0..60).map(|second| peers(usize::from(second % 3 != shift)));
            let shown = shown(flapping);
            assert!(shown.iter().all(|good| *good == begun), "{shown:?}");
        }
    }

    #[test]
    fn a_node_that_finds_a_peer_with_a_longer_chain_is_not_ready_in_between() {
        let (mut readiness, start) = (Readiness::default(), Instant::now());
        let mut good = Vec::new();
        for second in 0..30 {
            // The peer comes at 5, the sync begins a second later and lasts until 20.
            let criteria = [
                peers(usize::from(second >= 5)),
                behind(if (6..20).contains(&second) { 100 } else { 0 }),
            ];
            let now = start + seconds(second);
            let checks = readiness.ask(&criteria, Thresholds::default(), now);
            good.push(checks.iter().all(|check| check.good));
        }
        let first = good.iter().position(|good| *good);
        assert_eq!(first, Some(22), "{good:?}");
        assert!(good[22..].iter().all(|good| *good));
    }

    #[test]
    fn each_asks_with_thresholds_of_its_own() {
        let (mut readiness, now) = (Readiness::default(), Instant::now());
        let criteria = [peers(2), behind(4)];
        let mut good = |query: &str| {
            let thresholds = Thresholds::of_query(query).unwrap();
            let checks = readiness.ask(&criteria, thresholds, now);
            [checks[0].good, checks[1].good]
        };
        assert_eq!(good(""), [true, false]);
        assert_eq!(good("verbose&minPeers=3"), [false, false]);
        assert_eq!(good("maxBlocksBehind=4&minPeers=0"), [true, true]);
    }

    #[test]
    fn a_threshold_that_is_no_number_is_refused_and_not_repeated_at_length() {
        let error = Thresholds::of_query("minPeers=-1").unwrap_err().to_string();
        assert_eq!(error, "minPeers=-1 is no number");
        let long = format!("maxBlocksBehind={}", "x".repeat(10_000));
        assert!(Thresholds::of_query(&long).unwrap_err().to_string().len() < 100);
    }

    #[test]
    fn askers_without_end_take_no_memory_without_end_and_push_out_the_silent_one() {
        let (mut readiness, start) = (Readiness::default(), Instant::now());
        for number in 0..1_000 {
            let now = start + Duration::from_millis(number);
            let few = Thresholds { peers_min: usize::try_from(number).ok(), behind_max: None };
            readiness.ask(&[peers(1)], few, now);
            readiness.ask(&[peers(1)], Thresholds::default(), now);
        }
        assert_eq!(readiness.sets.len(), SETS_MAX);
        assert!(readiness.sets.iter().any(|set| set.thresholds == Thresholds::default()));
    }

    #[test]
    fn a_start_is_over_when_nothing_was_left_to_do_for_a_while_and_then_for_good() {
        let (mut startup, start) = (Startup::default(), Instant::now());
        let mut at = |second, has_work| startup.on(has_work, start + seconds(second));
        assert!(!at(0, false));
        assert!(!at(2, true), "there was more to do");
        assert!(!at(4, false));
        assert!(!at(6, false));
        assert!(at(7, false));
        assert!(at(8, true), "what comes later is no start");
    }
}
