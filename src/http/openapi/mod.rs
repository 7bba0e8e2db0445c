//! The API described as an OpenAPI 3.1 document, in each of the contract's languages.
//!
//! Nothing in it is written twice: paths and methods are the route table's, keys and types those of the handlers' own
//! types, limits the constants they check by, failures the catalogue's. What only a person can say, in both languages,
//! stands in `sdk`, `tenant`, `users` and `well_known`; it knows of handlers nothing but their types.

mod codes;
mod endpoint;
mod failures;
mod field;
mod headers;
mod operation;
mod parts;
pub(super) mod sdk;
pub(super) mod tenant;
mod text;
pub(super) mod users;
pub(super) mod well_known;

use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::server::Server;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use self::endpoint::{Group, Security};
use self::text::text;
use super::route::Route;
use crate::error_code::ErrorCode;
use crate::locale::Locale;

pub use self::codes::when;
pub(super) use self::endpoint::Endpoint;

/// The document. `sandbox` says whether made-up tokens work, so that the reader can be told to try them.
pub(super) fn document(routes: &[Route], locale: Locale, sandbox: bool) -> OpenApi {
    let paths = routes.iter().fold(PathsBuilder::new(), |paths, route| {
        let operation = operation::operation(route.endpoint, route.path, locale);
        paths.path(route.path, PathItem::new(route.method.clone(), operation))
    });
    let info = InfoBuilder::new()
        .title("oneclick-login")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(introduction(locale, sandbox)))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let tags = Group::ALL
        .map(|group| TagBuilder::new().name(group.title(locale)).description(Some(group.about(locale))).build());
    OpenApiBuilder::new()
        .info(info)
        // Relative to where the document was fetched from: whatever host that was.
        .servers(Some([Server::new("/")]))
        .tags(Some(tags))
        .paths(paths)
        .components(Some(components(routes, locale)))
        .build()
}

fn introduction(locale: Locale, sandbox: bool) -> String {
    let (purpose, try_it, failures) = match locale {
        Locale::En => (include_str!("purpose.en.md"), include_str!("try_it.en.md"), include_str!("failures.en.md")),
        Locale::Zh => (include_str!("purpose.zh.md"), include_str!("try_it.zh.md"), include_str!("failures.zh.md")),
    };
    let chapters = if sandbox { vec![purpose, try_it, failures] } else { vec![purpose, failures] };
    chapters.join("\n")
}

fn components(routes: &[Route], locale: Locale) -> Components {
    let mut components = headers::describe(ComponentsBuilder::new(), locale);
    for Route { endpoint, .. } in routes {
        if let Some(body) = &endpoint.body {
            components = components.schema(body.name, body.schema(locale));
        }
        if let Some(shape) = &endpoint.answer.shape {
            components = components.schema((shape.name)(), shape.described_schema(locale));
        }
    }
    // Of no endpoint, and therefore of none below: what the router itself answers.
    for (name, code) in [("NotFound", ErrorCode::NotFound), ("MethodNotAllowed", ErrorCode::MethodNotAllowed)] {
        components = components.response(name, failures::contract(&[code], "", locale));
    }
    [Security::Bearer, Security::Basic]
        .into_iter()
        .fold(components, |components, security| components.security_scheme(security.name(), security.scheme(locale)))
        .build()
}

impl Security {
    fn scheme(self, locale: Locale) -> SecurityScheme {
        let (scheme, about) = match self {
            Self::Bearer => (
                HttpAuthScheme::Bearer,
                text("The `access_token` of the tenant token's answer.", "获取租户令牌接口返回的 `access_token`。"),
            ),
            Self::Basic => (
                HttpAuthScheme::Basic,
                text(
                    "Client id and secret of an application of kind `tenant`, each form-encoded first (RFC 6749, 2.3.1).",
                    "`tenant` 类型应用的 client id 和密钥，须先分别进行表单编码（RFC 6749 第 2.3.1 节）。",
                ),
            ),
        };
        SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(about.get(locale))).build())
    }
}

impl Group {
    const ALL: [Self; 3] = [Self::App, Self::Tenant, Self::Keys];

    const fn title(self, locale: Locale) -> &'static str {
        let title = match self {
            Self::App => text("For your app", "移动应用"),
            Self::Tenant => text("For your own services", "企业服务端"),
            Self::Keys => text("For whoever verifies id_tokens", "验证 id_token"),
        };
        title.get(locale)
    }

    const fn about(self, locale: Locale) -> &'static str {
        let about = match self {
            Self::App => text("Every call carries the same device headers.", "每次调用都携带相同的设备请求头。"),
            Self::Tenant => text("With a Bearer token for half an hour.", "使用有效期半小时的 Bearer 令牌。"),
            Self::Keys => text("Public, and made to be cached.", "公开接口，可以缓存。"),
        };
        about.get(locale)
    }
}
