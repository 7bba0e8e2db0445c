//! The first minutes: nothing configured, an empty folder.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::commands::nobody;
use super::rows::subject;
use crate::support::app::{Answer, DEMO_CLIENT_ID, SEED_TOKEN};
use crate::support::program::{Program, Setup, eventually};

/// From "curl" to the empty line behind it.
fn printed_curl(program: &Program) -> String {
    let text = program.stdout();
    let (_, from_curl) = text.split_once("\n  curl ").expect("a curl is printed");
    let (curl, _) = from_curl.split_once("\n\n").expect("it ends");
    format!("curl {curl}")
}

fn keys(body: &[u8]) -> BTreeSet<String> {
    let json: Value = serde_json::from_slice(body).unwrap();
    json.as_object().unwrap().keys().cloned().collect()
}

#[track_caller]
fn assert_the_four_keys(body: &[u8]) {
    assert_eq!(keys(body), BTreeSet::from(["expire", "id_token", "session_token", "status"].map(str::to_owned)));
}

#[tokio::test]
async fn with_nothing_configured_it_says_what_it_runs_on_and_prints_a_curl_that_works() {
    let setup = Setup::new();
    let program = setup.start().await;
    let curl = printed_curl(&program);
    let text = program.stdout();
    for said in ["sqlite", "data/oneclick-login.db", "sandbox: NOT FOR PRODUCTION", "/readyz"] {
        assert!(text.contains(said), "{said:?} is not said: {text}");
    }
    assert!(setup.sqlite_file().exists());

    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{curl} --silent --show-error --max-time 20")).env_clear();
    shell.env("PATH", std::env::var("PATH").unwrap()).env("HOME", setup.folder());
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{curl}\n{answer}\n{:?}", String::from_utf8(output.stderr));
    assert_the_four_keys(answer.split_once("\r\n\r\n").unwrap().1.as_bytes());
}

#[tokio::test]
async fn the_documents_own_example_request_answers_200_word_for_word() {
    let program = Setup::new().start().await;
    let body = "{\n    \"access_token\":\"ad12sasdsfe3dfdg3sc\"\n}";
    let request = format!(
        "POST /api/v2/sdk/login/aliyun-mobile-auth HTTP/1.1\r\n\
         Host: {}\r\n\
         X-operating-sys-version: windows10.1.1\r\n\
         X-device-fingerprint: 156aysdna213sc50\r\n\
         X-device-ip: 192.168.1.2\r\n\
         X-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 13_3 like Mac OS X)\r\n\
         X-L: zh\r\n\
         X-client-id: nTo1eRIub60vPb54WeE6aojPwYwImtl4\r\n\
         content-type: application/json\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        program.listen,
        body.len()
    );
    let answer = program.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_the_four_keys(answer.split_once("\r\n\r\n").unwrap().1.as_bytes());
    assert!(answer.contains(r#""expire":432000"#) && answer.contains(r#""status":"SUCCESS""#), "{answer}");
}

/// As with `| head -1`, which reads a line and goes.
#[tokio::test]
async fn a_reader_who_has_gone_does_not_end_the_server() {
    let ports = [0; 2].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let [listen, management] = ports.map(|port| port.local_addr().unwrap().to_string());
    let setup = Setup::new()
        .set("ONECLICK_SERVER__LISTEN", &listen)
        .set("ONECLICK_SERVER__MANAGEMENT_LISTEN", &management)
        .set("ONECLICK_SERVER__DRAIN_DELAY_SECONDS", "0");
    let mut server = setup.command(&[]).stdout(nobody()).spawn().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    eventually("it is ready and listens", async || {
        assert!(server.try_wait().unwrap().is_none(), "it has ended");
        let ready = client.get(format!("http://{management}/readyz")).send().await.ok()?.status() == 200;
        let keys = client.get(format!("http://{listen}/api/v1/oauth2/keys")).send().await.ok()?.status() == 200;
        (ready && keys).then_some(())
    })
    .await;
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert!(tokio::task::spawn_blocking(move || server.wait().unwrap()).await.unwrap().success());
}

/// Checks a token against the keys that a server publishes.
fn verify(token: &str, published: &Answer) -> Value {
    let set: JwkSet = serde_json::from_slice(&published.body).unwrap();
    let header = decode_header(token).unwrap();
    let key = DecodingKey::from_jwk(set.find(&header.kid.unwrap()).expect("the key is published")).unwrap();
    let mut rules = Validation::new(header.alg);
    rules.set_audience(&[DEMO_CLIENT_ID]);
    decode::<Value>(token, &key, &rules).unwrap().claims
}

#[tokio::test]
async fn a_restart_keeps_users_and_keys() {
    let setup = Setup::new();
    let mut first = setup.start().await;
    let before = first.log_in(SEED_TOKEN).await;
    first.end().await;

    let second = setup.start().await;
    let published = second.get("/api/v1/oauth2/keys").await;
    let old = verify(&before.text("id_token"), &published);
    let after = second.log_in(SEED_TOKEN).await;
    let new = verify(&after.text("id_token"), &published);
    assert_eq!(old["sub"], new["sub"]);
    assert_eq!(subject(&before), subject(&after));
    assert_ne!(before.text("session_token"), after.text("session_token"));
}

#[tokio::test]
async fn the_store_and_the_key_that_it_makes_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let setup = Setup::new();
    let program = setup.start().await;
    program.log_in(SEED_TOKEN).await;
    let mode = |path: &str| setup.folder().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for file in ["data/master.key", "data/oneclick-login.db", "data/oneclick-login.db-wal"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}
