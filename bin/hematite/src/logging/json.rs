//! One JSON object a line, as `tracing-subscriber` writes them, but of no more bytes than a stranger
//! should be able to cause, and without a character that a terminal would obey.

use std::{
    fmt::{self, Write},
    time::Instant,
};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::{
    limiter::Limiter,
    terminal::{LEFT_OUT, VALUE_BYTES_MAX, is_obeyed, with_causes},
};

/// Writes events as JSON.
#[derive(Debug, Default)]
pub(super) struct Json {
    limiter: Limiter,
}

/// The fields of an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn record(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, cut(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record(field, cut(&with_causes(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, cut(&format!("{value:?}")));
    }
}

impl<S, N> FormatEvent<S, N> for Json
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        if left_out > 0 {
            fields.0.insert(LEFT_OUT.to_owned(), left_out.into());
        }
        let mut moment = String::new();
        SystemTime.format_time(&mut Writer::new(&mut moment))?;
        let (level, target) = (event.metadata().level(), event.metadata().target());
        write!(writer, r#"{{"timestamp":"{moment}","level":"{level}""#)?;
        for (name, value) in &fields.0 {
            write!(writer, ",{}:{}", Value::from(name.as_str()), Plain(value))?;
        }
        writeln!(writer, r#","target":"{target}"}}"#)
    }
}

/// A value without a character that JSON allows and a terminal obeys.
struct Plain<'v>(&'v Value);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // None of them is outside of the basic plane, so that one escape is enough.
        for character in self.0.to_string().chars() {
            match character {
                obeyed if is_obeyed(obeyed) => write!(f, "\\u{:04x}", u32::from(obeyed))?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// As much of a value as may be shown.
fn cut(value: &str) -> String {
    if value.len() <= VALUE_BYTES_MAX {
        return value.to_owned();
    }
    let end = value.floor_char_boundary(VALUE_BYTES_MAX - '…'.len_utf8());
    format!("{}…", &value[..end])
}
