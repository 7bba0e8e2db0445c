//! The public keys, for whoever verifies id_tokens.

use std::borrow::Cow;

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::endpoint::{Answer, Caching, Endpoint, Failures, Group, Part, Shape};
use super::field::{Example, Field};
use super::text::text;
use crate::http::well_known::{CLAIMS, DiscoveryDocument};

const CONDITIONAL: Part = Part::new(&[]).headers(&[Field::new(
    "If-None-Match",
    text("The `ETag` of the set that you have.", "已有公钥集的 `ETag`。"),
    Example::Text("\"Jr0l0RzfXMDr3FnlRjFrCJTi\""),
)
.optional()]);

const JWKS: Endpoint = Endpoint {
    id: "getKeys",
    group: Group::Keys,
    title: text("The public keys", "公钥集"),
    about: text(
        "A JWK Set (RFC 7517). Pick the key by the token's `kid`, fix the algorithm, and require `iss`, `aud` and `exp`. \
         Keep it for five minutes, and fetch it again when an unknown `kid` turns up.",
        "JWK Set（RFC 7517）。按 token 的 `kid` 选择密钥，固定算法，并校验 `iss`、`aud` 和 `exp`。可缓存五分钟；遇到未知的 `kid` 时重新获取。",
    ),
    parts: &[&CONDITIONAL],
    body: None,
    answer: Answer {
        about: text("The keys.", "公钥集。"),
        shape: Some(Shape { name: || Cow::Borrowed("JwkSet"), schema: jwk_set, fields: &[KEYS] }),
        caching: Caching::Public { etag: true },
    },
    failures: Failures::Contract(&[]),
};

pub const KEYS_OF_THE_VENDOR: Endpoint = JWKS;
pub const KEYS_WELL_KNOWN: Endpoint = Endpoint { id: "getWellKnownKeys", ..JWKS };

const KEYS: Field = Field::new(
    "keys",
    text("One key for each `kid` whose tokens may still be live.", "token 可能仍有效的每个 `kid` 对应一个密钥。"),
    Example::Keys,
);

/// The keys module makes these as JSON; this says of them what every algorithm has in common.
fn jwk_set() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    let common = ["kty", "kid", "alg", "use"];
    let key = common.iter().fold(ObjectBuilder::new(), |key, name| key.property(*name, text()).required(*name));
    let keys = ArrayBuilder::new().items(key);
    ObjectBuilder::new().property("keys", keys).required("keys").into()
}

pub const DISCOVERY: Endpoint = Endpoint {
    id: "getDiscoveryDocument",
    group: Group::Keys,
    title: text("The discovery document", "发现文档"),
    about: text(
        "OpenID Connect Discovery, as far as it concerns a service that hands out id_tokens and nothing else.",
        "OpenID Connect Discovery，仅包含签发 id_token 所涉及的部分。",
    ),
    parts: &[],
    body: None,
    answer: Answer {
        about: text("Where the keys are, and what is in an id_token.", "公钥的位置以及 id_token 的内容。"),
        shape: Some(Shape::of::<DiscoveryDocument<'_>>(&[
            Field::new(
                "issuer",
                text("The `iss` of every id_token.", "所有 id_token 的 `iss`。"),
                Example::Text("https://login.example.com/api/v1/oauth2"),
            ),
            Field::new(
                "jwks_uri",
                text("Where the public keys are.", "公钥集的地址。"),
                Example::Text("https://login.example.com/api/v1/oauth2/keys"),
            ),
            Field::new(
                "response_types_supported",
                text("Always `id_token`.", "固定为 `id_token`。"),
                Example::Texts(&["id_token"]),
            ),
            Field::new(
                "subject_types_supported",
                text("`sub` is the same for every application.", "`sub` 对所有应用都相同。"),
                Example::Texts(&["public"]),
            ),
            Field::new(
                "id_token_signing_alg_values_supported",
                text("The algorithms of the published keys.", "已发布密钥的算法。"),
                Example::Texts(&["ES256"]),
            ),
            Field::new("claims_supported", text("What an id_token says.", "id_token 的内容。"), Example::Texts(CLAIMS)),
        ])),
        caching: Caching::Public { etag: false },
    },
    failures: Failures::Contract(&[]),
};
