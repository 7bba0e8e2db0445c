//! The edge: HTTP in, HTTP out, and the lowest floor that knows axum. It decides nothing of a login; it reads the
//! request in the contract's order and gives every answer the contract's form.

mod access_log;
mod audit;
mod body;
mod client_address;
mod device;
mod error;
mod json;
mod login;
pub mod management;
mod request_id;
mod request_metrics;
mod server_timing;
mod session;
mod tenant;
mod tenant_token;
mod well_known;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post, put};
use tower_http::catch_panic::CatchPanicLayer;

use self::audit::Audited;
use crate::apps::Apps;
use crate::audit::Act;
use crate::client_address::TrustedProxies;
use crate::clock::Clock;
use crate::error_code::ErrorCode;
use crate::keys::Keys;
use crate::locale::Locale;
use crate::login::Login;
use crate::metrics::Metrics;
use crate::session::Sessions;
use crate::tenant::Tenants;
use crate::trace::Recorder;

pub use error::refuse_host;

pub const LOGIN_PATH: &str = "/api/v2/sdk/login/aliyun-mobile-auth";
pub const JWKS_PATH: &str = "/api/v1/oauth2/keys";
pub const WELL_KNOWN_JWKS_PATH: &str = "/.well-known/jwks.json";
pub const TENANT_TOKEN_PATH: &str = "/api/v2/tenant/token";
/// Every issuer ends in this.
pub const ISSUER_PATH: &str = "/api/v1/oauth2";

/// What the handlers share.
#[derive(Clone)]
pub struct Http {
    pub login: Arc<Login>,
    pub sessions: Arc<Sessions>,
    pub tenants: Arc<Tenants>,
    pub apps: Arc<Apps>,
    pub keys: Arc<Keys>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub trusted_proxies: Arc<TrustedProxies>,
    pub default_locale: Locale,
    /// Who records traces, if anybody does.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Whether a login's answer says what took how long.
    pub server_timing: bool,
    /// From a request's head to the last byte of its body.
    pub body_timeout: Duration,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

/// The one route table and the one stack of layers; the outermost layer is the last.
pub fn router(http: Http) -> Router {
    let audited = |act, route: MethodRouter<Http>| {
        let login = Arc::clone(&http.login);
        route.route_layer(from_fn_with_state(Audited { act, login }, audit::record))
    };
    let mut log_in = audited(Act::LogIn, post(login::log_in));
    if http.server_timing {
        log_in = log_in.route_layer(from_fn(server_timing::add));
    }
    Router::new()
        .route(LOGIN_PATH, log_in)
        .route("/api/v2/sdk/sso/session-token/id-token", post(session::refresh))
        .route("/api/v2/sdk/logout", get(session::log_out).post(session::log_out))
        .route(TENANT_TOKEN_PATH, audited(Act::IssueTenantToken, post(tenant_token::issue)))
        .route("/api/v2/tenant/sso/session-token/sso-ticket", audited(Act::IssueTicket, post(tenant::issue_ticket)))
        .route("/api/v2/tenant/sso/sso-ticket/verify", audited(Act::RedeemTicket, post(tenant::redeem_ticket)))
        .route("/api/v2/tenant/sso/session-token/refresh", post(tenant::refresh))
        .route("/api/v2/tenant/users/{user_id}/disable", audited(Act::DisableUser, put(tenant::disable_user)))
        .route("/api/v2/tenant/users/{user_id}/enable", audited(Act::EnableUser, put(tenant::enable_user)))
        .route("/api/v2/tenant/users/user-by-mobile", audited(Act::FindUser, post(tenant::user_by_mobile)))
        .route(JWKS_PATH, get(well_known::jwks))
        .route(WELL_KNOWN_JWKS_PATH, get(well_known::jwks))
        .route("/api/v1/oauth2/.well-known/openid-configuration", get(well_known::discovery))
        .fallback(|| async { error::Failure::new(ErrorCode::NotFound) })
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(http.clone(), error::render))
        .layer(from_fn(access_log::record))
        .layer(from_fn_with_state(http.clone(), request_metrics::count))
        .layer(from_fn_with_state(http.clone(), client_address::find))
        .layer(from_fn_with_state(http.clone(), request_id::assign))
        .with_state(http)
}
