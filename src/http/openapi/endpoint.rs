//! What is said of an endpoint: the vocabulary in which `sdk`, `tenant` and `well_known` describe theirs.

use std::borrow::Cow;

use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::field::Field;
use super::text::Text;
use crate::error_code::ErrorCode;

/// One row of the route table, for its reader. The path and the method are the route's own.
#[derive(Debug)]
pub struct Endpoint {
    /// The name that generated clients give the call.
    pub id: &'static str,
    pub group: Group,
    pub title: Text,
    pub about: Text,
    /// What the handler's arguments take from the request, in their order.
    pub parts: &'static [&'static Part],
    pub body: Option<Body>,
    pub answer: Answer,
    pub failures: Failures,
}

/// Under which heading an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    App,
    Tenant,
    Keys,
}

/// What one argument of a handler takes from the request, and how that can fail.
#[derive(Debug)]
pub struct Part {
    pub headers: &'static [Field],
    pub path: &'static [Field],
    pub security: Option<Security>,
    pub codes: &'static [ErrorCode],
}

impl Part {
    pub const fn new(codes: &'static [ErrorCode]) -> Self {
        Self { headers: &[], path: &[], security: None, codes }
    }

    pub const fn headers(mut self, headers: &'static [Field]) -> Self {
        self.headers = headers;
        self
    }

    pub const fn path(mut self, path: &'static [Field]) -> Self {
        self.path = path;
        self
    }

    pub const fn security(mut self, security: Security) -> Self {
        self.security = Some(security);
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Bearer,
    Basic,
}

/// A request's body. `keys` are those that the handler's extractor knows; each has its field here.
#[derive(Debug)]
pub struct Body {
    pub name: &'static str,
    pub media_type: &'static str,
    pub keys: &'static [&'static str],
    pub fields: &'static [Field],
}

/// The answer where all went well.
#[derive(Debug)]
pub struct Answer {
    pub about: Text,
    pub shape: Option<Shape>,
    pub caching: Caching,
}

/// A JSON object: which keys there are and of what type is the type's word, what they mean the fields'.
#[derive(Debug)]
pub struct Shape {
    pub name: fn() -> Cow<'static, str>,
    pub schema: fn() -> RefOr<Schema>,
    pub fields: &'static [Field],
}

impl Shape {
    pub const fn of<T: ToSchema>(fields: &'static [Field]) -> Self {
        Self { name: T::name, schema: <T as PartialSchema>::schema, fields }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// It carries a token or a person's data.
    Never,
    /// It is the same for everybody, for a while; where it has an `ETag`, 304 spares its repetition.
    Public { etag: bool },
}

/// How an endpoint fails beyond what its parts say.
#[derive(Debug)]
pub enum Failures {
    Contract(&'static [ErrorCode]),
    /// In the form of RFC 6749, 5.2.
    OAuth(&'static [OAuthError]),
}

#[derive(Debug)]
pub struct OAuthError {
    pub status: u16,
    pub error: &'static str,
    pub when: Text,
}
