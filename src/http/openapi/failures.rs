//! How calls fail, from the catalogue: one response for each status, with every code that has it and an example of each
//! in both languages.

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Object, RefOr, Response, ResponseBuilder};

use super::codes::when;
use super::endpoint::{Endpoint, Failures, OAuthError};
use super::headers::AnswerHeader;
use super::parts::EVERY;
use crate::error_code::ErrorCode;
use crate::http::LOGIN_PATH;
use crate::http::error::oauth_description;
use crate::locale::Locale;

/// The responses of everything that can go wrong with a call, by status.
pub fn responses(endpoint: &Endpoint, path: &str, locale: Locale) -> Vec<(String, Response)> {
    match endpoint.failures {
        Failures::Contract(own) => {
            let codes = codes(endpoint, own);
            let statuses = ascending(codes.iter().map(|code| code.status()));
            let of_status = |status: u16| {
                let codes: Vec<_> = codes.iter().copied().filter(|code| code.status() == status).collect();
                let mut response = contract(&codes, sample_parameter(endpoint), locale);
                if path == LOGIN_PATH {
                    add(&mut response, AnswerHeader::TokenState);
                    add(&mut response, AnswerHeader::ServerTiming);
                }
                (status.to_string(), response)
            };
            statuses.into_iter().map(of_status).collect()
        }
        Failures::OAuth(errors) => {
            let statuses = ascending(errors.iter().map(|error| error.status));
            let of_status = |status: u16| {
                let errors: Vec<_> = errors.iter().filter(|error| error.status == status).collect();
                (status.to_string(), oauth(status, &errors, locale))
            };
            statuses.into_iter().map(of_status).collect()
        }
    }
}

/// One response for these codes, which share their status. `parameter` stands for `{0}` in the examples.
pub fn contract(codes: &[ErrorCode], parameter: &str, locale: Locale) -> Response {
    let lines: Vec<_> =
        codes.iter().map(|code| format!("* `{}`: {}", code.number(), when(*code).get(locale))).collect();
    let numbers = codes.iter().map(|code| code.number());
    let schema = closed([("error_code", string(Some(numbers.collect()))), ("error_msg", string(None))]);
    let mut content = ContentBuilder::new().schema(Some(schema));
    // Examples are shown in the order of their names; the reader's language comes first.
    for code in codes {
        for language in [Locale::En, Locale::Zh] {
            let text = code.text(language).replace("{0}", parameter);
            let name = match language {
                own if own == locale => code.number().to_owned(),
                Locale::En => format!("{} (en)", code.number()),
                Locale::Zh => format!("{} (zh)", code.number()),
            };
            let value = json!({ "error_code": code.number(), "error_msg": text });
            content = content.examples_from_iter([(name.clone(), example(&name, &text, value))]);
        }
    }
    let mut response = ResponseBuilder::new().description(lines.join("\n")).content(JSON, content.build()).build();
    add_common(&mut response, codes[0].status());
    response
}

fn oauth(status: u16, errors: &[&OAuthError], locale: Locale) -> Response {
    let lines: Vec<_> = errors.iter().map(|error| format!("* `{}`: {}", error.error, error.when.get(locale))).collect();
    let names = errors.iter().map(|error| error.error).collect();
    let schema = closed([("error", string(Some(names))), ("error_description", string(None))]);
    let mut content = ContentBuilder::new().schema(Some(schema));
    for error in errors {
        let value = json!({ "error": error.error, "error_description": oauth_description(error.error) });
        content = content.examples_from_iter([(error.error, example(error.error, error.when.get(locale), value))]);
    }
    let mut response = ResponseBuilder::new().description(lines.join("\n")).content(JSON, content.build()).build();
    add_common(&mut response, status);
    response
}

/// Of the parts, in the catalogue's order.
fn codes(endpoint: &Endpoint, own: &[ErrorCode]) -> Vec<ErrorCode> {
    let parts = endpoint.parts.iter().copied().chain([&EVERY]);
    let named: Vec<_> = parts.flat_map(|part| part.codes).chain(own).copied().collect();
    ErrorCode::ALL.into_iter().filter(|code| named.contains(code)).collect()
}

fn ascending(statuses: impl Iterator<Item = u16>) -> std::collections::BTreeSet<u16> {
    statuses.collect()
}

/// What a text with `{0}` is most likely about.
fn sample_parameter(endpoint: &Endpoint) -> &'static str {
    let body = endpoint.body.as_ref().and_then(|body| body.fields.first());
    let header = || endpoint.parts.iter().rev().find_map(|part| part.headers.last());
    body.or_else(header).map_or("Host", |field| field.name)
}

fn add_common(response: &mut Response, status: u16) {
    add(response, AnswerHeader::RequestId);
    add(response, AnswerHeader::NoStore);
    match status {
        401 => add(response, AnswerHeader::WwwAuthenticate),
        405 => add(response, AnswerHeader::Allow),
        429 | 500 => add(response, AnswerHeader::RetryAfter),
        _ => {}
    }
}

pub fn add(response: &mut Response, header: AnswerHeader) {
    response.headers.insert(header.name().to_owned(), RefOr::Ref(header.reference()));
}

const JSON: &str = "application/json";

fn example(name: &str, text: &str, value: Value) -> utoipa::openapi::example::Example {
    ExampleBuilder::new().summary(format!("{name}: {text}")).value(Some(value)).build()
}

/// An object with exactly these keys.
fn closed<const N: usize>(keys: [(&str, Object); N]) -> Object {
    let object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    keys.into_iter().fold(object, |object, (key, schema)| object.property(key, schema).required(key)).build()
}

fn string(one_of: Option<Vec<&'static str>>) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(one_of).build()
}
