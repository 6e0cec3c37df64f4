//! Tables and numbers for people.

use std::fmt::Write;

use super::{machine, report::Report};

/// Rows under a head; numbers are to be read by their last digit, so all but the first column
/// stand on the right.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => _ = write!(line, "{cell:<width$}"),
                _ => _ = write!(line, "  {cell:>width$}"),
            }
        }
        _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A number to three digits, with the prefix that makes it short: 3.40 M.
#[must_use]
pub fn short(value: f64) -> String {
    let (scale, prefix) = prefix(value);
    let value = value / scale;
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {prefix}")
}

/// The power of a thousand that makes a number short, and its prefix.
#[must_use]
pub fn prefix(value: f64) -> (f64, &'static str) {
    // From where it would be written as 1000 of the prefix below.
    if value >= 999.5e6 {
        (1e9, "G")
    } else if value >= 999.5e3 {
        (1e6, "M")
    } else if value >= 999.5 {
        (1e3, "k")
    } else {
        (1.0, "")
    }
}

/// Things per second.
#[must_use]
pub fn per_second(rate: f64) -> String {
    format!("{}/s", short(rate).trim_end())
}

/// Hashes per second.
#[must_use]
pub fn hashes(rate: f64) -> String {
    format!("{}H/s", short(rate))
}

/// Seconds.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value >= 99.95 { format!("{value:.0} s") } else { format!("{value:.2} s") }
}

/// Percent, or a dash.
#[must_use]
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} %"))
}

/// The rows of the search: threads, median, the ceiling, the share of it, slowest and
/// fastest round, pages.
#[must_use]
pub fn hashrate_rows(report: &Report) -> Vec<Vec<String>> {
    let row = |rate: &super::report::Rate| {
        let ceiling = report.ceiling_of(rate.threads);
        vec![
            rate.threads.to_string(),
            hashes(rate.hashes_per_second),
            ceiling.map_or_else(|| "–".to_owned(), |rate| hashes(rate.hashes_per_second)),
            percent(rate.percent_of_ceiling),
            hashes(rate.min),
            hashes(rate.max),
            rate.pages.clone(),
        ]
    };
    report.hashrate.iter().map(row).collect()
}

/// The rows of the ceiling: threads, median, slowest and fastest round, GB/s, reads ahead, pages.
#[must_use]
pub fn ceiling_rows(report: &Report) -> Vec<Vec<String>> {
    let row = |rate: &super::report::Rate| {
        // 64 pages of 128 bytes make a hash.
        let bytes = rate.hashes_per_second * 64.0 * 128.0;
        vec![
            rate.threads.to_string(),
            hashes(rate.hashes_per_second),
            hashes(rate.min),
            hashes(rate.max),
            format!("{}B/s", short(bytes)),
            rate.ahead.map_or_else(|| "–".to_owned(), |ahead| ahead.to_string()),
            rate.pages.clone(),
        ]
    };
    report.ceiling.iter().map(row).collect()
}

/// The rows of the generation: threads, seconds, items per second.
#[must_use]
pub fn dag_rows(report: &Report) -> Vec<Vec<String>> {
    let row = |dag: &super::report::Generation| {
        vec![
            dag.threads.to_string(),
            seconds(dag.seconds),
            format!("{} items/s", short(dag.items_per_second).trim_end()),
        ]
    };
    report.dag.iter().map(row).collect()
}

/// The numbers of threads and the batches of the checks, and a row of rates for each of the first.
#[must_use]
pub fn verify_rows(report: &Report) -> (Vec<usize>, Vec<Vec<String>>) {
    let mut batches: Vec<usize> = report.verify.iter().map(|it| it.batch).collect();
    let mut threads: Vec<usize> = report.verify.iter().map(|it| it.threads).collect();
    for list in [&mut batches, &mut threads] {
        list.sort_unstable();
        list.dedup();
    }
    let cell = |threads, batch| {
        let found = report.verify.iter().find(|it| (it.threads, it.batch) == (threads, batch));
        found.map_or_else(|| "–".to_owned(), |it| per_second(it.headers_per_second))
    };
    let row = |&threads: &usize| {
        let cells = batches.iter().map(|&batch| cell(threads, batch));
        std::iter::once(threads.to_string()).chain(cells).collect()
    };
    let rows = threads.iter().map(row).collect();
    (batches, rows)
}

/// The rates over time: threads, and the percentiles.
#[must_use]
pub fn percentile_rows(report: &Report) -> Vec<Vec<String>> {
    let row = |rate: &super::report::Rate| {
        let rates = [rate.p5, rate.p50, rate.p95].map(hashes);
        std::iter::once(rate.threads.to_string()).chain(rates).collect()
    };
    report.hashrate.iter().map(row).collect()
}

/// What was measured, for the terminal.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut text = format!(
        "Hematite {} · {} · {} · epoch {} ({:.0} MiB)\n",
        report.version,
        report.machine.summary(),
        report.kernel,
        report.epoch,
        report.dataset_bytes as f64 / f64::from(1 << 20),
    );
    let mut section = |name: &str, head: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            _ = write!(text, "\n{name}\n{}", table(head, &rows));
        }
    };
    let head = ["threads", "median", "ceiling", "of it", "slowest", "fastest", "pages"];
    section("Search", &head, hashrate_rows(report));
    section("Search over time", &["threads", "p5", "p50", "p95"], percentile_rows(report));
    let head = ["threads", "median", "slowest", "fastest", "memory", "ahead", "pages"];
    section("Ceiling: random reads of the memory", &head, ceiling_rows(report));
    section("DAG generation", &["threads", "time", "rate"], dag_rows(report));
    let (batches, rows) = verify_rows(report);
    let batches: Vec<String> = batches.iter().map(|batch| format!("batch {batch}")).collect();
    let head: Vec<&str> =
        std::iter::once("threads").chain(batches.iter().map(String::as_str)).collect();
    section("Headers checked without a DAG", &head, rows);
    if let Some(miner) = &report.getwork {
        text += &getwork(miner);
    }
    for note in &report.notes {
        _ = write!(text, "\nNote: {note}\n");
    }
    text
}

fn getwork(miner: &super::report::Miner) -> String {
    let claimed = miner.claimed.map_or_else(|| "nothing".to_owned(), hashes);
    format!(
        "\nMiner at {}\n{} (95 %: {} to {}), by {} solutions of {} hashes each in {}\n\
         It claims {claimed}. Wrong solutions: {}, stale or repeated: {}\n",
        miner.address,
        hashes(miner.hashes_per_second),
        hashes(miner.low),
        hashes(miner.high),
        miner.solutions,
        miner.difficulty,
        seconds(miner.seconds),
        miner.invalid,
        miner.stale,
    )
}

/// `1, 2 and 4 threads`.
#[must_use]
pub fn list_of_threads(counts: &[usize]) -> String {
    match counts {
        [] => "no threads".to_owned(),
        [one] => machine::threads(*one),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last} threads", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bench::report::tests::sample;

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [0.0, 1.5, 99.96, 999.0, 999.6, 3.4e6, 12_345_678.0, 999_600_000.0];
        let expected = ["0.00 ", "1.50 ", "100 ", "999 ", "1.00 k", "3.40 M", "12.3 M", "1.00 G"];
        assert_eq!(numbers.map(short), expected);
    }

    #[test]
    fn prints_what_was_measured() {
        insta::assert_snapshot!(report(&sample()));
    }

    #[test]
    fn prints_only_what_was_measured() {
        let empty = Report { hashrate: vec![], verify: vec![], ..sample() };
        let text = report(&empty);
        assert!(!text.contains("Search") && !text.contains("Headers"), "{text}");
    }

    #[test]
    fn lists_threads_in_words() {
        assert_eq!(list_of_threads(&[1]), "1 thread");
        assert_eq!(list_of_threads(&[1, 2, 4]), "1, 2 and 4 threads");
    }
}
