//! The audit stream: each request of an audited route has one event, whatever becomes of the request.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use futures_util::stream;
use serde_json::{Value, json};
use tower::ServiceExt;
use tracing::field::{Field, Visit};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::tenants::{TENANT, bearer, register};
use crate::support::app::{DEMO_CLIENT_ID, SEED_TOKEN, TestApp, login, tenant_call, with_session};
use crate::support::program::eventually;

const BUSY: &str = "IDAAS.SDK.COM.0002";

/// The audit events of this test's thread.
#[derive(Clone, Default)]
struct Audit(Arc<Mutex<Vec<Fields>>>);

#[derive(Debug, Clone, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Audit {
    #[must_use]
    fn listen(&self) -> impl Sized {
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()));
        // While there is only one subscriber, tracing asks the current thread's alone, and an event that another test
        // happens to reach first is switched off for this one too.
        (guard, Dispatch::new(NoSubscriber::new()))
    }

    /// Those that came since the last time.
    fn take(&self) -> Vec<Fields> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    #[track_caller]
    fn only(&self) -> Fields {
        let events = self.take();
        let [event] = events.as_slice() else { panic!("one event, not {events:?}") };
        event.clone()
    }

    /// So many, now or soon.
    async fn wait_for(&self, count: usize) -> Vec<Fields> {
        eventually("so many events", async || (self.0.lock().unwrap().len() >= count).then_some(())).await;
        let events = self.take();
        assert_eq!(events.len(), count, "{events:?}");
        events
    }
}

impl<S: Subscriber> Layer<S> for Audit {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "audit" {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Fields {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn head(&self) -> [&str; 3] {
        [self.get("audit.event"), self.get("outcome"), self.get("actor")]
    }
}

#[tokio::test]
async fn a_login_says_who_and_with_what_and_nothing_in_the_clear() {
    let app = TestApp::start().await;
    let audit = Audit::default();
    let _listening = audit.listen();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let call = login("sandbox:13900001234:a").and("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    let answer = app.send(call.build()).await;
    let first = audit.only();
    assert_eq!(first.head(), ["login", "SUCCESS", ""]);
    assert_eq!(first.get("app.client_id"), DEMO_CLIENT_ID);
    assert_eq!((first.get("phone.masked"), first.get("user.new")), ("+86 139****1234", "true"));
    assert_eq!((first.get("request.id"), first.get("trace.id")), (answer.header("x-request-id").unwrap(), trace));
    let hash = first.get("device.fingerprint_hash");
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    assert!(!format!("{first:?}").contains("156aysdna213sc50") && !format!("{first:?}").contains("13900001234"));

    app.log_in("sandbox:13900001234:b").await;
    let second = audit.only();
    assert_eq!(second.get("user.new"), "false");
    for same in ["user.id", "device.fingerprint_hash", "phone.masked"] {
        assert_eq!(second.get(same), first.get(same), "{same}");
        assert!(!first.get(same).is_empty());
    }
    assert_ne!(second.get("trace.id"), trace);
    let sequence = |event: &Fields| event.get("audit.sequence").parse::<u64>().unwrap();
    assert!(sequence(&second) > sequence(&first));

    app.send(login("sandbox:13900001234:c").with("X-device-fingerprint", "another").build()).await;
    assert_ne!(audit.only().get("device.fingerprint_hash"), hash);
}

/// ASVS 16.3.1.
#[tokio::test]
async fn every_way_to_fail_is_one_event_with_the_code_that_was_answered() {
    let app = TestApp::with(&[("ONECLICK_REGISTRATION__AUTO_REGISTER", "false")]).await;
    let audit = Audit::default();
    let _listening = audit.listen();
    let oversize = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(20_000));
    let hostile = "a\",\"outcome\":\"SUCCESS";
    for (call, number) in [
        (login("t").without("X-agent"), ""),
        (login("t").with("X-device-fingerprint", "x".repeat(257)), ""),
        (login("t").without("X-client-id"), ""),
        (login("t").with("X-client-id", hostile), ""),
        (login("t").with("X-client-id", "unknown"), ""),
        (login("t").with("Content-Type", "text/plain"), ""),
        (login("t").body("{"), ""),
        (login("t").body(oversize), ""),
        (login("nonsense"), ""),
        (login("sandbox:busy"), ""),
        (login("sandbox:13900001234:x"), "+86 139****1234"),
    ] {
        let client_id = String::from_utf8(
            call.headers.iter().find(|(name, _)| name == "X-client-id").map_or(vec![], |(_, value)| value.clone()),
        )
        .unwrap();
        let answer = app.send(call.build()).await;
        let event = audit.only();
        assert_eq!(event.head(), ["login", &*answer.error_code(), ""]);
        assert_eq!(event.get("phone.masked"), number);
        assert_eq!(event.get("app.client_id"), if client_id == hostile { "" } else { &client_id });
        assert_eq!((event.get("user.id"), event.get("user.new")), ("", ""));
    }
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        app.send(login("t").method(method).build()).await;
    }
    app.get("/api/v1/oauth2/keys").await;
    assert!(audit.take().is_empty(), "another method is no attempt");
}

#[tokio::test]
async fn a_login_over_its_limit_is_one_event() {
    let app = TestApp::with(&[("ONECLICK_LIMITS__LOGINS_PER_DEVICE_PER_MINUTE", "1")]).await;
    let audit = Audit::default();
    let _listening = audit.listen();
    for outcome in ["SUCCESS", "IDAAS.SDK.COM.0429"] {
        app.log_in(SEED_TOKEN).await;
        assert_eq!(audit.only().head(), ["login", outcome, ""]);
    }
}

/// A login whose body is this.
fn with_body(body: Body) -> Request<Body> {
    let (parts, _) = login(SEED_TOKEN).build().into_parts();
    Request::from_parts(parts, body)
}

/// ASVS 16.5.1.
#[tokio::test]
async fn a_panic_is_one_event_with_the_code_that_was_answered() {
    let app = TestApp::start().await;
    let audit = Audit::default();
    let _listening = audit.listen();
    let panics = Body::from_stream(stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> {
        panic!("a test of panics")
    }));
    let answer = app.send(with_body(panics)).await;
    assert_eq!(answer.error_code(), BUSY);
    assert_eq!(audit.only().head(), ["login", BUSY, ""]);
}

/// Works on a request until it waits, then gives it up, as the server does when the client is gone.
async fn give_up(app: &TestApp, request: Request<Body>) {
    let mut answer = Box::pin(app.router.clone().oneshot(request));
    for _ in 0..20 {
        let pending = std::future::poll_fn(|cx| std::task::Poll::Ready(answer.as_mut().poll(cx).is_pending())).await;
        assert!(pending, "it is answered too soon");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_before_its_login_has_begun_is_one_event() {
    let app = TestApp::start().await;
    let audit = Audit::default();
    let _listening = audit.listen();
    give_up(&app, with_body(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()))).await;
    assert_eq!(audit.only().head(), ["login", "ABANDONED", ""]);
}

#[tokio::test]
async fn a_client_that_goes_while_its_login_is_under_way_is_one_event_with_the_true_outcome() {
    let app = TestApp::start().await;
    let audit = Audit::default();
    let _listening = audit.listen();
    // The second is the twin of the first, and both are gone.
    for _ in 0..2 {
        give_up(&app, login("sandbox:slow:300:13900001234").build()).await;
    }
    assert!(audit.take().is_empty(), "not before it is known");
    let events = audit.wait_for(2).await;
    let new: Vec<_> = events.iter().map(|event| event.get("user.new")).collect();
    let mut acts: Vec<_> = events.iter().map(Fields::head).collect();
    acts.sort_unstable();
    assert_eq!(acts, [["login", "SUCCESS", ""], ["login.repeat", "SUCCESS", ""]]);
    assert_eq!(new.iter().filter(|new| **new == "true").count(), 1, "{events:?}");
    assert_eq!(events[0].get("user.id"), events[1].get("user.id"));
    assert_ne!(events[0].get("request.id"), events[1].get("request.id"));

    app.store
        .set_user_status(
            oneclick_login::ids::UserId(events[0].get("user.id").parse().unwrap()),
            oneclick_login::store::UserStatus::Disabled,
            app.clock.now(),
        )
        .await
        .unwrap();
    give_up(&app, login("sandbox:slow:300:13900001234:again").build()).await;
    let events = audit.wait_for(1).await;
    assert_eq!(events[0].head(), ["login", "IDAAS.SDK.USER.0039", ""]);
    assert_eq!(events[0].get("phone.masked"), "+86 139****1234");
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_one_event_with_what_its_client_was_told() {
    let app = TestApp::with(&[
        ("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", "300"),
        ("ONECLICK_DATABASE__PHASE_TIMEOUT_MS", "200"),
        ("ONECLICK_DATABASE__STATEMENT_TIMEOUT_MS", "100"),
    ])
    .await;
    let audit = Audit::default();
    let _listening = audit.listen();
    assert_eq!(app.log_in("sandbox:slow:600:13900001234").await.error_code(), BUSY);
    assert_eq!(audit.only().head(), ["login", BUSY, ""]);
    // Once that login has ended, the next one of the same user is the only event.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(app.log_in("sandbox:13900001234:next").await.status, 200);
    assert_eq!(audit.only().head(), ["login", "SUCCESS", ""]);
}

/// ASVS 16.3.1.
#[tokio::test]
async fn a_session_leaves_events_from_its_opening_to_its_end() {
    let app = TestApp::with(&[
        ("ONECLICK_SESSION__ROTATE_ON_REFRESH", "true"),
        ("ONECLICK_SESSION__ROTATION_GRACE_SECONDS", "0"),
    ])
    .await;
    let audit = Audit::default();
    let _listening = audit.listen();
    let access_token = "sandbox:13900001234:once";
    let first = app.log_in(access_token).await.text("session_token");
    let opened = audit.only();
    let (session, user) = (opened.get("session.id").to_owned(), opened.get("user.id").to_owned());
    assert_eq!(session.len(), 36);
    let assert_same = |event: &Fields, act: &str, outcome: &str| {
        assert_eq!(event.head(), [act, outcome, ""]);
        if outcome == "SUCCESS" {
            assert_eq!((event.get("session.id"), event.get("user.id")), (&*session, &*user), "{act}");
        }
    };
    app.log_in(access_token).await;
    assert_same(&audit.only(), "login.repeat", "SUCCESS");
    let refresh = "/api/v2/sdk/sso/session-token/id-token";
    let second = app.send(with_session(refresh, &first).build()).await.text("session_token");
    let refreshed = audit.only();
    assert_same(&refreshed, "session.refresh", "SUCCESS");
    assert!(!refreshed.get("device.fingerprint_hash").is_empty() && !refreshed.get("request.id").is_empty());
    app.send(with_session("/api/v2/sdk/logout", &second).build()).await;
    assert_same(&audit.only(), "session.log_out", "SUCCESS");
    app.send(with_session("/api/v2/sdk/logout", &"x".repeat(32)).build()).await;
    assert_same(&audit.only(), "session.log_out", "IDAAS.SDK.PARAM.0023");

    let third = app.log_in("sandbox:13900001234:twice").await.text("session_token");
    let opened = audit.only().get("session.id").to_owned();
    app.send(with_session(refresh, &third).build()).await;
    app.clock.advance(std::time::Duration::from_secs(1));
    app.send(with_session(refresh, &third).build()).await;
    let events = audit.take();
    let heads: Vec<_> = events.iter().map(Fields::head).collect();
    let refused = ["session.refresh", "IDAAS.SDK.PARAM.0023", ""];
    assert_eq!(heads, [["session.refresh", "SUCCESS", ""], ["session.reuse", "SUCCESS", ""], refused]);
    assert_eq!((events[1].get("session.id"), events[1].get("user.id")), (&*opened, &*user));
}

#[tokio::test]
async fn what_a_tenant_does_is_an_event_each_with_the_tenant_as_its_actor() {
    let app = TestApp::start().await;
    let audit = Audit::default();
    let _listening = audit.listen();
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    let user = audit.only().get("user.id").to_owned();
    let actor = format!("tenant:{TENANT}");

    let bearer = bearer(&app).await;
    let issued = audit.only();
    assert_eq!(issued.head(), ["tenant_token.issue", "SUCCESS", ""]);
    assert_eq!(issued.get("app.client_id"), TENANT);

    let device = json!({"operating_sys_version": "windows10.1.1", "device_fingerprint": "156aysdna213sc50"});
    let with_device = |key: &str, value: &str| {
        let mut body = device.clone();
        body[key] = json!(value);
        body
    };
    let post = async |path: &str, body: &Value| app.send(tenant_call(path, &bearer, body).build()).await;
    let ticket = post("/api/v2/tenant/sso/session-token/sso-ticket", &with_device("session_token", &token)).await;
    let issued = audit.only();
    assert_eq!((issued.head(), issued.get("user.id")), (["ticket.issue", "SUCCESS", &*actor], &*user));

    let body = with_device("sso_ticket", &ticket.text("sso_ticket"));
    for (outcome, user, number) in [("SUCCESS", &*user, "+86 138****0001"), ("IDAAS.TENANT.TICKET.0001", "", "")] {
        post("/api/v2/tenant/sso/sso-ticket/verify", &body).await;
        let redeemed = audit.only();
        assert_eq!(redeemed.head(), ["ticket.redeem", outcome, &*actor]);
        assert_eq!((redeemed.get("user.id"), redeemed.get("phone.masked")), (user, number));
    }

    let nobody = "01a2048d-ce05-7944-86be-42c70ca4b086";
    for (act, path, subject, outcome) in [
        ("user.disable", "disable", &*user, "SUCCESS"),
        ("user.enable", "enable", &*user, "SUCCESS"),
        ("user.disable", "disable", nobody, "IDAAS.TENANT.USER.0001"),
    ] {
        let path = format!("/api/v2/tenant/users/{subject}/{path}");
        app.send(tenant_call(&path, &bearer, &json!({})).method(Method::PUT).build()).await;
        let switched = audit.only();
        assert_eq!((switched.head(), switched.get("user.id")), ([act, outcome, &*actor], subject));
    }

    post("/api/v2/tenant/users/user-by-mobile", &json!({ "mobile": "13800000001" })).await;
    let found = audit.only();
    assert_eq!(found.head(), ["user.find", "SUCCESS", &*actor]);
    assert_eq!((found.get("user.id"), found.get("phone.masked")), (&*user, "+86 138****0001"));
}

/// ASVS 16.3.2.
#[tokio::test]
async fn whoever_is_refused_as_a_tenant_is_an_event_without_an_actor() {
    let app = TestApp::start().await;
    register(&app, TENANT).await;
    let audit = Audit::default();
    let _listening = audit.listen();
    super::tenant_token::request(&app, TENANT, "not the secret").await;
    let refused = audit.only();
    assert_eq!(refused.head(), ["tenant_token.issue", "IDAAS.TENANT.COM.0401", ""]);
    assert_eq!(refused.get("app.client_id"), TENANT, "whom it claimed to be");

    let body = json!({ "mobile": "13800000001" });
    app.send(tenant_call("/api/v2/tenant/users/user-by-mobile", "no token", &body).build()).await;
    assert_eq!(audit.only().head(), ["user.find", "IDAAS.TENANT.COM.0401", ""]);
}
