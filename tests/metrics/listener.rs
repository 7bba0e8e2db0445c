//! `/metrics` as a scraper gets it from the real program, and where it does not.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::app::{SEED_TOKEN, TestApp};
use crate::support::program::Setup;

#[tokio::test]
async fn prometheus_gets_open_metrics_and_everybody_else_the_text_that_everybody_reads() {
    let program = Setup::new().patient().start().await;
    program.wait_until_ready().await;
    assert_eq!(program.log_in(SEED_TOKEN).await.status, 200);

    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let answer = program.metrics(prometheus).await;
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let scrape = program.scrape().await;
    assert_eq!(scrape.value("oneclick_ready", &[]), 1.0);
    assert!(scrape.samples().filter(|sample| sample.name == "oneclick_not_ready").all(|sample| sample.value == 0.0));
    assert!(scrape.value("oneclick_database_clock_difference_seconds", &[]) < 30.0);
    assert_eq!(scrape.value("oneclick_log_lines_lost_total", &[]), 0.0);
    assert_eq!(scrape.value("oneclick_sessions_opened_total", &[]), 1.0);
    if cfg!(target_os = "linux") {
        assert!(scrape.value("process_resident_memory_bytes", &[]) > 1e6);
        assert!(scrape.value("process_cpu_seconds_total", &[]) > 0.0);
        let (open, limit) = (scrape.value("process_open_fds", &[]), scrape.value("process_max_fds", &[]));
        assert!(open > 5.0 && open < limit, "{open} of {limit}");
    }

    for accept in ["", "*/*", "text/plain"] {
        let answer = program.metrics(accept).await;
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("\n# TYPE oneclick_sessions_opened_total counter\noneclick_sessions_opened_total 1\n"));
        assert!(!text.contains("# EOF"));
    }
    for path in ["/", "/metrics/", "/debug", "/api/v1/oauth2/keys"] {
        assert_eq!(program.health(path).await.status, 404, "{path}");
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        let answer = program.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (404, "IDAAS.SDK.COM.0404"), "{path}");
    }
}

/// Run by `.ci/run`, which sees to it that there is a promtool, or says that there is none.
#[tokio::test]
#[ignore = "needs promtool (of the Debian package prometheus)"]
async fn promtool_has_nothing_to_say() {
    let app = TestApp::start().await;
    app.log_in(SEED_TOKEN).await;
    app.log_in("sandbox:invalid").await;
    let text = app.metrics_text("text/plain").await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is on the PATH");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
