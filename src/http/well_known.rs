//! The public keys and where to find them: all that a verifier of id_tokens needs, also one that runs on a page of another
//! origin. Served from memory.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Http, JWKS_PATH};
use crate::keys::JWKS_MAX_AGE_SECONDS;

/// The JWK Set, or 304 where the client has it already.
pub async fn jwks(State(http): State<Http>, headers: HeaderMap) -> Response {
    let snapshot = http.keys.snapshot();
    let jwks = &snapshot.jwks;
    let caching = [public(), (CACHE_CONTROL, cache_control()), (ETAG, jwks.etag.clone())];
    if has_etag(&headers, &jwks.etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, "application/json")], jwks.json.clone()).into_response()
}

/// What an id_token says.
pub(super) const CLAIMS: &[&str] = &[
    "iss",
    "aud",
    "sub",
    "iat",
    "nbf",
    "exp",
    "jti",
    "auth_time",
    "sid",
    "id",
    "userName",
    "name",
    "mobile",
    "email",
    "phone_number",
    "phone_number_verified",
];

#[derive(Serialize, ToSchema)]
pub(super) struct DiscoveryDocument<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: &'a [&'a str],
    subject_types_supported: &'a [&'a str],
    id_token_signing_alg_values_supported: &'a [String],
    claims_supported: &'a [&'a str],
}

/// OpenID Connect Discovery, as far as it concerns a service that hands out id_tokens and nothing else.
pub async fn discovery(State(http): State<Http>) -> Response {
    let issuer = http.login.id_tokens.issuer();
    let base = issuer.strip_suffix(super::ISSUER_PATH).unwrap_or(issuer);
    let snapshot = http.keys.snapshot();
    let document = DiscoveryDocument {
        issuer,
        jwks_uri: format!("{base}{JWKS_PATH}"),
        response_types_supported: &["id_token"],
        subject_types_supported: &["public"],
        id_token_signing_alg_values_supported: &snapshot.algorithms,
        claims_supported: CLAIMS,
    };
    ([public(), (CACHE_CONTROL, cache_control())], Json(document)).into_response()
}

fn public() -> (HeaderName, String) {
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned())
}

fn cache_control() -> String {
    format!("public, max-age={JWKS_MAX_AGE_SECONDS}")
}

/// RFC 9110, 13.1.2: a list of tags, compared weakly, or `*`.
fn has_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}
