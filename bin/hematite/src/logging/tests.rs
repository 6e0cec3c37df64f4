use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use super::*;

/// What was written, shared with the layer.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, filter: EnvFilter, log: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = layer(format, false, move || writer.clone()).with_filter(filter);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn writes_fields_and_the_causes_of_an_error() {
    let text = logged(LogFormat::Terminal, filter(3, None).unwrap(), || {
        let source = accounts::KeyFileError::Json;
        let error = accounts::KeystoreError::KeyFile { path: "k\n".into(), source };
        let error: &dyn std::error::Error = &error;
        tracing::warn!(number = 7, error, name = "two words", "Failed");
    });
    let (_, rest) = text.split_once("] ").unwrap();
    assert!(text.starts_with("WARN ["), "{text}");
    let expect =
        "number=7 error=\"k\\n is not a usable key file: the file is not JSON\" name=\"two words\"";
    assert_eq!(rest, format!("{:<40} {expect}\n", "Failed"));
}

#[test]
fn shows_what_the_verbosity_lets_through() {
    let levels = |verbosity| {
        let text = logged(LogFormat::Terminal, filter(verbosity, None).unwrap(), || {
            tracing::error!("e");
            tracing::warn!("w");
            tracing::info!("i");
            tracing::debug!("d");
            tracing::trace!("t");
            tracing::info!(target: "hyper", "noise");
        });
        text.lines().filter_map(|line| line.chars().last()).collect::<String>()
    };
    assert_eq!([0, 1, 2, 3, 4, 5].map(levels), ["", "e", "ew", "ewi", "ewid", "ewidt"]);
}

#[test]
fn lets_rust_log_win() {
    let text = logged(LogFormat::Terminal, filter(0, Some("debug")).unwrap(), || {
        tracing::debug!("seen");
    });
    assert!(text.ends_with("] seen\n"), "{text}");
    assert!(filter(3, Some("no=such=filter")).is_err());
}

#[test]
fn writes_json_when_asked() {
    let text = logged(LogFormat::Json, filter(3, None).unwrap(), || {
        tracing::info!(number = 7, "Imported");
    });
    assert!(text.starts_with("{\"timestamp\":") && text.ends_with("}\n"), "{text}");
    assert!(text.contains("\"message\":\"Imported\"") && text.contains("\"number\":7"), "{text}");
}

/// LOG-01.
#[test]
fn what_a_stranger_says_is_one_short_plain_line_in_every_format() {
    let evil = "\u{1b}[31m\r\n\u{7}\u{7f}\u{9b}\u{202e}{\"level\":\"ERROR\"}".repeat(1_000);
    for format in [LogFormat::Terminal, LogFormat::Json] {
        let text = logged(format, filter(3, None).unwrap(), || {
            let error: &dyn std::error::Error = &io::Error::other(evil.clone());
            tracing::info!(evil, error, shown = %evil, quoted = ?evil, "{evil}");
        });
        assert_eq!(text.matches('\n').count(), 1, "{format:?}");
        let obeyed = text.trim_end().chars().find(|character| terminal::is_obeyed(*character));
        assert_eq!(obeyed, None, "{format:?}");
        assert!(text.len() <= 5 * 6 * 2_048 + 200, "{format:?}: {}", text.len());
        if format == LogFormat::Json {
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            for field in ["message", "evil", "error", "shown", "quoted"] {
                let value = line[field].as_str().unwrap();
                assert!(value.len() <= 2_048 && value.ends_with('…'), "{field}");
            }
            assert!(evil.starts_with(line["evil"].as_str().unwrap().trim_end_matches('…')));
        }
    }
}

/// LOG-02.
#[test]
fn one_place_writes_so_many_lines_a_minute_and_tells_of_the_others() {
    for format in [LogFormat::Terminal, LogFormat::Json] {
        let text = logged(format, filter(4, None).unwrap(), || {
            for round in 0..2_000 {
                tracing::warn!(round, "Strangers");
                tracing::debug!(round, "All of it");
            }
            tracing::info!("Somebody else");
        });
        let count = |word: &str| text.lines().filter(|line| line.contains(word)).count();
        // Some more if that took long.
        assert!((600..700).contains(&count("Strangers")), "{}", count("Strangers"));
        assert_eq!((count("All of it"), count("Somebody else")), (2_000, 1));
    }
}
