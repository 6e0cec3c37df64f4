//! geth's terminal format: `INFO [11-21|10:31:15.123] Message<to 40 runes> key=value`.
//!
//! Times are UTC.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::limiter::Limiter;

/// Runes that a message fills before its fields begin.
const MESSAGE_RUNES: usize = 40;
/// Most runes that a value is padded to.
const VALUE_RUNES_MAX: usize = 40;
/// Most bytes of a value or a message: what a stranger says must not flood the log.
pub(super) const VALUE_BYTES_MAX: usize = 2048;
/// Most keys whose widths are remembered.
const KEYS_MAX: usize = 1024;

/// The field that tells how many lines like this one were not written.
pub(super) const LEFT_OUT: &str = "left_out";

/// Writes events as geth does.
#[derive(Debug, Default)]
pub struct Terminal {
    limiter: Limiter,
    /// The widest value seen for each key, so that columns line up.
    widths: Mutex<HashMap<&'static str, usize>>,
}

/// The parts of an event, already safe to print.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = escaped(value);
        } else {
            self.fields.push((field.name(), quoted(value)));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &with_causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S, N> FormatEvent<S, N> for Terminal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(left_out) = self.limiter.admit(event.metadata(), Instant::now()) else {
            return Ok(());
        };
        let mut parts = Parts::default();
        event.record(&mut parts);
        if left_out > 0 {
            parts.fields.push((LEFT_OUT, left_out.to_string()));
        }
        let level = *event.metadata().level();
        let colour = writer.has_ansi_escapes().then(|| colour(level));
        self.write(&mut writer, level, &moment(SystemTime::now()), &parts, colour)
    }
}

impl Terminal {
    fn write(
        &self,
        writer: &mut Writer<'_>,
        level: Level,
        moment: &str,
        parts: &Parts,
        colour: Option<u8>,
    ) -> fmt::Result {
        let word = word(level);
        match colour {
            Some(colour) => write!(writer, "\u{1b}[{colour}m{word}\u{1b}[0m")?,
            None => writer.write_str(word)?,
        }
        write!(writer, "[{moment}] {}", parts.message)?;
        if !parts.fields.is_empty() {
            let runes = parts.message.chars().count();
            write!(writer, "{:1$}", "", MESSAGE_RUNES.saturating_sub(runes))?;
        }
        let last = parts.fields.len().saturating_sub(1);
        for (index, (key, value)) in parts.fields.iter().enumerate() {
            match colour {
                Some(colour) => write!(writer, " \u{1b}[{colour}m{key}\u{1b}[0m={value}")?,
                None => write!(writer, " {key}={value}")?,
            }
            let padding = self.padding(key, value);
            if index < last {
                write!(writer, "{:padding$}", "")?;
            }
        }
        writer.write_char('\n')
    }

    /// How many spaces a value lacks to the widest seen for its key.
    fn padding(&self, key: &'static str, value: &str) -> usize {
        let runes = value.chars().count();
        let mut widths = self.widths.lock().unwrap_or_else(PoisonError::into_inner);
        if widths.len() >= KEYS_MAX && !widths.contains_key(key) {
            return 0;
        }
        let width = widths.entry(key).or_default();
        if runes <= VALUE_RUNES_MAX {
            *width = runes.max(*width);
        }
        width.saturating_sub(runes)
    }
}

/// The level, filled to five letters as geth fills it.
const fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN ",
        Level::INFO => "INFO ",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// geth's colours, as ANSI codes.
const fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 36,
        Level::TRACE => 34,
    }
}

/// `MM-DD|HH:MM:SS.mmm`, in UTC.
fn moment(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (month, day) = month_and_day(seconds / 86_400);
    format!(
        "{month:02}-{day:02}|{:02}:{:02}:{:02}.{:03}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// Month and day of the Gregorian calendar, `days` after 1970-01-01.
fn month_and_day(mut days: u64) -> (usize, u64) {
    let mut year = 1970;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30];
    let mut month = 1;
    for length in months {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (month, days + 1)
}

/// A value, in quotes if it could be mistaken for more than one.
fn quoted(value: &str) -> String {
    let text = escaped(value);
    if text.is_empty() || text.contains([' ', '=', '"']) {
        format!("\"{}\"", text.replace('"', "\\\""))
    } else {
        text
    }
}

/// An error, and what caused it.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Whether a terminal does something else with a character than show it: control characters, and
/// marks that turn the direction of writing, which can disguise a line as well.
pub(super) fn is_obeyed(character: char) -> bool {
    let turning = matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turning
}

/// A text without control characters, and not longer than its limit: it may be a stranger's.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len().min(VALUE_BYTES_MAX));
    for character in value.chars() {
        if text.len() >= VALUE_BYTES_MAX - '…'.len_utf8() - 10 {
            text.push('…');
            break;
        }
        if is_obeyed(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(terminal: &Terminal, message: &str, fields: &[(&'static str, &str)]) -> String {
        let fields = fields.iter().map(|(key, value)| (*key, quoted(value))).collect();
        let parts = Parts { message: escaped(message), fields };
        let mut text = String::new();
        let moment = "11-21|10:31:15.123";
        terminal.write(&mut Writer::new(&mut text), Level::INFO, moment, &parts, None).unwrap();
        text
    }

    #[test]
    fn pads_messages_and_columns_as_geth_does() {
        let terminal = Terminal::default();
        let log = |message, fields: &[_]| line(&terminal, message, fields);
        assert_eq!(log("Alone", &[]), "INFO [11-21|10:31:15.123] Alone\n");
        assert_eq!(
            log("Imported new chain segment", &[("blocks", "12"), ("txs", "3")]),
            "INFO [11-21|10:31:15.123] Imported new chain segment               blocks=12 txs=3\n"
        );
        assert_eq!(
            log("🔨 mined potential block", &[("blocks", "1"), ("txs", "3")]),
            "INFO [11-21|10:31:15.123] 🔨 mined potential block                  blocks=1  txs=3\n"
        );
    }

    #[test]
    fn quotes_and_escapes_what_a_stranger_says() {
        let check = |value: &str, expect: &str| assert_eq!(quoted(value), expect);
        check("plain", "plain");
        check("", "\"\"");
        check("two words", "\"two words\"");
        check("a=b", "\"a=b\"");
        check("say \"x\"", "\"say \\\"x\\\"\"");
        check("\u{1b}[31mred\r\n", "\\u{1b}[31mred\\r\\n");
        check("\u{202e}evil", "\\u{202e}evil");
    }

    #[test]
    fn cuts_a_long_value() {
        for value in ["x".repeat(100_000), "\n".repeat(100_000), "ß".repeat(100_000)] {
            let text = escaped(&value);
            assert!(text.len() <= VALUE_BYTES_MAX && text.ends_with('…'), "{}", text.len());
        }
    }

    #[test]
    fn writes_the_moment_in_utc() {
        let check = |seconds: u64, expect: &str| {
            assert_eq!(moment(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7)), expect);
        };
        check(0, "01-01|00:00:00.007");
        check(1_606_400_176, "11-26|14:16:16.007");
        check(951_782_400, "02-29|00:00:00.007");
        check(1_798_761_599, "12-31|23:59:59.007");
    }
}
