//! The audit stream of the real program: as many events as attempts, whatever clients do and whatever `RUST_LOG` says;
//! and one for each command that changes something.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::wire::raw_login;
use crate::support::app::{Call, DEMO_CLIENT_ID, SEED_TOKEN, login};
use crate::support::get_mobile::GetMobile;
use crate::support::program::{Program, Setup};

const FINGERPRINT: &str = "canary-fingerprint-271828";

/// What clients send to break lines, and to be taken for something else.
const HOSTILE: &str = "x\",\"outcome\":\"SUCCESS\",\"a\":\"\u{2028}\u{202e}${jndi:ldap://a}";

fn device(token: &str) -> Call {
    login(token).with("X-device-fingerprint", FINGERPRINT)
}

/// Requests that are answered, each in `times` forms.
fn answered(times: usize) -> Vec<Call> {
    let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    (0..times)
        .flat_map(|n| {
            let token = |conduct: &str| device(&format!("{conduct}-139{n:08}-canary"));
            let twin = token("held");
            [
                token("ok"),
                token("ok").with("X-Request-Id", format!("gateway-{n}")).with("traceparent", valid),
                token("sloppy").with("traceparent", HOSTILE).with("X-Request-Id", HOSTILE),
                token("garbage"),
                token("busy"),
                token("masked"),
                token("reset"),
                token("unknown"),
                twin.clone(),
                twin,
                token("ok").without("X-agent"),
                token("ok").without("X-client-id"),
                token("ok").with("X-client-id", HOSTILE),
                token("ok").with("X-client-id", "nobody-registered-this"),
                token("ok").with("Content-Type", HOSTILE),
                token("ok").body(HOSTILE),
                token("ok").body(vec![b' '; 20_000]),
            ]
        })
        .collect()
}

/// As it stands behind an answer; what succeeded has no code.
fn outcome(answer: &Value) -> String {
    answer["error_code"].as_str().unwrap_or("SUCCESS").to_owned()
}

fn tally<'a>(outcomes: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut tally = BTreeMap::new();
    outcomes.into_iter().for_each(|outcome| *tally.entry(outcome).or_default() += 1);
    tally
}

/// Sends what is no whole request, or none that reaches the routes, and returns the answers' codes.
async fn raw_requests(program: &Program, times: usize) -> Vec<String> {
    let mut outcomes = Vec::new();
    for _ in 0..times {
        let whole = String::from_utf8(raw_login("ok-13900001234-raw")).unwrap();
        let slow = whole[..whole.len() - 1].to_owned();
        for request in
            [slow, whole.replacen("Host: a\r\n", "", 1), whole.replacen("Host: a\r\n", "Host: a\r\nHost: b\r\n", 1)]
        {
            let answer = program.raw(request.as_bytes()).await;
            let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
            outcomes.push(outcome(&serde_json::from_str(body).unwrap()));
        }
    }
    outcomes
}

/// Clients that are gone while their number is looked up.
async fn impatient(program: &Program, peer: &GetMobile, count: usize) {
    for n in 0..count {
        let token = format!("held-138{n:08}-gone");
        let mut client = program.connect().await;
        client.write_all(&raw_login(&token)).await.unwrap();
        peer.wait_for(&token).await;
        client.set_zero_linger().unwrap();
    }
}

/// Clients that are gone in the middle of their body.
async fn broken_off(program: &Program, count: usize) {
    for _ in 0..count {
        let request = raw_login("ok-13900001234-half");
        let mut client = program.connect().await;
        client.write_all(&request[..request.len() - 5]).await.unwrap();
        client.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn there_are_as_many_events_as_attempts_whatever_clients_do() {
    const TIMES: usize = 15;
    const GONE: usize = 20;
    let peer = GetMobile::start().await;
    let setup = peer
        .verifies_for(Setup::new().patient())
        .set("ONECLICK_SERVER__BODY_TIMEOUT_MS", "1000")
        // Without the requests' own spans and lines.
        .set("RUST_LOG", "off,oneclick_login::cli=info");
    let mut program = setup.start().await;
    peer.release(2 * TIMES + GONE);
    let calls = answered(TIMES);
    let sent = calls.len();
    let answers = join_all(calls.into_iter().map(|call| program.send(call))).await;
    let mut outcomes: Vec<String> = answers.iter().map(|answer| outcome(&answer.as_ref().unwrap().json())).collect();
    outcomes.extend(raw_requests(&program, 3).await);
    impatient(&program, &peer, GONE).await;
    broken_off(&program, GONE).await;
    // No attempts.
    for _ in 0..5 {
        program.get(&login(SEED_TOKEN).path).await;
        program.raw(b"POST / HTTP/1.1\r\n\r\n").await;
    }
    program.end().await;
    peer.assert_well_signed();

    let events = program.audit_events();
    assert_eq!(events.len(), sent + 9 + GONE + GONE);
    let known: Vec<&str> = outcomes.iter().map(String::as_str).chain([("SUCCESS"); GONE]).collect();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let told: Vec<String> = events.iter().map(|event| text(event, "outcome")).collect();
    let mut told = tally(told.iter().map(String::as_str));
    // Whether a body that broke off was still refused is a matter of microseconds.
    let broken_off = told.remove("ABANDONED").unwrap_or_default();
    let mut known = tally(known);
    *known.entry("IDAAS.SDK.COMMON.1002").or_default() += GONE - broken_off;
    assert_eq!(told, known);
    assert!(told.len() > 8, "of every kind: {told:?}");

    let sequence: HashSet<_> = events.iter().map(|event| event["audit.sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequence, (1..=events.len() as u64).collect());
    for event in &events {
        assert!(["login", "login.repeat"].contains(&&*text(event, "audit.event")), "{event}");
        assert_eq!((&*text(event, "level"), &*text(event, "client.address")), ("INFO", "127.0.0.1"));
        let succeeded = event["outcome"] == "SUCCESS";
        assert_eq!((event["user.id"].is_string(), event["user.new"].is_boolean()), (succeeded, succeeded), "{event}");
        assert!(event["request.id"].is_string() && event["trace.id"].is_string() && event["timestamp"].is_string());
    }
    assert!(events.iter().any(|event| event["request.id"] == "gateway-3"));
    let output = program.stdout();
    for absent in ["canary", "13900000", "jndi", "\u{2028}"] {
        assert!(!output.contains(absent), "{absent}");
    }
}

#[tokio::test]
async fn each_command_that_changes_something_says_so_on_standard_error() {
    let setup = Setup::new();
    let server = setup.start().await;
    let answer = server.log_in(SEED_TOKEN).await;
    let claims = super::rows::claims(&answer.text("id_token"));
    let (user, session) = (claims["sub"].as_str().unwrap(), claims["sid"].as_str().unwrap());
    let nobody = "01a2048d-ce05-7944-86be-42c70ca4b086";
    for (command, event, subject, outcome) in [
        (
            &["app", "register", "--client-id", "shop", "--name", "Shop"][..],
            "app.register",
            ("app.client_id", "shop"),
            "SUCCESS",
        ),
        (
            &["app", "register", "--client-id", "office", "--name", "Office", "--kind", "tenant", "--new-secret"],
            "app.new_secret",
            ("app.client_id", "office"),
            "SUCCESS",
        ),
        (&["app", "disable", "--client-id", "shop"], "app.disable", ("app.client_id", "shop"), "SUCCESS"),
        (&["app", "enable", "--client-id", "shop"], "app.enable", ("app.client_id", "shop"), "SUCCESS"),
        (&["app", "enable", "--client-id", "none"], "app.enable", ("app.client_id", "none"), "REFUSED"),
        (&["user", "find", "--mobile", "13800000001"], "user.find", ("phone.masked", "+86 138****0001"), "SUCCESS"),
        (&["user", "disable", "--id", user], "user.disable", ("user.id", user), "SUCCESS"),
        (&["user", "enable", "--id", user], "user.enable", ("user.id", user), "SUCCESS"),
        (&["user", "enable", "--id", nobody], "user.enable", ("user.id", nobody), "REFUSED"),
        (&["session", "revoke", "--id", session], "session.revoke", ("session.id", session), "SUCCESS"),
        (&["session", "revoke", "--user", user], "session.revoke", ("user.id", user), "SUCCESS"),
        (
            &["session", "revoke", "--all-of-client", DEMO_CLIENT_ID],
            "session.revoke",
            ("app.client_id", DEMO_CLIENT_ID),
            "SUCCESS",
        ),
        (&["user", "erase", "--id", user], "user.erase", ("user.id", user), "SUCCESS"),
        (&["key", "rotate"], "key.rotate", ("actor", "cli"), "SUCCESS"),
        (&["key", "remove", "--kid", "none"], "key.remove", ("key.id", "none"), "FAILED"),
        (&["key", "rotate", "--compromised"], "key.rotate_compromised", ("actor", "cli"), "SUCCESS"),
        (&["key", "rewrap"], "key.rewrap", ("actor", "cli"), "SUCCESS"),
    ] {
        let ran = setup.run(command).await;
        assert_eq!(ran.code, Some(i32::from(outcome != "SUCCESS")), "{ran:?}");
        let [said] = ran.audit.as_slice() else { panic!("one event of {command:?}: {ran:?}") };
        for (key, value) in [("audit.event", event), ("actor", "cli"), ("outcome", outcome), subject] {
            assert_eq!(said[key], value, "{command:?}: {said}");
        }
        assert!(!format!("{ran:?}").contains("13800000001"));
    }
    for command in [
        &["app", "list"][..],
        &["session", "list", "--user", user],
        &["key", "list"],
        &["config", "check"],
        &["migrate"],
    ] {
        let ran = setup.run(command).await;
        assert_eq!((ran.code, ran.audit.len()), (Some(0), 0), "{ran:?}");
    }
}
