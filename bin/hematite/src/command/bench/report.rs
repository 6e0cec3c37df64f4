//! What was measured: the form of `report.json`, and the files of a report.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use eyre::{Result, WrapErr, ensure};
use serde::{Deserialize, Serialize};

use super::{charts, html, machine::Machine};

/// Most bytes that are read of a report.
const REPORT_BYTES_MAX: u64 = 16 << 20;
/// Most rows of one kind in a report of others.
const ROWS_MAX: usize = 1_024;
/// Most values of a rate over time that are kept; neighbours are averaged beyond.
const SAMPLES_MAX: usize = 600;

/// What was measured on one machine. The names of the fields are a contract with scripts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this program.
    pub version: String,
    /// When the measurements began, in seconds since 1970.
    #[serde(default)]
    pub started: u64,
    /// The epoch of the DAG.
    #[serde(default)]
    pub epoch: u64,
    /// Bytes of its dataset.
    #[serde(default)]
    pub dataset_bytes: u64,
    /// The instructions that the loops were compiled for.
    #[serde(default)]
    pub kernel: String,
    /// Seconds of each measurement.
    #[serde(default)]
    pub seconds: u64,
    /// Whether it was ended before all was measured.
    #[serde(default)]
    pub interrupted: bool,
    /// What a reader must know to trust the figures.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What it was measured on.
    pub machine: Machine,
    /// The search, by threads.
    pub hashrate: Vec<Rate>,
    /// What the memory could deliver at most, by threads, in the same rounds.
    pub ceiling: Vec<Rate>,
    /// Generations of the dataset, by threads.
    pub dag: Vec<Generation>,
    /// Checks of proofs of work without a dataset, by threads and batch.
    pub verify: Vec<Verification>,
    /// The generation of the light cache.
    #[serde(default)]
    pub cache: Option<CacheGeneration>,
    /// Another miner, measured by its solutions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub getwork: Option<Miner>,
}

/// A rate of hashes over several rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Threads at work.
    pub threads: usize,
    /// The median of the rounds.
    pub hashes_per_second: f64,
    /// What the memory lay on: `huge-transparent`, `huge-explicit`, `huge-partly`,
    /// `small`, `file` or `unknown`
    pub pages: String,
    /// The instructions used.
    pub kernel: String,
    /// The slowest round.
    #[serde(default)]
    pub min: f64,
    /// The fastest round.
    #[serde(default)]
    pub max: f64,
    /// The rate over 100 ms that 5 % of the time lies below.
    #[serde(default)]
    pub p5: f64,
    /// The rate over 100 ms that half of the time lies below.
    #[serde(default)]
    pub p50: f64,
    /// The rate over 100 ms that 95 % of the time lies below.
    #[serde(default)]
    pub p95: f64,
    /// The share of the ceiling, in percent: the median of the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent_of_ceiling: Option<f64>,
    /// How many reads ahead a page was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<usize>,
    /// Each round.
    #[serde(default)]
    pub rounds: Vec<f64>,
    /// The rates over 100 ms, in order.
    #[serde(default)]
    pub samples: Vec<f64>,
}

/// Generations of a dataset, each in fresh memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Threads at work.
    pub threads: usize,
    /// The median of them, in seconds.
    pub seconds: f64,
    /// The epoch.
    pub epoch: u64,
    /// Items of 64 bytes per second.
    #[serde(default)]
    pub items_per_second: f64,
    /// The instructions used.
    #[serde(default)]
    pub kernel: String,
    /// How many there were.
    #[serde(default)]
    pub runs: usize,
}

/// Checks of proofs of work of new headers, without a dataset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Threads at work.
    pub threads: usize,
    /// Headers checked together.
    pub batch: usize,
    /// Headers checked per second, by all threads.
    pub headers_per_second: f64,
    /// The instructions used.
    #[serde(default)]
    pub kernel: String,
}

/// The generation of a light cache, on one thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheGeneration {
    /// How long it took.
    pub seconds: f64,
}

/// Another miner, measured by the solutions that it found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Miner {
    /// Where it got its work.
    pub address: String,
    /// How long solutions were counted, in seconds.
    pub seconds: f64,
    /// How hard each was: hashes that a solution takes on average.
    pub difficulty: u64,
    /// Valid solutions.
    pub solutions: u64,
    /// Solutions that were wrong.
    pub invalid: u64,
    /// Solutions that came again, or for work that nobody remembers.
    pub stale: u64,
    /// The estimate.
    pub hashes_per_second: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end of its 95 % interval.
    pub high: f64,
    /// What the miner said by `eth_submitHashrate`, all its names together.
    pub claimed: Option<f64>,
}

impl Report {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: since_1970.as_secs(),
            notes: notes(&machine),
            machine,
            ..Self::default()
        }
    }

    /// Whether nothing was measured.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hashrate.is_empty()
            && self.ceiling.is_empty()
            && self.dag.is_empty()
            && self.verify.is_empty()
            && self.getwork.is_none()
    }

    /// The ceiling that was measured in the same rounds.
    #[must_use]
    pub fn ceiling_of(&self, threads: usize) -> Option<&Rate> {
        self.ceiling.iter().find(|rate| rate.threads == threads)
    }

    /// The search on the most threads.
    #[must_use]
    pub fn top(&self) -> Option<&Rate> {
        self.hashrate.iter().max_by_key(|rate| rate.threads)
    }

    /// The fastest checks of proofs of work.
    #[must_use]
    pub fn best_verification(&self) -> Option<&Verification> {
        self.verify.iter().max_by(|a, b| a.headers_per_second.total_cmp(&b.headers_per_second))
    }

    /// The shortest generation of the dataset.
    #[must_use]
    pub fn best_generation(&self) -> Option<&Generation> {
        self.dag.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }

    /// The report as JSON, with a newline at its end.
    ///
    /// # Errors
    ///
    /// None in practice: all keys are words and all numbers finite.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// A report that this program wrote: the file, or `report.json` in the directory.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is something else; the text says which file and what is missing.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
        let shown = path.display();
        let file = File::open(&path).wrap_err_with(|| format!("cannot read {shown}"))?;
        let bytes = file.metadata().wrap_err_with(|| format!("cannot read {shown}"))?.len();
        ensure!(bytes <= REPORT_BYTES_MAX, "{shown} is no report of `bench`: it is over 16 MiB");
        let text = fs::read_to_string(&path).wrap_err_with(|| format!("cannot read {shown}"))?;
        Self::parse(&text).wrap_err_with(|| format!("{shown} is no report of `bench all --report`"))
    }

    fn parse(text: &str) -> Result<Self> {
        let report: Self = serde_json::from_str(text)?;
        let rows = [
            report.hashrate.len(),
            report.ceiling.len(),
            report.dag.len(),
            report.verify.len(),
            report.notes.len(),
        ];
        let most = rows.into_iter().max().unwrap_or(0);
        ensure!(most <= ROWS_MAX, "it has {most} rows of one kind; at most {ROWS_MAX} make sense");
        Ok(report)
    }

    /// Writes `report.json`, `report.html` and `report.svg`, each whole or not at all.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        write_whole(&directory.join("report.json"), &self.to_json()?)?;
        write_whole(&directory.join("report.html"), &html::page(self))?;
        write_whole(&directory.join("report.svg"), &charts::picture(self))
    }
}

/// Makes a directory, and tries it out: that it cannot be written to should show before minutes of
/// measuring.
///
/// # Errors
///
/// When it cannot be made or written to.
pub fn prepare(directory: &Path) -> Result<()> {
    let failed = || format!("cannot write a report to {}", directory.display());
    fs::create_dir_all(directory).wrap_err_with(failed)?;
    let probe = temporary(&directory.join("report.json"));
    File::create(&probe).wrap_err_with(failed)?;
    fs::remove_file(&probe).wrap_err_with(failed)
}

/// Writes a file under another name first, so that nobody sees half of it.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_whole(path: &Path, content: &str) -> Result<()> {
    let temporary = temporary(path);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write()
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn notes(machine: &Machine) -> Vec<String> {
    let mut notes = Vec::new();
    if machine.busy {
        notes.push(format!(
            "The machine was busy when the measurements began (load {:.2} on {}): the figures are \
             lower than it could do.",
            machine.load.first().copied().unwrap_or_default(),
            super::machine::threads(machine.threads),
        ));
    }
    if let Some(quota) = machine.quota.filter(|quota| *quota < machine.threads as f64) {
        notes.push(format!(
            "A control group limits this process to {quota} cores: rates are what is left of \
             bursts and pauses."
        ));
    }
    if machine.huge_pages.transparent == "never" && machine.huge_pages.explicit_free == 0 {
        notes.push(
            "Huge pages are switched off: random reads wait for the page tables too. Writing \
             madvise to /sys/kernel/mm/transparent_hugepage/enabled helps."
                .to_owned(),
        );
    }
    notes
}

/// The value in the middle; of an even number the mean of the two. Zero of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The value that so many percent of the others lie below, interpolated. Zero of none.
#[must_use]
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = last as f64 * percent / 100.0;
    let below = sorted[at.floor() as usize];
    let above = sorted[at.ceil() as usize];
    below + (above - below) * at.fract()
}

/// So many values at most, each the mean of neighbours.
#[must_use]
pub fn thinned(values: &[f64]) -> Vec<f64> {
    let group = values.len().div_ceil(SAMPLES_MAX).max(1);
    values.chunks(group).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::command::bench::machine::HugePages;

    /// A machine with a name that wants to be escaped.
    fn machine() -> Machine {
        Machine {
            cpu: "AMD <EPYC> & \"friends\"".to_owned(),
            architecture: "x86_64".to_owned(),
            cores: 4,
            threads: 2,
            quota: None,
            memory_limit: Some(4 << 30),
            memory: 8 << 30,
            memory_available: 7 << 30,
            kernel: "Linux 6.18.0".to_owned(),
            huge_pages: HugePages {
                transparent: "madvise".to_owned(),
                explicit_free: 0,
                explicit_bytes: 2 << 20,
            },
            load: vec![0.02, 0.1, 0.2],
            busy: false,
            virtual_machine: true,
        }
    }

    /// Fixed figures.
    pub(in crate::command::bench) fn sample() -> Report {
        let rate = |threads, hashes_per_second: f64, percent_of_ceiling| Rate {
            threads,
            hashes_per_second,
            pages: "huge-transparent".to_owned(),
            kernel: "avx512".to_owned(),
            min: hashes_per_second * 0.97,
            max: hashes_per_second * 1.01,
            p5: hashes_per_second * 0.95,
            p50: hashes_per_second,
            p95: hashes_per_second * 1.02,
            percent_of_ceiling,
            ahead: percent_of_ceiling.is_none().then_some(96),
            rounds: vec![hashes_per_second; 3],
            samples: (0..30)
                .map(|at| hashes_per_second * (0.95 + f64::from(at % 7) / 100.0))
                .collect(),
        };
        let generation = |threads, seconds: f64| Generation {
            threads,
            seconds,
            epoch: 0,
            items_per_second: 16_777_186.0 / seconds,
            kernel: "avx512".to_owned(),
            runs: 1,
        };
        let verification = |threads: usize, batch: usize| Verification {
            threads,
            batch,
            headers_per_second: threads as f64 * 1_200.0 * batch.min(16) as f64,
            kernel: "avx512".to_owned(),
        };
        let batches = [1, 4, 16, 32, 64, 128];
        Report {
            version: "0.1.0".to_owned(),
            started: 1_700_000_000,
            epoch: 0,
            dataset_bytes: 1_073_739_904,
            kernel: "avx512".to_owned(),
            seconds: 5,
            interrupted: false,
            notes: vec!["A note with <b>markup</b>.".to_owned()],
            machine: machine(),
            hashrate: vec![rate(1, 3.4e6, Some(81.0)), rate(2, 6.6e6, Some(83.5))],
            ceiling: vec![rate(1, 4.2e6, None), rate(2, 7.9e6, None)],
            dag: vec![generation(1, 5.25), generation(2, 2.75)],
            verify: [1, 2]
                .iter()
                .flat_map(|&threads| batches.map(|batch| verification(threads, batch)))
                .collect(),
            cache: Some(CacheGeneration { seconds: 0.27 }),
            getwork: None,
        }
    }

    #[test]
    fn json_has_the_keys_of_the_contract() {
        let json: serde_json::Value = serde_json::from_str(&sample().to_json().unwrap()).unwrap();
        for rates in ["hashrate", "ceiling"] {
            for key in ["threads", "hashes_per_second", "pages", "kernel"] {
                assert!(!json[rates][0][key].is_null(), "{rates} {key}");
            }
        }
        for key in ["threads", "seconds", "epoch"] {
            assert!(json["dag"][0][key].is_number(), "{key}");
        }
        for key in ["threads", "batch", "headers_per_second"] {
            assert!(json["verify"][0][key].is_number(), "{key}");
        }
        for key in ["cpu", "kernel", "memory", "huge_pages", "threads", "load"] {
            assert!(!json["machine"][key].is_null(), "{key}");
        }
        assert_eq!(json["version"], "0.1.0");
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let report = sample();
        report.write(folder.path()).unwrap();
        assert_eq!(Report::read(folder.path()).unwrap(), report);
        assert_eq!(Report::read(&folder.path().join("report.json")).unwrap(), report);
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["report.html", "report.json", "report.svg"]);
    }

    #[test]
    fn what_is_no_report_is_refused_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |content: &str| {
            let path = folder.path().join("other.json");
            fs::write(&path, content).unwrap();
            format!("{:#}", Report::read(&path).unwrap_err())
        };
        assert!(refusal("{}").contains("missing field `version`"), "{}", refusal("{}"));
        assert!(refusal("{}").contains("other.json"));
        assert!(refusal("[1]").contains("is no report"));
        assert!(refusal("").contains("EOF"));
        let no_machine = "{\"version\": \"1\", \"hashrate\": []}";
        assert!(refusal(no_machine).contains("missing field `machine`"));
        let rows = vec![r#"{"threads":1,"seconds":1,"epoch":0}"#; ROWS_MAX + 1].join(",");
        let long = format!(
            r#"{{"version":"1","machine":{{}},"hashrate":[],"ceiling":[],"verify":[],"dag":[{rows}]}}"#
        );
        assert!(refusal(&long).contains("1025 rows"), "{}", refusal(&long));
    }

    #[test]
    fn a_directory_that_cannot_be_written_shows_before_measuring() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = prepare(&file).unwrap_err();
        assert_eq!(crate::exit::ExitCode::of(&error), crate::exit::ExitCode::Io, "{error:#}");
        prepare(&folder.path().join("new/deep")).unwrap();
    }

    #[test]
    fn percentiles_are_interpolated() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!((median(&values), percentile(&values, 0.0)), (2.5, 1.0));
        assert_eq!((percentile(&values, 100.0), median(&[])), (4.0, 0.0));
        assert_eq!(median(&[3.0, 9.0, 5.0]), 5.0);
    }

    #[test]
    fn long_series_are_thinned_to_means() {
        assert_eq!(thinned(&[1.0, 2.0]), [1.0, 2.0]);
        let long: Vec<f64> = (0..1_200).map(f64::from).collect();
        assert_eq!(thinned(&long).len(), SAMPLES_MAX);
        assert_eq!(thinned(&long)[1], 2.5);
    }
}
