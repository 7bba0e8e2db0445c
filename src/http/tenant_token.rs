//! `POST /api/v2/tenant/token`: OAuth 2's client credentials grant (RFC 6749, 4.4), in OAuth 2's own form.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::Http;
use super::audit::Findings;
use super::device::only;
use super::error::Failure;
use super::json::secret_json;
use crate::client_address::ClientAddress;
use crate::ids::ClientId;
use crate::tenant::{TOKEN_TTL, TenantError};

#[derive(Serialize, ToSchema)]
pub(super) struct TokenAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
}

pub async fn issue(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    request: Request,
) -> Result<Response, Failure> {
    let client = request.extensions().get::<ClientAddress>().copied();
    let (client_id, secret) = basic_credentials(request.headers()).ok_or(TenantError::InvalidClient)?;
    tracing::Span::current().record("app.client_id", client_id.as_str());
    findings.app(&client_id);
    check_form(request.headers())?;
    let body = http.bodies.read(request).await?;
    check_grant(&body)?;
    let limits = &http.login.limits;
    limits.check_secret_try(&client_id, client)?;
    let token = http.tenants.issue_token(&client_id, &secret).await.inspect_err(|error| {
        if matches!(error, TenantError::InvalidClient) {
            limits.count_wrong_secret(&client_id, client);
        }
    })?;
    Ok(secret_json(&TokenAnswer {
        access_token: token.expose(),
        token_type: "Bearer",
        expires_in: TOKEN_TTL.as_secs(),
    }))
}

/// RFC 6749, 2.3.1: both parts form-encoded, then joined by a colon, then base64.
fn basic_credentials(headers: &HeaderMap) -> Option<(ClientId, String)> {
    let (scheme, encoded) = only(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((ClientId::parse(form_decoded(id)?).ok()?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return Some(text.to_owned());
    }
    form_urlencoded::parse(text.as_bytes()).next().map(|(key, _)| key.into_owned())
}

fn check_form(headers: &HeaderMap) -> Result<(), Failure> {
    let essence = only(headers, CONTENT_TYPE.as_str()).and_then(|value| value.split(';').next());
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        Ok(())
    } else {
        Err(Failure::oauth("invalid_request"))
    }
}

/// `grant_type` once, and the one that is supported.
fn check_grant(body: &[u8]) -> Result<(), Failure> {
    let mut grants = form_urlencoded::parse(body).filter(|(key, _)| key == "grant_type");
    match (grants.next(), grants.next()) {
        (Some((_, grant)), None) if grant == "client_credentials" => Ok(()),
        (Some((_, grant)), None) if !grant.is_empty() => Err(Failure::oauth("unsupported_grant_type")),
        _ => Err(Failure::oauth("invalid_request")),
    }
}
