//! Alert rules and dashboard beside the server: they ask for what it shows, every alert has its test and its page in
//! the runbook, and Grafana can lay out the dashboard. What the rules do is promtool's matter (`.ci/run`).

use std::collections::BTreeSet;

use oneclick_login::error_code::ErrorCode;
use oneclick_login::http::LOGIN_PATH;
use oneclick_login::over_limit::Limit;
use oneclick_login::verifier::VerifierError;
use serde_json::Value;

use super::read;
use super::source::is_word;

const RULES: &str = "deploy/prometheus/alerts.yaml";
const RULE_TESTS: &str = "deploy/prometheus/alerts.test.yaml";
const RUNBOOK: &str = "docs/operating.md";

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/dashboard.json")).unwrap()
}

fn queries(panels: &[Value]) -> impl Iterator<Item = &str> {
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap())
}

/// All PromQL there is, comments and annotations of the rules beside it.
fn promql() -> Vec<String> {
    let rules = [read(RULES), read(RULE_TESTS)];
    let lines = rules.iter().flat_map(|file| file.lines());
    lines.chain(queries(&panels())).map(str::to_owned).collect()
}

/// What follows `key` on the lines that begin with it.
fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    yaml.lines().filter_map(|line| line.trim_start().strip_prefix(key)).map(str::trim).collect()
}

/// The series of the table that is compared with a real scrape.
fn series_shown() -> BTreeSet<String> {
    let table = read("docs/metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let series = rows.flat_map(|(metric, kind)| {
        let suffixes: &[&str] = if kind.starts_with("histogram") { &["_bucket", "_sum", "_count"] } else { &[""] };
        suffixes.iter().map(move |suffix| format!("{metric}{suffix}"))
    });
    series.collect()
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_the_server_shows() {
    let shown = series_shown();
    let promql = promql();
    let words = promql.iter().flat_map(|line| line.split(|c| !is_word(c) && c != ':'));
    let named: BTreeSet<_> =
        words.filter(|word| word.starts_with("oneclick_") || word.starts_with("process_")).collect();
    assert!(named.len() > 20, "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !shown.contains(**name)).collect();
    assert!(unknown.is_empty(), "not in docs/metrics.md: {unknown:?}");
}

#[test]
fn rules_and_dashboard_ask_for_label_values_that_there_are() {
    let codes: BTreeSet<_> = ErrorCode::ALL.map(ErrorCode::number).into_iter().chain(["SUCCESS"]).collect();
    let outcomes: BTreeSet<_> = VerifierError::KINDS.into_iter().chain(["ok"]).collect();
    let limits: BTreeSet<_> = Limit::OF_LOGINS.into_iter().chain(Limit::OF_OTHERS).map(Limit::as_str).collect();
    let mut seen = BTreeSet::new();
    for line in promql() {
        for (label, value) in matchers(&line) {
            let exact = value.split('|').filter(|value| !value.contains(['+', '(', ')', '$']));
            for value in exact {
                let known = match label {
                    "code" => codes.contains(value),
                    "outcome" => outcomes.contains(value),
                    // With a full stop it is a setting, a label that a rule itself gives.
                    "limit" => value.contains('.') || limits.contains(value),
                    "route" => value.starts_with("/api/v"),
                    _ => continue,
                };
                assert!(known, "there is no {label} {value}: {line}");
                seen.insert(value.to_owned());
            }
        }
    }
    for value in ["SUCCESS", "IDAAS.SDK.COM.0002", "misconfigured", "verifier_day", LOGIN_PATH] {
        assert!(seen.contains(value), "{value} is asked for");
    }
}

/// The label and the value of every `label="value"`, whichever of the four operators is between.
fn matchers(promql: &str) -> Vec<(&str, &str)> {
    let pieces: Vec<_> = promql.split('"').collect();
    let found = pieces.chunks_exact(2).filter_map(|pair| {
        let label = pair[0].trim_end_matches('~').strip_suffix('=')?.trim_end_matches('!');
        Some((label.rsplit(|c| !is_word(c)).next()?, pair[1]))
    });
    found.collect()
}

#[test]
fn every_alert_is_seen_to_fire_and_has_its_page_in_the_runbook() {
    let (rules, tests, runbook) = (read(RULES), read(RULE_TESTS), read(RUNBOOK));
    let alerts = values(&rules, "- alert:");
    for alert in &alerts {
        assert!(tests.contains(&format!("ALERTS{{alertname=\"{alert}\", ")), "{RULE_TESTS} never sees {alert} fire");
    }
    let page = |alert: &&str| format!("{RUNBOOK}#{}", alert.to_lowercase());
    assert_eq!(values(&rules, "runbook_url:"), alerts.iter().map(page).collect::<Vec<_>>());
    let headings = values(&runbook, "### ").into_iter().filter(|heading| heading.starts_with("Oneclick"));
    assert_eq!(headings.collect::<Vec<_>>(), alerts, "the runbook has the alerts in the order of the rules");
}

#[test]
fn the_panels_of_the_dashboard_lie_beside_each_other() {
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        let (title, place) = (&panel["title"], &panel["gridPos"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title} has another panel's id");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| place[side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is beyond the right edge");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies over another panel");
        }
    }
}

#[test]
fn the_queries_of_the_dashboard_use_variables_that_there_are() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let mut known: BTreeSet<_> = variables.map(|variable| variable["name"].as_str().unwrap()).collect();
    known.extend(["__range", "__rate_interval"]);
    for query in queries(&panels()) {
        for after in query.split('$').skip(1) {
            let name = after.split(|c| !is_word(c)).next().unwrap();
            assert!(known.contains(name), "there is no ${name}: {query}");
        }
    }
}
