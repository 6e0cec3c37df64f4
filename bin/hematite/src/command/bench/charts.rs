//! The plots of a report, and the picture of it that people put into a README.

use std::fmt::Write;

use super::{
    plot::{self, Along, HEIGHT, MUTED, Mark, Plot, Series, TONES, WIDTH, escape, shortened},
    report::{Rate, Report},
    text,
};

/// Most lines in one plot.
const LINES_MAX: usize = 6;
/// Letters of a line of the picture.
const PICTURE_LETTERS: usize = 100;

/// The search beside the ceiling of the memory, by threads.
#[must_use]
pub fn hashrate(report: &Report) -> Plot {
    let mut threads: Vec<usize> =
        report.hashrate.iter().chain(&report.ceiling).map(|rate| rate.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let rates = report.hashrate.iter().chain(&report.ceiling).map(|rate| rate.hashes_per_second);
    let (scale, prefix) = text::prefix(rates.fold(0.0, f64::max));
    let values = |rates: &[Rate]| {
        let find = |threads: &usize| rates.iter().find(|rate| rate.threads == *threads);
        threads.iter().map(|threads| Some(find(threads)?.hashes_per_second / scale)).collect()
    };
    let mut series = vec![Series {
        name: "ceiling of the memory".to_owned(),
        tone: MUTED,
        mark: Mark::Bar,
        values: values(&report.ceiling),
    }];
    if !report.hashrate.is_empty() {
        let values = values(&report.hashrate);
        series.push(Series { name: "search".to_owned(), tone: 0, mark: Mark::Bar, values });
    }
    let sentence = |rate: &Rate| {
        let share = text::percent(rate.percent_of_ceiling);
        let of = text::list_of_threads(&[rate.threads]);
        format!("On {of} {}, {share} of the ceiling.", text::hashes(rate.hashes_per_second))
    };
    Plot {
        id: "hashrate",
        title: "Hashrate by threads, against the ceiling of the memory".to_owned(),
        description: report.hashrate.iter().map(sentence).collect::<Vec<_>>().join(" "),
        unit: format!("{prefix}H/s"),
        along: places("threads", &threads),
        series,
        levels: Vec::new(),
    }
}

/// How long the generation of the dataset takes, by threads.
#[must_use]
pub fn dag(report: &Report) -> Plot {
    let threads: Vec<usize> = report.dag.iter().map(|dag| dag.threads).collect();
    let sentence = |dag: &super::report::Generation| {
        format!("{} on {}.", text::seconds(dag.seconds), text::list_of_threads(&[dag.threads]))
    };
    Plot {
        id: "dag",
        title: format!("Seconds to generate the DAG of epoch {}, by threads", report.epoch),
        description: report.dag.iter().map(sentence).collect::<Vec<_>>().join(" "),
        unit: "seconds".to_owned(),
        along: places("threads", &threads),
        series: vec![Series {
            name: "generation".to_owned(),
            tone: 1,
            mark: Mark::Bar,
            values: report.dag.iter().map(|dag| Some(dag.seconds)).collect(),
        }],
        levels: Vec::new(),
    }
}

/// Checks of headers by batch, a line for each number of threads.
#[must_use]
pub fn verify(report: &Report) -> Plot {
    let (batches, _) = text::verify_rows(report);
    let mut threads: Vec<usize> = report.verify.iter().map(|it| it.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    // The most threads are what people look for.
    let first = threads.len().saturating_sub(LINES_MAX);
    let most = report.best_verification().map_or(0.0, |it| it.headers_per_second);
    let (scale, prefix) = text::prefix(most);
    let line = |(tone, &threads): (usize, &usize)| {
        let find = |batch: &usize| {
            report.verify.iter().find(|it| it.threads == threads && it.batch == *batch)
        };
        let values = batches.iter().map(|batch| Some(find(batch)?.headers_per_second / scale));
        Series {
            name: text::list_of_threads(&[threads]),
            tone: (tone + 2) % TONES,
            mark: Mark::Line,
            values: values.collect(),
        }
    };
    let description = report.best_verification().map_or_else(String::new, |best| {
        format!(
            "At best {} headers per second, in batches of {} on {}.",
            text::short(best.headers_per_second).trim_end(),
            best.batch,
            text::list_of_threads(&[best.threads])
        )
    });
    Plot {
        id: "verify",
        title: "Headers checked per second, by batch".to_owned(),
        description,
        unit: if prefix == "k" { "thousand/s".to_owned() } else { format!("{prefix}/s") },
        along: places("headers checked together", &batches),
        series: threads[first..].iter().enumerate().map(line).collect(),
        levels: Vec::new(),
    }
}

/// The search on the most threads over time, with its percentiles.
#[must_use]
pub fn over_time(report: &Report) -> Plot {
    let none = Rate::default();
    let rate = report.top().unwrap_or(&none);
    let (scale, prefix) = text::prefix(rate.max.max(rate.p95));
    let levels = [("p95", rate.p95), ("p50", rate.p50), ("p5", rate.p5)];
    Plot {
        id: "time",
        title: format!("Hashrate over time on {}", text::list_of_threads(&[rate.threads])),
        description: format!(
            "For 5 % of the time below {}, half of it below {}, 95 % below {}.",
            text::hashes(rate.p5),
            text::hashes(rate.p50),
            text::hashes(rate.p95)
        ),
        unit: format!("{prefix}H/s"),
        along: Along::Time(report.seconds.max(1) as f64),
        series: vec![Series {
            name: "search".to_owned(),
            tone: 0,
            mark: Mark::Line,
            values: rate.samples.iter().map(|sample| Some(sample / scale)).collect(),
        }],
        levels: levels.map(|(name, value)| (name.to_owned(), value / scale)).to_vec(),
    }
}

fn places(label: &str, numbers: &[usize]) -> Along {
    Along::Places {
        label: label.to_owned(),
        names: numbers.iter().map(ToString::to_string).collect(),
    }
}

/// What stands out: a number, and what it is.
#[must_use]
pub fn headlines(report: &Report) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(top) = report.top() {
        let threads = text::list_of_threads(&[top.threads]);
        found.push((text::hashes(top.hashes_per_second), format!("search on {threads}")));
        if top.percent_of_ceiling.is_some() {
            found.push((
                text::percent(top.percent_of_ceiling),
                "of what the memory delivers".to_owned(),
            ));
        }
    } else if let Some(top) = report.ceiling.iter().max_by_key(|rate| rate.threads) {
        let threads = text::list_of_threads(&[top.threads]);
        found.push((text::hashes(top.hashes_per_second), format!("ceiling on {threads}")));
    }
    if let Some(best) = report.best_generation() {
        let threads = text::list_of_threads(&[best.threads]);
        found.push((text::seconds(best.seconds), format!("DAG generation on {threads}")));
    }
    if let Some(best) = report.best_verification() {
        let of = format!("headers checked, batches of {}", best.batch);
        found.push((text::per_second(best.headers_per_second), of));
    }
    found
}

/// One picture of the report: title, machine, the search against the ceiling, the numbers.
#[must_use]
pub fn picture(report: &Report) -> String {
    let (width, height) = (680.0, 360.0);
    let plot = hashrate(report);
    let machine = shortened(&report.machine.summary(), PICTURE_LETTERS);
    let what = format!(
        "Hematite {}, kernel {}, epoch {}, {} memory pages",
        report.version,
        report.kernel,
        report.epoch,
        report.top().or(report.ceiling.first()).map_or("unknown", |rate| &rate.pages),
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\
         <title id=\"title\">Ethash on {}</title><desc id=\"desc\">{}</desc>\
         <style>{}.ground{{fill:#fbf9f7;stroke:#e4ded9}}.title{{font-size:19px;font-weight:600}}\
         .big{{font-size:23px;font-weight:600}}\
         @media(prefers-color-scheme:dark){{.ground{{fill:#171412;stroke:#3a3532}}}}\
         svg .title{{font-size:19px}}svg .big{{font-size:23px}}</style>\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>",
        escape(&report.machine.cpu),
        escape(&plot.description),
        plot::style(),
        width - 1.0,
        height - 1.0,
    );
    plot::text(&mut out, "ink title", 24.0, 36.0, "start", "Ethash hashrate");
    plot::text(&mut out, "soft", 24.0, 57.0, "start", &machine);
    plot::text(&mut out, "soft", 24.0, 73.0, "start", &shortened(&what, PICTURE_LETTERS));
    _ = write!(out, "<g transform=\"translate(24 92)\">{}</g>", plot.body());
    let left = 24.0 + WIDTH + 28.0;
    let mut y = 120.0;
    for (number, what) in headlines(report) {
        plot::text(&mut out, "ink big", left, y, "start", &number);
        plot::text(&mut out, "soft", left, y + 17.0, "start", &what);
        y += HEIGHT / 4.2;
    }
    out += "</svg>\n";
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bench::report::tests::sample;

    #[test]
    fn the_picture_of_fixed_numbers_is_fixed() {
        insta::assert_snapshot!(picture(&sample()).replace("><", ">\n<"));
    }

    #[test]
    fn a_report_without_figures_has_plots_too() {
        let empty = Report { machine: sample().machine, ..Report::default() };
        for plot in [hashrate(&empty), dag(&empty), verify(&empty), over_time(&empty)] {
            assert!(plot.is_empty(), "{}", plot.id);
            assert!(!plot.svg().contains("NaN"), "{}", plot.svg());
        }
        assert!(!picture(&empty).contains("NaN"));
    }

    #[test]
    fn many_threads_leave_the_lines_that_matter() {
        let verify = (1..=64).map(|threads| super::super::report::Verification {
            threads,
            batch: 16,
            headers_per_second: threads as f64,
            kernel: String::new(),
        });
        let plot = super::verify(&Report { verify: verify.collect(), ..sample() });
        let names: Vec<_> = plot.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!((names.len(), names[5]), (LINES_MAX, "64 threads"));
    }
}
