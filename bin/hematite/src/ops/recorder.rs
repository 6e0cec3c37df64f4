//! Where counters, gauges and histograms of all parts come together.
//!
//! Whoever counts holds an atomic number: a scrape never makes him wait. What is kept does not
//! grow with what happens: a histogram is its buckets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString,
    Unit,
};

use super::exposition::{Family, Kind, Sample, number};

/// Numbers in all; labels come from closed sets, so there are a few hundred.
const CELLS_MAX: usize = 4_096;
/// Bounds of what takes time, in seconds.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_3, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 60.0,
];
/// Bounds of what is counted.
const COUNTS: [f64; 10] = [1.0, 2.0, 3.0, 5.0, 7.0, 16.0, 32.0, 64.0, 128.0, 1_024.0];

/// All metrics of this process.
static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

/// What parts of the node count.
#[derive(Debug, Default)]
pub struct Registry {
    /// Some look up their number whenever they count, so that must be cheap.
    cells: RwLock<HashMap<Key, Cell>>,
    helps: Mutex<HashMap<String, String>>,
}

/// The numbers of one name, by their labels in the order of the alphabet.
type Series = BTreeMap<Vec<(String, String)>, Cell>;

/// One number, or one distribution.
#[derive(Debug, Clone)]
enum Cell {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// How often values fell below each bound.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One more than there are bounds: the last holds what is above all.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// A distribution as it was at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

/// Collects what all parts of this process count from now on. Parts that began before are not
/// heard.
pub fn install() -> &'static Registry {
    let registry: &'static Registry = &REGISTRY;
    if metrics::set_global_recorder(registry).is_err() {
        tracing::trace!("Metrics are collected already");
    }
    registry
}

impl Registry {
    fn describe(&self, key: &KeyName, help: &SharedString) {
        let mut helps = self.helps.lock().unwrap_or_else(PoisonError::into_inner);
        helps.insert(spelled(key.as_str()), help.to_string());
    }

    /// The number of a key; `None` if there are too many.
    fn cell(&self, key: &Key, make: impl FnOnce() -> Cell) -> Option<Cell> {
        if let Some(cell) = self.cells().get(key) {
            return Some(cell.clone());
        }
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= CELLS_MAX && !cells.contains_key(key) {
            return None;
        }
        Some(cells.entry(key.clone()).or_insert_with(make).clone())
    }

    fn cells(&self) -> RwLockReadGuard<'_, HashMap<Key, Cell>> {
        self.cells.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything as it is now.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let mut names: BTreeMap<String, Series> = BTreeMap::new();
        for (key, cell) in &*self.cells() {
            let label = |label: &Label| (label.key().to_owned(), label.value().to_owned());
            let mut labels: Vec<_> = key.labels().map(label).collect();
            labels.sort();
            names.entry(spelled(key.name())).or_default().insert(labels, cell.clone());
        }
        let helps = self.helps.lock().unwrap_or_else(PoisonError::into_inner);
        let help = |name: &str| helps.get(name).map_or("", String::as_str);
        names.iter().map(|(name, series)| family(name, help(name), series)).collect()
    }

    /// The sum of all counters or gauges of a name that have all of these labels; `None` if there
    /// is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |key: &Key, wanted: &(&str, &str)| {
            key.labels().any(|label| (label.key(), label.value()) == *wanted)
        };
        let cells = self.cells();
        let found = cells.iter().filter(|(key, _)| {
            spelled(key.name()) == name && labels.iter().all(|label| has(key, label))
        });
        found.filter_map(|(_, cell)| cell.value()).reduce(|sum, value| sum + value)
    }

    /// The distributions of a name, put together.
    #[must_use]
    pub fn distribution(&self, name: &str) -> Option<Distribution> {
        let cells = self.cells();
        let found = cells.iter().filter(|(key, _)| spelled(key.name()) == name);
        found.filter_map(|(_, cell)| cell.distribution()).reduce(Distribution::plus)
    }
}

/// A name as Prometheus takes it: parts put a dot after the name of their crate.
fn spelled(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}

fn family(name: &str, help: &str, series: &Series) -> Family {
    let kind = match series.values().next() {
        Some(Cell::Counter(_)) => Kind::Counter,
        Some(Cell::Gauge(_)) | None => Kind::Gauge,
        Some(Cell::Histogram(_)) => Kind::Histogram,
    };
    let mut family = Family::new(name, help, kind);
    for (labels, cell) in series {
        match (cell.value(), cell.distribution()) {
            (Some(value), _) => {
                family.samples.push(Sample { suffix: "", labels: labels.clone(), value });
            }
            (None, Some(distribution)) => distribution.write(labels, &mut family.samples),
            (None, None) => {}
        }
    }
    family
}

impl Cell {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Counter(count) => Some(count.load(Ordering::Relaxed) as f64),
            Self::Gauge(bits) => Some(f64::from_bits(bits.load(Ordering::Relaxed))),
            Self::Histogram(_) => None,
        }
    }

    fn distribution(&self) -> Option<Distribution> {
        match self {
            Self::Histogram(buckets) => Some(Distribution {
                bounds: buckets.bounds,
                counts: buckets.counts.iter().map(|n| n.load(Ordering::Relaxed)).collect(),
                sum: f64::from_bits(buckets.sum.load(Ordering::Relaxed)),
            }),
            Self::Counter(_) | Self::Gauge(_) => None,
        }
    }
}

impl Buckets {
    /// Names end in their unit.
    fn of(name: &str) -> Self {
        let bounds: &'static [f64] = if name.ends_with("_seconds") { &SECONDS } else { &COUNTS };
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        let times = u64::try_from(count).unwrap_or(u64::MAX);
        self.counts[place].fetch_add(times, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value * count as f64).to_bits());
        let added = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.expect("there is always a new sum");
    }
}

impl Distribution {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value below which this share of all values is, as well as the buckets tell.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.count() as f64;
        let mut below = 0.0;
        for (index, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                let low = index.checked_sub(1).map_or(0.0, |index| self.bounds[index]);
                let high = self.bounds.get(index).copied().unwrap_or(low);
                return low + (high - low) * ((wanted - below) / count).clamp(0.0, 1.0);
            }
            below += count;
        }
        0.0
    }

    fn plus(mut self, other: Self) -> Self {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
        self
    }

    fn write(&self, labels: &[(String, String)], samples: &mut Vec<Sample>) {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut below = 0;
        for (bound, count) in bounds.zip(&self.counts) {
            below += count;
            let mut labels = labels.to_vec();
            labels.push(("le".to_owned(), number(bound)));
            samples.push(Sample { suffix: "_bucket", labels, value: below as f64 });
        }
        let labels = labels.to_vec();
        samples.push(Sample { suffix: "_sum", labels: labels.clone(), value: self.sum });
        samples.push(Sample { suffix: "_count", labels, value: below as f64 });
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&key, &help);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&key, &help);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&key, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.cell(key, || Cell::Counter(Arc::default())) {
            Some(Cell::Counter(count)) => Counter::from_arc(count),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.cell(key, || Cell::Gauge(Arc::default())) {
            Some(Cell::Gauge(bits)) => Gauge::from_arc(bits),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.cell(key, || Cell::Histogram(Arc::new(Buckets::of(key.name())))) {
            Some(Cell::Histogram(buckets)) => Histogram::from_arc(buckets),
            _ => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::Level;

    use super::{super::exposition::render, *};

    const PLACE: Metadata<'static> = Metadata::new("here", Level::INFO, None);

    fn key(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
        Key::from_parts(name, labels)
    }

    #[test]
    fn what_is_counted_is_shown_with_its_help() {
        let registry = Registry::default();
        registry.describe_counter("a_total".into(), None, "As.".into());
        let one = registry.register_counter(&key("a_total", &[("x", "1")]), &PLACE);
        registry.register_counter(&key("a_total", &[("x", "2")]), &PLACE).increment(5);
        one.increment(2);
        registry.register_gauge(&key("b", &[]), &PLACE).set(-1.5);
        let expected = "# HELP a_total As.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n\
                        a_total{x=\"2\"} 5\n# TYPE b gauge\nb -1.5\n";
        assert_eq!(render(registry.families()), expected);
        assert_eq!(registry.sum("a_total", &[]), Some(7.0));
        assert_eq!(registry.sum("a_total", &[("x", "2")]), Some(5.0));
        assert_eq!(registry.sum("a_total", &[("x", "3")]), None);
    }

    #[test]
    fn names_are_spelled_as_prometheus_takes_them() {
        let registry = Registry::default();
        registry.describe_counter("chain.blocks_total".into(), None, "Blocks.".into());
        registry.register_counter(&key("chain.blocks_total", &[]), &PLACE).increment(3);
        let text = render(registry.families());
        assert!(text.starts_with("# HELP chain_blocks_total Blocks.\n"), "{text}");
        assert!(text.ends_with("\nchain_blocks_total 3\n"), "{text}");
        assert_eq!(registry.sum("chain_blocks_total", &[]), Some(3.0));
    }

    #[test]
    fn buckets_hold_all_that_is_at_most_their_bound() {
        let registry = Registry::default();
        let reorgs = registry.register_histogram(&key("reorg_blocks", &[]), &PLACE);
        reorgs.record(1.0);
        reorgs.record_many(7.0, 2);
        reorgs.record(5_000.0);
        let text = render(registry.families());
        let lines = [
            "# TYPE reorg_blocks histogram",
            "reorg_blocks_bucket{le=\"1\"} 1",
            "reorg_blocks_bucket{le=\"5\"} 1",
            "reorg_blocks_bucket{le=\"7\"} 3",
            "reorg_blocks_bucket{le=\"1024\"} 3",
            "reorg_blocks_bucket{le=\"+Inf\"} 4",
            "reorg_blocks_sum 5015",
            "reorg_blocks_count 4",
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn quantiles_lie_within_their_bucket_and_of_nothing_are_nothing() {
        let registry = Registry::default();
        let name = "rpc_request_seconds";
        assert_eq!(registry.distribution(name), None);
        let eth = registry.register_histogram(&key(name, &[("method", "a")]), &PLACE);
        let net = registry.register_histogram(&key(name, &[("method", "b")]), &PLACE);
        assert_eq!(registry.distribution(name).unwrap().quantile(0.5), 0.0);
        eth.record_many(0.02, 90);
        net.record_many(2.0, 10);
        let both = registry.distribution(name).unwrap();
        assert_eq!(both.count(), 100);
        assert!((0.01..=0.025).contains(&both.quantile(0.5)));
        assert!((1.0..=2.5).contains(&both.quantile(0.99)));
    }

    #[test]
    fn labels_without_end_take_no_memory_without_end() {
        let registry = Registry::default();
        for number in 0..2 * CELLS_MAX {
            let key = Key::from_parts("a", vec![Label::new("x", number.to_string())]);
            registry.register_counter(&key, &PLACE).increment(1);
        }
        assert_eq!(registry.families()[0].samples.len(), CELLS_MAX);
    }
}
