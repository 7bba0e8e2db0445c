//! Request bodies that are a JSON object, taken apart. Knows no endpoint's own fields.
//!
//! axum's `Json` takes `["tok"]` for a struct, answers with serde's own text and reads before the headers are judged;
//! this extractor comes last in a handler's arguments and fails only in the contract's form.

use std::fmt;

use axum::extract::{FromRequest, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Http;
use super::device::only;
use super::error::Failure;

/// How a request's type names its fields and takes them.
pub trait FromFields: Sized {
    /// The keys it knows; every other key is ignored.
    const FIELDS: &'static [&'static str];

    fn from_fields(fields: Fields) -> Result<Self, Failure>;
}

/// A request body that is a JSON object with the fields of `T`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: FromFields> FromRequest<Http> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Failure> {
        check_content_type(request.headers())?;
        let bytes = http.bodies.read(request).await?;
        T::from_fields(Fields::parse(&bytes, T::FIELDS)?).map(Self)
    }
}

/// A 200 that carries a token or a person's data: no cache may keep it.
pub fn secret_json(body: &impl Serialize) -> Response {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], axum::Json(body)).into_response()
}

/// The known fields of an object, as they came.
#[derive(Debug)]
pub struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn parse(bytes: &[u8], known: &'static [&'static str]) -> Result<Self, Failure> {
        let mut visitor = ObjectVisitor { known, repeated: None };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let fields = json.deserialize_map(&mut visitor).and_then(|fields| json.end().map(|()| fields));
        match (fields, visitor.repeated) {
            (_, Some(key)) => Err(Failure::format(key)),
            (Err(_), None) => Err(Failure::format("body")),
            (Ok(fields), None) => Ok(Self(fields)),
        }
    }

    /// A string that must be there and not blank.
    pub fn required_text(&mut self, key: &'static str) -> Result<String, Failure> {
        self.optional_text(key)?.ok_or(Failure::blank(key))
    }

    /// A string; missing, null and blank are `None`.
    pub fn optional_text(&mut self, key: &'static str) -> Result<Option<String>, Failure> {
        let value = self.0.iter_mut().find(|(name, _)| *name == key).map_or(Value::Null, |(_, value)| value.take());
        match value {
            Value::Null => Ok(None),
            Value::String(text) if text.trim().is_empty() => Ok(None),
            Value::String(text) => Ok(Some(text)),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(Failure::wrong_type(key)),
        }
    }
}

struct ObjectVisitor {
    known: &'static [&'static str],
    repeated: Option<&'static str>,
}

impl<'de> Visitor<'de> for &mut ObjectVisitor {
    type Value = Vec<(&'static str, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(self.known.len());
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let Some(known) = self.known.iter().find(|known| **known == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if fields.iter().any(|(name, _)| name == known) {
                self.repeated = Some(known);
            }
            fields.push((*known, map.next_value()?));
        }
        Ok(fields)
    }
}

/// `application/json`, alone or with `charset=utf-8`; not compressed.
fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    if !only(headers, CONTENT_TYPE.as_str()).is_some_and(is_json) {
        return Err(Failure::format("content-type"));
    }
    let plain = |value: &axum::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(Failure::format("content-encoding"));
    }
    Ok(())
}

fn is_json(content_type: &str) -> bool {
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let is_utf8 = |parameter: &str| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset")
            && (value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8"))
    };
    let mut parameters = parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty());
    essence.trim().eq_ignore_ascii_case("application/json") && parameters.all(is_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_code::ErrorCode;

    fn text_of(body: &str) -> Result<String, (ErrorCode, Option<&'static str>)> {
        let fields = Fields::parse(body.as_bytes(), &["access_token"]);
        fields.and_then(|mut fields| fields.required_text("access_token")).map_err(|f| (f.code, f.parameter))
    }

    #[test]
    fn an_object_gives_its_field_and_ignores_the_others() {
        for body in [
            r#"{"access_token":"tok"}"#,
            "\r\n\t {\"access_token\" : \"tok\"} \n",
            r#"{"x":1,"access_token":"tok","x":[{"access_token":2}]}"#,
            r#"{"access\u005ftoken":"t\u006fk"}"#,
            &format!(r#"{{"deep":{}{},"access_token":"tok"}}"#, "[".repeat(5_000), "]".repeat(5_000)),
        ] {
            assert_eq!(text_of(body), Ok("tok".to_owned()), "{body:.60}");
        }
    }

    #[test]
    fn whatever_is_not_one_json_object_is_refused_by_the_name_of_the_body() {
        for body in [
            "",
            " ",
            "null",
            "1",
            "\"x\"",
            r#"["tok"]"#,
            "[{}]",
            r#"{"access_token":"tok"}x"#,
            r#"{"access_token":"tok"},"#,
            r#"{"access_token":'tok'}"#,
            r#"{access_token:"tok"}"#,
            "\u{feff}{}",
            r#"{"access_token":"\ud800"}"#,
            r#"{"access_token":"tok""#,
            r#"{"a":NaN}"#,
            "{\"access_token\":\"a\nb\"}",
        ] {
            assert_eq!(text_of(body), Err((ErrorCode::ParameterFormat, Some("body"))), "{body:.60}");
        }
        let not_utf8 = Fields::parse(b"{\"access_token\":\"\xff\"}", &["access_token"]).unwrap_err();
        assert_eq!((not_utf8.code, not_utf8.parameter), (ErrorCode::ParameterFormat, Some("body")));
    }

    #[test]
    fn a_field_is_there_once_as_a_string_that_is_not_blank() {
        for body in ["{}", r#"{"access_token":null}"#, r#"{"access_token":""}"#, r#"{"access_token":" \t"}"#] {
            assert_eq!(text_of(body), Err((ErrorCode::ParameterBlank, Some("access_token"))), "{body}");
        }
        for value in ["1", "1e400", "true", "[]", "[\"tok\"]", "{}"] {
            let body = format!(r#"{{"access_token":{value}}}"#);
            let expected = if value == "1e400" {
                (ErrorCode::ParameterFormat, Some("body"))
            } else {
                (ErrorCode::ParameterType, Some("access_token"))
            };
            assert_eq!(text_of(&body), Err(expected), "{body}");
        }
        assert_eq!(
            text_of(r#"{"access_token":"a","access_token":"a"}"#),
            Err((ErrorCode::ParameterFormat, Some("access_token")))
        );
    }

    #[test]
    fn only_json_in_utf_8_is_a_content_type() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=UTF8",
            "application/json; charset=\"utf-8\"",
            "application/json;",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonx",
            "application/json; charset=gbk",
            "application/json; boundary=x",
            "application/json, application/json",
            "application/json charset=utf-8",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
