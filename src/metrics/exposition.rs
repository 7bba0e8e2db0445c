//! The text that a scrape gets, in either of two forms: OpenMetrics, and Prometheus' older own, which every scraper and
//! `promtool check metrics` read.

use std::borrow::Cow;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// OpenMetrics for whoever names it, as Prometheus does; the form that everybody reads for the others.
    pub fn accepted_by(accept: &str) -> Self {
        let mut media_types = accept.split(',').filter_map(|range| range.split(';').next());
        if media_types.any(|media_type| media_type.trim().eq_ignore_ascii_case(OPEN_METRICS)) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

pub fn write(registries: &[&Registry], format: Format) -> String {
    let mut text = String::with_capacity(32 * 1024);
    for registry in registries {
        encode_registry(&mut text, registry).expect("a string takes what is written to it");
    }
    match format {
        Format::OpenMetrics => {
            encode_eof(&mut text).expect("a string takes what is written to it");
            text
        }
        Format::Text => to_prometheus_text(&text),
    }
}

/// The samples are the same. OpenMetrics names a counter without the `_total` of its samples; the older form names both
/// alike.
fn to_prometheus_text(open_metrics: &str) -> String {
    let counters: Vec<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let renamed = |line: &'_ str| -> Option<String> {
        let mut words = line.splitn(4, ' ');
        let (_, keyword, name, rest) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (line.starts_with("# ") && counters.contains(&name)).then(|| format!("# {keyword} {name}_total {rest}"))
    };
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        text.push_str(&renamed(line).map_or(Cow::Borrowed(line), Cow::Owned));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_names_open_metrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted_by(prometheus), Format::OpenMetrics);
        for accept in ["", "*/*", "text/plain;version=0.0.4", "text/html, application/json"] {
            assert_eq!(Format::accepted_by(accept), Format::Text, "{accept}");
        }
    }

    #[test]
    fn the_older_form_names_a_counter_by_its_samples() {
        let open_metrics = "# HELP a_b What b is.\n# TYPE a_b counter\na_b_total{c=\"# TYPE a_b counter\"} 1\n\
                            # HELP a_bc A b.\n# TYPE a_bc gauge\na_bc 1\n";
        let text = "# HELP a_b_total What b is.\n# TYPE a_b_total counter\na_b_total{c=\"# TYPE a_b counter\"} 1\n\
                    # HELP a_bc A b.\n# TYPE a_bc gauge\na_bc 1\n";
        assert_eq!(to_prometheus_text(open_metrics), text);
    }
}
