//! Every other way to fail: wrong paths and methods, languages, the verifier's moods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use oneclick_login::clock::Clock;
use oneclick_login::http::LOGIN_PATH;
use oneclick_login::store::sqlite::{Config, SqliteStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};

use crate::support::app::{SEED_TOKEN, TestApp, login, with_session};
use crate::support::program::eventually;

#[tokio::test]
async fn a_path_that_is_not_exactly_ours_is_not_found() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/api",
        &format!("{LOGIN_PATH}/"),
        &format!("/{LOGIN_PATH}"),
        &LOGIN_PATH.to_uppercase(),
        "/livez",
        "/readyz",
        "/metrics",
    ] {
        let mut call = login(SEED_TOKEN);
        call.path = path.to_owned();
        app.send(call.build()).await.assert_error(404, "IDAAS.SDK.COM.0404", "Resource not found");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let app = TestApp::start().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE, Method::PATCH] {
        let mut call = login(SEED_TOKEN);
        call.method = method.clone();
        let answer = app.send(call.build()).await;
        answer.assert_error(405, "IDAAS.SDK.COM.0405", "Method not allowed");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
        assert_eq!(answer.header("x-access-token-state"), Some("unspent"));
    }
}

/// A link checker or a prefetch asks by HEAD, and must not log anybody out.
#[tokio::test]
async fn logging_out_is_not_done_by_head_and_head_is_not_promised() {
    let app = TestApp::start().await;
    let session = app.log_in(SEED_TOKEN).await.text("session_token");
    for method in [Method::HEAD, Method::PUT] {
        let answer = app.send(with_session("/api/v2/sdk/logout", &session).method(method.clone()).build()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET,POST")), "{method}");
    }
    let refresh = with_session("/api/v2/sdk/sso/session-token/id-token", &session);
    assert_eq!(app.send(refresh.clone().build()).await.status, 200, "it lives");
    for path in ["/api/v1/oauth2/jwks", "/api/v1/oauth2/.well-known/openid-configuration"] {
        let head = with_session(path, "").method(Method::HEAD);
        assert!(
            [200, 404].contains(&app.send(head.build()).await.status.as_u16()),
            "{path}: what changes nothing has HEAD"
        );
    }
    let log_out = with_session("/api/v2/sdk/logout", &session).method(Method::GET);
    assert_eq!(app.send(log_out.build()).await.status, 200);
    assert_eq!(app.send(refresh.build()).await.status, 400);
}

#[tokio::test]
async fn the_language_follows_x_l_and_otherwise_the_setting() {
    let english = TestApp::start().await;
    let chinese = TestApp::with(&[("ONECLICK_I18N__DEFAULT_LOCALE", "zh")]).await;
    let (en, zh) = ("Device information is incomplete", "设备信息不完整");
    for (app, language, expected) in [
        (&english, None, en),
        (&english, Some("zh"), zh),
        (&english, Some("zh-CN"), zh),
        (&english, Some("zh_TW"), zh),
        (&english, Some("fr"), en),
        (&chinese, None, zh),
        (&chinese, Some("en-US"), en),
        (&chinese, Some("fr"), zh),
    ] {
        let mut call = login(SEED_TOKEN).without("X-agent");
        if let Some(language) = language {
            call = call.and("X-L", language);
        }
        app.send(call.build()).await.assert_error(400, "IDAAS.SDK.PARAM.0001", expected);
    }
    let answer = english.send(login(SEED_TOKEN).and("X-L", "zh").body("x").build()).await;
    answer.assert_error(400, "IDAAS.SDK.COMMON.1002", "参数body格式不正确");
}

#[tokio::test]
async fn a_rejected_token_is_spent_and_a_busy_verifier_leaves_it_unspent() {
    let app = TestApp::start().await;
    for rejected in ["sandbox:invalid", "nonsense", "sandbox:138", "sandbox:23800000001"] {
        let answer = app.log_in(rejected).await;
        assert_eq!(answer.error_code(), "IDAAS.SDK.LOGIN.1001", "{rejected}");
        assert_eq!((answer.status.as_u16(), answer.header("x-access-token-state")), (400, Some("spent")));
        assert_eq!(answer.header("retry-after"), None);
    }
    let busy = app.log_in("sandbox:busy").await;
    busy.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
    assert_eq!(busy.header("x-access-token-state"), Some("unspent"));
}

#[tokio::test]
async fn a_number_of_another_kind_is_told_in_both_languages_and_makes_no_user() {
    let app = TestApp::start().await;
    let texts = [("en", "This kind of phone number cannot be used here"), ("zh", "此类号码无法在此使用")];
    for (number, (locale, text)) in ["+852-91234567", "1064812345678"].into_iter().zip(texts) {
        let answer = app.send(login(&format!("sandbox:{number}")).with("X-L", locale).build()).await;
        answer.assert_error(400, "IDAAS.SDK.LOGIN.1002", text);
        assert_eq!(answer.header("x-access-token-state"), Some("spent"));
        assert_eq!(answer.header("retry-after"), None);
    }
    let scrape = app.scrape().await;
    assert_eq!(scrape.value("oneclick_verifier_calls_total", &[("outcome", "unsupported_number")]), 2.0);
    assert_eq!(scrape.value("oneclick_sessions_opened_total", &[]), 0.0);
}

/// What it would sign has expired where others check it, or has not begun: so nothing is spent for it.
#[tokio::test]
async fn a_clock_that_is_far_from_the_databases_refuses_what_would_be_signed_by_it() {
    let app = TestApp::start().await;
    let session = app.log_in(SEED_TOKEN).await.text("session_token");
    let refresh = with_session("/api/v2/sdk/sso/session-token/id-token", &session);
    let readiness = Arc::clone(&app.readiness);
    // SQLite's clock is this machine's, and months from the one that this test turns.
    let watching = tokio::spawn(async move { readiness.watch().await });
    let mut tokens = (0..).map(|n| format!("sandbox:13800000002:{n}"));
    eventually("noticed", async || {
        let answer = app.log_in(&tokens.next().unwrap()).await;
        (answer.status == 500 && answer.header("x-access-token-state") == Some("unspent")).then_some(())
    })
    .await;
    let refused = app.send(refresh.clone().build()).await;
    refused.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
    assert!(refused.header("retry-after").is_some());
    let behind = (Clock::system().now() - app.clock.now()).unsigned_abs();
    assert!(behind > Duration::from_secs(3_600), "{behind:?}");
    app.clock.advance(behind);
    eventually("right again", async || (app.log_in(&tokens.next().unwrap()).await.status == 200).then_some(())).await;
    watching.abort();
}

/// Those that an outage turned away must not all come back in the same second.
#[tokio::test]
async fn the_next_try_is_spread_over_some_seconds() {
    let app = TestApp::start().await;
    let mut asked = BTreeMap::new();
    for _ in 0..30 {
        let busy = app.log_in("sandbox:busy").await;
        *asked.entry(busy.header("retry-after").unwrap().to_owned()).or_insert(0) += 1;
    }
    // Other tests of this process count as well.
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["1", "2", "3"], "{asked:?}");
}

#[tokio::test]
async fn a_verifier_that_takes_too_long_leaves_the_token_unknown() {
    let app = TestApp::with(&[
        ("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", "500"),
        ("ONECLICK_DATABASE__PHASE_TIMEOUT_MS", "200"),
        ("ONECLICK_DATABASE__STATEMENT_TIMEOUT_MS", "100"),
        ("ONECLICK_VERIFIER__ALIYUN__TIMEOUT_MS", "200"),
        ("ONECLICK_VERIFIER__ALIYUN__CONNECT_TIMEOUT_MS", "100"),
    ])
    .await;
    let slow = app.log_in("sandbox:slow:30000:13800000001").await;
    slow.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
    assert_eq!(slow.header("x-access-token-state"), Some("unknown"));
    assert!(slow.header("retry-after").is_some());
}

/// ASVS 16.5.3.
#[tokio::test]
async fn a_database_that_takes_no_writes_refuses_logins_before_their_token_is_spent() {
    let app = TestApp::start().await;
    app.store.close().await;
    let first = app.log_in("sandbox:13800000001:a").await;
    first.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
    assert_eq!(first.header("x-access-token-state"), Some("unknown"), "nobody knew yet");
    let second = app.log_in("sandbox:13800000001:b").await;
    second.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
    assert_eq!(second.header("x-access-token-state"), Some("unspent"));
    assert!(second.header("retry-after").is_some());
}

/// R57: a store that hangs does not hang its callers.
#[tokio::test]
async fn every_request_is_answered_by_its_deadline() {
    const LIMIT_MS: u64 = 700;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let config = Config { statement_timeout: Duration::from_secs(20), ..Config::new(file.display().to_string()) };
    let store = SqliteStore::open(&config).await.unwrap();
    let limits = [
        ("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", LIMIT_MS.to_string()),
        ("ONECLICK_DATABASE__PHASE_TIMEOUT_MS", "600".to_owned()),
    ];
    let app = TestApp::over(Arc::new(store), &limits.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let session = app.log_in(SEED_TOKEN).await.text("session_token");
    let mut locking = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    locking.execute("begin immediate").await.unwrap();
    let refresh = with_session("/api/v2/sdk/sso/session-token/id-token", &session);
    let log_out = with_session("/api/v2/sdk/logout", &session);
    for call in [login("sandbox:13800000002"), refresh, log_out] {
        let asked = Instant::now();
        let answer = app.send(call.build()).await;
        assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (500, "IDAAS.SDK.COM.0002"));
        let took = asked.elapsed();
        // The store alone would take forty seconds; the rest is the share of a busy machine.
        assert!((LIMIT_MS..LIMIT_MS + 2_000).contains(&(took.as_millis() as u64)), "{took:?}");
    }
    locking.execute("rollback").await.unwrap();
}

#[tokio::test]
async fn a_request_id_of_the_gateway_is_kept_if_it_has_the_form() {
    let app = TestApp::start().await;
    let kept = app.send(login(SEED_TOKEN).and("X-Request-Id", "gw-1.2_3").build()).await;
    assert_eq!(kept.header("x-request-id"), Some("gw-1.2_3"));
    for bad in ["", "a b", &"x".repeat(65), "<script>"] {
        let made = app.send(login(SEED_TOKEN).and("X-Request-Id", bad).build()).await;
        let id = made.header("x-request-id").unwrap().to_owned();
        assert!(id != bad && id.len() == 32, "{bad}: {id}");
    }
}
