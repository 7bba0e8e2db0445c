//! What is described can be had: for every call, each error code that the description lists.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use oneclick_login::error_code::ErrorCode;
use oneclick_login::ids::UserId;
use oneclick_login::store::UserStatus;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::tenant_token;
use crate::api::tenants::{BY_MOBILE, TENANT, TICKET, register};
use crate::support::app::{Answer, Call, SEED_TOKEN, TestApp, tenant_call};
use crate::support::description::{Operation, operations, resolve};

/// A number that is not registered, and an application that registers nobody.
const STRANGER: &str = "13999999999";
const CLOSED_APP: &str = "closed-app";

/// An app with all that a call may need, so that the description's own examples become calls that succeed.
struct Scene {
    app: TestApp,
    secret: String,
    bearer: String,
    session_token: String,
    user_id: String,
    _folder: TestApp,
}

impl Scene {
    async fn new() -> Self {
        let folder = TestApp::start().await;
        folder.register_sdk_app(CLOSED_APP, Some(false)).await;
        let app = TestApp::over(folder.store.clone(), &[("ONECLICK_SERVER__BODY_TIMEOUT_MS", "50")]).await;
        let secret = register(&app, TENANT).await.expose().to_owned();
        let bearer = tenant_token::request(&app, TENANT, &secret).await.text("access_token");
        let session_token = app.log_in(SEED_TOKEN).await.text("session_token");
        let user = tenant_call(BY_MOBILE, &bearer, &json!({ "mobile": "13800000001" })).build();
        let user_id = app.send(user).await.text("user_id");
        Self { app, secret, bearer, session_token, user_id, _folder: folder }
    }

    async fn send(&self, call: Call) -> Answer {
        self.app.send(call.build()).await
    }

    /// The examples as they are, but for what must be this app's own.
    async fn good_call(&self, operation: &Operation) -> Call {
        let mut call = Call {
            method: operation.method.to_uppercase().parse().unwrap(),
            path: operation.path.replace("{user_id}", &self.user_id),
            headers: Vec::new(),
            body: Vec::new(),
        };
        for parameter in operation.object["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "header" {
                call = call.with(parameter["name"].as_str().unwrap(), parameter["example"].as_str().unwrap());
            }
        }
        if parameter_names(operation).contains(&"session-token") {
            call = call.with("session-token", &self.session_token);
        }
        call = match operation.object["security"].as_array().and_then(|schemes| schemes.first()) {
            Some(scheme) if scheme.get("clientSecret").is_some() => {
                let basic = STANDARD.encode(format!("{TENANT}:{}", self.secret));
                call.with("Authorization", format!("Basic {basic}"))
            }
            Some(_) => call.with("Authorization", format!("Bearer {}", self.bearer)),
            None => call,
        };
        let Some((media_type, content)) = operation.object["requestBody"]["content"].as_object().and_then(first) else {
            return call;
        };
        let mut body = content["example"].clone();
        if body.get("session_token").is_some() {
            body["session_token"] = json!(self.session_token);
        }
        if body.get("sso_ticket").is_some() {
            body["sso_ticket"] = json!(self.ticket().await);
        }
        let text = if media_type == "application/json" { body.to_string() } else { form(&body) };
        call.with("Content-Type", media_type).body(text)
    }

    async fn ticket(&self) -> String {
        let device = json!({
            "session_token": self.session_token, "operating_sys_version": "windows10.1.1",
            "device_fingerprint": "156aysdna213sc50"
        });
        self.send(tenant_call(TICKET, &self.bearer, &device)).await.text("sso_ticket")
    }

    /// The call with a body that begins and does not go on.
    async fn never_finish(&self, operation: &Operation) -> Answer {
        let (parts, _) = self.good_call(operation).await.build().into_parts();
        let begun = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
        let body = Body::from_stream(begun.chain(futures_util::stream::pending()));
        self.app.send(Request::from_parts(parts, body)).await
    }

    async fn disable_user(&self) {
        let id = UserId(Uuid::parse_str(&self.user_id).unwrap());
        self.app.store.set_user_status(id, UserStatus::Disabled, self.app.clock.now()).await.unwrap();
    }
}

fn first(map: &serde_json::Map<String, Value>) -> Option<(&String, &Value)> {
    map.iter().next()
}

fn form(body: &Value) -> String {
    let pairs = body.as_object().unwrap().iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap()));
    pairs.collect::<Vec<_>>().join("&")
}

fn parameter_names(operation: &Operation) -> Vec<&str> {
    let parameters = operation.object["parameters"].as_array().into_iter().flatten();
    parameters.map(|parameter| parameter["name"].as_str().unwrap()).collect()
}

/// The codes of the catalogue that are described for a call, from the schemas of its answers.
fn described_codes(operation: &Operation) -> Vec<ErrorCode> {
    let responses = operation.object["responses"].as_object().unwrap().values();
    let numbers: Vec<_> = responses
        .filter_map(|response| {
            resolve(response).pointer("/content/application~1json/schema/properties/error_code/enum")?.as_array()
        })
        .flatten()
        .collect();
    ErrorCode::ALL.into_iter().filter(|code| numbers.contains(&&json!(code.number()))).collect()
}

/// The call, spoilt so that it must fail with this code. `None`: not by anything in the request.
fn spoil(call: Call, operation: &Operation, code: ErrorCode) -> Option<Call> {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let has_body = body.is_object();
    let with_key = |key: &str, value: Value| {
        let mut body = body.clone();
        body[key] = value;
        call.clone().body(body.to_string())
    };
    let first_key = operation.first_key();
    Some(match code {
        ErrorCode::DeviceIncomplete if has_body && call.has("Authorization") => {
            with_key("device_fingerprint", Value::Null)
        }
        ErrorCode::DeviceIncomplete => call.without("X-agent"),
        ErrorCode::ClientIdBlank => call.without("X-client-id"),
        ErrorCode::AppNotRegistered => call.with("X-client-id", "unknown"),
        ErrorCode::UserNotFound => {
            with_key("access_token", json!(format!("sandbox:{STRANGER}"))).with("X-client-id", CLOSED_APP)
        }
        ErrorCode::SessionTokenInvalid if has_body => with_key("session_token", json!("x".repeat(32))),
        ErrorCode::SessionTokenInvalid => call.with("session-token", "x".repeat(32)),
        ErrorCode::ParameterBlank if has_body => with_key(first_key, json!(" ")),
        ErrorCode::ParameterBlank => call.without("session-token"),
        ErrorCode::ParameterFormat if has_body => call.with("Content-Type", "text/plain"),
        ErrorCode::ParameterFormat => call.and("X-client-id", "another"),
        ErrorCode::ParameterType => with_key(first_key, json!(1)),
        ErrorCode::AccessTokenRejected => with_key("access_token", json!("sandbox:invalid")),
        ErrorCode::NumberUnsupported => with_key("access_token", json!("sandbox:+852-91234567")),
        ErrorCode::BodyTooLarge => call.body(vec![b' '; 20_000]),
        ErrorCode::TenantTokenInvalid => call.with("Authorization", "Bearer unknown"),
        ErrorCode::TicketInvalid => with_key("sso_ticket", json!("ssoTicket-unknown")),
        ErrorCode::TenantUserNotFound if has_body => with_key("mobile", json!(STRANGER)),
        ErrorCode::TenantUserNotFound => {
            let mut call = call;
            call.path = operation.path.replace("{user_id}", &Uuid::nil().to_string());
            call
        }
        ErrorCode::UserDisabled | ErrorCode::RequestTimeout | ErrorCode::SystemBusy | ErrorCode::TooManyRequests => {
            return None;
        }
        ErrorCode::NotFound | ErrorCode::MethodNotAllowed | ErrorCode::HeadTooLarge => {
            panic!("{code:?} is of no operation")
        }
    })
}

impl Operation {
    fn first_key(&self) -> &'static str {
        let content = self.object["requestBody"]["content"].as_object().and_then(first);
        let schema = content.map_or(&Value::Null, |(_, content)| resolve(&content["schema"]));
        schema["required"].as_array().and_then(|keys| keys.first()?.as_str()).unwrap_or_default()
    }
}

impl Call {
    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header == name)
    }
}

/// ASVS 2.1.1.
#[tokio::test]
async fn every_example_works_and_every_code_that_is_described_can_be_had() {
    let mut had = 0;
    for operation in operations() {
        let name = format!("{} {}", operation.method, operation.path);
        let scene = Scene::new().await;
        let codes = described_codes(&operation);
        for code in &codes {
            let Some(spoilt) = spoil(scene.good_call(&operation).await, &operation, *code) else { continue };
            let answer = scene.send(spoilt).await;
            assert_eq!((answer.status.as_u16(), &*answer.error_code()), (code.status(), code.number()), "{name}");
            had += 1;
        }
        if codes.contains(&ErrorCode::RequestTimeout) {
            assert_eq!(scene.never_finish(&operation).await.error_code(), ErrorCode::RequestTimeout.number(), "{name}");
        }
        if codes.contains(&ErrorCode::TooManyRequests) {
            let limited = TestApp::with(&[("ONECLICK_LIMITS__LOGINS_PER_DEVICE_PER_MINUTE", "1")]).await;
            let answers = [limited.log_in(SEED_TOKEN).await, limited.log_in(SEED_TOKEN).await];
            assert_eq!(answers.map(|answer| answer.status.as_u16()), [200, 429], "{name}");
        }
        let answer = scene.send(scene.good_call(&operation).await.without("If-None-Match")).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        if codes.contains(&ErrorCode::UserDisabled) {
            let scene = Scene::new().await;
            scene.disable_user().await;
            let answer = scene.send(scene.good_call(&operation).await).await;
            assert_eq!(answer.error_code(), ErrorCode::UserDisabled.number(), "{name}");
        }
        // The keys are served from memory; everything else needs the database.
        if !operation.path.contains("oauth2") && !operation.path.contains("well-known") {
            let call = Scene::new().await.good_call(&operation).await;
            scene.app.store.close().await;
            assert_eq!(scene.send(call).await.status, 500, "{name}");
        }
    }
    assert!(had > 50, "{had}");
}
