//! A deployment in which all is well, one in which nothing can be reached, and a newcomer's.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;

use super::{Deployment, doctor, doctor_with};
use crate::support::program::Setup;

#[tokio::test]
async fn where_all_is_well_every_line_is_ok() {
    let mut deployment = Deployment::new().await;
    let _server = deployment.start().await;
    let report = doctor(&deployment.setup).await;
    let checks: Vec<_> = report.lines.iter().map(|[_, check, _]| check.as_str()).collect();
    let expected = [
        "settings",
        "database",
        "durability",
        "time-outs",
        "isolation",
        "connections",
        "encryption",
        "pooler",
        "clock",
        "schema",
        "writes",
        "apps",
        "master key",
        "signing keys",
        "credentials",
        "verifier",
        "their clock",
        "issuer",
    ];
    assert_eq!(checks, expected);
    assert!(report.lines.iter().all(|[verdict, ..]| verdict == "ok"), "{:?}", report.ran);
    assert_eq!((report.ran.code, report.ran.stderr.as_str()), (Some(0), ""));
    report.assert_says("ok", "database", &["reachable, PostgreSQL "]);
    report.assert_says("ok", "verifier", &["isv.TOKEN_INVALID"]);
    deployment.peer.assert_well_signed();
}

#[tokio::test]
async fn a_newcomer_has_nothing_to_do_before_and_after_the_first_start() {
    let setup = Setup::new();
    let before = doctor(&setup).await;
    assert_eq!(before.ran.code, Some(0), "{:?}", before.ran);
    assert!(!setup.folder().join("data").exists(), "it has made something");
    before.assert_says("skip", "database", &["is not there yet"]);

    setup.start().await.end().await;
    let after = doctor(&setup).await;
    assert_eq!(after.ran.code, Some(0), "{:?}", after.ran);
    for report in [&before, &after] {
        assert!(report.lines.iter().all(|[verdict, ..]| verdict == "ok" || verdict == "skip"), "{:?}", report.ran);
    }
    after.assert_says("ok", "writes", &[]);
    after.assert_says("ok", "disk", &["MiB are free"]);
    after.assert_says("ok", "durability", &["write-ahead log"]);
    after.assert_says("ok", "signing keys", &["signs", "1 published"]);
    after.assert_says("skip", "verifier", &["sandbox"]);
    after.assert_says("skip", "issuer", &["no server is running"]);
}

#[tokio::test]
async fn where_nothing_answers_all_of_it_is_said_within_seconds() {
    // Connections are made by the kernel; nobody reads what comes.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let setup = Setup::on(format!("postgres://login:canary@{address}/login"))
        .set("ONECLICK_ENVIRONMENT", "production")
        .set("ONECLICK_ID_TOKEN__ISSUER", format!("https://{address}/api/v1/oauth2"))
        .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
        .set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", format!("https://{address}"))
        .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test")
        .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary");
    let asked = Instant::now();
    let report = doctor(&setup).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    report.assert_says("FAIL", "database", &["no answer", "firewall"]);
    report.assert_says("FAIL", "verifier", &["firewall"]);
    assert_eq!(report.of("issuer")[0][0], "WARN");
    assert!(report.of("issuer")[0][2].contains("start the server and the gateway, then run doctor again"));
    assert_eq!(report.ran.code, Some(1));
}

#[tokio::test]
async fn programs_read_one_json_object_a_line() {
    let plain = doctor(&Setup::new()).await;
    let ran = Setup::new().run(&["doctor", "--json"]).await;
    let findings: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ran.code, Some(0));
    assert_eq!(findings.len(), plain.lines.len());
    for (finding, [verdict, check, _]) in findings.iter().zip(&plain.lines) {
        assert_eq!((finding["verdict"].as_str(), finding["check"].as_str()), (Some(&**verdict), Some(&**check)));
    }
}

#[tokio::test]
async fn an_argument_that_makes_no_sense_is_refused() {
    assert_eq!(Setup::new().run(&["doctor", "--replicas", "0"]).await.code, Some(2));
    assert_eq!(doctor_with(&Setup::new(), &["--replicas", "3"]).await.ran.code, Some(0));
}
