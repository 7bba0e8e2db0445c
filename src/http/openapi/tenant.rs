//! What an enterprise's own services call: the tenant token, tickets, renewal.

use super::endpoint::{Answer, Body, Caching, Endpoint, Failures, Group, OAuthError, Part, Security, Shape};
use super::field::{Example, Field, Form, NOT_BLANK};
use super::parts::{
    CLIENT_ID_FORM, DEVICE_KEYS, EXAMPLE_AGENT, EXAMPLE_FINGERPRINT, EXAMPLE_IP, EXAMPLE_SYSTEM, JSON, TENANT,
};
use super::sdk::{REFRESHED, SESSION_TOKEN};
use super::text::text;
use super::users::{EMAIL, MOBILE, NAME, USER_ID, USER_NAME};
use crate::apps::DEMO_CLIENT_ID;
use crate::error_code::ErrorCode::{SessionTokenInvalid, TicketInvalid, UserDisabled};
use crate::http::device::{FINGERPRINT, OPERATING_SYS_VERSION};
use crate::http::json::FromFields;
use crate::http::tenant::{SessionBody, TicketAnswer, TicketBody, TicketUserAnswer};
use crate::http::tenant_token::TokenAnswer;
use crate::tenant::{RANDOM_LENGTH, TICKET_PREFIX, TICKET_TTL, TOKEN_TTL};

const TICKET: Field = Field::new(
    "sso_ticket",
    text("The ticket; works once, on the session's own device.", "票据，仅可使用一次，且须在会话所属的设备上使用。"),
    Example::Text("ssoTicket-Mhz6pq5YaS18HUiypiOwM0LW5kVZYN94"),
)
.form(Form::Random { prefix: TICKET_PREFIX, length: RANDOM_LENGTH });

const SYSTEM: Field = Field::new(
    "operating_sys_version",
    text("The device's operating system and its version, at most 128 bytes.", "设备的操作系统及版本，最多 128 字节。"),
    EXAMPLE_SYSTEM,
)
.form(Form::Text { max: OPERATING_SYS_VERSION.max_bytes, pattern: NOT_BLANK });

const DEVICE_FINGERPRINT: Field = Field::new(
    "device_fingerprint",
    text("The fingerprint that the device logged in with, at most 256 bytes.", "设备登录时使用的指纹，最多 256 字节。"),
    EXAMPLE_FINGERPRINT,
)
.form(Form::Text { max: FINGERPRINT.max_bytes, pattern: NOT_BLANK });

const IP: Field =
    Field::new("device_ip", text("Not looked at.", "不作检查。"), EXAMPLE_IP).form(Form::Advisory).optional();

const AGENT: Field =
    Field::new("agent", text("Not looked at.", "不作检查。"), EXAMPLE_AGENT).form(Form::Advisory).optional();

const SESSION_BODY: Body = Body {
    name: "SessionBody",
    media_type: "application/json",
    keys: SessionBody::FIELDS,
    fields: &[
        SESSION_TOKEN.about(text("The session_token that the app passed on.", "应用转交的 session_token。")),
        SYSTEM,
        DEVICE_FINGERPRINT,
        IP,
        AGENT,
        Field::new(
            "client_id",
            text(
                "The application that the session belongs to; where it is left out, that is not checked.",
                "会话所属应用的 client id；省略则不校验。",
            ),
            Example::Text(DEMO_CLIENT_ID),
        )
        .form(CLIENT_ID_FORM)
        .optional(),
    ],
};

pub const TOKEN: Endpoint = Endpoint {
    id: "issueTenantToken",
    group: Group::Tenant,
    title: text("Get a tenant token", "获取租户令牌"),
    about: text(
        "OAuth 2's client credentials grant (RFC 6749, 4.4), with errors in OAuth 2's form. The client is an \
         application of kind `tenant`; registering it prints its secret: `oneclick-login app register --client-id \
         my-service --name \"My service\" --kind tenant`.",
        "OAuth 2 客户端凭证模式（RFC 6749 第 4.4 节），错误也采用 OAuth 2 的格式。客户端须是 `tenant` 类型的应用，注册时会打印其密钥：\
         `oneclick-login app register --client-id my-service --name \"My service\" --kind tenant`。",
    ),
    parts: &[&BASIC],
    body: Some(Body {
        name: "TokenBody",
        media_type: "application/x-www-form-urlencoded",
        keys: &["grant_type"],
        fields: &[Field::new(
            "grant_type",
            text("The one grant there is.", "唯一支持的授权方式。"),
            Example::Text(GRANT),
        )
        .form(Form::OneOf(&[GRANT]))],
    }),
    answer: Answer {
        about: text("A Bearer token for the calls below.", "用于以下各接口的 Bearer 令牌。"),
        shape: Some(Shape::of::<TokenAnswer<'_>>(&[
            Field::new(
                "access_token",
                text(
                    "Opaque. Dies with its application and with a new secret.",
                    "不透明令牌；应用被停用或更换密钥后立即失效。",
                ),
                Example::Text("7jT4HQ2mN9JjHmSvp4dKq6lbAjz7zOtj"),
            )
            .form(Form::Random { prefix: "", length: RANDOM_LENGTH }),
            Field::new("token_type", text("Always `Bearer`.", "固定为 `Bearer`。"), Example::Text("Bearer"))
                .form(Form::OneOf(&["Bearer"])),
            Field::new(
                "expires_in",
                text("Seconds the token lives.", "令牌有效时间，单位为秒。"),
                Example::Number(TOKEN_TTL.as_secs()),
            ),
        ])),
        caching: Caching::Never,
    },
    failures: Failures::OAuth(&[
        OAuthError {
            status: 400,
            error: "invalid_request",
            when: text(
                "the content type is not that of a form, or `grant_type` is missing or repeated",
                "Content-Type 不是表单，或 `grant_type` 缺失或重复",
            ),
        },
        OAuthError {
            status: 400, error: "unsupported_grant_type", when: text("another grant", "不支持的授权方式")
        },
        OAuthError {
            status: 401,
            error: "invalid_client",
            when: text(
                "unknown client, wrong secret, not a tenant, or disabled",
                "客户端不存在、密钥错误、不是租户应用或已停用",
            ),
        },
        OAuthError {
            status: 408,
            error: "invalid_request",
            when: text("the body did not arrive in time", "请求体未及时到达"),
        },
        OAuthError { status: 413, error: "invalid_request", when: text("more than 16 KiB", "超过 16 KiB") },
        OAuthError {
            status: 429,
            error: "slow_down",
            when: text(
                "too many wrong secrets from this address; with `Retry-After`",
                "该地址错误密钥过多；附带 `Retry-After`",
            ),
        },
        OAuthError { status: 500, error: "temporarily_unavailable", when: text("try again later", "请稍后再试") },
    ]),
};

const GRANT: &str = "client_credentials";
const BASIC: Part = Part::new(&[]).security(Security::Basic);

pub const ISSUE_TICKET: Endpoint = Endpoint {
    id: "issueTicket",
    group: Group::Tenant,
    title: text("Exchange a session_token for a ticket", "用 session_token 换取票据"),
    about: text(
        "The ticket lets another of your services learn who the user is, without the session_token leaving this one.",
        "凭票据，您的另一个服务可以得知用户身份，而无需转交 session_token。",
    ),
    parts: &[&TENANT, &JSON, &DEVICE_KEYS],
    body: Some(SESSION_BODY),
    answer: Answer {
        about: text("A ticket.", "票据。"),
        shape: Some(Shape::of::<TicketAnswer<'_>>(&[
            Field::new(
                "expire",
                text("Seconds the ticket lives.", "票据有效时间，单位为秒。"),
                Example::Number(TICKET_TTL.as_secs()),
            ),
            TICKET,
        ])),
        caching: Caching::Never,
    },
    failures: Failures::Contract(&[SessionTokenInvalid, UserDisabled]),
};

pub const REDEEM_TICKET: Endpoint = Endpoint {
    id: "redeemTicket",
    group: Group::Tenant,
    title: text("Exchange a ticket for its user", "用票据换取用户信息"),
    about: text(
        "A ticket works once, and only while its session and its user are live. Any tenant may redeem it, unless it was \
         asked for with a `client_id`: then only the tenant that asked.",
        "票据仅可使用一次，且其会话和用户须仍然有效。任何租户都可以兑换；若申请票据时带有 `client_id`，则只有申请的租户可以兑换。",
    ),
    parts: &[&TENANT, &JSON, &DEVICE_KEYS],
    body: Some(Body {
        name: "TicketBody",
        media_type: "application/json",
        keys: TicketBody::FIELDS,
        fields: &[TICKET, SYSTEM, DEVICE_FINGERPRINT, IP, AGENT],
    }),
    answer: Answer {
        about: text("The user.", "用户信息。"),
        shape: Some(Shape::of::<TicketUserAnswer<'_>>(&[
            USER_ID.renamed("id"),
            USER_NAME.renamed("userName"),
            NAME,
            MOBILE,
            EMAIL,
        ])),
        caching: Caching::Never,
    },
    failures: Failures::Contract(&[TicketInvalid]),
};

pub const REFRESH: Endpoint = Endpoint {
    id: "renewSession",
    group: Group::Tenant,
    title: text("Renew a session on a device's behalf", "代设备刷新会话"),
    about: text("The same as the app's own call for a new id_token.", "与应用自行获取新的 id_token 相同。"),
    parts: &[&TENANT, &JSON, &DEVICE_KEYS],
    body: Some(SESSION_BODY),
    answer: Answer {
        about: text("A new id_token.", "新的 id_token。"),
        shape: Some(REFRESHED),
        caching: Caching::Never,
    },
    failures: Failures::Contract(&[SessionTokenInvalid, UserDisabled]),
};
