//! The running server, fuzzed from its own document: calls that keep to it and calls that break it in every way, and no
//! answer that the document does not promise.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::api::tenant_token;
use crate::support::app::{SEED_TOKEN, tenant_call};
use crate::support::description::operations;
use crate::support::program::{Program, Setup};
use crate::support::python;

const CONFIG: &str = include_str!("schemathesis.toml");
const TENANT: &str = "fuzzing-service";

/// Sessions that calls may use up by logging out.
const SESSIONS: usize = 40;

/// ASVS 4.1.1.
#[tokio::test]
async fn no_call_is_answered_otherwise_than_described() {
    let tool = tokio::task::spawn_blocking(|| python::environment("docs/schemathesis.txt").join("bin/schemathesis"))
        .await
        .unwrap();
    let setup = Setup::new();
    let program = setup.start().await;
    let mut command = Command::new(tool);
    prepare(&setup, &program, &mut command).await;
    command.args(["--config-file", "schemathesis.toml", "--no-color", "run", "--report-json-path", "report.json"]);
    command.arg(format!("http://{}/openapi.json", program.listen)).current_dir(setup.folder());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();

    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(setup.folder().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["operations"]["tested"], operations().len(), "{report}");
    assert_eq!((&report["complete"], &report["test_cases"]["unique_failures"]), (&json!(true), &json!(0)), "{report}");
    assert!(report["test_cases"]["generated"].as_u64().unwrap() > 1_000, "{report}");
    assert_each_succeeded(&program);
}

/// A tenant, sessions and a user, where the configuration looks for them.
async fn prepare(setup: &Setup, program: &Program, command: &mut Command) {
    let kind = ["app", "register", "--client-id", TENANT, "--name", TENANT, "--kind", "tenant"];
    let registered = setup.run(&kind).await;
    let secret = registered.stdout.trim().rsplit_once(": ").expect("it is shown").1.to_owned();
    let bearer = program.send(tenant_token::call(TENANT, &secret)).await.unwrap().text("access_token");

    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(program.log_in(SEED_TOKEN).await.text("session_token"));
    }
    // Somebody else, who may be disabled without ending those.
    program.log_in("sandbox:13900001234").await;
    let find = tenant_call("/api/v2/tenant/users/user-by-mobile", &bearer, &json!({ "mobile": "13900001234" }));
    let user = program.send(find).await.unwrap().text("user_id");

    let folder = setup.folder();
    write_quoted(&folder.join("session_tokens"), &sessions);
    write_quoted(&folder.join("user_ids"), &[user]);
    fs::write(folder.join("schemathesis.toml"), CONFIG).unwrap();
    command.env("TENANT", TENANT).env("TENANT_SECRET", secret).env("TENANT_TOKEN", bearer);
}

fn write_quoted(file: &Path, lines: &[String]) {
    fs::write(file, lines.iter().map(|line| format!("{line:?}\n")).collect::<String>()).unwrap();
}

/// Fuzzing that is refused everywhere shows little: every route has answered 200 as well.
fn assert_each_succeeded(program: &Program) {
    let lines = program.log_lines();
    let succeeded: BTreeSet<_> = lines
        .iter()
        .filter(|line| line["http.status"] == 200)
        .filter_map(|line| Some((line["http.route"].as_str()?, line["http.method"].as_str()?.to_lowercase())))
        .collect();
    for operation in operations() {
        let call = (operation.path, operation.method.to_owned());
        assert!(succeeded.contains(&call), "{call:?} never succeeded");
    }
}
