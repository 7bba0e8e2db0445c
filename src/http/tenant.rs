//! What an enterprise's own services call, with a tenant token: tickets, sessions, users.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Http;
use super::audit::Findings;
use super::device::only;
use super::error::Failure;
use super::json::{Fields, FromFields, Json, secret_json};
use super::session::refresh_answer;
use crate::error_code::ErrorCode;
use crate::ids::{ClientId, UserId};
use crate::phone_number::PhoneNumber;
use crate::session::{Bearer, Live};
use crate::session_token::SessionToken;
use crate::store::UserStatus;
use crate::tenant::TICKET_TTL;

/// The vendor's form of a time; ours are UTC.
const TIME: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// The tenant whose Bearer token came with the request.
#[derive(Debug)]
pub struct Tenant(pub ClientId);

impl FromRequestParts<Http> for Tenant {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let token = only(&parts.headers, AUTHORIZATION.as_str()).and_then(bearer_token);
        let token = token.ok_or(Failure::new(ErrorCode::TenantTokenInvalid))?;
        let client_id = http.tenants.authenticate(token).await?;
        tracing::Span::current().record("app.client_id", client_id.as_str());
        if let Some(findings) = parts.extensions.get::<Findings>() {
            findings.tenant(&client_id);
        }
        Ok(Self(client_id))
    }
}

fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A session_token that a tenant holds, and the device it belongs to.
#[derive(Debug)]
pub struct SessionBody {
    token: SessionToken,
    fingerprint: String,
    client_id: Option<ClientId>,
}

impl FromFields for SessionBody {
    const FIELDS: &'static [&'static str] =
        &["session_token", "operating_sys_version", "device_fingerprint", "device_ip", "agent", "client_id"];

    fn from_fields(mut fields: Fields) -> Result<Self, Failure> {
        let token = fields.required_text("session_token")?;
        let fingerprint = device_fingerprint(&mut fields)?;
        let client_id = fields.optional_text("client_id")?;
        let client_id = client_id.map(ClientId::parse).transpose().map_err(|_| Failure::format("client_id"))?;
        let token = SessionToken::parse(&token).ok_or(Failure::new(ErrorCode::SessionTokenInvalid))?;
        Ok(Self { token, fingerprint, client_id })
    }
}

impl SessionBody {
    fn bearer(&self) -> Bearer<'_> {
        Bearer { client_id: self.client_id.as_ref(), device_fingerprint: &self.fingerprint }
    }
}

#[derive(Debug)]
pub struct TicketBody {
    ticket: String,
    fingerprint: String,
}

impl FromFields for TicketBody {
    const FIELDS: &'static [&'static str] =
        &["sso_ticket", "operating_sys_version", "device_fingerprint", "device_ip", "agent"];

    fn from_fields(mut fields: Fields) -> Result<Self, Failure> {
        let ticket = fields.required_text("sso_ticket")?;
        Ok(Self { ticket, fingerprint: device_fingerprint(&mut fields)? })
    }
}

#[derive(Debug)]
pub struct MobileBody(PhoneNumber);

impl FromFields for MobileBody {
    const FIELDS: &'static [&'static str] = &["mobile"];

    fn from_fields(mut fields: Fields) -> Result<Self, Failure> {
        let mobile = fields.required_text("mobile")?;
        PhoneNumber::parse(&mobile).map(Self).map_err(|_| Failure::format("mobile"))
    }
}

/// The device block of a body: the same two required parts as in the headers, of which the fingerprint counts.
fn device_fingerprint(fields: &mut Fields) -> Result<String, Failure> {
    let version = fields.optional_text("operating_sys_version")?;
    let fingerprint = fields.optional_text("device_fingerprint")?;
    match (version, fingerprint) {
        (Some(version), Some(fingerprint)) => {
            super::device::check_length("operating_sys_version", &version)?;
            super::device::check_length("device_fingerprint", &fingerprint)?;
            Ok(fingerprint)
        }
        _ => Err(Failure::new(ErrorCode::DeviceIncomplete)),
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct TicketAnswer<'a> {
    expire: u64,
    sso_ticket: &'a str,
}

/// `POST /api/v2/tenant/sso/session-token/sso-ticket`
pub async fn issue_ticket(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    Tenant(tenant): Tenant,
    Json(body): Json<SessionBody>,
) -> Result<Response, Failure> {
    let (ticket, user_id) = http.tenants.issue_ticket(&tenant, &body.token, body.bearer()).await?;
    findings.user(user_id);
    Ok(secret_json(&TicketAnswer { expire: TICKET_TTL.as_secs(), sso_ticket: ticket.expose() }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct TicketUserAnswer<'a> {
    id: &'a str,
    #[serde(rename = "userName")]
    user_name: &'a str,
    name: &'a str,
    mobile: &'a str,
    email: Option<&'a str>,
}

/// `POST /api/v2/tenant/sso/sso-ticket/verify`
pub async fn redeem_ticket(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    Tenant(tenant): Tenant,
    Json(body): Json<TicketBody>,
) -> Result<Response, Failure> {
    let Live { session, number } = http.tenants.redeem_ticket(&tenant, &body.ticket, &body.fingerprint).await?;
    let profile = session.user.profile;
    findings.user(profile.id);
    findings.number(&number);
    let id = profile.id.to_string();
    Ok(secret_json(&TicketUserAnswer {
        id: &id,
        user_name: profile.user_name.as_deref().unwrap_or(&id),
        name: &profile.name.unwrap_or_else(|| number.masked()),
        mobile: &number.mobile(),
        email: profile.email.as_deref(),
    }))
}

/// `POST /api/v2/tenant/sso/session-token/refresh`
pub async fn refresh(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    _: Tenant,
    Json(body): Json<SessionBody>,
) -> Result<Response, Failure> {
    Ok(refresh_answer(&http.sessions.refresh(&body.token, body.bearer()).await?, &findings))
}

/// `PUT /api/v2/tenant/users/{user_id}/disable`
pub async fn disable_user(
    state: State<Http>,
    findings: Extension<Findings>,
    _: Tenant,
    path: UserIdInPath,
) -> Result<Response, Failure> {
    set_status(state, findings, path, UserStatus::Disabled).await
}

/// `PUT /api/v2/tenant/users/{user_id}/enable`
pub async fn enable_user(
    state: State<Http>,
    findings: Extension<Findings>,
    _: Tenant,
    path: UserIdInPath,
) -> Result<Response, Failure> {
    set_status(state, findings, path, UserStatus::Active).await
}

#[derive(Serialize, ToSchema)]
pub(super) struct StatusAnswer<'a> {
    user_id: &'a str,
}

/// What is not even text names no user.
type UserIdInPath = Result<Path<String>, PathRejection>;

async fn set_status(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    user_id: UserIdInPath,
    status: UserStatus,
) -> Result<Response, Failure> {
    let id = user_id.ok().and_then(|Path(text)| Uuid::parse_str(&text).ok());
    let id = id.ok_or(Failure::new(ErrorCode::TenantUserNotFound))?;
    findings.user(UserId(id));
    http.tenants.set_user_status(UserId(id), status).await?;
    Ok(secret_json(&StatusAnswer { user_id: &id.to_string() }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct UserAnswer<'a> {
    user_id: &'a str,
    user_name: &'a str,
    name: &'a str,
    mobile: &'a str,
    email: Option<&'a str>,
    created_at: &'a str,
    updated_at: &'a str,
    disabled: bool,
}

/// `POST /api/v2/tenant/users/user-by-mobile`
pub async fn user_by_mobile(
    State(http): State<Http>,
    Extension(findings): Extension<Findings>,
    Tenant(tenant): Tenant,
    Json(MobileBody(number)): Json<MobileBody>,
) -> Result<Response, Failure> {
    findings.number(&number);
    http.login.limits.count_look_up(&tenant)?;
    let user = http.tenants.find_user(&number).await?;
    findings.user(user.profile.id);
    let id = user.profile.id.to_string();
    Ok(secret_json(&UserAnswer {
        user_id: &id,
        user_name: user.profile.user_name.as_deref().unwrap_or(&id),
        name: &user.profile.name.unwrap_or_else(|| number.masked()),
        mobile: &number.mobile(),
        email: user.profile.email.as_deref(),
        created_at: &in_words(user.created_at),
        updated_at: &in_words(user.updated_at),
        disabled: user.status == UserStatus::Disabled,
    }))
}

fn in_words(at: OffsetDateTime) -> String {
    at.format(TIME).expect("a date and time has every part of this format")
}
