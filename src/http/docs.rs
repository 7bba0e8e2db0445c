//! The API's description, for machines at `/openapi.json` and for people at `/docs`. Everything comes from this program:
//! the page asks no other host for anything.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_swagger_ui::SwaggerFile;

use super::error::Failure;
use super::{openapi, routes};
use crate::error_code::ErrorCode;
use crate::locale::Locale;

pub const PAGE_PATH: &str = "/docs";

const PAGE: &str = include_str!("docs/index.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

/// Of Swagger UI's files, what the page needs.
const SWAGGER_UI: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

/// Nothing from elsewhere, and in nobody's frame. Swagger UI's pictures are `data:` URLs in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the description says of this server beyond the API; each document is made when it is first asked for.
#[derive(Debug)]
pub struct Docs {
    sandbox: bool,
    en: OnceLock<Bytes>,
    zh: OnceLock<Bytes>,
}

impl Docs {
    /// `sandbox`: made-up tokens work here, so the reader is told to try them.
    pub const fn new(sandbox: bool) -> Self {
        Self { sandbox, en: OnceLock::new(), zh: OnceLock::new() }
    }

    fn document(&self, locale: Locale) -> Bytes {
        let kept = match locale {
            Locale::En => &self.en,
            Locale::Zh => &self.zh,
        };
        kept.get_or_init(|| document(locale, self.sandbox)).clone()
    }
}

/// The document as it is served.
///
/// # Panics
/// If a key of an answer or of a request has no words; the tests make both documents.
pub fn document(locale: Locale, sandbox: bool) -> Bytes {
    let document = openapi::document(&routes(), locale, sandbox);
    document.to_json().expect("a document of strings and numbers serializes").into()
}

/// The routes of the description, which it does not describe.
pub fn router<S: Clone + Send + Sync + 'static>(docs: &Arc<Docs>) -> Router<S> {
    let document = |locale| {
        let docs = Arc::clone(docs);
        get(async move || served("application/json", docs.document(locale)))
    };
    Router::new()
        .route("/openapi.json", document(Locale::En))
        .route("/openapi.zh.json", document(Locale::Zh))
        .route(PAGE_PATH, get(page))
        .route("/docs/{file}", get(file))
}

async fn page() -> Response {
    let mut response = served("text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn file(Path(name): Path<String>) -> Result<Response, Failure> {
    match name.as_str() {
        "page.js" => Ok(served("text/javascript; charset=utf-8", SCRIPT)),
        "page.css" => Ok(served("text/css; charset=utf-8", STYLE)),
        name => swagger_ui(name).ok_or(Failure::new(ErrorCode::NotFound)),
    }
}

fn swagger_ui(name: &str) -> Option<Response> {
    let name = SWAGGER_UI.into_iter().find(|known| *known == name)?;
    let file = utoipa_swagger_ui::serve(name, Arc::default()).ok().flatten()?;
    let SwaggerFile { bytes, content_type, gzpipped, .. } = file;
    let bytes = match bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let mut response = served(&content_type, bytes);
    if gzpipped {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}

/// Kept only for as long as it is asked after: it changes with the program.
fn served(content_type: &str, body: impl Into<Bytes>) -> Response {
    let headers: [(HeaderName, &str); 3] =
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, body.into()).into_response()
}
