//! The edge: HTTP in, HTTP out, and the lowest floor that knows axum. It decides nothing of a login; it reads the
//! request in the contract's order and gives every answer the contract's form.

mod access_log;
mod audit;
mod body;
mod client_address;
mod device;
mod docs;
mod error;
mod json;
mod load_shedding;
mod login;
pub mod management;
mod now_and_then;
pub mod openapi;
mod refusals;
mod request_id;
mod request_metrics;
mod route;
mod server_timing;
mod session;
mod tenant;
mod tenant_token;
mod time_limit;
mod well_known;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;

use self::audit::Audited;
use self::openapi::{sdk, tenant as services, users, well_known as public_keys};
use self::route::Route;
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

pub use body::Bodies;
pub use docs::{Docs, PAGE_PATH as DOCS_PATH, document};
pub use load_shedding::LoadShedding;
pub use refusals::Refusals;

pub const LOGIN_PATH: &str = "/api/v2/sdk/login/aliyun-mobile-auth";
pub const JWKS_PATH: &str = "/api/v1/oauth2/keys";
pub const WELL_KNOWN_JWKS_PATH: &str = "/.well-known/jwks.json";
pub const TENANT_TOKEN_PATH: &str = "/api/v2/tenant/token";
/// Every issuer ends in this.
pub const ISSUER_PATH: &str = "/api/v1/oauth2";

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
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
    pub bodies: Arc<Bodies>,
    /// Where `None`, the description of the API is not served.
    pub docs: Option<Arc<Docs>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// As routes and layers have it: axum clones it several times for each request.
type Http = Arc<Shared>;

/// The one route table.
fn routes() -> [Route; 14] {
    [
        Route::post(LOGIN_PATH, login::log_in, &sdk::LOG_IN).audited(Act::LogIn),
        Route::post("/api/v2/sdk/sso/session-token/id-token", session::refresh, &sdk::REFRESH)
            .audited(Act::RefreshSession),
        Route::get("/api/v2/sdk/logout", session::log_out, &sdk::LOG_OUT_BY_GET)
            .audited(Act::LogOut)
            .not_by_head("GET,POST"),
        Route::post("/api/v2/sdk/logout", session::log_out, &sdk::LOG_OUT_BY_POST).audited(Act::LogOut),
        Route::post(TENANT_TOKEN_PATH, tenant_token::issue, &services::TOKEN).audited(Act::IssueTenantToken),
        Route::post("/api/v2/tenant/sso/session-token/sso-ticket", tenant::issue_ticket, &services::ISSUE_TICKET)
            .audited(Act::IssueTicket),
        Route::post("/api/v2/tenant/sso/sso-ticket/verify", tenant::redeem_ticket, &services::REDEEM_TICKET)
            .audited(Act::RedeemTicket),
        Route::post("/api/v2/tenant/sso/session-token/refresh", tenant::refresh, &services::REFRESH)
            .audited(Act::RefreshSession),
        Route::put("/api/v2/tenant/users/{user_id}/disable", tenant::disable_user, &users::DISABLE)
            .audited(Act::DisableUser),
        Route::put("/api/v2/tenant/users/{user_id}/enable", tenant::enable_user, &users::ENABLE)
            .audited(Act::EnableUser),
        Route::post("/api/v2/tenant/users/user-by-mobile", tenant::user_by_mobile, &users::BY_MOBILE)
            .audited(Act::FindUser),
        Route::get(JWKS_PATH, well_known::jwks, &public_keys::KEYS_OF_THE_VENDOR),
        Route::get(WELL_KNOWN_JWKS_PATH, well_known::jwks, &public_keys::KEYS_WELL_KNOWN),
        Route::get("/api/v1/oauth2/.well-known/openid-configuration", well_known::discovery, &public_keys::DISCOVERY),
    ]
}

/// The one stack of layers, around the route table; the outermost layer is the last.
pub fn router(shared: Shared) -> Router {
    let http = Arc::new(shared);
    let api = routes().into_iter().fold(Router::new(), |api, route| {
        let mut handler = route.handler;
        if route.path != LOGIN_PATH {
            handler = handler.route_layer(from_fn_with_state(Arc::clone(&http), time_limit::enforce));
        }
        if let Some(act) = route.act {
            let login = Arc::clone(&http.login);
            handler = handler.route_layer(from_fn_with_state(Audited { act, login }, audit::record));
        }
        if http.server_timing && route.path == LOGIN_PATH {
            handler = handler.route_layer(from_fn(server_timing::add));
        }
        api.route(route.path, handler)
    });
    http.docs
        .as_ref()
        .map_or(Router::new(), docs::router)
        .merge(api)
        .fallback(|| async { error::Failure::new(ErrorCode::NotFound) })
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(http.clone(), error::render))
        .layer(from_fn(access_log::record))
        .layer(from_fn_with_state(http.clone(), request_metrics::count))
        .layer(from_fn_with_state(http.clone(), client_address::find))
        .layer(from_fn_with_state(http.clone(), request_id::assign))
        .with_state(http)
}
