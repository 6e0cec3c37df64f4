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
