//! However many apps there are and whatever is asked for, the series stay few.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use oneclick_login::error_code::ErrorCode;
use oneclick_login::http::LOGIN_PATH;
use oneclick_login::ids::ClientId;
use oneclick_login::metrics::Handled;

use crate::support::app::{SEED_TOKEN, TestApp, login};

/// What one process may show.
const MOST_SERIES: usize = 500;

/// Apps with a label of their own, and the two labels for all others.
const MOST_CLIENT_LABELS: usize = 8 + 2;

#[tokio::test]
async fn a_thousand_apps_share_a_few_labels_whenever_they_are_registered() {
    let app = TestApp::start().await;
    for n in 0..500 {
        app.register_sdk_app(&format!("early-{n:03}"), None).await;
    }
    let app = TestApp::over(app.store.clone(), &[]).await;
    for n in 0..500 {
        app.register_sdk_app(&format!("a-late-one-{n:03}"), None).await;
    }
    let replica = TestApp::over(app.store.clone(), &[]).await;
    for app in [&app, &replica] {
        for n in (0..500).step_by(25) {
            for client_id in [format!("early-{n:03}"), format!("a-late-one-{n:03}"), format!("invented-{n:03}")] {
                app.send(login(SEED_TOKEN).with("X-client-id", &client_id).build()).await;
            }
        }
        let scrape = app.scrape().await;
        for metric in ["oneclick_logins_total", "oneclick_users_registered_total"] {
            let labels = scrape.label_values(metric, "client_id");
            assert!(labels.len() <= MOST_CLIENT_LABELS, "{metric} {labels:?}");
            assert!(!labels.iter().any(|label| label.starts_with("invented")), "{metric} {labels:?}");
        }
        let labels = scrape.label_values("oneclick_logins_total", "client_id");
        assert!(labels.contains("other") && labels.contains("unknown"), "{labels:?}");
    }
    let first = replica.scrape().await;
    assert!(first.label_values("oneclick_logins_total", "client_id").contains("a-late-one-000"), "the first by id");
}

#[tokio::test]
async fn invented_paths_methods_and_ids_make_no_series() {
    let app = TestApp::start().await;
    let send = async |from: usize| {
        for n in from..from + 100 {
            let (method, path) = (format!("BREW{n}"), format!("/invented/{n}?and={n}"));
            app.send(Request::builder().method(&*method).uri(path).body(Body::empty()).unwrap()).await;
            app.send(Request::builder().method(&*method).uri(LOGIN_PATH).body(Body::empty()).unwrap()).await;
            let user = format!("/api/v2/tenant/users/{n}/disable");
            app.send(Request::put(user).body(Body::empty()).unwrap()).await;
            app.send(login(&format!("invented-{n}")).with("X-client-id", format!("invented-{n}")).build()).await;
        }
        app.scrape().await.samples().count()
    };
    let series = send(0).await;
    assert_eq!(send(100).await, series);
    assert!(series < MOST_SERIES, "{series}");
}

/// The routes and methods that exist, and the statuses that each can answer with.
const ANSWERS: [(&str, &[&str], &[u16]); 13] = [
    (LOGIN_PATH, &["POST"], &[200, 400, 408, 413, 429, 500]),
    ("/api/v2/sdk/sso/session-token/id-token", &["POST"], &[200, 400, 429, 500]),
    ("/api/v2/sdk/logout", &["GET", "POST", "HEAD"], &[200, 400, 429, 500]),
    ("/api/v2/tenant/token", &["POST"], &[200, 400, 401, 408, 413, 429, 500]),
    ("/api/v2/tenant/sso/session-token/sso-ticket", &["POST"], &[200, 400, 401, 408, 413, 429, 500]),
    ("/api/v2/tenant/sso/sso-ticket/verify", &["POST"], &[200, 400, 401, 408, 413, 429, 500]),
    ("/api/v2/tenant/sso/session-token/refresh", &["POST"], &[200, 400, 401, 408, 413, 429, 500]),
    ("/api/v2/tenant/users/user-by-mobile", &["POST"], &[200, 400, 401, 408, 413, 429, 500]),
    ("/api/v2/tenant/users/{user_id}/disable", &["PUT"], &[200, 400, 401, 429, 500]),
    ("/api/v2/tenant/users/{user_id}/enable", &["PUT"], &[200, 400, 401, 429, 500]),
    ("/api/v1/oauth2/keys", &["GET", "HEAD"], &[200, 304]),
    ("/.well-known/jwks.json", &["GET", "HEAD"], &[200, 304]),
    ("/api/v1/oauth2/.well-known/openid-configuration", &["GET", "HEAD"], &[200]),
];

/// The codes that a login may be answered with.
const LOGIN_CODES: [ErrorCode; 14] = [
    ErrorCode::DeviceIncomplete,
    ErrorCode::ClientIdBlank,
    ErrorCode::AppNotRegistered,
    ErrorCode::UserNotFound,
    ErrorCode::UserDisabled,
    ErrorCode::SystemBusy,
    ErrorCode::ParameterBlank,
    ErrorCode::ParameterFormat,
    ErrorCode::ParameterType,
    ErrorCode::AccessTokenRejected,
    ErrorCode::NumberUnsupported,
    ErrorCode::RequestTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::TooManyRequests,
];

#[tokio::test]
async fn when_everything_has_happened_that_can_there_are_fewer_than_500_series() {
    let app = TestApp::start().await;
    let requests = &app.metrics.requests;
    let duration = Duration::from_millis(1);
    let count = |method, route, status, route_group| {
        requests.count(&Handled { method, route, route_group, status, duration });
    };
    for (route, methods, statuses) in ANSWERS {
        let group = if route == LOGIN_PATH { LOGIN_PATH } else { "other" };
        count("OTHER", route, 405, group);
        for (method, status) in methods.iter().flat_map(|method| statuses.iter().map(move |status| (method, status))) {
            count(method, route, *status, group);
        }
    }
    for method in ["GET", "HEAD", "POST", "PUT", "OTHER"] {
        count(method, "none", 404, "other");
    }
    for group in ["/api/v2/sdk/*", "/api/v2/tenant/*"] {
        count("GET", "none", 404, group);
    }
    for n in 0..1_000 {
        let client_id = ClientId::parse(format!("app-{n}")).unwrap();
        app.metrics.name_apps([&client_id]);
        for code in LOGIN_CODES {
            requests.count_login(Some(&client_id), Some(code.number()));
            requests.count_login(None, Some(code.number()));
        }
        requests.count_login(Some(&client_id), None);
    }
    let series = app.scrape().await.samples().count();
    assert!((300..MOST_SERIES).contains(&series), "{series}");
}
