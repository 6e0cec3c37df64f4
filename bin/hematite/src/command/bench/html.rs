//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

use std::fmt::Write;

use super::{
    charts,
    plot::{self, Plot, escape},
    report::Report,
    text,
};

const CSS: &str = "
:root{--ground:#fbf9f7;--card:#fff;--ink:#221d1a;--soft:#655c56;--grid:#e4ded9;--mark:#a63a2a;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ground:#171412;--card:#211d1a;--ink:#f1ece8;--soft:#b3a9a2;--grid:#3a3532;--mark:#ec7f6a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.75rem;line-height:1.2;margin:.5rem 0 .25rem}
h2{font-size:1.1rem;line-height:1.3;margin:0 0 .75rem}
p{margin:.25rem 0;max-width:46rem}
.soft,caption,footer{color:var(--soft)}
.headlines{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin:24px 0;padding:0;list-style:none}
.headlines li,section{background:var(--card);border:1px solid var(--grid);border-radius:10px;padding:14px 18px}
.headlines strong{display:block;font-size:1.6rem;line-height:1.25;font-variant-numeric:tabular-nums}
.headlines span{color:var(--soft);font-size:.9rem}
.note{max-width:none;border-left:4px solid var(--mark);padding:6px 14px;background:var(--card);margin:10px 0}
section{margin:16px 0;padding:18px}
.both{display:grid;grid-template-columns:minmax(0,1.15fr) minmax(0,1fr);gap:28px;align-items:start}
figure{margin:0}
svg{display:block;width:100%;height:auto;max-width:540px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-size:.85rem;padding-bottom:4px}
th,td{padding:5px 8px;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
th{font-weight:600;color:var(--soft)}
th:first-child,td:first-child{text-align:left;padding-left:0}
th:last-child,td:last-child{padding-right:0}
td:first-child{white-space:normal;min-width:5rem}
.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}
.facts th{text-align:left;vertical-align:top;width:13rem}
footer{font-size:.875rem;margin-top:24px}
@media(max-width:720px){table{font-size:.8rem}th,td{padding:5px}.facts th{width:9rem;white-space:normal}main{padding:16px 12px 32px}.both{grid-template-columns:minmax(0,1fr);gap:16px}section{padding:14px}.headlines{grid-template-columns:1fr 1fr;gap:10px;margin:16px 0}.headlines li{padding:10px 12px}.headlines strong{font-size:1.25rem}h1{font-size:1.4rem}}
";

/// What the figures are, for those who did not read the manual.
const METHOD: &str = "A hash reads 64 random pages of 128 bytes of the dataset, so memory limits every \
search. The ceiling is what random reads of the same memory deliver when nothing is computed between them, \
with each address known as many reads ahead as serves this machine best. Ceiling and search take turns in \
five rounds; the medians are shown, and the share of the ceiling is the median of the rounds. Rates over \
time are taken every 100 ms. Headers are new ones each time, checked without the dataset.";

/// The page of a report.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut body = String::new();
    let title = format!("Ethash on {}", report.machine.cpu);
    _ = writeln!(
        body,
        "<header><h1>{}</h1><p class=\"soft\">{}</p><p class=\"soft\">Hematite {} · kernel {} · epoch {} \
         ({:.0} MiB) · {}</p></header>",
        escape(&title),
        escape(&report.machine.summary()),
        escape(&report.version),
        escape(&report.kernel),
        report.epoch,
        report.dataset_bytes as f64 / f64::from(1 << 20),
        date(report.started),
    );
    body += "<ul class=\"headlines\">";
    for (number, what) in charts::headlines(report) {
        _ = write!(
            body,
            "<li><strong>{}</strong><span>{}</span></li>",
            escape(&number),
            escape(&what)
        );
    }
    body += "</ul>\n";
    for note in &report.notes {
        _ = writeln!(body, "<p class=\"note\">{}</p>", escape(note));
    }
    figures(&mut body, report);
    body += "<section><h2>Machine</h2><div class=\"wide\"><table class=\"facts\"><tbody>";
    for (name, value) in report.machine.facts() {
        _ = write!(body, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escape(&value));
    }
    body += "</tbody></table></div></section>\n";
    _ = writeln!(
        body,
        "<footer><p>{METHOD}</p><p>Made by <code>hematite bench</code>.</p></footer>"
    );
    frame(&title, &body)
}

fn figures(body: &mut String, report: &Report) {
    if !report.hashrate.is_empty() {
        let head = ["threads", "median", "ceiling", "of it", "slowest", "fastest"];
        let rows: Vec<Vec<String>> =
            text::hashrate_rows(report).into_iter().map(|row| row[..head.len()].to_vec()).collect();
        figure(body, &charts::hashrate(report), &head, &rows);
        let rows = text::percentile_rows(report);
        figure(body, &charts::over_time(report), &["threads", "p5", "p50", "p95"], &rows);
    } else if !report.ceiling.is_empty() {
        let head = ["threads", "median", "slowest", "fastest", "memory"];
        let rows: Vec<Vec<String>> =
            text::ceiling_rows(report).into_iter().map(|row| row[..head.len()].to_vec()).collect();
        figure(body, &charts::hashrate(report), &head, &rows);
    }
    if !report.dag.is_empty() {
        figure(body, &charts::dag(report), &["threads", "time", "rate"], &text::dag_rows(report));
    }
    if !report.verify.is_empty() {
        // Few threads and many batches: columns by threads fit beside a plot.
        let (batches, rows) = text::verify_rows(report);
        let shown = rows.len().saturating_sub(4);
        let threads: Vec<String> =
            rows[shown..].iter().map(|row| format!("{} thr.", row[0])).collect();
        let head: Vec<&str> =
            std::iter::once("batch").chain(threads.iter().map(String::as_str)).collect();
        let row = |(at, batch): (usize, &usize)| {
            let cells = rows[shown..].iter().map(|row| row[at + 1].clone());
            std::iter::once(batch.to_string()).chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = batches.iter().enumerate().map(row).collect();
        figure(body, &charts::verify(report), &head, &rows);
    }
}

/// A plot with its figures beside it.
pub(super) fn figure(body: &mut String, plot: &Plot, head: &[&str], rows: &[Vec<String>]) {
    _ = writeln!(
        body,
        "<section><h2>{}</h2><div class=\"both\"><figure>{}</figure>{}</div></section>",
        escape(&plot.title),
        plot.svg(),
        table(head, rows)
    );
}

/// Figures under a head.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"wide\"><table><thead><tr>");
    for cell in head {
        _ = write!(out, "<th scope=\"col\">{}</th>", escape(cell));
    }
    out += "</tr></thead><tbody>";
    for row in rows {
        out += "<tr>";
        for cell in row {
            _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out += "</tr>";
    }
    out += "</tbody></table></div>";
    out
}

/// A whole page around its body.
pub(super) fn frame(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title><style>{CSS}{}</style></head>\n<body><main>{body}</main></body></html>\n",
        escape(title),
        plot::style(),
    )
}

/// A moment in UTC, in days and minutes.
pub(super) fn date(seconds: u64) -> String {
    // Days to a date after Howard Hinnant's civil_from_days, from 1970 on.
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let (date, march) = (in_year - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    let year = year + era * 400 + u64::from(march <= 2);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{year}-{march:02}-{date:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::command::bench::report::tests::sample;

    /// Elements that have no end.
    const VOID: [&str; 2] = ["meta", "br"];

    /// Checks that every element ends, in order, and that nothing comes from elsewhere.
    pub(in crate::command::bench) fn check(page: &str) {
        let mut open = Vec::new();
        let mut rest = page;
        while let Some((_, after)) = rest.split_once('<') {
            let (tag, after) = after.split_once('>').expect("a tag ends");
            rest = after;
            let name = tag.trim_matches('/').split([' ', '\n']).next().unwrap_or_default();
            if tag.starts_with('!') || tag.ends_with('/') || VOID.contains(&name) {
                continue;
            }
            assert!(!tag.contains('<'), "a stray < before {tag}");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag}");
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "</{name}>");
            } else {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "never ended: {open:?}");
        for word in ["http", "src=", "href", "url(", "@import", "<script", "<link", " on"] {
            let tags = page.split('<').filter_map(|part| part.split_once('>'));
            assert!(tags.clone().all(|(tag, _)| !tag.contains(word)), "{word} in a tag");
            assert!(word == " on" || !page.contains(word), "{word} in the page");
        }
        assert!(!page.contains("NaN"), "a figure is no number");
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        let page = page(&sample());
        check(&page);
        for figure in ["hashrate", "time", "dag", "verify"] {
            assert!(page.contains(&format!("<title id=\"{figure}-t\">")), "{figure}");
            assert!(page.contains(&format!("<desc id=\"{figure}-d\">")), "{figure}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        assert_eq!(page.matches("<table").count(), 5);
    }

    #[test]
    fn names_are_escaped() {
        let page = page(&sample());
        assert!(page.contains("AMD &lt;EPYC&gt; &amp; &quot;friends&quot;"));
        assert!(!page.contains("<EPYC>") && !page.contains("<b>"));
    }

    #[test]
    fn a_page_of_some_measurements_is_whole_too() {
        check(&page(&Report { hashrate: vec![], ..sample() }));
        check(&page(&Report { machine: sample().machine, ..Report::default() }));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_700_000_000), "2023-11-14 22:13 UTC");
        assert_eq!(date(4_107_542_399), "2100-02-28 23:59 UTC");
    }
}
