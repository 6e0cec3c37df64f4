//! The text that Prometheus reads: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

/// The media type of the text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often values fell below bounds.
    Histogram,
    /// Values by how many are below them.
    Summary,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What follows the family's name, like `_count`.
    pub suffix: &'static str,
    /// Labels and their values.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: f64,
}

/// All numbers of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name.
    pub name: String,
    /// What it is, in words; may be empty.
    pub help: String,
    /// What kind of a metric it is.
    pub kind: Kind,
    /// The numbers.
    pub samples: Vec<Sample>,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

impl Sample {
    /// A number with labels.
    #[must_use]
    pub fn labelled(labels: &[(&str, &str)], value: f64) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { suffix: "", labels: labels.iter().map(owned).collect(), value }
    }
}

impl Family {
    /// A metric without numbers yet.
    #[must_use]
    pub fn new(name: &str, help: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), help: help.to_owned(), kind, samples: Vec::new() }
    }

    /// A gauge of one number.
    #[must_use]
    pub fn gauge(name: &str, help: &str, value: f64) -> Self {
        Self::new(name, help, Kind::Gauge).with(&[], value)
    }

    /// A counter of one number.
    #[must_use]
    pub fn counter(name: &str, help: &str, value: f64) -> Self {
        Self::new(name, help, Kind::Counter).with(&[], value)
    }

    /// The same with one more number.
    #[must_use]
    pub fn with(mut self, labels: &[(&str, &str)], value: f64) -> Self {
        self.samples.push(Sample::labelled(labels, value));
        self
    }
}

/// Writes families in the order of their names, each once.
#[must_use]
pub fn render(mut families: Vec<Family>) -> String {
    families.retain(|family| !family.samples.is_empty());
    families.sort_by(|one, other| one.name.cmp(&other.name));
    families.dedup_by(|again, first| again.name == first.name);
    let mut text = String::new();
    for family in &families {
        write_family(&mut text, family).expect("a text takes all that is written");
    }
    text
}

fn write_family(text: &mut String, family: &Family) -> std::fmt::Result {
    let name = &family.name;
    if !family.help.is_empty() {
        writeln!(text, "# HELP {name} {}", escaped(&family.help, false))?;
    }
    writeln!(text, "# TYPE {name} {}", family.kind.name())?;
    for sample in &family.samples {
        write!(text, "{name}{}", sample.suffix)?;
        for (index, (label, value)) in sample.labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(text, "{before}{label}=\"{}\"", escaped(value, true))?;
        }
        if !sample.labels.is_empty() {
            text.push('}');
        }
        writeln!(text, " {}", number(sample.value))?;
    }
    Ok(())
}

/// Quotes end a label's value, but not a help text.
fn escaped(text: &str, quoted: bool) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quoted { escaped.replace('"', "\\\"") } else { escaped }
}

/// A number as it is written in samples and in the bounds of histograms.
#[must_use]
pub fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_once_in_order_and_only_with_numbers() {
        let families = vec![
            Family::gauge("b", "Second.", 2.5),
            Family::new("empty", "Nothing.", Kind::Gauge),
            Family::counter("a_total", "", 1e21).with(&[("x", "1"), ("y", "2")], f64::INFINITY),
            Family::gauge("b", "Again.", 3.0),
        ];
        let expected = "# TYPE a_total counter\na_total 1000000000000000000000\n\
                        a_total{x=\"1\",y=\"2\"} +Inf\n# HELP b Second.\n# TYPE b gauge\nb 2.5\n";
        assert_eq!(render(families), expected);
    }

    #[test]
    fn what_would_end_a_text_is_escaped() {
        let family = Family::new("a", "1\n\\2 \"3\"", Kind::Gauge);
        let text = render(vec![family.with(&[("x", "\"\\\n")], f64::NAN)]);
        let expected = "# HELP a 1\\n\\\\2 \"3\"\n# TYPE a gauge\na{x=\"\\\"\\\\\\n\"} NaN\n";
        assert_eq!(text, expected);
    }
}
