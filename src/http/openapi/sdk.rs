//! What a mobile app calls: the login, a new id_token, the log-out.

use super::endpoint::{Answer, Body, Caching, Endpoint, Failures, Group, Shape};
use super::field::{Example, Field, Form};
use super::parts::{DEVICE, EXAMPLE_SESSION_TOKEN, JSON, SDK_APP, SESSION, SESSION_TOKEN_FORM};
use super::text::text;
use crate::error_code::ErrorCode::{
    AccessTokenRejected, NumberUnsupported, TooManyRequests, UserDisabled, UserNotFound,
};
use crate::http::json::FromFields;
use crate::http::login::{LoginAnswer, LoginBody};
use crate::http::session::RefreshAnswer;
use crate::verifier::AccessToken;
use crate::verifier::sandbox::REPEATABLE_TOKEN;

/// Cut short after the header; a real one is some 800 characters long.
const EXAMPLE_ID_TOKEN: Example = Example::Text("eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9…");

pub const SESSION_TOKEN: Field = Field::new(
    "session_token",
    text(
        "Names the session wherever it is used; a secret, to be kept on the device.",
        "会话凭证，使用会话时出示；须保密，并保存在设备上。",
    ),
    EXAMPLE_SESSION_TOKEN,
)
.form(SESSION_TOKEN_FORM);

const EXPIRE: Field = Field::new(
    "expire",
    text("Seconds the session still lives.", "会话的剩余有效时间，单位为秒。"),
    Example::Number(432_000),
);

const ID_TOKEN: Field = Field::new(
    "id_token",
    text(
        "A signed JWT that says who the user is; good for 300 s unless set otherwise. Verify it with the public keys.",
        "经签名的 JWT，说明用户身份；默认 300 秒内有效，用公钥验证。",
    ),
    EXAMPLE_ID_TOKEN,
);

pub const REFRESHED: Shape = Shape::of::<RefreshAnswer<'_>>(&[SESSION_TOKEN, EXPIRE, ID_TOKEN]);

pub const LOG_IN: Endpoint = Endpoint {
    id: "logIn",
    group: Group::App,
    title: text("Log in with the phone's own number", "本机号码一键登录"),
    about: text(
        "Exchanges the single-use `access_token` of Alibaba Cloud's number-verification SDK for a session and a signed \
         id_token. An unknown number becomes a new user, unless that is switched off.\n\n\
         After a failure the header `X-Access-Token-State` says what the app does next: `unspent`, send the same token \
         again (after `Retry-After`, if it is there); `spent`, obtain a new token; `unknown`, send the same token once \
         more within a minute, then obtain a new one.\n\n\
         If the answer was lost on its way, send the same request again within a minute: the same session_token comes \
         back.",
        "用阿里云号码认证 SDK 返回的一次性 `access_token` 换取会话和经签名的 id_token。未知号码会自动注册为新用户（可关闭）。\n\n\
         失败时，响应头 `X-Access-Token-State` 说明应用下一步该怎么做：`unspent`，用同一个 token 重试（若有 `Retry-After` 则先等待）；\
         `spent`，重新获取 token；`unknown`，一分钟内用同一个 token 再试一次，仍失败则重新获取。\n\n\
         如果响应在途中丢失，请在一分钟内原样重发请求，会得到同一个 session_token。",
    ),
    parts: &[&DEVICE, &SDK_APP, &JSON],
    body: Some(Body {
        name: "LoginBody",
        media_type: "application/json",
        keys: LoginBody::FIELDS,
        fields: &[Field::new(
            "access_token",
            text(
                "The SDK's token: 1 to 4096 visible ASCII characters. Works once.",
                "SDK 返回的 token：1 至 4096 个可见 ASCII 字符，仅可使用一次。",
            ),
            Example::Text(REPEATABLE_TOKEN),
        )
        .form(Form::Text { max: AccessToken::MAX_BYTES, pattern: "^[!-~]+$" })],
    }),
    answer: Answer {
        about: text("The user is logged in.", "登录成功。"),
        shape: Some(Shape::of::<LoginAnswer<'_>>(&[
            SESSION_TOKEN,
            EXPIRE,
            Field::new("status", text("Always `SUCCESS`.", "固定为 `SUCCESS`。"), Example::Text("SUCCESS"))
                .form(Form::OneOf(&["SUCCESS"])),
            ID_TOKEN,
        ])),
        caching: Caching::Never,
    },
    failures: Failures::Contract(&[
        AccessTokenRejected,
        NumberUnsupported,
        UserNotFound,
        UserDisabled,
        TooManyRequests,
    ]),
};

pub const REFRESH: Endpoint = Endpoint {
    id: "refreshIdToken",
    group: Group::App,
    title: text("Get a new id_token", "获取新的 id_token"),
    about: text(
        "A new id_token for a live session. The session's lifetime stays as it is. Where the server rotates \
         session_tokens, a new one is in the answer: keep that.",
        "为有效会话签发新的 id_token，不延长会话的有效期。若服务器启用了 session_token 轮换，响应中会是新的 session_token，请保存。",
    ),
    parts: &[&DEVICE, &SDK_APP, &SESSION],
    body: None,
    answer: Answer {
        about: text("A new id_token.", "新的 id_token。"),
        shape: Some(REFRESHED),
        caching: Caching::Never,
    },
    failures: Failures::Contract(&[UserDisabled, TooManyRequests]),
};

const LOG_OUT: Endpoint = Endpoint {
    id: "logOut",
    group: Group::App,
    title: text("Log out", "退出登录"),
    about: text(
        "Ends the session at once, everywhere. 200 also if it has been ended before.",
        "立即在所有节点结束会话。会话此前已被结束时也返回 200。",
    ),
    parts: &[&DEVICE, &SDK_APP, &SESSION],
    body: None,
    answer: Answer {
        about: text("The session has ended; the body is empty.", "会话已结束，响应体为空。"),
        shape: None,
        caching: Caching::Never,
    },
    failures: Failures::Contract(&[TooManyRequests]),
};

pub const LOG_OUT_BY_GET: Endpoint = Endpoint { id: "logOutByGet", ..LOG_OUT };
pub const LOG_OUT_BY_POST: Endpoint = LOG_OUT;
