//! What an enterprise's own services do with users: find, disable, enable.

use super::endpoint::{Answer, Body, Caching, Endpoint, Failures, Group, Shape};
use super::field::{Example, Field, Form};
use super::parts::{JSON, TENANT, USER_ID as IN_PATH};
use super::text::text;
use crate::error_code::ErrorCode::{TenantUserNotFound, TooManyRequests};
use crate::http::json::FromFields;
use crate::http::tenant::{MobileBody, StatusAnswer, UserAnswer};

pub const USER_ID: Field = Field::new(
    "user_id",
    text(
        "The user's id: opaque, stable, never reassigned; `sub` of an id_token.",
        "用户 id：不透明、稳定、永不重新分配，即 id_token 中的 `sub`。",
    ),
    Example::Text("01a2048d-ce05-7944-86be-42c70ca4b086"),
)
.form(Form::Uuid);

pub const USER_NAME: Field = Field::new(
    "user_name",
    text("The user name: the id, unless one was set.", "用户名；未设置时为用户 id。"),
    Example::Text("01a2048d-ce05-7944-86be-42c70ca4b086"),
);

pub const NAME: Field = Field::new(
    "name",
    text("The display name: the masked number, unless one was set.", "显示名称；未设置时为脱敏后的手机号。"),
    Example::Text("138****0001"),
);

pub const MOBILE: Field = Field::new("mobile", text("The phone number.", "手机号。"), Example::Text("+86-13800000001"))
    .form(Form::Text { max: 15, pattern: r"^\+86-1[0-9]{10}$" });

pub const EMAIL: Field =
    Field::new("email", text("The e-mail address, or null.", "电子邮箱；没有则为 null。"), Example::Null);

const TIME: Form = Form::Text { max: 19, pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$" };

const SWITCHED: Answer = Answer {
    about: text("Done; also if it was so before.", "操作成功；此前已处于该状态时也是如此。"),
    shape: Some(Shape::of::<StatusAnswer<'_>>(&[USER_ID])),
    caching: Caching::Never,
};

pub const DISABLE: Endpoint = Endpoint {
    id: "disableUser",
    group: Group::Tenant,
    title: text("Disable a user", "禁用用户"),
    about: text(
        "Refuses the user's logins and ends all of the user's sessions for good.",
        "拒绝该用户登录，并永久结束其所有会话。",
    ),
    parts: &[&TENANT, &IN_PATH],
    body: None,
    answer: SWITCHED,
    failures: Failures::Contract(&[]),
};

pub const ENABLE: Endpoint = Endpoint {
    id: "enableUser",
    group: Group::Tenant,
    title: text("Enable a user", "启用用户"),
    about: text("The user may log in again; ended sessions stay ended.", "用户可以再次登录；已结束的会话不会恢复。"),
    parts: &[&TENANT, &IN_PATH],
    body: None,
    answer: SWITCHED,
    failures: Failures::Contract(&[]),
};

pub const BY_MOBILE: Endpoint = Endpoint {
    id: "findUserByMobile",
    group: Group::Tenant,
    title: text("Find a user by number", "按手机号查找用户"),
    about: text("The user of a number.", "查找手机号对应的用户。"),
    parts: &[&TENANT, &JSON],
    body: Some(Body {
        name: "MobileBody",
        media_type: "application/json",
        keys: MobileBody::FIELDS,
        fields: &[Field::new(
            "mobile",
            text(
                "The number: 11 digits, or with `+86` or `+86-` before them.",
                "手机号：11 位数字，可带前缀 `+86` 或 `+86-`。",
            ),
            Example::Text("13800000001"),
        )
        .form(Form::Text { max: 15, pattern: r"^(\+86-?)?1[0-9]{10}$" })],
    }),
    answer: Answer {
        about: text("The user.", "用户信息。"),
        shape: Some(Shape::of::<UserAnswer<'_>>(&[
            USER_ID,
            USER_NAME,
            NAME,
            MOBILE,
            EMAIL,
            Field::new(
                "created_at",
                text("When the user was registered, UTC.", "注册时间（UTC）。"),
                Example::Text("2026-11-22 18:38:51"),
            )
            .form(TIME),
            Field::new(
                "updated_at",
                text("When the user was last changed, UTC.", "最后修改时间（UTC）。"),
                Example::Text("2026-11-22 18:38:51"),
            )
            .form(TIME),
            Field::new("disabled", text("Whether logins are refused.", "是否已被禁用。"), Example::False),
        ])),
        caching: Caching::Never,
    },
    failures: Failures::Contract(&[TenantUserNotFound, TooManyRequests]),
};
