//! What the handlers' extractors take from a request: the description's counterpart of each.

use super::endpoint::{Part, Security};
use super::field::{Example, Field, Form, NOT_BLANK};
use super::text::text;
use crate::apps::DEMO_CLIENT_ID;
use crate::error_code::ErrorCode::{
    AppNotRegistered, BodyTooLarge, ClientIdBlank, DeviceIncomplete, ParameterBlank, ParameterFormat, ParameterType,
    RequestTimeout, SessionTokenInvalid, SystemBusy, TenantTokenInvalid, TenantUserNotFound,
};
use crate::http::device::{AGENT, CLIENT_ID, DEVICE_IP, FINGERPRINT, OPERATING_SYS_VERSION};
use crate::http::session::SESSION_TOKEN;
use crate::ids::ClientId;
use crate::session_token;

pub const CLIENT_ID_FORM: Form = Form::Text { max: ClientId::MAX_LENGTH, pattern: "^[A-Za-z0-9_-]+$" };
pub const SESSION_TOKEN_FORM: Form = Form::Random { prefix: "", length: session_token::LENGTH };
pub const EXAMPLE_SESSION_TOKEN: Example = Example::Text("btsiBjx85prcZu6I6Ki057Tmw3nSF2VO");
pub const EXAMPLE_FINGERPRINT: Example = Example::Text("156aysdna213sc50");
pub const EXAMPLE_SYSTEM: Example = Example::Text("windows10.1.1");
pub const EXAMPLE_IP: Example = Example::Text("192.168.1.2");
pub const EXAMPLE_AGENT: Example = Example::Text("Mozilla/5.0 (iPhone; CPU iPhone OS 13_3 like Mac OS X)");

/// Of every request, whatever handles it.
pub const EVERY: Part = Part::new(&[SystemBusy]).headers(&[LANGUAGE]);

const LANGUAGE: Field = Field::new(
    "X-L",
    text(
        "Language of `error_msg`: `zh`, `zh-CN`, … for Chinese, `en`, `en-US`, … for English; otherwise the server's default.",
        "`error_msg` 的语言：`zh`、`zh-CN` 等为中文，`en`、`en-US` 等为英文；其他情况使用服务器的默认语言。",
    ),
    Example::Language,
)
.optional();

/// `DeviceHeaders`.
pub const DEVICE: Part = Part::new(&[DeviceIncomplete, ParameterFormat]).headers(&[
    Field::new(
        OPERATING_SYS_VERSION.name,
        text("The device's operating system and its version; 128 bytes of it are kept.", "设备的操作系统及版本，保留前 128 字节。"),
        EXAMPLE_SYSTEM,
    )
    .form(Form::Recorded),
    Field::new(
        FINGERPRINT.name,
        text(
            "The device's fingerprint, at most 256 bytes. A session belongs to its device: send the same wherever its session_token is used.",
            "设备指纹，最多 256 字节。会话与设备绑定：凡使用其 session_token 之处，都要发送同一个指纹。",
        ),
        EXAMPLE_FINGERPRINT,
    )
    .form(Form::Text { max: FINGERPRINT.max_bytes, pattern: NOT_BLANK }),
    Field::new(
        AGENT.name,
        text("The device's user agent; 1024 bytes of it are kept.", "设备的 User-Agent，保留前 1024 字节。"),
        EXAMPLE_AGENT,
    )
    .form(Form::Recorded),
    Field::new(
        DEVICE_IP,
        text(
            "The device's IP address by its own account. Recorded if it is one, otherwise dropped; never a reason to refuse.",
            "设备自报的 IP 地址。格式正确则记录，否则忽略；不会因此拒绝请求。",
        ),
        EXAMPLE_IP,
    )
    .optional(),
]);

/// `SdkApp`.
pub const SDK_APP: Part = Part::new(&[ClientIdBlank, ParameterFormat, AppNotRegistered]).headers(&[Field::new(
    CLIENT_ID,
    text(
        "The application's client id: 1 to 64 of `A-Z a-z 0-9 _ -`, registered and enabled.",
        "应用的 client id：1 至 64 个字符 `A-Z a-z 0-9 _ -`，须已注册并启用。",
    ),
    Example::Text(DEMO_CLIENT_ID),
)
.form(CLIENT_ID_FORM)]);

/// `SessionTokenHeader`.
pub const SESSION: Part = Part::new(&[ParameterBlank, ParameterFormat, SessionTokenInvalid]).headers(&[Field::new(
    SESSION_TOKEN,
    text(
        "The session_token of a login's answer. `X-session-token` is taken for the same; not both.",
        "登录响应中的 session_token。也可使用 `X-session-token`，但两者不可同时出现。",
    ),
    EXAMPLE_SESSION_TOKEN,
)
.form(SESSION_TOKEN_FORM)]);

/// `Json`.
pub const JSON: Part = Part::new(&[ParameterBlank, ParameterFormat, ParameterType, RequestTimeout, BodyTooLarge]);

/// `Tenant`.
pub const TENANT: Part = Part::new(&[TenantTokenInvalid]).security(Security::Bearer);

/// `UserIdInPath`.
pub const USER_ID: Part = Part::new(&[TenantUserNotFound]).path(&[Field::new(
    "user_id",
    text("The user's id: `sub` of an id_token.", "用户 id，即 id_token 中的 `sub`。"),
    Example::Text("01a2048d-ce05-7944-86be-42c70ca4b086"),
)
.form(Form::Uuid)]);

/// The device block of a tenant's body.
pub const DEVICE_KEYS: Part = Part::new(&[DeviceIncomplete]);
