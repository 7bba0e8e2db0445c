//! `POST /api/v2/sdk/login/aliyun-mobile-auth`.

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Http;
use super::audit::Findings;
use super::device::{DeviceHeaders, SdkApp};
use super::error::Failure;
use super::json::{Fields, FromFields, Json, secret_json};
use crate::client_address::ClientAddress;
use crate::deadline::Deadline;
use crate::error_code::SUCCESS;
use crate::ids::RequestId;
use crate::login::{LoggedIn, LoginRequest};
use crate::trace::Trace;
use crate::verifier::AccessToken;

#[derive(Debug)]
pub struct LoginBody {
    access_token: AccessToken,
}

impl FromFields for LoginBody {
    const FIELDS: &'static [&'static str] = &["access_token"];

    fn from_fields(mut fields: Fields) -> Result<Self, Failure> {
        let text = fields.required_text("access_token")?;
        AccessToken::parse(text).map(|access_token| Self { access_token }).map_err(|_| Failure::format("access_token"))
    }
}

/// What the layers around have found out of the request.
#[derive(Debug, FromRequestParts)]
pub struct Learned {
    #[from_request(via(Extension))]
    request_id: RequestId,
    #[from_request(via(Extension))]
    trace: Trace,
    #[from_request(via(Extension))]
    client_address: Option<ClientAddress>,
    #[from_request(via(Extension))]
    findings: Findings,
}

/// The contract's four keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoginAnswer<'a> {
    session_token: &'a str,
    expire: u64,
    status: &'static str,
    id_token: &'a str,
}

/// The arguments are the contract's checks, in the contract's order. What is left, limits and whether the store can
/// write, are the login's own first questions.
pub async fn log_in(
    State(http): State<Http>,
    learned: Learned,
    DeviceHeaders(device): DeviceHeaders,
    SdkApp(app): SdkApp,
    Json(LoginBody { access_token }): Json<LoginBody>,
) -> Result<Response, Failure> {
    let Learned { request_id, trace, client_address, findings } = learned;
    // The body has just been read: the request's time begins.
    let deadline = Deadline::after(http.login.rules.timeout);
    let login = LoginRequest { app, device, access_token, request_id, trace, client_address, deadline };
    let under_way = http.login.begin(login)?;
    findings.login(&under_way);
    let (stages, response) = match under_way.answer().await {
        Ok(logged_in) => (logged_in.stages, answer(&logged_in)),
        Err(error) => (under_way.stages(), Failure::from(error).into_response()),
    };
    Ok((Extension(stages), response).into_response())
}

fn answer(logged_in: &LoggedIn) -> Response {
    let span = tracing::Span::current();
    span.record("user.id", tracing::field::display(logged_in.user_id));
    span.record("user.new", logged_in.new_user);
    let body = LoginAnswer {
        session_token: logged_in.session_token.expose(),
        expire: logged_in.expires_in_seconds,
        status: SUCCESS,
        id_token: &logged_in.id_token,
    };
    secret_json(&body)
}
