//! Every failure's way out: what happened becomes a row of the catalogue, and one layer gives all of them their form.
//!
//! Handlers return a [`Failure`]; so does everything that fails before or around them. [`render`] writes the body, in
//! the caller's language, whoever made the answer. The cause goes to the log, never into the answer.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use time::OffsetDateTime;

use super::request_id::HeaderId;
use super::{Http, LOGIN_PATH, TENANT_TOKEN_PATH, audit};
use crate::error_code::ErrorCode;
use crate::locale::Locale;
use crate::login::LoginError;
use crate::over_limit::{Limit, OverLimit};
use crate::session::SessionError;
use crate::tenant::TenantError;
use crate::trace::Trace;
use crate::verifier::{TokenState, VerifierError};

pub const ACCESS_TOKEN_STATE: HeaderName = HeaderName::from_static("x-access-token-state");
const LANGUAGE: HeaderName = HeaderName::from_static("x-l");

/// The longest that a client is asked to wait before it tries again where waiting helps. One is asked for 1 s, the next
/// for 2 s, and so on: those that an outage turned away do not all come back in the same second.
const LONGEST_RETRY_AFTER_SECONDS: u32 = 3;

/// One failed request: a row of the catalogue and what belongs to this occurrence of it.
#[derive(Debug, Clone)]
pub struct Failure {
    pub code: ErrorCode,
    /// Fills `{0}` of the texts that name a part of the request.
    pub parameter: Option<&'static str>,
    /// Said on the login's path; `None` there means that the verifier was not reached.
    pub token_state: Option<TokenState>,
    pub retry_after_seconds: Option<u32>,
    /// What was reached, where that is the failure.
    pub limit: Option<Limit>,
    /// The request was not read to its end, so nothing more can be read from the connection.
    pub closes_connection: bool,
    /// The word of RFC 6749, 5.2, where the tenant token's path answers in that form.
    pub oauth_error: Option<&'static str>,
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    pub const fn new(code: ErrorCode) -> Self {
        Self {
            code,
            parameter: None,
            token_state: None,
            retry_after_seconds: None,
            limit: None,
            closes_connection: false,
            oauth_error: None,
            cause: None,
        }
    }

    /// `parameter` is missing, null or blank.
    pub const fn blank(parameter: &'static str) -> Self {
        Self::about(ErrorCode::ParameterBlank, parameter)
    }

    /// `parameter` has a form that is not allowed.
    pub const fn format(parameter: &'static str) -> Self {
        Self::about(ErrorCode::ParameterFormat, parameter)
    }

    /// `parameter` has the wrong JSON type.
    pub const fn wrong_type(parameter: &'static str) -> Self {
        Self::about(ErrorCode::ParameterType, parameter)
    }

    pub const fn closing(mut self) -> Self {
        self.closes_connection = true;
        self
    }

    /// A request that RFC 6749 calls `error`.
    pub const fn oauth(error: &'static str) -> Self {
        let mut failure = Self::new(ErrorCode::ParameterFormat);
        failure.oauth_error = Some(error);
        failure
    }

    fn caused(code: ErrorCode, waiting_helps: bool, cause: Arc<dyn Error + Send + Sync>) -> Self {
        let failure = Self { cause: Some(cause), ..Self::new(code) };
        if waiting_helps { failure.waiting_helps() } else { failure }
    }

    /// The same request may succeed in a moment.
    pub fn waiting_helps(mut self) -> Self {
        self.retry_after_seconds = Some(retry_after_seconds());
        self
    }

    const fn about(code: ErrorCode, parameter: &'static str) -> Self {
        let mut failure = Self::new(code);
        failure.parameter = Some(parameter);
        failure
    }

    /// For answers that were made without a [`Failure`]: axum's own, or a bug of ours.
    fn from_status(status: StatusCode) -> Self {
        Self::new(match status {
            StatusCode::NOT_FOUND => ErrorCode::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => ErrorCode::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => ErrorCode::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::BodyTooLarge,
            _ => ErrorCode::SystemBusy,
        })
    }

    /// `None` of an answer that is no failure.
    pub fn code_of(response: &Response) -> Option<ErrorCode> {
        let status = response.status();
        let failed = status.is_client_error() || status.is_server_error();
        let code = || response.extensions().get::<Self>().map_or_else(|| Self::from_status(status).code, |it| it.code);
        failed.then(code)
    }

    /// The body that the contract gives it.
    pub(super) fn contract_body(&self, locale: Locale) -> Bytes {
        json(&Body::Contract { error_code: self.code.number(), error_msg: &self.text(locale) })
    }

    fn text(&self, locale: Locale) -> String {
        self.code.text(locale).replace("{0}", self.parameter.unwrap_or_default())
    }
}

pub(super) fn retry_after_seconds() -> u32 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    ASKED.fetch_add(1, Ordering::Relaxed) % LONGEST_RETRY_AFTER_SECONDS + 1
}

/// The status and the failure itself, for [`render`] to write.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What happened → what is said. No wildcard: a new kind of error must be given its row here.
impl From<Arc<LoginError>> for Failure {
    fn from(error: Arc<LoginError>) -> Self {
        let (code, waiting_helps) = match &*error {
            LoginError::OverLimit(_) => (ErrorCode::TooManyRequests, true),
            LoginError::Refused(_) | LoginError::ClockOff | LoginError::TooLate => (ErrorCode::SystemBusy, true),
            LoginError::Verifier(verifier) => match verifier {
                VerifierError::TokenRejected { .. } | VerifierError::Ambiguous { .. } => {
                    (ErrorCode::AccessTokenRejected, false)
                }
                VerifierError::UnsupportedNumber => (ErrorCode::NumberUnsupported, false),
                VerifierError::OverBudget(_) => (ErrorCode::TooManyRequests, true),
                VerifierError::Misconfigured { .. } | VerifierError::NotANumber => (ErrorCode::SystemBusy, false),
                VerifierError::Busy { .. }
                | VerifierError::Throttled { .. }
                | VerifierError::Unreachable(_)
                | VerifierError::NoAnswer { .. }
                | VerifierError::BudgetUnknown(_) => (ErrorCode::SystemBusy, true),
            },
            LoginError::UserNotFound => (ErrorCode::UserNotFound, false),
            LoginError::UserDisabled => (ErrorCode::UserDisabled, false),
            LoginError::TokenReplayed => (ErrorCode::AccessTokenRejected, false),
            LoginError::Commit(_) | LoginError::TimedOut | LoginError::Repeat(_) => (ErrorCode::SystemBusy, true),
            LoginError::Signing(_) | LoginError::Task(_) => (ErrorCode::SystemBusy, false),
        };
        let over = error.over_limit().copied();
        let mut failure = Self { token_state: Some(error.token_state()), ..Self::caused(code, waiting_helps, error) };
        if let Some(over) = over {
            failure.limit = Some(over.limit);
            failure.retry_after_seconds = Some(over.retry_after_seconds());
        }
        failure
    }
}

impl From<OverLimit> for Failure {
    fn from(over: OverLimit) -> Self {
        Self {
            limit: Some(over.limit),
            retry_after_seconds: Some(over.retry_after_seconds()),
            cause: Some(Arc::new(over)),
            ..Self::new(ErrorCode::TooManyRequests)
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let (code, waiting_helps) = session_row(&error);
        Self::caused(code, waiting_helps, Arc::new(error))
    }
}

impl From<TenantError> for Failure {
    fn from(error: TenantError) -> Self {
        let (code, waiting_helps) = match &error {
            TenantError::InvalidClient | TenantError::InvalidToken => (ErrorCode::TenantTokenInvalid, false),
            TenantError::InvalidTicket(_) => (ErrorCode::TicketInvalid, false),
            TenantError::UserNotFound => (ErrorCode::TenantUserNotFound, false),
            TenantError::Session(error) => session_row(error),
            TenantError::Store(_) => (ErrorCode::SystemBusy, true),
        };
        let oauth_error = matches!(error, TenantError::InvalidClient).then_some("invalid_client");
        Self { oauth_error, ..Self::caused(code, waiting_helps, Arc::new(error)) }
    }
}

const fn session_row(error: &SessionError) -> (ErrorCode, bool) {
    match error {
        SessionError::Invalid(_) => (ErrorCode::SessionTokenInvalid, false),
        SessionError::UserDisabled => (ErrorCode::UserDisabled, false),
        SessionError::Store(_) | SessionError::ClockOff => (ErrorCode::SystemBusy, true),
        SessionError::Sealed(_) | SessionError::Signing(_) => (ErrorCode::SystemBusy, false),
    }
}

/// Answers a panic: nothing is known of the token, and the panic hook has logged the rest.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    Failure { token_state: Some(TokenState::Unknown), ..Failure::new(ErrorCode::SystemBusy) }.into_response()
}

/// Which of the paths a failure belongs to, where that changes its form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Login,
    TenantToken,
    Other,
}

impl Form {
    fn of(path: &str) -> Self {
        match path {
            LOGIN_PATH => Self::Login,
            TENANT_TOKEN_PATH => Self::TenantToken,
            _ => Self::Other,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Contract { error_code: &'a str, error_msg: &'a str },
    OAuth { error: &'a str, error_description: &'a str },
}

impl Body<'_> {
    const fn oauth(error: &'static str) -> Self {
        Body::OAuth { error, error_description: oauth_description(error) }
    }
}

/// RFC 6749, 5.2: for the developer of the client, in English.
pub(super) const fn oauth_description(error: &str) -> &'static str {
    match error.as_bytes() {
        b"invalid_client" => {
            "only HTTP Basic is taken, with the client id and the secret of an enabled application of kind tenant"
        }
        b"unsupported_grant_type" => "the only grant_type is client_credentials",
        b"slow_down" => "too many wrong secrets, or too many requests; wait as Retry-After says",
        b"temporarily_unavailable" => "try again in a moment",
        _ => "the body must be a form of at most 16 KiB that has grant_type=client_credentials once",
    }
}

/// The layer that gives every failure of every path the contract's form.
pub async fn render(State(http): State<Http>, request: Request, next: Next) -> Response {
    let locale = language(request.headers()).unwrap_or(http.default_locale);
    let form = Form::of(request.uri().path());
    let mut response = next.run(request).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        let failure = response.extensions().get::<Failure>().cloned();
        let failure = failure.unwrap_or_else(|| Failure::from_status(response.status()));
        write(&mut response, &failure, locale, form);
        response.extensions_mut().insert(failure);
    }
    response
}

fn write(response: &mut Response, failure: &Failure, locale: Locale, form: Form) {
    let body = match form {
        Form::Login | Form::Other => failure.contract_body(locale),
        Form::TenantToken if failure.code.status() >= 500 => json(&Body::oauth("temporarily_unavailable")),
        // RFC 6749 has no word for it; RFC 8628 has this one.
        Form::TenantToken if failure.limit.is_some() => json(&Body::oauth("slow_down")),
        Form::TenantToken => json(&Body::oauth(failure.oauth_error.unwrap_or("invalid_request"))),
    };
    *response.status_mut() = StatusCode::from_u16(failure.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.body_mut() = body.into();

    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = failure.retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if failure.closes_connection {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if failure.code == ErrorCode::TenantTokenInvalid {
        let scheme = if form == Form::TenantToken { "Basic realm=\"tenant\"" } else { "Bearer" };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    if form == Form::Login {
        let state = failure.token_state.unwrap_or(TokenState::Unspent);
        headers.insert(ACCESS_TOKEN_STATE, HeaderValue::from_static(state.as_str()));
    }
}

fn json(body: &Body<'_>) -> Bytes {
    serde_json::to_vec(body).expect("strings always serialize").into()
}

/// `X-L`, where it is there once and names a language we speak.
pub(super) fn language(headers: &HeaderMap) -> Option<Locale> {
    let mut values = headers.get_all(LANGUAGE).iter();
    let (first, None) = (values.next()?, values.next()) else { return None };
    Locale::from_tag(first.to_str().ok()?)
}

/// Answers what was not read as a request, or not all of it.
pub(super) fn refuse_unread(parts: &Parts, failure: &Failure, default_locale: Locale, now: OffsetDateTime) -> Response {
    let mut response = Response::default();
    let locale = language(&parts.headers).unwrap_or(default_locale);
    write(&mut response, failure, locale, Form::of(parts.uri.path()));
    HeaderId::of(&parts.headers, now).write(response.headers_mut());
    response
}

/// Answers a request that never reaches the router and its layers: what is said by `header` is missing or ambiguous.
pub(super) fn refuse_malformed(
    parts: &Parts,
    header: &'static str,
    default_locale: Locale,
    now: OffsetDateTime,
) -> Response {
    let failure = Failure::format(header).closing();
    let mut response = StatusCode::BAD_REQUEST.into_response();
    let locale = language(&parts.headers).unwrap_or(default_locale);
    write(&mut response, &failure, locale, Form::of(parts.uri.path()));
    // Whoever sends such a request is no gateway, whose ids are kept.
    let id = HeaderId::made(now);
    let trace_id = Trace::begin(None, None).id();
    audit::record_unrouted(parts, &id.0, trace_id, failure.code);
    tracing::info!(request.id = %id.0, trace.id = %trace_id, error.code = failure.code.number(), header, "malformed request");
    id.write(response.headers_mut());
    response
}
