//! HTTP to Alibaba Cloud, without the habits of an HTTP client that could send a secret twice or to somebody else.
//!
//! It must not know what is asked, of whom, or what an answer means.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Proxy, Response, Url};

use super::ConfigError;

/// A real answer is below 1 KiB; one of the STS, with its tokens, below 4.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A client without retries, redirects, cookies, decompression (no feature for either) and any proxy but this one, over
/// HTTP/1.1 only.
pub fn client(connect_timeout: Duration, proxy: Option<&str>) -> Result<ClientBuilder, ConfigError> {
    let builder = Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .tls_backend_rustls()
        .http1_only()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(connect_timeout)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .no_proxy();
    Ok(match proxy {
        None => builder,
        Some(proxy) => {
            let url = parse_http_url(proxy).ok_or(ConfigError::Proxy)?;
            builder.proxy(Proxy::all(url).map_err(|_| ConfigError::Proxy)?)
        }
    })
}

pub fn build(builder: ClientBuilder) -> Result<Client, ConfigError> {
    builder.build().map_err(|error| ConfigError::Client(error.without_url()))
}

/// The part of an endpoint that calls are made of.
#[derive(Debug)]
pub struct Origin {
    scheme: String,
    /// With the port where it is not the scheme's own: the `host` header, sent and signed.
    pub host: String,
}

impl Origin {
    pub fn parse(endpoint: &str) -> Option<Self> {
        let url = parse_http_url(endpoint)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !(bare && anonymous) {
            return None;
        }
        let host = url.host_str()?;
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Some(Self { scheme: url.scheme().to_owned(), host })
    }

    /// `path` with its slash and, percent-encoded as it is to be sent, its query.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host)
    }
}

fn parse_http_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Why there is no whole body.
#[derive(Debug)]
pub enum BodyError {
    /// More than [`MAX_ANSWER_BYTES`]; the rest is not read.
    TooLong,
    /// Without the URL, which may carry a token.
    BrokeOff(reqwest::Error),
}

pub async fn read_body(mut response: Response) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| BodyError::BrokeOff(error.without_url()))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
