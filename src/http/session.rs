//! What a device does with its session_token: a new id_token, and logging out.

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Http;
use super::audit::Findings;
use super::device::{DeviceHeaders, SdkApp, is_blank, only};
use super::error::Failure;
use super::json::secret_json;
use crate::client_address::ClientAddress;
use crate::error_code::ErrorCode;
use crate::session::{Bearer, Refreshed};
use crate::session_token::SessionToken;

pub(super) const SESSION_TOKEN: &str = "session-token";
/// Accepted for the same.
pub(super) const X_SESSION_TOKEN: &str = "X-session-token";

/// The session_token of a device's request, under either of its names.
#[derive(Debug)]
pub struct SessionTokenHeader(pub SessionToken);

impl FromRequestParts<Http> for SessionTokenHeader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Http) -> Result<Self, Failure> {
        let headers = &parts.headers;
        let name = match (is_blank(headers, SESSION_TOKEN), is_blank(headers, X_SESSION_TOKEN)) {
            (true, true) => return Err(Failure::blank(SESSION_TOKEN)),
            (false, true) => SESSION_TOKEN,
            (true, false) => X_SESSION_TOKEN,
            (false, false) => return Err(Failure::format(SESSION_TOKEN)),
        };
        parse(headers, name).map(Self)
    }
}

fn parse(headers: &HeaderMap, name: &str) -> Result<SessionToken, Failure> {
    let text = only(headers, name).ok_or(Failure::format(SESSION_TOKEN))?;
    SessionToken::parse(text).ok_or(Failure::new(ErrorCode::SessionTokenInvalid))
}

/// The answer of both ways to renew: the device's, and a tenant's on its behalf.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefreshAnswer<'a> {
    session_token: &'a str,
    expire: u64,
    id_token: &'a str,
}

pub(super) fn refresh_answer(refreshed: &Refreshed, findings: &Findings) -> Response {
    tracing::Span::current().record("user.id", tracing::field::display(refreshed.owner.user));
    findings.owner(refreshed.owner);
    secret_json(&RefreshAnswer {
        session_token: refreshed.session_token.expose(),
        expire: refreshed.expires_in_seconds,
        id_token: &refreshed.id_token,
    })
}

/// `POST /api/v2/sdk/sso/session-token/id-token`
pub async fn refresh(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    client: Option<Extension<ClientAddress>>,
    DeviceHeaders(device): DeviceHeaders,
    SdkApp(app): SdkApp,
    SessionTokenHeader(token): SessionTokenHeader,
) -> Result<Response, Failure> {
    http.login.limits.count_session_call(client.map(|Extension(address)| address))?;
    let bearer = Bearer { client_id: Some(&app.client_id), device_fingerprint: &device.fingerprint };
    Ok(refresh_answer(&http.sessions.refresh(&token, bearer).await?, &findings))
}

/// `GET` or `POST /api/v2/sdk/logout`
pub async fn log_out(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    client: Option<Extension<ClientAddress>>,
    DeviceHeaders(device): DeviceHeaders,
    SdkApp(app): SdkApp,
    SessionTokenHeader(token): SessionTokenHeader,
) -> Result<Response, Failure> {
    http.login.limits.count_session_call(client.map(|Extension(address)| address))?;
    let bearer = Bearer { client_id: Some(&app.client_id), device_fingerprint: &device.fingerprint };
    findings.owner(http.sessions.log_out(&token, bearer).await?);
    Ok([(CACHE_CONTROL, HeaderValue::from_static("no-store"))].into_response())
}
