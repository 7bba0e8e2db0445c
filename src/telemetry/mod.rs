//! Logs: one line an event on standard output, JSON or text. It knows no request, no user and no setting but the format;
//! what may stand in a line is decided where the line is written.
//!
//! `sink` takes lines without ever waiting for whoever reads them, `line` makes them, `panics` logs panics. `export` says
//! whether the traces of requests leave this process, which `otel` sees to.

mod export;
mod line;
#[cfg(feature = "otel")]
mod otel;
mod panics;
mod sink;

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::audit;
use crate::clock::Clock;
use crate::settings::LogFormat;
use crate::store::postgres::{NOTICE_TARGET, NoticeLayer};
use line::Lines;
use sink::Sink;

pub use export::recorder;
pub use sink::Guard;

/// Our own events from `info` on; libraries only where something is wrong.
const DEFAULT_FILTER: &str =
    "info,hyper=warn,hyper_util=warn,opentelemetry=warn,reqwest=warn,rustls=warn,sqlx=warn,tower=warn";

/// What is said of the filter itself must pass it.
const FILTER_TARGET: &str = concat!(module_path!(), "::filter");

static SINK: OnceLock<Sink> = OnceLock::new();

/// Starts logging to standard output, and of panics. `RUST_LOG` says what is logged.
///
/// Keep the guard until the very end: dropping it writes what is still waiting. For `serve`; a command whose output is
/// its purpose has no use for it. In a process that logs already, as a test may, it changes nothing.
pub fn init(format: LogFormat) -> Guard {
    let text = match format {
        LogFormat::Auto => io::stdout().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let (sink, guard) = Sink::start(io::stdout());
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, understood) = filter(&asked);
    let lines = Lines { text, clock: Clock::system(), sink: sink.clone() };
    if tracing_subscriber::registry().with(filter).with(NoticeLayer).with(lines).try_init().is_ok() {
        SINK.get_or_init(|| sink);
        panics::log_them();
    }
    if !understood {
        tracing::warn!(target: FILTER_TARGET, "RUST_LOG cannot be understood and is ignored");
    } else if !names_a_level(&asked) {
        tracing::warn!(
            target: FILTER_TARGET,
            "RUST_LOG names no level (error, warn, info, debug, trace): it is taken for the name of a module"
        );
    }
    guard
}

/// For a command, whose standard output is its answer: the audit stream and what Postgres warns of, as JSON on standard
/// error. Without it a command would not hear that its commit is on no standby.
///
/// Keep the guard until the command has ended.
pub fn init_command() -> Guard {
    let (sink, guard) = Sink::start(io::stderr());
    let lines = Lines { text: false, clock: Clock::system(), sink };
    // In a process that logs already its log has the event.
    let filter = with_audit(EnvFilter::new("off"));
    let _ = tracing_subscriber::registry().with(filter).with(NoticeLayer).with(lines).try_init();
    guard
}

/// Lines that were thrown away since the start because nobody read them fast enough. Never goes down.
pub fn lost_lines() -> u64 {
    SINK.get().map_or(0, Sink::lost)
}

/// The filter asked for, else our own; and whether what was asked for could be understood.
fn filter(asked: &str) -> (EnvFilter, bool) {
    let wanted = if asked.trim().is_empty() { DEFAULT_FILTER } else { asked };
    let (filter, understood) = match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, true),
        Err(_) => (EnvFilter::new(DEFAULT_FILTER), false),
    };
    (with_audit(filter), understood)
}

/// Without a level a word is a module's name, of which everything is logged: `verbose` is none of ours, and the log silent.
fn names_a_level(asked: &str) -> bool {
    let level =
        |directive: &str| directive.rsplit('=').next().is_some_and(|last| last.trim().parse::<LevelFilter>().is_ok());
    asked.trim().is_empty() || asked.split(',').any(level)
}

/// Whatever else is logged, the audit stream is: nobody switches it off by asking for fewer lines. Nor what Postgres warns
/// of, on which it depends whether a commit counts; nor what is said here of the filter itself.
fn with_audit(filter: EnvFilter) -> EnvFilter {
    [(audit::TARGET, "info"), (NOTICE_TARGET, "warn"), (FILTER_TARGET, "warn")].into_iter().fold(
        filter,
        |filter, (target, level)| {
            filter.add_directive(format!("{target}={level}").parse().expect("a target and a level are a directive"))
        },
    )
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::{filter, names_a_level};

    #[test]
    fn no_filter_switches_the_audit_stream_off() {
        for asked in ["", "off", "warn", "audit=off", "info,audit=warn", "oneclick_login=error", "=,="] {
            let subscriber = tracing_subscriber::registry().with(filter(asked).0);
            tracing::subscriber::with_default(subscriber, || {
                assert!(tracing::event_enabled!(target: "audit", tracing::Level::INFO), "{asked:?}");
            });
        }
    }

    #[test]
    fn a_filter_without_any_level_is_told_from_one_with() {
        for without in ["verbose", "verbose,quiet", "oneclick_login", "[login]", "x=y"] {
            assert!(!names_a_level(without), "{without:?}");
        }
        for with in ["", " ", "info", "WARN", "off", "verbose,info", "sqlx=debug", "[login{a=b}]=trace", "3"] {
            assert!(names_a_level(with), "{with:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_leaves_the_default_filter() {
        let (default, understood) = filter("");
        assert!(understood && default.to_string().contains("sqlx=warn"));
        let (asked, understood) = filter("oneclick_login=debug");
        assert!(understood && asked.to_string().contains("oneclick_login=debug"));
        let (fallback, understood) = filter("info,=,a=b=c");
        assert!(!understood && fallback.to_string() == default.to_string());
    }
}
