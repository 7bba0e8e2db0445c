//! What a line looks like, and that nothing in a value can break out of it.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use time::OffsetDateTime;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// What `log` writes, in this format.
fn logged(text: bool, log: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let (sink, guard) = Sink::start(kept.clone());
    let clock = Clock::manual(OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap());
    let subscriber = tracing_subscriber::registry().with(Lines { text, clock, sink });
    tracing::subscriber::with_default(subscriber, log);
    drop(guard);
    String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
}

fn log_a_request() {
    let span = tracing::info_span!("request", request.id = "r1", app.client_id = tracing::field::Empty, status = 1);
    let _entered = span.enter();
    span.record("app.client_id", "an app");
    tracing::warn!(status = 200, duration_ms = 1.5, new = true, user.id = ?Some(7), level = "mine", "answered");
}

#[test]
fn a_json_line_is_flat_and_the_innermost_value_wins() {
    let line = logged(false, log_a_request);
    let expected = json!({
        "timestamp": "2023-11-14T22:13:20.000000Z", "level": "WARN", "target": module_path!(), "message": "answered",
        "request.id": "r1", "app.client_id": "an app", "status": 200, "duration_ms": 1.5, "new": true,
        "user.id": "Some(7)", "field.level": "mine",
    });
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    assert!(line.starts_with(r#"{"timestamp":"2023-11-14T22:13:20.000000Z","level":"WARN","target":"#), "{line}");
}

#[test]
fn a_text_line_reads_alone() {
    let line = logged(true, log_a_request);
    assert!(line.starts_with("2023-11-14T22:13:20.000000Z  WARN oneclick_login::"), "{line}");
    for part in [": answered ", " request.id=r1", " app.client_id=\"an app\"", " status=200", " duration_ms=1.5"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
}

#[test]
fn an_error_is_logged_with_its_whole_chain() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the session")]
    struct Outer(#[source] io::Error);
    let error = Outer(io::Error::other("disk full"));
    let line = logged(false, || tracing::error!(error = &error as &dyn std::error::Error, "failed"));
    assert!(line.contains(r#""error":"cannot open the session: disk full""#), "{line}");
}

#[test]
fn no_value_breaks_out_of_its_line() {
    let long = "\u{1b}é".repeat(32 * 1024);
    let values = [
        "a\r\nb",
        "\n{\"level\":\"ERROR\"}\n",
        "\u{1b}[31mred\u{1b}[0m\u{7}\u{8}",
        "\u{9b}31m\u{85}\u{7f}\0",
        "quote\" back\\slash 'x'=y",
        "\u{2028}\u{2029}\u{202e}\u{2066}",
        "\u{fffd}\u{ffff}",
        "",
        &long,
    ];
    for value in values {
        for text in [false, true] {
            let log = || {
                let span = tracing::info_span!("span", outer = value, debugged = ?value);
                let _entered = span.enter();
                tracing::info!(inner = value, shown = %value, bytes = value.as_bytes(), "message {value}");
                tracing::info!("{value}");
            };
            let lines = logged(text, log);
            assert_eq!(lines.matches('\n').count(), 2, "{value:?}");
            assert!(!lines.replace('\n', "").contains(is_unsafe), "{value:?}");
            assert!(lines.len() < 200 * 1024);
            for line in lines.lines().filter(|_| !text) {
                let parsed: Value = serde_json::from_str(line).unwrap();
                let kept: String = value.chars().take(100).collect();
                assert!(parsed["outer"].as_str().unwrap().starts_with(&kept), "the value itself survives");
            }
        }
    }
}

#[test]
fn a_long_value_is_cut_at_a_character() {
    let line = logged(false, || tracing::info!(value = "é".repeat(64 * 1024), "x"));
    let parsed: Value = serde_json::from_str(&line).unwrap();
    let value = parsed["value"].as_str().unwrap();
    assert_eq!(value.len(), VALUE_BYTES + "…".len());
    assert!(value.ends_with("é…"));
}

#[test]
fn a_record_of_the_log_crate_has_its_own_target_and_no_more() {
    let log = || tracing::info!(log.target = "rustls::conn", log.line = 7, "shaken hands");
    let parsed: Value = serde_json::from_str(&logged(false, log)).unwrap();
    assert_eq!(parsed.as_object().unwrap().len(), 4, "{parsed}");
    assert_eq!(parsed["target"], "rustls::conn");
}
