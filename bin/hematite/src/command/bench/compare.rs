//! `bench compare`: one page of several machines.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use eyre::{Result, ensure};

use super::{
    html,
    plot::{self, Along, Mark, Plot, Series, TONES, escape, shortened},
    report::{self, Rate, Report},
    text,
};
use crate::{args::CompareArgs, exit::UsageError};

/// Most reports on one page: a colour each.
const REPORTS_MAX: usize = TONES;
/// Letters of a machine's name.
const NAME_LETTERS: usize = 48;

/// A report under the name that its machine has on the page.
struct Entry {
    name: String,
    report: Report,
}

/// Writes `compare.html` and prints the table.
///
/// # Errors
///
/// If a file is no report, or the page cannot be written.
pub fn run(args: &CompareArgs, out: &mut dyn Write) -> Result<()> {
    let CompareArgs { reports, report: directory } = args;
    ensure!(
        reports.len() <= REPORTS_MAX,
        UsageError(format!(
            "{} reports are too many for one page; give at most {REPORTS_MAX}",
            reports.len()
        ))
    );
    let entries = read(reports)?;
    report::prepare(directory)?;
    let path = directory.join("compare.html");
    report::write_whole(&path, &page(&entries))?;
    write!(out, "{}", text::table(&HEAD, &rows(&entries)))?;
    tracing::info!(file = %path.display(), "Wrote the page");
    Ok(())
}

const HEAD: [&str; 8] =
    ["machine", "threads", "search", "1 thread", "ceiling", "of it", "DAG", "headers"];

fn read(paths: &[PathBuf]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for path in paths {
        let report = Report::read(path).map_err(|error| {
            match error.root_cause().is::<std::io::Error>() {
                true => error,
                false => eyre::Report::new(UsageError(format!("{error:#}"))),
            }
        })?;
        let machine = &report.machine;
        let mut name = format!(
            "{}, {}",
            shortened(&machine.cpu, NAME_LETTERS),
            text::list_of_threads(&[machine.threads])
        );
        if entries.iter().any(|entry| entry.name == name) {
            name = format!("{name} ({})", label(path));
        }
        entries.push(Entry { name, report });
    }
    Ok(entries)
}

/// What tells a file from others: its name, or its folder's if all are called the same.
fn label(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match path.parent().and_then(Path::file_name) {
        Some(folder) if stem == "report" => folder.to_string_lossy().into_owned(),
        _ => stem.into_owned(),
    }
}

fn rows(entries: &[Entry]) -> Vec<Vec<String>> {
    let dash = || "–".to_owned();
    let rate =
        |rate: Option<&Rate>| rate.map_or_else(dash, |it| text::hashes(it.hashes_per_second));
    let row = |Entry { name, report }: &Entry| {
        let top = report.top();
        let single = report.hashrate.iter().find(|rate| rate.threads == 1);
        let headers = report.best_verification();
        vec![
            name.clone(),
            top.map_or_else(dash, |rate| rate.threads.to_string()),
            rate(top),
            rate(single),
            rate(top.and_then(|top| report.ceiling_of(top.threads))),
            text::percent(top.and_then(|top| top.percent_of_ceiling)),
            report.best_generation().map_or_else(dash, |dag| text::seconds(dag.seconds)),
            headers.map_or_else(dash, |it| text::per_second(it.headers_per_second)),
        ]
    };
    entries.iter().map(row).collect()
}

fn page(entries: &[Entry]) -> String {
    let mut body = format!(
        "<header><h1>Ethash on {} machines</h1><p class=\"soft\">Each measured by its own \
         <code>hematite bench all</code>.</p></header>\n",
        entries.len()
    );
    for Entry { name, report } in entries {
        for note in &report.notes {
            body += &format!("<p class=\"note\">{}: {}</p>\n", escape(name), escape(note));
        }
    }
    let epochs: BTreeSet<u64> = entries.iter().map(|entry| entry.report.epoch).collect();
    if epochs.len() > 1 {
        body += "<p class=\"note\">The epochs differ: a later one has a larger dataset, and is slower.</p>\n";
    }
    body +=
        &format!("<section><h2>At a glance</h2>{}</section>\n", html::table(&HEAD, &rows(entries)));
    for plot in [hashrate(entries), dag(entries), verify(entries)] {
        if !plot.is_empty() {
            let (head, rows) = figures(&plot);
            let head: Vec<&str> = head.iter().map(String::as_str).collect();
            html::figure(&mut body, &plot, &head, &rows);
        }
    }
    body += "<section><h2>Machines</h2>";
    let machines: Vec<Vec<String>> = entries.iter().map(machine_row).collect();
    let head = ["machine", "kernel", "memory", "pages", "system", "version", "measured"];
    body += &html::table(&head, &machines);
    body += "</section>\n";
    html::frame("Ethash on several machines", &body)
}

fn machine_row(Entry { name, report }: &Entry) -> Vec<String> {
    let pages = report.top().map_or("–", |rate| &rate.pages);
    vec![
        name.clone(),
        report.kernel.clone(),
        format!("{:.0} GiB", report.machine.memory as f64 / f64::from(1 << 30)),
        pages.to_owned(),
        report.machine.kernel.clone(),
        report.version.clone(),
        html::date(report.started),
    ]
}

/// A plot's values as a table: a row for each machine, a column for each place.
fn figures(plot: &Plot) -> (Vec<String>, Vec<Vec<String>>) {
    let Along::Places { label, names } = &plot.along else { return (Vec::new(), Vec::new()) };
    let head = std::iter::once(label.clone()).chain(names.iter().cloned());
    let cell = |value: &Option<f64>| value.map_or_else(|| "–".to_owned(), plot::digits);
    let row = |series: &Series| {
        std::iter::once(series.name.clone()).chain(series.values.iter().map(cell)).collect()
    };
    (head.collect(), plot.series.iter().map(row).collect())
}

fn hashrate(entries: &[Entry]) -> Plot {
    let most = entries.iter().flat_map(|it| &it.report.hashrate).map(|it| it.hashes_per_second);
    let (scale, prefix) = text::prefix(most.fold(0.0, f64::max));
    let of = |report: &Report| -> Vec<(usize, f64)> {
        report.hashrate.iter().map(|it| (it.threads, it.hashes_per_second / scale)).collect()
    };
    by_number("hashrate", "Hashrate by threads", format!("{prefix}H/s"), "threads", entries, &of)
}

fn dag(entries: &[Entry]) -> Plot {
    let of = |report: &Report| -> Vec<(usize, f64)> {
        report.dag.iter().map(|it| (it.threads, it.seconds)).collect()
    };
    let title = "Seconds to generate the DAG, by threads";
    by_number("dag", title, "seconds".to_owned(), "threads", entries, &of)
}

fn verify(entries: &[Entry]) -> Plot {
    let most = entries.iter().flat_map(|it| &it.report.verify).map(|it| it.headers_per_second);
    let (scale, prefix) = text::prefix(most.fold(0.0, f64::max));
    let of = |report: &Report| -> Vec<(usize, f64)> {
        let threads = report.verify.iter().map(|it| it.threads).max();
        let rows = report.verify.iter().filter(|it| Some(it.threads) == threads);
        rows.map(|it| (it.batch, it.headers_per_second / scale)).collect()
    };
    let title = "Headers checked per second on all threads, by batch";
    let unit = if prefix == "k" { "thousand/s".to_owned() } else { format!("{prefix}/s") };
    by_number("verify", title, unit, "batch", entries, &of)
}

/// A line for each machine over numbers that some of them have.
fn by_number(
    id: &'static str,
    title: &str,
    unit: String,
    label: &str,
    entries: &[Entry],
    of: &dyn Fn(&Report) -> Vec<(usize, f64)>,
) -> Plot {
    let points: Vec<Vec<(usize, f64)>> = entries.iter().map(|entry| of(&entry.report)).collect();
    let numbers: BTreeSet<usize> = points.iter().flatten().map(|(number, _)| *number).collect();
    let series = entries.iter().zip(&points).enumerate().map(|(tone, (entry, points))| {
        let find = |number: &usize| points.iter().find(|it| it.0 == *number).map(|it| it.1);
        let values = numbers.iter().map(find).collect();
        // Bars are easier to compare, lines easier to follow.
        let mark = if numbers.len() <= 3 { Mark::Bar } else { Mark::Line };
        Series { name: entry.name.clone(), tone: tone % TONES, mark, values }
    });
    let sentence = |(entry, points): (&Entry, &Vec<(usize, f64)>)| {
        points.last().map_or_else(String::new, |(number, value)| {
            format!("{}: {value:.2} {unit} at {number} {label}.", entry.name)
        })
    };
    Plot {
        id,
        title: title.to_owned(),
        description: entries.iter().zip(&points).map(sentence).collect::<Vec<_>>().join(" "),
        series: series.collect(),
        unit: unit.clone(),
        along: Along::Places {
            label: label.to_owned(),
            names: numbers.iter().map(ToString::to_string).collect(),
        },
        levels: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{command::bench::report::tests::sample, exit::ExitCode};

    fn args(reports: &[PathBuf], directory: &Path) -> CompareArgs {
        CompareArgs { reports: reports.to_vec(), report: directory.to_owned() }
    }

    #[test]
    fn several_machines_share_a_page_and_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b.json"));
        fs::create_dir(&a).unwrap();
        sample().write(&a).unwrap();
        let mut other = sample();
        other.machine.cpu = "Neoverse N1".to_owned();
        other.hashrate.truncate(1);
        other.epoch = 390;
        fs::write(&b, other.to_json().unwrap()).unwrap();
        let mut out = Vec::new();
        run(&args(&[a.clone(), b, a], folder.path()), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
        let page = fs::read_to_string(folder.path().join("compare.html")).unwrap();
        html::tests::check(&page);
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("The epochs differ") && page.contains("Neoverse N1"));
    }

    #[test]
    fn a_file_that_is_no_report_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wrong.json");
        fs::write(&path, "{\"version\": \"1\"}").unwrap();
        let refuse =
            |path: PathBuf| run(&args(&[path], folder.path()), &mut Vec::new()).unwrap_err();
        let error = refuse(path);
        let text = format!("{error:#}");
        assert!(text.contains("wrong.json") && text.contains("missing field `machine`"), "{text}");
        assert_eq!(ExitCode::of(&error), ExitCode::Usage);
        let error = refuse(folder.path().join("absent.json"));
        assert!(format!("{error:#}").contains("absent.json"));
        assert_eq!(ExitCode::of(&error), ExitCode::Failed);
    }
}
