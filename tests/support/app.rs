//! The real router over a real store, with a clock that tests turn and a client that knows the contract's headers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use oneclick_login::app::App;
use oneclick_login::clock::Clock;
use oneclick_login::http::LOGIN_PATH;
use oneclick_login::http::management::{self, Management};
use oneclick_login::ids::ClientId;
use oneclick_login::metrics::Metrics;
use oneclick_login::readiness::Readiness;
use oneclick_login::settings::Settings;
use oneclick_login::store::sqlite::{Config, SqliteStore};
use oneclick_login::store::{self, AppKind, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tower::ServiceExt;

use super::description::assert_described;
use super::scrape::Scrape;

pub const DEMO_CLIENT_ID: &str = "nTo1eRIub60vPb54WeE6aojPwYwImtl4";
pub const SEED_TOKEN: &str = "ad12sasdsfe3dfdg3sc";
pub const ISSUER: &str = "https://login.example.com/api/v1/oauth2";

/// A whole application on a SQLite file of its own.
pub struct TestApp {
    pub router: Router,
    management: Router,
    pub metrics: Arc<Metrics>,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub settings: Settings,
    pub readiness: Arc<Readiness>,
    _app: App,
    _folder: Option<TempDir>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// `variables` as they would stand in the environment.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        let store = SqliteStore::open(&Config::new(format!("sqlite://{}", file.display()))).await.unwrap();
        let mut app = Self::over(Arc::new(store), variables).await;
        app._folder = Some(folder);
        app
    }

    /// On a store that the test brings; its schema is brought up.
    pub async fn over(store: Arc<dyn Store>, variables: &[(&str, &str)]) -> Self {
        store.migrate().await.unwrap();
        let settings = settings(variables);
        let clock = Clock::manual(OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap());
        let metrics = Arc::new(Metrics::new(clock.now()));
        let readiness = Arc::<Readiness>::default();
        let management =
            Management { readiness: Arc::clone(&readiness), metrics: Arc::clone(&metrics), lost_log_lines: || 0 };
        let app = App::open(&settings, Arc::clone(&store), clock.clone(), &management).await.unwrap();
        Self {
            router: app.router(),
            management: management::router(management),
            metrics,
            store,
            clock,
            settings,
            readiness,
            _app: app,
            _folder: None,
        }
    }

    /// Registers an sdk app whose registration rule is this. Seen by replicas that start after it.
    pub async fn register_sdk_app(&self, client_id: &str, auto_register: Option<bool>) {
        let app = store::App {
            client_id: ClientId::parse(client_id).unwrap(),
            name: client_id.to_owned(),
            kind: AppKind::Sdk,
            enabled: true,
            auto_register,
            secret_hash: None,
        };
        self.store.register_app(&app, self.clock.now()).await.unwrap();
    }

    /// The answer is one that the API's description promises, or the test ends here.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = Answer::read(self.router.clone().oneshot(request).await.unwrap()).await;
        assert_described(&method, &path, &answer);
        answer
    }

    /// What `/metrics` shows now.
    pub async fn scrape(&self) -> Scrape {
        Scrape::parse(&self.metrics_text("application/openmetrics-text").await)
    }

    pub async fn metrics_text(&self, accept: &str) -> String {
        let request = Request::get("/metrics").header("accept", accept).body(Body::empty()).unwrap();
        let answer = Answer::read(self.management.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        String::from_utf8(answer.body).unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// A login as the contract wants it.
    pub async fn log_in(&self, access_token: &str) -> Answer {
        self.send(login(access_token).build()).await
    }
}

pub fn settings(variables: &[(&str, &str)]) -> Settings {
    let master_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let defaults = [("ONECLICK_SECRETS__MASTER_KEY", master_key), ("ONECLICK_ID_TOKEN__ISSUER", ISSUER)];
    let all: BTreeMap<String, String> =
        defaults.iter().chain(variables).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings::load(None, &all).unwrap()
}

/// A device's call with a session_token.
pub fn with_session(path: &str, session_token: &str) -> Call {
    let mut call = login("").without("Content-Type").and("session-token", session_token).body("");
    call.path = path.to_owned();
    call
}

/// A tenant's call with a Bearer token and a JSON body.
pub fn tenant_call(path: &str, bearer: &str, body: &Value) -> Call {
    Call {
        method: Method::POST,
        path: path.to_owned(),
        headers: vec![
            ("Authorization".to_owned(), format!("Bearer {bearer}").into_bytes()),
            ("Content-Type".to_owned(), b"application/json".to_vec()),
        ],
        body: body.to_string().into_bytes(),
    }
}

/// A request that begins complete and is then spoilt by the test.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

pub fn login(access_token: &str) -> Call {
    let headers = [
        ("X-operating-sys-version", "windows10.1.1"),
        ("X-device-fingerprint", "156aysdna213sc50"),
        ("X-device-ip", "192.168.1.2"),
        ("X-agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 13_3 like Mac OS X)"),
        ("X-client-id", DEMO_CLIENT_ID),
        ("Content-Type", "application/json"),
    ];
    Call {
        method: Method::POST,
        path: LOGIN_PATH.to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec(),
        body: json!({ "access_token": access_token }).to_string().into_bytes(),
    }
}

impl Call {
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    /// Beside what is there already.
    pub fn and(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Instead of what is there.
    pub fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).and(name, value)
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn build(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).unwrap()
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// With the body as text, for a test that fails.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}

impl Answer {
    pub async fn read(response: axum::response::Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(10), body.collect()).await.unwrap().unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body: body.to_vec() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self, key: &str) -> String {
        self.json()[key].as_str().unwrap_or_else(|| panic!("no text {key} in {self:?}")).to_owned()
    }

    /// A failure in the contract's form, whatever it is.
    #[track_caller]
    pub fn error_code(&self) -> String {
        let json = self.json();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["error_code", "error_msg"], "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert!(self.header("x-request-id").is_some());
        self.text("error_code")
    }

    /// Status, code and message.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str, message: &str) {
        assert_eq!((self.status.as_u16(), self.error_code().as_str()), (status, code), "{self:?}");
        assert_eq!(self.text("error_msg"), message);
    }
}
