//! Numbers, switches and durations as Go's flag package writes them.

use std::time::Duration;

/// Units of a duration and their nanoseconds, longest name first.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Longest duration, in seconds: 290 years, Go's own limit.
const DURATION_SECONDS_MAX: f64 = 9.2e9;

/// A switch's value.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A whole number: decimal, or hex after `0x`; underscores may separate digits.
pub(crate) fn integer(text: &str) -> Result<u64, String> {
    let parsed = u64::try_from(wide_integer(text)?);
    parsed.map_err(|_| "larger than 64 bits".to_owned())
}

/// A whole number of up to 128 bits: an amount of wei.
pub(crate) fn wide_integer(text: &str) -> Result<u128, String> {
    let digits = text.replace('_', "");
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u128::from_str_radix(hex, 16),
        _ if !digits.starts_with('+') => digits.parse(),
        _ => return Err("not a whole number".to_owned()),
    };
    parsed.map_err(|_| "not a whole number".to_owned())
}

/// A duration: `3s`, `1h30m`, `1.5s`, `500ms`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration {text:?}; write it like 3s, 500ms or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        nanoseconds += number * size;
        rest = tail;
    }
    if text.is_empty() || nanoseconds / 1e9 > DURATION_SECONDS_MAX {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(nanoseconds / 1e9))
}

/// Writes a duration as Go does, in whole units: `1h30m0s`, `3s`, `500ms`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 && nanoseconds > 0 {
        return if nanoseconds.is_multiple_of(1_000_000) {
            format!("{}ms", nanoseconds / 1_000_000)
        } else {
            format!("{nanoseconds}ns")
        };
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match nanoseconds {
        0 => String::new(),
        _ => format!(".{nanoseconds:09}").trim_end_matches('0').to_owned(),
    };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_does() {
        let check = |text: &str, milliseconds| {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        };
        check("3s", 3_000);
        check("1h30m", 5_400_000);
        check("1h0m0s", 3_600_000);
        check("1.5s", 1_500);
        check("500ms", 500);
        check("0", 0);
        check("0s", 0);
        for text in ["", "3", "s", "3x", "-3s", "3s4", "1e400s", "999999999h", "..s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_durations_that_it_reads_back() {
        for (milliseconds, text) in
            [(3_000, "3s"), (5_400_000, "1h30m0s"), (1_500, "1.5s"), (500, "500ms"), (0, "0s")]
        {
            let value = Duration::from_millis(milliseconds);
            assert_eq!(format_duration(value), text);
            assert_eq!(duration(text), Ok(value));
        }
    }

    #[test]
    fn reads_numbers_as_go_does() {
        assert_eq!(integer("27587"), Ok(27_587));
        assert_eq!(integer("0x10"), Ok(16));
        assert_eq!(integer("8_000_000"), Ok(8_000_000));
        assert_eq!(wide_integer("340282366920938463463374607431768211455"), Ok(u128::MAX));
        assert!(integer("18446744073709551616").is_err());
        for text in ["", "-1", "+1", "0x+1", "1.5", "0x", "one"] {
            assert!(integer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_switches_as_go_does() {
        assert_eq!(["1", "T", "true"].map(boolean), [Some(true); 3]);
        assert_eq!(["0", "F", "False"].map(boolean), [Some(false); 3]);
        assert_eq!(["", "yes", "tRUE"].map(boolean), [None; 3]);
    }
}
