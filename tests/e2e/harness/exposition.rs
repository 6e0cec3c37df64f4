//! Reads what Prometheus reads, and refuses what it might forgive.

use std::collections::{BTreeMap, BTreeSet};

/// All numbers of one name.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// What it is said to be.
    pub(crate) kind: String,
    /// Names with labels as they were written, and numbers, in order.
    pub(crate) samples: Vec<(String, f64)>,
}

/// Reads a text.
///
/// Panics with the line if a name or label is malformed, a family has no type, is not in one piece
/// or has the same sample twice, a histogram does not add up, or a counter is not called so.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line is not ended");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(is_name(name), "{line}");
            let kinds = ["counter", "gauge", "histogram", "summary"];
            assert!(kinds.contains(&kind), "{line}");
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "twice: {line}");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(is_name(rest.split(' ').next().expect(line)), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let name = series.split('{').next().expect(line);
            assert!(is_name(name), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                assert!(are_labels(labels), "{line}");
            }
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(seen.insert(series.to_owned()), "twice: {line}");
            let family = families.get_mut(&current).expect(line);
            let suffixes: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(&*current).expect(line);
            assert!(suffixes.contains(&suffix), "of another family than {current}: {line}");
            family.samples.push((series.to_owned(), value));
        }
    }
    for (name, family) in &families {
        assert!(!family.samples.is_empty(), "{name} has no samples");
        match family.kind.as_str() {
            "counter" => {
                assert!(name.ends_with("_total"), "{name}");
                assert!(family.samples.iter().all(|sample| sample.1 >= 0.0), "{family:?}");
            }
            "histogram" => check_histogram(name, family),
            _ => {}
        }
    }
    families
}

/// Buckets grow up to the count.
fn check_histogram(name: &str, family: &Family) {
    let mut below = 0.0;
    for (series, value) in &family.samples {
        if series.starts_with(&format!("{name}_bucket")) {
            assert!(*value >= below, "{series}: {family:?}");
            below = *value;
        } else if series.starts_with(&format!("{name}_count")) {
            assert!((*value - below).abs() < 0.5, "{series}: {family:?}");
            below = 0.0;
        }
    }
    let ends = family.samples.iter().filter(|(series, _)| series.contains("le=\"+Inf\"")).count();
    let counts = |(series, _): &&(String, f64)| series.starts_with(&format!("{name}_count"));
    assert_eq!(ends, family.samples.iter().filter(counts).count(), "{family:?}");
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// `{name="value",…}`, whose values hold no quotes here, escaped or not.
fn are_labels(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return false;
    };
    let Some(inner) = inner.strip_suffix('"') else { return false };
    inner.split("\",").all(|label| {
        label
            .split_once("=\"")
            .is_some_and(|(name, value)| is_name(name) && !value.contains(['"', '\\']))
    })
}

/// The names of metrics that an expression of PromQL speaks of.
pub(crate) fn names_in(expression: &str) -> BTreeSet<String> {
    const WORDS: [&str; 8] = ["and", "or", "unless", "by", "on", "without", "ignoring", "bool"];
    let mut names = BTreeSet::new();
    let mut rest = expression;
    let mut is_list = false;
    while let Some(start) =
        rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || "{[(\"".contains(c))
    {
        rest = &rest[start..];
        let skipped = match rest.as_bytes()[0] {
            b'{' => Some('}'),
            b'[' => Some(']'),
            // Labels, not metrics.
            b'(' if is_list => Some(')'),
            _ => None,
        };
        if let Some(end) = skipped {
            rest = &rest[rest.find(end).expect(expression) + 1..];
            is_list = false;
            continue;
        }
        let length =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if length == 0 {
            rest = &rest[1..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        is_list = ["by", "on", "without", "ignoring"].contains(&word);
        let is_function = after.trim_start().starts_with('(') || ["sum", "count"].contains(&word);
        if !WORDS.contains(&word) && !is_function {
            names.insert(word.to_owned());
        }
        rest = after;
    }
    names
}

#[test]
fn names_are_found_in_expressions() {
    let found = |text: &str| names_in(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("time() - a_b{x=~\"$c\",y=\"d\"} > 600"), "a_b");
    assert_eq!(found("sum by (x, le) (rate(a_bucket{x=\"y\"}[$__rate_interval]))"), "a_bucket");
    assert_eq!(found("a - ignoring (le) increase(b[1h]) and on (x) c == 0"), "a b c");
    assert_eq!(found("histogram_quantile(0.95, sum without (x) (a))"), "a");
}
