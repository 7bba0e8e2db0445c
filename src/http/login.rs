//! `POST /api/v2/sdk/login/aliyun-mobile-auth`.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Http;
use super::device::{DeviceHeaders, SdkApp};
use super::error::Failure;
use super::json::{Fields, FromFields, Json, secret_json};
use crate::client_address::ClientAddress;
use crate::ids::RequestId;
use crate::login::{LoggedIn, LoginRequest};
use crate::trace::TraceContext;
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
    Extension(request_id): Extension<RequestId>,
    Extension(trace): Extension<TraceContext>,
    client_address: Option<Extension<ClientAddress>>,
    DeviceHeaders(device): DeviceHeaders,
    SdkApp(app): SdkApp,
    Json(LoginBody { access_token }): Json<LoginBody>,
) -> Result<Response, Failure> {
    let client_address = client_address.map(|Extension(address)| address);
    let login = LoginRequest { app, device, access_token, request_id, trace, client_address };
    let logged_in = http.login.begin(login)?.answer().await?;
    Ok(answer(&logged_in))
}

fn answer(logged_in: &LoggedIn) -> Response {
    let span = tracing::Span::current();
    span.record("user.id", tracing::field::display(logged_in.user_id));
    span.record("user.new", logged_in.new_user);
    let body = LoginAnswer {
        session_token: logged_in.session_token.expose(),
        expire: logged_in.expires_in_seconds,
        status: "SUCCESS",
        id_token: &logged_in.id_token,
    };
    secret_json(&body)
}
