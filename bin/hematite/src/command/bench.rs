//! `bench`: what this machine can do, and what share of its memory's limit that is.
//!
//! Figures of a shared machine move from minute to minute, so what is compared is measured in
//! turns, several times, and the median counts. Tables go to stdout, or JSON; everything else to
//! stderr.

pub mod charts;
pub mod compare;
mod getwork;
pub mod html;
pub mod machine;
mod measure;
pub mod plot;
pub mod report;
pub mod text;

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ethash::{
    Dataset, Effort, Epoch, Kernel, KernelError, LightCache, Obtained, Residence, Scratch, Store,
};
use eyre::{Result, WrapErr, ensure};

pub use self::report::Report;
use self::{
    machine::Machine,
    measure::{BATCHES, Meter, abandonable, watched},
    report::CacheGeneration,
};
use crate::{
    args::{BenchCommand, EthashArgs, HashrateArgs, MeasureArgs, ThreadList},
    exit::UsageError,
    signals,
};

/// Seconds for all numbers of threads together, so that everything takes about a minute.
const SECONDS_TOGETHER: u64 = 12;
/// Memory besides the dataset: the light cache comes on top.
const OTHER_MEMORY_BYTES: u64 = 64 << 20;

/// What to measure, and how.
struct Plan {
    search: bool,
    dag: bool,
    verify: bool,
    memory: bool,
    getwork: Option<String>,
    epoch: Epoch,
    kernel: Kernel,
    threads: Vec<usize>,
    length: Duration,
    dagdir: Option<PathBuf>,
}

/// Measures, prints, and writes the report. Ends well at SIGTERM and SIGINT, with what was
/// measured so far. What the command does not say, the flags of the node may.
///
/// # Errors
///
/// When something was asked for that does not exist, memory is missing, or the report cannot be
/// written.
pub fn run(command: &BenchCommand, node: &EthashArgs, out: &mut dyn Write) -> Result<()> {
    let (args, getwork) = match command {
        BenchCommand::Compare(args) => return compare::run(args, out),
        BenchCommand::Hashrate(HashrateArgs { measure, getwork }) => (measure, getwork.clone()),
        BenchCommand::Dag(args)
        | BenchCommand::Verify(args)
        | BenchCommand::Memory(args)
        | BenchCommand::All(args) => (args, None),
    };
    let machine = Machine::here();
    let all = matches!(command, BenchCommand::All(_));
    let plan = Plan {
        search: all || matches!(command, BenchCommand::Hashrate(_)),
        dag: all || matches!(command, BenchCommand::Dag(_)),
        verify: all || matches!(command, BenchCommand::Verify(_)),
        memory: matches!(command, BenchCommand::Memory(_)),
        getwork,
        ..Plan::new(args, node, &machine)?
    };
    plan.check_memory(&machine)?;
    if let Some(directory) = &args.report {
        report::prepare(directory)?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    signals::flag(&stop)?;
    let mut report = Report {
        epoch: plan.epoch.get(),
        dataset_bytes: plan.epoch.dataset_bytes(),
        kernel: plan.kernel.name().to_owned(),
        seconds: plan.length.as_secs(),
        ..Report::new(machine)
    };
    for note in &report.notes {
        tracing::warn!("{note}");
    }
    let outcome = plan.measure(&mut report, &stop);
    report.interrupted = stop.load(Ordering::Relaxed);
    if report.interrupted {
        tracing::info!("Interrupted; this is what was measured so far");
        report.notes.push("This run was interrupted: what is missing was not measured.".to_owned());
    }
    // What was measured is worth something even if something later failed.
    if !report.is_empty() {
        print(&report, args, out)?;
    }
    outcome
}

fn print(report: &Report, args: &MeasureArgs, out: &mut dyn Write) -> Result<()> {
    let text = if args.json == Some(true) { report.to_json()? } else { text::report(report) };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).wrap_err("cannot write to stdout")?;
    if let Some(directory) = &args.report {
        report.write(directory)?;
        tracing::info!(directory = %directory.display(), "Wrote report.json, report.html and report.svg");
    }
    Ok(())
}

impl Plan {
    fn new(args: &MeasureArgs, node: &EthashArgs, machine: &Machine) -> Result<Self> {
        let usage = |text: String| eyre::Report::new(UsageError(text));
        let kernel = match args.kernel.as_ref().or(node.ethash_kernel.as_ref()) {
            Some(name) => name.parse().map_err(|error: KernelError| usage(error.to_string()))?,
            None => Kernel::best(),
        };
        let available = Kernel::available();
        ensure!(
            available.contains(&kernel),
            UsageError(KernelError::Unavailable { kernel, available }.to_string())
        );
        let threads = match &args.threads {
            Some(list) => list.counts(machine.threads),
            None => ThreadList::doubling(machine.threads),
        };
        ensure!(
            !threads.is_empty(),
            UsageError(format!("--threads names none: only {} may be used here", machine.threads))
        );
        let shared = (SECONDS_TOGETHER / threads.len() as u64).clamp(2, 5);
        Ok(Self {
            search: false,
            dag: false,
            verify: false,
            memory: false,
            getwork: None,
            epoch: Epoch::new(args.epoch),
            kernel,
            threads,
            length: Duration::from_secs(args.seconds.unwrap_or(shared)),
            dagdir: args.dagdir.as_ref().or(node.ethash_dagdir.as_ref()).cloned(),
        })
    }

    /// A control group that has too little would have the process killed in the middle.
    fn check_memory(&self, machine: &Machine) -> Result<()> {
        let cache = self.epoch.cache_bytes();
        let dataset = self.epoch.dataset_bytes();
        let needs_dataset = self.memory || self.dag || (self.search && self.getwork.is_none());
        let needed = OTHER_MEMORY_BYTES + cache + if needs_dataset { dataset } else { 0 };
        let Some((usable, why)) = machine.memory_usable() else { return Ok(()) };
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        ensure!(
            needed <= usable,
            "epoch {} needs {} MiB of memory ({} for its dataset), and {why} is {} MiB; \
             choose a lower --epoch or give the process more",
            self.epoch.get(),
            mib(needed),
            mib(dataset),
            usable >> 20,
        );
        Ok(())
    }

    fn measure(&self, report: &mut Report, stop: &AtomicBool) -> Result<()> {
        if self.memory {
            return self.measure_memory(report, stop);
        }
        let (epoch, kernel) = (self.epoch, self.kernel);
        let started = Instant::now();
        let cache = abandonable(stop, move || LightCache::generate_with(epoch, kernel))?;
        let Some(cache) = cache else { return Ok(()) };
        let cache = cache.map_err(|error| UsageError(error.to_string()))?;
        report.cache = Some(CacheGeneration { seconds: started.elapsed().as_secs_f64() });
        if let Some(address) = &self.getwork {
            report.getwork = getwork::measure(address, cache, self.length, stop)?;
            return Ok(());
        }
        let mut dataset = None;
        if self.dag {
            dataset = self.measure_dag(report, &cache, stop)?;
        }
        if self.search && !stop.load(Ordering::Relaxed) {
            self.measure_search(report, &cache, dataset, stop)?;
        }
        if self.verify && !stop.load(Ordering::Relaxed) {
            self.measure_verify(report, &cache, stop)?;
        }
        Ok(())
    }

    fn measure_memory(&self, report: &mut Report, stop: &AtomicBool) -> Result<()> {
        let bytes = self.epoch.dataset_bytes();
        let Some(scratch) = abandonable(stop, move || Scratch::new(bytes))? else { return Ok(()) };
        let scratch = scratch?;
        let total = measure::memory_time(self.length) * self.threads.len() as u32;
        let mut meter = Meter::new("Measuring memory", total, stop);
        for &threads in &self.threads {
            let rate = measure::memory(&mut meter, &scratch, bytes, threads, self.length)?;
            let Some(rate) = rate else { break };
            let ceiling = text::hashes(rate.hashes_per_second);
            tracing::info!(threads, %ceiling, "Measured memory");
            report.ceiling.push(rate);
        }
        meter.finish();
        Ok(())
    }

    /// Returns the last dataset. There is never more than one at a time.
    fn measure_dag(
        &self,
        report: &mut Report,
        cache: &LightCache,
        stop: &AtomicBool,
    ) -> Result<Option<Dataset>> {
        let mut last = None;
        for &threads in &self.threads {
            drop(last.take());
            let made = measure::dag(cache, threads, self.length, stop)?;
            let Some((generation, dataset)) = made else { return Ok(None) };
            tracing::info!(threads, time = %text::seconds(generation.seconds), "Generated DAG");
            report.dag.push(generation);
            last = Some(dataset);
        }
        Ok(last)
    }

    fn measure_search(
        &self,
        report: &mut Report,
        cache: &LightCache,
        made: Option<Dataset>,
        stop: &AtomicBool,
    ) -> Result<()> {
        let dataset = match (&self.dagdir, made) {
            (Some(directory), made) => {
                drop(made);
                stored(directory, cache, report.machine.threads, stop)?
            }
            (None, Some(made)) => Some(made),
            (None, None) => {
                let threads = report.machine.threads;
                measure::dag(cache, threads, Duration::ZERO, stop)?.map(|(_, dataset)| dataset)
            }
        };
        let Some(dataset) = dataset else { return Ok(()) };
        let total = measure::hashrate_time(self.length) * self.threads.len() as u32;
        let mut meter = Meter::new("Measuring search", total, stop);
        for &threads in &self.threads {
            let rates = measure::hashrate(&mut meter, &dataset, cache, threads, self.length)?;
            let Some((search, ceiling)) = rates else { break };
            tracing::info!(
                threads,
                hashrate = %text::hashes(search.hashes_per_second),
                ceiling = %text::hashes(ceiling.hashes_per_second),
                share = %text::percent(search.percent_of_ceiling),
                "Measured search"
            );
            report.hashrate.push(search);
            report.ceiling.push(ceiling);
        }
        meter.finish();
        Ok(())
    }

    fn measure_verify(
        &self,
        report: &mut Report,
        cache: &LightCache,
        stop: &AtomicBool,
    ) -> Result<()> {
        let mut meter =
            Meter::new("Measuring verification", self.length * self.threads.len() as u32, stop);
        let each = self.length / BATCHES.len() as u32;
        for (&threads, batch) in self.threads.iter().flat_map(|it| BATCHES.map(|batch| (it, batch)))
        {
            let Some(rate) = measure::verify(&mut meter, cache, threads, batch, each)? else {
                break;
            };
            report.verify.push(rate);
        }
        meter.finish();
        if let Some(best) = report.best_verification() {
            let rate = text::per_second(best.headers_per_second);
            tracing::info!(threads = best.threads, batch = best.batch, %rate, "Measured verification");
        }
        Ok(())
    }
}

/// The dataset of a file, made first if there is none.
fn stored(
    directory: &Path,
    cache: &LightCache,
    threads: usize,
    stop: &AtomicBool,
) -> Result<Option<Dataset>> {
    let store = Store::new(directory.to_owned(), Vec::new());
    let items = cache.dataset_bytes() / 64;
    let counter = ethash::Progress::new(items);
    let obtained = watched("Preparing DAG", &counter, items, || {
        let notice = &mut |notice| tracing::warn!("{notice}");
        let effort = Effort::new(threads, &counter, stop);
        store.obtain(cache, Residence::Private, effort, notice)
    });
    let Some(Obtained { dataset, unsaved, .. }) = obtained? else { return Ok(None) };
    // Now and not in the background: writing would share the memory that is measured.
    if let Some(unsaved) = unsaved
        && let Err(error) = unsaved.save(&dataset, stop)
    {
        tracing::warn!(%error, "Could not keep the DAG");
    }
    Ok(Some(dataset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    fn machine() -> Machine {
        Machine { threads: 2, memory: 4 << 30, memory_available: 4 << 30, ..Machine::default() }
    }

    fn plan(args: &MeasureArgs) -> Result<Plan> {
        let plan = Plan::new(args, &EthashArgs::default(), &machine())?;
        Ok(Plan { search: true, ..plan })
    }

    fn error(args: &MeasureArgs) -> (ExitCode, String) {
        let error = plan(args).err().expect("it is refused");
        (ExitCode::of(&error), format!("{error:#}"))
    }

    #[test]
    fn threads_are_those_of_the_machine_unless_said() {
        let of = |threads: &str| {
            let threads = (!threads.is_empty()).then(|| threads.parse().unwrap());
            let plan = plan(&MeasureArgs { threads, ..MeasureArgs::default() }).unwrap();
            (plan.threads, plan.length.as_secs())
        };
        assert_eq!(of(""), (vec![1, 2], 5));
        assert_eq!(of("1..8"), (vec![1, 2, 3, 4, 5, 6, 7, 8], 2));
        let none = MeasureArgs { threads: Some("3..N".parse().unwrap()), ..MeasureArgs::default() };
        assert_eq!(error(&none).0, ExitCode::Usage);
    }

    #[test]
    fn an_unknown_kernel_is_told_of_the_others() {
        let kernel = Some("mmx".to_owned());
        let (code, text) = error(&MeasureArgs { kernel, ..MeasureArgs::default() });
        assert_eq!(code, ExitCode::Usage);
        assert!(text.contains("mmx") && text.contains("portable"), "{text}");
    }

    #[test]
    fn a_dataset_that_does_not_fit_is_refused_with_its_size_and_the_limit() {
        let late = plan(&MeasureArgs { epoch: 500, ..MeasureArgs::default() }).unwrap();
        let text = late.check_memory(&machine()).unwrap_err().to_string();
        assert!(text.contains("epoch 500") && text.contains("4096 MiB"), "{text}");
        assert!(text.contains("5024 for its dataset"), "{text}");
        let limited = Machine { memory_limit: Some(1 << 30), ..machine() };
        let first = plan(&MeasureArgs::default()).unwrap();
        let text = first.check_memory(&limited).unwrap_err().to_string();
        assert!(text.contains("limit of its control group is 1024 MiB"), "{text}");
        assert!(first.check_memory(&machine()).is_ok());
        assert!(first.check_memory(&Machine::default()).is_ok(), "unknown is no refusal");
        let getwork = Plan { getwork: Some("[::]:0".to_owned()), ..first };
        assert!(getwork.check_memory(&limited).is_ok());
    }
}
