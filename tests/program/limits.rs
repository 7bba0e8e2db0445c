//! Limits of the real program over real sockets: the peer's address, and what an operator is told.

use serde_json::Value;

use crate::support::app::{Call, login};
use crate::support::program::{Program, Setup};

fn forwarded(access_token: &str, client: &str) -> Call {
    login(access_token).and("X-Forwarded-For", client)
}

async fn status(program: &Program, call: Call) -> u16 {
    program.send(call).await.unwrap().status.as_u16()
}

/// The lines of one message or level.
fn lines(program: &Program, key: &str, value: &str) -> Vec<Value> {
    program.log_lines().into_iter().filter(|line| line[key] == value).collect()
}

#[tokio::test]
async fn clients_behind_a_declared_gateway_are_counted_by_the_address_it_saw() {
    let setup = Setup::new()
        .set("ONECLICK_SERVER__TRUSTED_PROXIES", "127.0.0.1")
        .set("ONECLICK_LIMITS__LOGINS_PER_ADDRESS_PER_MINUTE", "2");
    let mut program = setup.start().await;
    for (client, expected) in [
        ("198.51.100.1", 200),
        ("203.0.113.9, 198.51.100.1", 200),
        ("203.0.113.8, 198.51.100.1", 429),
        ("198.51.100.2", 200),
    ] {
        assert_eq!(status(&program, forwarded("ad12sasdsfe3dfdg3sc", client)).await, expected, "{client}");
    }
    program.end().await;
    let refused: Vec<_> =
        lines(&program, "message", "request").into_iter().filter(|line| line["http.status"] == 429).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0]["limit"].as_str(), refused[0]["level"].as_str()), (Some("address"), Some("INFO")));
    assert_eq!(refused[0]["access_token.state"], "unspent");
}

#[tokio::test]
async fn a_gateway_that_names_nobody_is_told_of_once() {
    let setup = Setup::new().set("ONECLICK_SERVER__TRUSTED_PROXIES", "127.0.0.1");
    let mut program = setup.start().await;
    for _ in 0..5 {
        assert_eq!(status(&program, login("ad12sasdsfe3dfdg3sc")).await, 200);
    }
    program.end().await;
    let warnings = lines(&program, "proxy.address", "127.0.0.1");
    // Twice if a minute began in between.
    assert!((1..=2).contains(&warnings.len()), "{warnings:?}");
    assert_eq!(warnings[0]["level"], "WARN");
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_one_line_to_be_alarmed_by_and_not_one_for_each_login() {
    let mut program = Setup::new().set("ONECLICK_LIMITS__VERIFIER_CALLS_PER_DAY", "2").start().await;
    for n in 0..20 {
        let expected = if n < 2 { 200 } else { 429 };
        assert_eq!(status(&program, login(&format!("sandbox:13900001234:{n}"))).await, expected, "{n}");
    }
    program.end().await;
    let errors = lines(&program, "level", "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0]["limit"].as_str(), errors[0]["calls"].as_u64()), (Some("verifier_day"), Some(2)));
    let refused = lines(&program, "limit", "verifier_day").into_iter().filter(|line| line["http.status"] == 429);
    assert_eq!(refused.count(), 18);
}
