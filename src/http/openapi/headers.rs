//! The headers of answers, each described once and referred to by name.

use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ComponentsBuilder, Header, Ref};

use super::text::{Text, text};
use crate::ids::RequestId;
use crate::locale::Locale;
use crate::verifier::TokenState;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerHeader {
    RequestId,
    NoStore,
    Caching,
    Etag,
    AnyOrigin,
    TokenState,
    RetryAfter,
    WwwAuthenticate,
    Allow,
    ServerTiming,
}

impl AnswerHeader {
    const ALL: [Self; 10] = [
        Self::RequestId,
        Self::NoStore,
        Self::Caching,
        Self::Etag,
        Self::AnyOrigin,
        Self::TokenState,
        Self::RetryAfter,
        Self::WwwAuthenticate,
        Self::Allow,
        Self::ServerTiming,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestId => "X-Request-Id",
            Self::NoStore | Self::Caching => "Cache-Control",
            Self::Etag => "ETag",
            Self::AnyOrigin => "Access-Control-Allow-Origin",
            Self::TokenState => "X-Access-Token-State",
            Self::RetryAfter => "Retry-After",
            Self::WwwAuthenticate => "WWW-Authenticate",
            Self::Allow => "Allow",
            Self::ServerTiming => "Server-Timing",
        }
    }

    pub fn reference(self) -> Ref {
        Ref::new(format!("#/components/headers/{}", self.component()))
    }

    const fn component(self) -> &'static str {
        match self {
            Self::NoStore => "No-Store",
            other => other.name(),
        }
    }

    const fn about(self) -> Text {
        match self {
            Self::RequestId => text(
                "Names the request for support: it is in the server's log too. That of the request, where it has the form; otherwise made.",
                "请求编号，供排查问题使用，服务器日志中也有。请求自带且格式正确时沿用，否则由服务器生成。",
            ),
            Self::NoStore => text("Keeps caches away from tokens and errors.", "禁止缓存令牌和错误信息。"),
            Self::Caching => text("For how long the answer may be kept.", "响应可以缓存多久。"),
            Self::Etag => text(
                "Names this state of the set; for `If-None-Match`.",
                "公钥集当前版本的标识，用于 `If-None-Match`。",
            ),
            Self::AnyOrigin => text("A page of any origin may read it.", "任何来源的网页均可读取。"),
            Self::TokenState => text(
                "What became of the access_token. `unspent`: send the same again. `spent`: obtain a new one. `unknown`: send the same once more, then obtain a new one.",
                "access_token 的状态。`unspent`：可用同一个重试；`spent`：须重新获取；`unknown`：用同一个再试一次，仍失败则重新获取。",
            ),
            Self::RetryAfter => text(
                "Seconds to wait before sending again; there where waiting helps.",
                "重试前应等待的秒数；仅在等待有用时出现。",
            ),
            Self::WwwAuthenticate => text("The scheme that is asked for.", "所需的认证方式。"),
            Self::Allow => text("The methods that the path takes.", "该路径支持的方法。"),
            Self::ServerTiming => text(
                "In development: how long the login's stages took, in milliseconds.",
                "仅在开发环境：登录各阶段的耗时，单位为毫秒。",
            ),
        }
    }

    /// Whether every answer that may carry it does.
    const fn is_certain(self) -> bool {
        !matches!(self, Self::RetryAfter | Self::ServerTiming)
    }

    fn header(self, locale: Locale) -> Header {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let schema = match self {
            Self::RequestId => {
                text.min_length(Some(1)).max_length(Some(RequestId::MAX_LENGTH)).pattern(Some("^[A-Za-z0-9._-]+$"))
            }
            Self::NoStore => text.enum_values(Some(["no-store"])),
            Self::AnyOrigin => text.enum_values(Some(["*"])),
            Self::Etag | Self::Allow | Self::Caching | Self::ServerTiming => text,
            Self::TokenState => text.enum_values(Some(
                [TokenState::Unspent, TokenState::Spent, TokenState::Unknown].map(TokenState::as_str),
            )),
            Self::RetryAfter => text.schema_type(SchemaType::Type(Type::Integer)).minimum(Some(1)),
            Self::WwwAuthenticate => text.enum_values(Some(["Bearer", "Basic realm=\"tenant\""])),
        };
        HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(self.about().get(locale)))
            // utoipa's type lacks the field; what it calls extensions is written as it is given.
            .extensions(self.is_certain().then(|| Extensions::from_iter([("required", json!(true))])))
            .build()
    }
}

/// All of them, for [`AnswerHeader::reference`] to point to.
pub fn describe(components: ComponentsBuilder, locale: Locale) -> ComponentsBuilder {
    AnswerHeader::ALL
        .into_iter()
        .fold(components, |components, header| components.header(header.component(), header.header(locale)))
}
