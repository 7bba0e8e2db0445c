//! Whether traces are exported, by the standard variables of OpenTelemetry. It must not know how that is done.

use std::env;
use std::sync::Arc;

use crate::trace::Recorder;

/// Who records the traces of requests: nobody, unless the environment names a collector and the program was built with
/// the feature `otel`. What cannot be set up is logged, and logins go on without it.
pub fn recorder() -> Option<Arc<dyn Recorder>> {
    if is_wanted(|name| env::var(name).ok()) { start() } else { None }
}

#[cfg(feature = "otel")]
fn start() -> Option<Arc<dyn Recorder>> {
    match super::otel::Exporter::from_environment() {
        Ok(exporter) => {
            tracing::info!("traces are exported by OTLP");
            Some(Arc::new(exporter))
        }
        Err(error) => {
            tracing::error!(error = &*error as &dyn std::error::Error, "traces are not exported");
            None
        }
    }
}

#[cfg(not(feature = "otel"))]
fn start() -> Option<Arc<dyn Recorder>> {
    tracing::warn!("traces are not exported: the program was built without the feature otel");
    None
}

/// An endpoint is enough of a wish; without one, OTLP has to be asked for by name.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).filter(|value| !value.trim().is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        return false;
    }
    match set("OTEL_TRACES_EXPORTER") {
        Some(exporters) => exporters.split(',').any(|exporter| exporter.trim() == "otlp"),
        None => ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
            .into_iter()
            .any(|name| set(name).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn traces_are_exported_where_a_collector_or_the_exporter_is_named_and_nothing_speaks_against_it() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces");
        for (variables, wanted) in [
            (&[][..], false),
            (&[endpoint], true),
            (&[traces], true),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
            (&[("OTEL_TRACES_EXPORTER", "console, otlp")], true),
            (&[("OTEL_TRACES_EXPORTER", "none"), endpoint], false),
            (&[("OTEL_TRACES_EXPORTER", "console"), endpoint], false),
            (&[("OTEL_TRACES_EXPORTER", ""), endpoint], true),
            (&[("OTEL_SDK_DISABLED", "true"), endpoint], false),
            (&[("OTEL_SDK_DISABLED", "false"), endpoint], true),
            (&[("OTEL_SERVICE_NAME", "login")], false),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(is_wanted(variable), wanted, "{variables:?}");
        }
    }
}
