//! What is shown of what a node logs.

use serde_json::{Map, Value};

/// Facts that a person wants to see, by how a message begins, and how they are called here.
const SHOWN: [(&str, &str); 5] = [
    ("Successfully sealed new block", "mined block"),
    ("Generating DAG", "DAG is being made"),
    ("Checking DAG file", "DAG is being checked"),
    ("Waiting for DAG", "waits for the DAG of another miner"),
    ("Chain reorg detected", "left its branch for a heavier one"),
];
/// Fields that are shown with them.
const FIELDS: [&str; 9] =
    ["number", "hash", "txs", "percentage", "eta", "drop", "add", "error", "reason"];
/// Fields that are not shown with warnings.
const HIDDEN: [&str; 4] = ["timestamp", "level", "message", "target"];
/// Hashes are shortened to so many characters.
const HASH_CHARS: usize = 10;

/// A line of the log, taken apart.
#[derive(Debug)]
pub(super) struct Line {
    fields: Map<String, Value>,
}

impl Line {
    /// Reads a line; `None` if it is none of a log.
    pub(super) fn read(text: &str) -> Option<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Some(Self { fields }),
            _ => None,
        }
    }

    /// A field as text.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// What happened.
    pub(super) fn message(&self) -> &str {
        self.fields.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// The time of the day.
    fn time(&self) -> &str {
        let time = self.fields.get("timestamp").and_then(Value::as_str).unwrap_or_default();
        time.get(11..19).unwrap_or_default()
    }

    fn level(&self) -> &str {
        self.fields.get("level").and_then(Value::as_str).unwrap_or_default()
    }

    /// The line for a person, if it is worth one.
    pub(super) fn shown(&self, name: &str, everything: bool) -> Option<String> {
        let (time, message) = (self.time(), self.message());
        if !everything && self.level() == "INFO" {
            let (_, words) = SHOWN.iter().find(|(begins, _)| message.starts_with(begins))?;
            let fields = FIELDS.iter().filter_map(|field| self.pair(field));
            return Some(format!("{time} {name:<8} {words}{}", fields.collect::<String>()));
        }
        let level = self.level();
        let fields = self.fields.keys().filter(|field| !HIDDEN.contains(&field.as_str()));
        let fields: String = fields.filter_map(|field| self.pair(field)).collect();
        Some(format!("{time} {name:<8} {level} {message}{fields}"))
    }

    fn pair(&self, field: &str) -> Option<String> {
        let text = self.field(field)?;
        Some(match field {
            "number" => format!(" {text}"),
            "hash" => format!(" {}…", text.get(..HASH_CHARS).unwrap_or(&text)),
            "percentage" => format!(" {text} %"),
            _ => format!(" {field}={text}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, everything: bool) -> Option<String> {
        Line::read(text).unwrap().shown("miner-1", everything)
    }

    #[test]
    fn a_person_sees_blocks_and_what_is_wrong_and_not_the_rest() {
        let sealed = r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"INFO","message":"Successfully sealed new block","number":7,"sealhash":"0xaa","hash":"0x0123456789abcdef","elapsed":"3ms","txs":2,"target":"miner::worker"}"#;
        assert_eq!(
            shown(sealed, false).unwrap(),
            "03:04:05 miner-1  mined block 7 0x01234567… txs=2"
        );
        let other = sealed.replace("Successfully sealed new block", "Commit new mining work");
        assert_eq!(shown(&other, false), None);
        assert!(shown(&other, true).unwrap().contains("INFO Commit new mining work"));
        let warning = r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"WARN","message":"Dropped to zero peers","peers":0,"target":"x"}"#;
        assert_eq!(
            shown(warning, false).unwrap(),
            "03:04:05 miner-1  WARN Dropped to zero peers peers=0"
        );
    }

    #[test]
    fn what_is_no_line_of_a_log_is_told_apart() {
        for text in ["Fatal: the disk is full", "[1]", "", "{"] {
            assert!(Line::read(text).is_none(), "{text}");
        }
        assert!(Line::read("{}").unwrap().shown("tx-1", false).is_some());
    }
}
