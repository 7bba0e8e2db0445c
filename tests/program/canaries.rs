//! What nobody may read: canaries go in wherever secrets and personal data do, and are looked for wherever anything
//! comes out.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

use super::forwarder::{Forwarder, State};
use crate::support::app::{Answer, Call, login};
use crate::support::get_mobile::GetMobile;
use crate::support::postgres;
use crate::support::program::{Program, Setup, eventually};

const NUMBER: &str = "13926535897";
const FINGERPRINT: &str = "canary-fingerprint-93238462";
const KEY_SECRET: &str = "canary-key-secret-643383279";
const SECURITY_TOKEN: &str = "canary-security-token-50288";
const PASSWORD: &str = "canary-password-4197169399";
const MASTER_KEY: &str = "Y2FuYXJ5LW1hc3Rlci1rZXktMzc1MTA1ODIwOTc0OTQ=";

/// Logins of every outcome; all carry the fingerprint, and a token that names the number.
const CONDUCTS: [&str; 6] = ["ok", "garbage", "busy", "masked", "reset", "unknown"];

fn access_token(conduct: &str) -> String {
    format!("{conduct}-{NUMBER}-canary+access/token=")
}

fn call(conduct: &str) -> Call {
    login(&access_token(conduct)).with("X-device-fingerprint", FINGERPRINT)
}

async fn answers(program: &Program) -> Vec<Answer> {
    let mut answers = Vec::new();
    for conduct in CONDUCTS {
        answers.push(program.send(call(conduct)).await.unwrap());
    }
    // The second use, a wrong language, a wrong body.
    answers.push(program.send(call("ok")).await.unwrap());
    answers.push(program.send(call("late").with("X-L", FINGERPRINT)).await.unwrap());
    answers.push(program.send(call("ok").body(format!("{{\"access_token\": [\"{NUMBER}\"]}}"))).await.unwrap());
    answers
}

/// A secret in the forms in which it might slip out.
fn forms(secret: &str) -> Vec<String> {
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    // As the debug form of a byte slice.
    let numbers = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    vec![
        secret.to_owned(),
        hex,
        percent.replace('+', "%20"),
        numbers,
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ]
}

#[track_caller]
fn assert_absent(secrets: &[String], text: &str, place: &str) {
    for secret in secrets {
        for form in forms(secret) {
            if let Some(at) = text.find(&form) {
                let begins = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let line: String = text[begins..].lines().next().unwrap_or_default().chars().take(600).collect();
                panic!("{form:?} stands in {place}: {line}");
            }
        }
    }
}

/// What comes from an environment, what clients send and what they get.
fn secrets(answers: &[Answer]) -> Vec<String> {
    let mut secrets: Vec<String> = CONDUCTS.iter().map(|conduct| access_token(conduct)).collect();
    secrets.extend([NUMBER, FINGERPRINT, KEY_SECRET, SECURITY_TOKEN, PASSWORD, MASTER_KEY].map(str::to_owned));
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        secrets.extend([answer.text("session_token"), answer.text("id_token")]);
    }
    secrets
}

/// Also that there was something to look through.
#[track_caller]
fn assert_nothing_leaks(program: &Program, answers: &[Answer]) {
    let secrets = secrets(answers);
    assert!(answers.is_empty() || program.stdout().contains(r#""level":"TRACE""#), "not even hyper said anything");
    assert_absent(&secrets, &program.stdout(), "the log");
    assert_absent(&secrets, &program.stderr(), "standard error");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_absent(&secrets, &format!("{:?}{}", answer.headers, String::from_utf8_lossy(&answer.body)), "an error");
    }
}

async fn assert_not_in_metrics(program: &Program, answers: &[Answer]) {
    let shown = String::from_utf8(program.metrics("").await.body).unwrap();
    assert!(shown.contains("oneclick_logins_total"), "{shown}");
    assert_absent(&secrets(answers), &shown, "the metrics");
}

fn with_canaries(peer: &GetMobile, setup: Setup) -> Setup {
    peer.verifies_for(setup).set("ONECLICK_SECRETS__MASTER_KEY", MASTER_KEY).set("RUST_LOG", "trace")
}

#[tokio::test]
async fn on_sqlite_nothing_secret_is_logged_answered_or_kept_in_the_clear() {
    let peer = GetMobile::with(KEY_SECRET, Some(SECURITY_TOKEN)).await;
    let setup = with_canaries(&peer, Setup::new());
    let mut program = setup.start().await;
    let answers = answers(&program).await;
    assert_eq!(answers[0].status, 200);

    let kept: Vec<_> = secrets(&answers).into_iter().filter(|secret| secret != FINGERPRINT).collect();
    let files = |when: &str| {
        for file in std::fs::read_dir(setup.folder().join("data")).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert_absent(&kept, &String::from_utf8_lossy(&bytes), &format!("{} {when}", path.display()));
        }
    };
    files("while it runs");
    assert_not_in_metrics(&program, &answers).await;
    program.end().await;
    files("at the end");
    assert_nothing_leaks(&program, &answers);
    peer.assert_well_signed();
}

/// ASVS 14.2.4, 16.2.5.
#[tokio::test]
async fn on_postgres_nothing_secret_is_logged_answered_or_kept_in_the_clear() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Through).await;
    let peer = GetMobile::with(KEY_SECRET, Some(SECURITY_TOKEN)).await;
    let mut url = Url::parse(&forwarder.url()).unwrap();
    if url.password().is_none() {
        url.set_password(Some(PASSWORD)).unwrap();
    }
    let mut program = with_canaries(&peer, Setup::on(url)).start().await;
    let mut answers = answers(&program).await;
    assert_eq!(answers[0].status, 200);
    assert_not_in_metrics(&program, &answers).await;
    forwarder.turn(State::Down).await;
    answers.push(program.send(call("ok").body(r#"{"access_token":"ok-13926535897-down"}"#)).await.unwrap());
    eventually("the lost database is complained of", async || {
        program.stdout().contains("the database does not answer").then_some(())
    })
    .await;
    program.end().await;
    assert_nothing_leaks(&program, &answers);

    let kept: Vec<_> = secrets(&answers).into_iter().filter(|secret| secret != FINGERPRINT).collect();
    assert_absent(&kept, &dump(&database.url()).await, "the database");
}

/// Every row of every table as text; bytes stand there in hex.
async fn dump(url: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(tables.iter().any(|table| table == "sessions"), "{tables:?}");
    let mut text = String::new();
    for table in tables {
        let sql = format!("select whole::text from {table} as whole");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        text.push_str(&rows.join("\n"));
    }
    assert!(text.contains(FINGERPRINT), "the scan finds what is there");
    text
}

#[tokio::test]
async fn a_password_is_not_logged_while_the_database_cannot_be_reached() {
    let url = format!("postgres://login:{PASSWORD}@127.0.0.1:1/login?sslmode=disable");
    let setup = Setup::on(url).set("ONECLICK_SECRETS__MASTER_KEY", MASTER_KEY).set("RUST_LOG", "trace");
    let mut program = setup.spawn();
    program.wait_until_alive().await;
    eventually("complained of", async || program.stdout().contains("waiting for the database").then_some(())).await;
    program.end().await;
    assert_nothing_leaks(&program, &[]);
}
