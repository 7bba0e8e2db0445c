//! When each error of the catalogue is answered, for the reader of the API's description and of the README's table.

use super::text::{Text, text};
use crate::error_code::ErrorCode;

/// No wildcard: a new code must be explained here.
#[rustfmt::skip]
pub const fn when(code: ErrorCode) -> Text {
    match code {
        ErrorCode::DeviceIncomplete => text("a required device header is missing or blank", "缺少必需的设备信息，或其为空"),
        ErrorCode::ClientIdBlank => text("`X-client-id` is missing or blank", "缺少 `X-client-id`，或其为空"),
        ErrorCode::AppNotRegistered => text("the application is unknown, disabled, or not of the kind `sdk`", "应用不存在、已停用或不是 `sdk` 类型"),
        ErrorCode::UserNotFound => text("unknown number, and automatic registration is off", "号码未注册，且未开启自动注册"),
        ErrorCode::UserDisabled => text("the user was disabled; also for a known, unexpired session of this application and device", "用户已被禁用；对该应用和设备的已知且未过期的会话也返回此码"),
        ErrorCode::SystemBusy => text("verifier or database unavailable, overload, our own misconfiguration, anything unforeseen", "号码认证服务或数据库不可用、过载、服务端配置错误或其他意外情况"),
        ErrorCode::SessionTokenInvalid => text("the session_token is unknown, expired, revoked, or of another application or device", "session_token 不存在、已过期、已注销，或属于其他应用或设备"),
        ErrorCode::ParameterBlank => text("`access_token`, or another required field or the `session-token` header, is missing, null or blank", "`access_token` 或其他必需字段、请求头 `session-token` 缺失、为 null 或为空"),
        ErrorCode::ParameterFormat => text("the body is not a JSON object, wrong content type, a required header repeated, too long or not UTF-8, a character that is not allowed", "请求体不是 JSON 对象、Content-Type 错误、必需的请求头重复、过长或不是 UTF-8、含有不允许的字符"),
        ErrorCode::ParameterType => text("`access_token`, or another field, is not a string", "`access_token` 或其他字段不是字符串"),
        ErrorCode::AccessTokenRejected => text("the verifier says no, or the token was used before, unless the answer to that was lost a moment ago", "号码认证服务拒绝，或该 token 已被使用（刚刚丢失响应的情况除外）"),
        ErrorCode::NumberUnsupported => text("the number behind the token is none of a mainland China phone but of another country or region, or of a device", "该 token 对应的号码不是中国大陆手机号码，例如境外或港澳台号码、物联网号码"),
        ErrorCode::NotFound => text("no such path", "路径不存在"),
        ErrorCode::MethodNotAllowed => text("the path takes another method, named by `Allow`", "该路径只接受 `Allow` 所列的方法"),
        ErrorCode::RequestTimeout => text("the body did not arrive in time; the connection is closed", "请求体未及时到达；连接随即关闭"),
        ErrorCode::BodyTooLarge => text("more than 16 KiB; the connection is closed", "超过 16 KiB；连接随即关闭"),
        ErrorCode::HeadTooLarge => text("more than 16 KiB or 64 headers; the connection is closed", "超过 16 KiB 或 64 个请求头；连接随即关闭"),
        ErrorCode::TooManyRequests => text("a limit is reached; with `Retry-After`", "达到限流上限；附带 `Retry-After`"),
        ErrorCode::TenantTokenInvalid => text("a bad Bearer on `/api/v2/tenant/…`; with `WWW-Authenticate: Bearer`", "`/api/v2/tenant/…` 的 Bearer 令牌无效；附带 `WWW-Authenticate: Bearer`"),
        ErrorCode::TicketInvalid => text("the ticket is unknown, used or expired, of another device, or its session has ended", "票据不存在、已使用、已过期、属于其他设备，或其会话已结束"),
        ErrorCode::TenantUserNotFound => text("administration: no such user", "管理接口：用户不存在"),
    }
}
