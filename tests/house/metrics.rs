//! The table of metrics beside a real scrape: every metric is described, and everything described is there.

use std::collections::BTreeSet;

use super::read;
use crate::program::tls::with_tls;
use crate::support::app::SEED_TOKEN;
use crate::support::program::Setup;
use crate::support::scrape::Family;

/// Read from `/proc`, which only Linux has.
const LINUX_ONLY: [&str; 4] =
    ["process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"];

fn row(family: &Family) -> String {
    let suffix = if family.kind == "counter" { "_total" } else { "" };
    let labels: BTreeSet<_> = family.samples.iter().flat_map(|sample| sample.labels.keys()).collect();
    let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
    let (name, kind, labels, help) = (&family.name, &family.kind, labels.join(", "), family.help.trim_end_matches('.'));
    format!("| `{name}{suffix}` | {kind} | {labels} | {help} |").replace("|  |", "| |")
}

/// What is shown only where the API's listener speaks TLS.
async fn rows_of_tls() -> Vec<String> {
    let program = with_tls().0.start().await;
    let is_of_tls = |family: &&Family| family.name.starts_with("oneclick_tls_");
    program.scrape().await.families.iter().filter(is_of_tls).map(row).collect()
}

#[tokio::test]
async fn the_table_of_metrics_is_what_a_scrape_shows() {
    // Some are shown only where there is something to show.
    let program = Setup::new().patient().set("ONECLICK_LIMITS__VERIFIER_CALLS_PER_DAY", "1000").start().await;
    program.wait_until_ready().await;
    assert_eq!(program.log_in(SEED_TOKEN).await.status, 200);
    let scrape = program.scrape().await;
    let mut expected: Vec<_> = scrape.families.iter().map(row).collect();
    expected.extend(rows_of_tls().await);
    expected.sort();
    let document = read("docs/metrics.md");
    let is_linux_only = |line: &&str| LINUX_ONLY.iter().any(|name| line.starts_with(&format!("| `{name}")));
    let rows = document.lines().filter(|line| line.starts_with("| `oneclick_") || line.starts_with("| `process_"));
    let mut written: Vec<_> =
        rows.filter(|line| cfg!(target_os = "linux") || !is_linux_only(line)).map(str::to_owned).collect();
    written.sort();
    assert!(written == expected, "the rows of docs/metrics.md should be:\n{}\n", expected.join("\n"));
}
