//! What is limited beside the logins: worthless tokens, refreshes, wrong secrets, look-ups.

use std::time::Duration;

use serde_json::json;

use super::addresses::send;
use crate::api::tenant_token;
use crate::api::tenants::{BY_MOBILE, TENANT, bearer, register};
use crate::support::app::{Answer, Call, SEED_TOKEN, TestApp, login, tenant_call, with_session};

const GATEWAY: &str = "10.0.0.1:40000";
const PROXIES: (&str, &str) = ("ONECLICK_SERVER__TRUSTED_PROXIES", "10.0.0.0/8");
const REFRESH: &str = "/api/v2/sdk/sso/session-token/id-token";

async fn from(app: &TestApp, client: &str, call: Call) -> Answer {
    send(app, GATEWAY, call.and("X-Forwarded-For", client)).await
}

fn assert_over(answer: &Answer, retry_after: &str) {
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, Some(retry_after)), "{answer:?}");
}

/// ASVS 2.4.1.
#[tokio::test]
async fn an_address_that_sends_worthless_tokens_is_refused_before_the_next_costs_a_call() {
    let app = TestApp::with(&[PROXIES, ("ONECLICK_LIMITS__REJECTED_TOKENS_PER_ADDRESS_PER_MINUTE", "2")]).await;
    for worthless in ["worthless", "sandbox:invalid"] {
        assert_eq!(from(&app, "198.51.100.1", login(SEED_TOKEN)).await.status, 200);
        assert_eq!(from(&app, "198.51.100.1", login(worthless)).await.error_code(), "IDAAS.SDK.LOGIN.1001");
    }
    let refused = from(&app, "198.51.100.1", login(SEED_TOKEN)).await;
    assert_over(&refused, "30");
    assert_eq!(refused.error_code(), "IDAAS.SDK.COM.0429");
    assert_eq!(refused.header("x-access-token-state"), Some("unspent"));
    assert_eq!(from(&app, "198.51.100.2", login(SEED_TOKEN)).await.status, 200);
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(from(&app, "198.51.100.1", login(SEED_TOKEN)).await.status, 200);
    let scrape = app.scrape().await;
    assert_eq!(scrape.value("oneclick_logins_over_limit_total", &[("limit", "rejected_tokens")]), 1.0);
}

#[tokio::test]
async fn a_login_whose_lost_answer_is_repeated_counts_as_no_worthless_token() {
    let app = TestApp::with(&[PROXIES, ("ONECLICK_LIMITS__REJECTED_TOKENS_PER_ADDRESS_PER_MINUTE", "1")]).await;
    for _ in 0..5 {
        assert_eq!(from(&app, "198.51.100.1", login("sandbox:13900001234:lost")).await.status, 200);
    }
}

/// ASVS 2.4.1.
#[tokio::test]
async fn refreshes_and_log_outs_from_one_address_are_limited_together() {
    let app = TestApp::with(&[PROXIES, ("ONECLICK_LIMITS__SESSION_CALLS_PER_ADDRESS_PER_MINUTE", "2")]).await;
    let token = from(&app, "198.51.100.1", login(SEED_TOKEN)).await.text("session_token");
    for path in [REFRESH, "/api/v2/sdk/logout"] {
        assert_eq!(from(&app, "198.51.100.1", with_session(path, &token)).await.status, 200);
    }
    for path in [REFRESH, "/api/v2/sdk/logout"] {
        assert_over(&from(&app, "198.51.100.1", with_session(path, &token)).await, "30");
    }
    assert_eq!(from(&app, "198.51.100.2", with_session(REFRESH, &token)).await.error_code(), "IDAAS.SDK.PARAM.0023");
    let scrape = app.scrape().await;
    assert_eq!(scrape.value("oneclick_calls_over_limit_total", &[("limit", "session_calls")]), 2.0);
}

/// ASVS 6.3.1.
#[tokio::test]
async fn wrong_secrets_close_the_door_to_their_address_and_to_nobody_else() {
    let app = TestApp::with(&[PROXIES, ("ONECLICK_LIMITS__WRONG_SECRETS_PER_ADDRESS_PER_MINUTE", "2")]).await;
    let secret = register(&app, TENANT).await;
    let ask = async |client: &str, secret: &str| from(&app, client, tenant_token::call(TENANT, secret)).await;
    for _ in 0..2 {
        assert_eq!(ask("198.51.100.1", secret.expose()).await.status, 200);
        assert_eq!(ask("198.51.100.1", "wrong").await.status, 401);
    }
    for secret in ["wrong", secret.expose()] {
        let refused = ask("198.51.100.1", secret).await;
        assert_over(&refused, "30");
        assert_eq!(refused.text("error"), "slow_down");
    }
    assert_eq!(ask("198.51.100.2", secret.expose()).await.status, 200);
}

/// ASVS 2.4.1.
#[tokio::test]
async fn a_tenant_looks_up_so_many_numbers_in_a_minute() {
    let app = TestApp::with(&[("ONECLICK_LIMITS__LOOK_UPS_PER_TENANT_PER_MINUTE", "2")]).await;
    let bearer = bearer(&app).await;
    let look_up = async || app.send(tenant_call(BY_MOBILE, &bearer, &json!({ "mobile": "13800000001" })).build()).await;
    for _ in 0..2 {
        assert_eq!(look_up().await.error_code(), "IDAAS.TENANT.USER.0001");
    }
    let refused = look_up().await;
    assert_over(&refused, "30");
    assert_eq!(refused.error_code(), "IDAAS.SDK.COM.0429");
}
