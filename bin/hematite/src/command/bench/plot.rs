//! Plots as SVG: bars and lines over a few places or over time. No script, nothing external.

use std::fmt::Write;

/// Width of a plot, in its own units; about pixels on a phone.
pub const WIDTH: f64 = 400.0;
/// Height of a plot, in its own units.
pub const HEIGHT: f64 = 250.0;
/// How many colours there are.
pub const TONES: usize = 8;
/// The tone of what others are measured against.
pub const MUTED: usize = TONES;

/// Colours by tone, the muted one last: on light and on dark ground.
const COLOURS: [(&str, &str); TONES + 1] = [
    ("#a63a2a", "#ec7f6a"),
    ("#2a6aa8", "#74b3ea"),
    ("#2f8557", "#63c48f"),
    ("#8459b3", "#b99be6"),
    ("#a8760a", "#e0b04a"),
    ("#0c8486", "#4fc4c4"),
    ("#b84c79", "#ee92b8"),
    ("#59636f", "#a5b0bd"),
    ("#cfc8c2", "#57514d"),
];
/// Width of a letter at the size of the labels, roughly.
const LETTER: f64 = 6.5;
/// Space to the left of the plot, for the labels of the values.
const LEFT: f64 = 40.0;
/// Space below, for the labels of the places.
const BELOW: f64 = 38.0;
/// Height of a line of the legend.
const LEGEND_LINE: f64 = 16.0;
/// Values are written above bars up to this many bars.
const WRITTEN_MAX: usize = 8;
/// Places along the axis that are named at most.
const NAMES_MAX: usize = 10;

/// A plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// A word that is unique on its page.
    pub id: &'static str,
    /// What it shows.
    pub title: String,
    /// What it says, for those who do not see it.
    pub description: String,
    /// What the values are.
    pub unit: String,
    /// What lies along the axis.
    pub along: Along,
    /// What is shown.
    pub series: Vec<Series>,
    /// Values that are marked across, with their names.
    pub levels: Vec<(String, f64)>,
}

/// What lies along the axis.
#[derive(Debug, Clone)]
pub enum Along {
    /// Places with names.
    Places {
        /// What they are.
        label: String,
        /// Each.
        names: Vec<String>,
    },
    /// Time from zero, in seconds.
    Time(f64),
}

/// One of several things that are shown.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its colour, below [`TONES`], or [`MUTED`].
    pub tone: usize,
    /// How it is drawn.
    pub mark: Mark,
    /// A value for each place, or at equal distances of time.
    pub values: Vec<Option<f64>>,
}

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Bars side by side.
    Bar,
    /// Points with lines between.
    Line,
}

/// Where things are.
struct Frame {
    top: f64,
    bottom: f64,
    right: f64,
    highest: f64,
}

impl Frame {
    fn y(&self, value: f64) -> f64 {
        self.bottom - (value / self.highest).clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    fn width(&self) -> f64 {
        self.right - LEFT
    }
}

/// Text without a meaning in HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            // XML has no way to write these.
            control if control.is_control() && control != '\n' => escaped.push(' '),
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// The rules that plots need, for light and dark ground.
#[must_use]
pub fn style() -> String {
    let ground = |pick: fn(&(&'static str, &'static str)) -> &'static str, ink, soft, grid| {
        let mut css = format!(".ink{{fill:{ink}}}.soft{{fill:{soft}}}.grid{{stroke:{grid}}}");
        for (tone, colours) in COLOURS.iter().enumerate() {
            let colour = pick(colours);
            _ = write!(css, ".f{tone}{{fill:{colour}}}.s{tone}{{stroke:{colour}}}");
        }
        css
    };
    let light = ground(|it| it.0, "#221d1a", "#655c56", "#e4ded9");
    let dark = ground(|it| it.1, "#f1ece8", "#b3a9a2", "#3a3532");
    format!(
        "svg text{{font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif}}\
         .line{{fill:none;stroke-width:2;stroke-linejoin:round}}.level{{stroke-dasharray:4 3;opacity:.7}}\
         {light}@media(prefers-color-scheme:dark){{{dark}}}"
    )
}

impl Plot {
    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.values.iter().all(Option::is_none))
    }

    /// The plot as an element of a page.
    #[must_use]
    pub fn svg(&self) -> String {
        let Self { id, title, description, .. } = self;
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{}</svg>\n",
            escape(title),
            escape(description),
            self.body()
        )
    }

    /// What is drawn, as elements of a group.
    #[must_use]
    pub fn body(&self) -> String {
        let mut out = String::new();
        let legend_height = self.legend(&mut out);
        let values = self.series.iter().flat_map(|series| series.values.iter().copied().flatten());
        let levels = self.levels.iter().map(|(_, value)| *value);
        let most = values.chain(levels).filter(|value| value.is_finite()).fold(0.0, f64::max);
        let step = step(most);
        let frame = Frame {
            top: legend_height + 27.0,
            bottom: HEIGHT - BELOW,
            right: if self.levels.is_empty() { WIDTH - 6.0 } else { WIDTH - 30.0 },
            highest: (most / step).ceil().max(1.0) * step,
        };
        text(&mut out, "soft", 2.0, legend_height + 11.0, "start", &self.unit);
        let mut value = 0.0;
        while value <= frame.highest * 1.000_001 {
            let y = frame.y(value);
            _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", frame.right);
            text(&mut out, "soft", LEFT - 5.0, y + 4.0, "end", &number(value, step));
            value += step;
        }
        match &self.along {
            Along::Places { label, names } => self.places(&mut out, &frame, label, names),
            Along::Time(seconds) => self.time(&mut out, &frame, *seconds),
        }
        for (_, value) in &self.levels {
            let y = frame.y(*value);
            _ = write!(out, "<path class=\"s7 level\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", frame.right);
        }
        self.name_levels(&mut out, &frame);
        out
    }

    /// Names beside their levels, pushed apart where these lie close together.
    fn name_levels(&self, out: &mut String, frame: &Frame) {
        let mut levels: Vec<_> =
            self.levels.iter().map(|(name, at)| (frame.y(*at), name)).collect();
        levels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = 0.0;
        for (y, name) in levels {
            let y = (y + 4.0).max(free);
            free = y + 12.0;
            text(out, "soft", frame.right + 4.0, y, "start", name);
        }
    }

    /// Names of what is shown, in as many lines as they need. Returns their height.
    fn legend(&self, out: &mut String) -> f64 {
        if self.series.len() < 2 {
            return 0.0;
        }
        let (mut x, mut y) = (2.0, 11.0);
        for Series { name, tone, .. } in &self.series {
            let name = shortened(name, 40);
            let width = 14.0 + name.chars().count() as f64 * LETTER + 12.0;
            if x > 2.0 && x + width > WIDTH {
                (x, y) = (2.0, y + LEGEND_LINE);
            }
            _ = write!(
                out,
                "<rect class=\"f{tone}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" rx=\"2\"/>",
                y - 9.0
            );
            text(out, "ink", x + 14.0, y, "start", &name);
            x += width;
        }
        y + 5.0
    }

    fn places(&self, out: &mut String, frame: &Frame, label: &str, names: &[String]) {
        let band = frame.width() / names.len().max(1) as f64;
        let middle = |place: usize| LEFT + band * (place as f64 + 0.5);
        let every = names.len().div_ceil(NAMES_MAX).max(1);
        for (place, name) in names.iter().enumerate().step_by(every) {
            text(out, "soft", middle(place), frame.bottom + 15.0, "middle", name);
        }
        text(out, "soft", LEFT + frame.width() / 2.0, HEIGHT - 5.0, "middle", label);
        let bars: Vec<_> = self.series.iter().filter(|it| it.mark == Mark::Bar).collect();
        let written = bars.len() * names.len() <= WRITTEN_MAX;
        let width = (band * 0.8 / bars.len().max(1) as f64).min(56.0);
        for (at, series) in bars.iter().enumerate() {
            for (place, value) in series.values.iter().enumerate() {
                let Some(value) = value else { continue };
                let left = middle(place) + width * (at as f64 - bars.len() as f64 / 2.0);
                let y = frame.y(*value);
                let (drawn, height) = ((width - 2.0).max(0.5), frame.bottom - y);
                _ = write!(
                    out,
                    "<rect class=\"f{}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{drawn:.1}\" \
                     height=\"{height:.1}\" rx=\"2\"><title>{}, {}: {}</title></rect>",
                    series.tone,
                    escape(&series.name),
                    escape(&names[place]),
                    digits(*value)
                );
                if written {
                    text(out, "ink", left + drawn / 2.0, y - 4.0, "middle", &digits(*value));
                }
            }
        }
        for series in self.series.iter().filter(|it| it.mark == Mark::Line) {
            let points = series.values.iter().enumerate();
            line(
                out,
                series.tone,
                points.map(|(at, value)| Some((middle(at), frame.y((*value)?)))),
            );
            for (place, value) in series.values.iter().enumerate() {
                let Some(value) = value else { continue };
                _ = write!(
                    out,
                    "<circle class=\"f{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}, {}: {}</title></circle>",
                    series.tone,
                    middle(place),
                    frame.y(*value),
                    escape(&series.name),
                    escape(&names[place]),
                    digits(*value)
                );
            }
        }
    }

    fn time(&self, out: &mut String, frame: &Frame, seconds: f64) {
        let step = step(seconds);
        let mut at = 0.0;
        while at <= seconds * 1.000_001 {
            let x = LEFT + frame.width() * at / seconds.max(1e-9);
            text(out, "soft", x, frame.bottom + 15.0, "middle", &number(at, step));
            at += step;
        }
        text(out, "soft", LEFT + frame.width() / 2.0, HEIGHT - 5.0, "middle", "seconds");
        for series in &self.series {
            let count = series.values.len().max(1) as f64;
            let points = series.values.iter().enumerate();
            line(
                out,
                series.tone,
                points.map(|(at, value)| {
                    let x = LEFT + frame.width() * (at as f64 + 0.5) / count;
                    Some((x, frame.y((*value)?)))
                }),
            );
        }
    }
}

/// A line through points, broken where one is missing.
fn line(out: &mut String, tone: usize, points: impl Iterator<Item = Option<(f64, f64)>>) {
    let mut path = String::new();
    let mut pen_up = true;
    for point in points {
        let Some((x, y)) = point else {
            pen_up = true;
            continue;
        };
        _ = write!(path, "{}{x:.1} {y:.1}", if pen_up { 'M' } else { 'L' });
        pen_up = false;
    }
    if !path.is_empty() {
        _ = write!(out, "<path class=\"line s{tone}\" d=\"{path}\"/>");
    }
}

/// Text at a place.
pub(super) fn text(out: &mut String, class: &str, x: f64, y: f64, anchor: &str, content: &str) {
    _ = write!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(content)
    );
}

/// So many letters at most.
#[must_use]
pub fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

/// A round distance of which two to five reach up to a value.
fn step(most: f64) -> f64 {
    if !most.is_finite() || most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| most / step <= 5.0).unwrap_or(10.0 * power)
}

/// A multiple of a step, without more digits than that has.
fn number(value: f64, step: f64) -> String {
    let digits = (0..6).find(|&digits| {
        let shifted = step * 10_f64.powi(digits);
        (shifted - shifted.round()).abs() < 1e-6 * shifted
    });
    format!("{value:.*}", digits.unwrap_or(6) as usize)
}

/// A value to three digits.
pub(super) fn digits(value: f64) -> String {
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        Plot {
            id: "it",
            title: "Rates <of> things".to_owned(),
            description: "Two & two".to_owned(),
            unit: "MH/s".to_owned(),
            along: Along::Places {
                label: "threads".to_owned(),
                names: vec!["1".to_owned(), "2".to_owned()],
            },
            series: vec![
                Series {
                    name: "ceiling".to_owned(),
                    tone: MUTED,
                    mark: Mark::Bar,
                    values: vec![Some(4.2), Some(7.9)],
                },
                Series {
                    name: "search".to_owned(),
                    tone: 0,
                    mark: Mark::Bar,
                    values: vec![Some(3.4), None],
                },
            ],
            levels: vec![],
        }
    }

    #[test]
    fn fixed_numbers_make_a_fixed_picture() {
        insta::assert_snapshot!(plot().svg().replace("><", ">\n<"));
        let over_time = Plot {
            along: Along::Time(3.0),
            series: vec![Series {
                name: "search".to_owned(),
                tone: 0,
                mark: Mark::Line,
                values: vec![Some(3.0), None, Some(3.5), Some(3.25)],
            }],
            levels: vec![("p5".to_owned(), 3.0), ("p95".to_owned(), 3.05)],
            ..plot()
        };
        insta::assert_snapshot!("over_time", over_time.svg().replace("><", ">\n<"));
    }

    #[test]
    fn steps_are_round() {
        let found = [0.0, 0.9, 4.2, 7.9, 16.0, 23.0, 9_999.0].map(step);
        assert_eq!(found, [1.0, 0.2, 1.0, 2.0, 5.0, 5.0, 2_000.0]);
        assert_eq!((number(0.5, 0.25), number(2.0, 1.0)), ("0.50".to_owned(), "2".to_owned()));
    }

    #[test]
    fn nothing_and_nonsense_are_drawn_too() {
        for values in
            [vec![], vec![None], vec![Some(0.0)], vec![Some(f64::INFINITY)], vec![Some(1e300)]]
        {
            let series = Series { name: "it".to_owned(), tone: 0, mark: Mark::Bar, values };
            let names = vec!["1".to_owned()];
            let along = Along::Places { label: String::new(), names };
            let svg = Plot { series: vec![series], along, ..plot() }.svg();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn what_means_something_in_markup_is_escaped() {
        assert_eq!(escape("<a href='x'>&\"\u{1b}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot; ");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
