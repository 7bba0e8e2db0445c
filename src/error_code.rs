//! The catalogue of every error this server can answer: number, HTTP status and both texts, in one place.
//!
//! It must not know why an error happened, nor how it travels. Rows marked `D` come from the vendor's published
//! document for this endpoint, `V` from other public pages of the vendor's, `O` are ours because no page says it.

use crate::locale::Locale;

/// The contract's word where there is no error: a login's `status`, and in logs and metrics the outcome beside the codes.
pub const SUCCESS: &str = "SUCCESS";

/// One row of the catalogue. The wire form is [`ErrorCode::number`]; it never changes once released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    DeviceIncomplete,
    ClientIdBlank,
    AppNotRegistered,
    UserNotFound,
    UserDisabled,
    SystemBusy,
    SessionTokenInvalid,
    ParameterBlank,
    ParameterFormat,
    ParameterType,
    AccessTokenRejected,
    NumberUnsupported,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    HeadTooLarge,
    TooManyRequests,
    TenantTokenInvalid,
    TicketInvalid,
    TenantUserNotFound,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The vendor's document for this endpoint.
    D,
    /// Another public page of the vendor's.
    V,
    /// Ours.
    O,
}

struct Row {
    number: &'static str,
    status: u16,
    en: &'static str,
    zh: &'static str,
    origin: Origin,
}

impl ErrorCode {
    /// Every code, in the order of the README's table.
    pub const ALL: [Self; 21] = [
        Self::DeviceIncomplete,
        Self::ClientIdBlank,
        Self::AppNotRegistered,
        Self::UserNotFound,
        Self::UserDisabled,
        Self::SystemBusy,
        Self::SessionTokenInvalid,
        Self::ParameterBlank,
        Self::ParameterFormat,
        Self::ParameterType,
        Self::AccessTokenRejected,
        Self::NumberUnsupported,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::HeadTooLarge,
        Self::TooManyRequests,
        Self::TenantTokenInvalid,
        Self::TicketInvalid,
        Self::TenantUserNotFound,
    ];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        use Origin::{D, O, V};
        let (number, status, en, zh, origin) = match self {
            Self::DeviceIncomplete => ("IDAAS.SDK.PARAM.0001", 400, "Device information is incomplete", "设备信息不完整", D),
            Self::ClientIdBlank => ("IDAAS.SDK.PARAM.0002", 400, "clientId cannot be empty", "clientId不能为空", D),
            Self::AppNotRegistered => ("IDAAS.SDK.PARAM.0003", 400, "The app is not registered, please register the app first", "应用未注册,请先注册应用", D),
            Self::UserNotFound => ("IDAAS.SDK.USER.0001", 400, "User not found", "用户未找到", D),
            Self::UserDisabled => ("IDAAS.SDK.USER.0039", 400, "User is disabled", "用户已被禁用", D),
            Self::SystemBusy => ("IDAAS.SDK.COM.0002", 500, "System busy, please try again later", "系统繁忙,请稍后再试", D),
            Self::SessionTokenInvalid => ("IDAAS.SDK.PARAM.0023", 400, "Invalid or expired session token", "会话令牌无效或已过期", V),
            Self::ParameterBlank => ("IDAAS.SDK.COMMON.1001", 400, "Parameter {0} cannot be left blank", "参数{0}不能为空", O),
            Self::ParameterFormat => ("IDAAS.SDK.COMMON.1002", 400, "The {0} parameter format is incorrect", "参数{0}格式不正确", O),
            Self::ParameterType => ("IDAAS.SDK.COMMON.1007", 400, "The {0} parameter type error", "参数{0}类型错误", O),
            Self::AccessTokenRejected => ("IDAAS.SDK.LOGIN.1001", 400, "The access_token is invalid, expired or already used, please obtain a new one", "access_token无效、已过期或已被使用,请重新获取", O),
            Self::NumberUnsupported => ("IDAAS.SDK.LOGIN.1002", 400, "This kind of phone number cannot be used here", "此类号码无法在此使用", O),
            Self::NotFound => ("IDAAS.SDK.COM.0404", 404, "Resource not found", "资源不存在", O),
            Self::MethodNotAllowed => ("IDAAS.SDK.COM.0405", 405, "Method not allowed", "请求方法不允许", O),
            Self::RequestTimeout => ("IDAAS.SDK.COM.0408", 408, "Request timed out", "请求超时", O),
            Self::BodyTooLarge => ("IDAAS.SDK.COM.0413", 413, "Request body is too large", "请求体过大", O),
            Self::HeadTooLarge => ("IDAAS.SDK.COM.0431", 431, "Request head is too large", "请求头过大", O),
            Self::TooManyRequests => ("IDAAS.SDK.COM.0429", 429, "Too many requests, please try again later", "请求过于频繁,请稍后再试", O),
            Self::TenantTokenInvalid => ("IDAAS.TENANT.COM.0401", 401, "Invalid or expired tenant token", "租户令牌无效或已过期", O),
            Self::TicketInvalid => ("IDAAS.TENANT.TICKET.0001", 400, "Invalid or expired ticket", "票据无效或已过期", O),
            Self::TenantUserNotFound => ("IDAAS.TENANT.USER.0001", 400, "User not found", "用户未找到", V),
        };
        Row { number, status, en, zh, origin }
    }

    /// The number on the wire, e.g. `IDAAS.SDK.PARAM.0001`.
    pub const fn number(self) -> &'static str {
        self.row().number
    }

    /// The HTTP status, 400 to 500.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// Who wrote the rule.
    pub const fn origin(self) -> Origin {
        self.row().origin
    }

    /// The text for a person; `{0}` stands where a parameter's name belongs.
    pub const fn text(self, locale: Locale) -> &'static str {
        let row = self.row();
        match locale {
            Locale::En => row.en,
            Locale::Zh => row.zh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_used_twice() {
        let mut numbers: Vec<_> = ErrorCode::ALL.iter().map(|code| code.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ErrorCode::ALL.len());
    }
}
