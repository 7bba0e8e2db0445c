//! The API's own description, held against what the API answers: every answer that a test gets from the app or from the
//! program must be one that the description promises.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::http::Method;
use jsonschema::Validator;
use oneclick_login::http::document;
use oneclick_login::locale::Locale;
use serde_json::{Value, json};

use super::app::Answer;

static ENGLISH: LazyLock<Value> = LazyLock::new(|| described_in(Locale::En));

pub fn described_in(locale: Locale) -> Value {
    serde_json::from_slice(&document(locale, true)).unwrap()
}

pub fn english() -> &'static Value {
    &ENGLISH
}

/// Of the description: not described by it.
const ITS_OWN: [&str; 4] = ["/openapi.json", "/openapi.zh.json", "/docs", "/docs/{file}"];

/// A call that is described: its path as the description writes it, its method, and all that is said of it.
pub struct Operation {
    pub path: &'static str,
    pub method: &'static str,
    pub object: &'static Value,
}

/// All of them, in the description's order.
pub fn operations() -> Vec<Operation> {
    let paths = ENGLISH["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, object)| Operation { path, method, object })
    });
    all.collect()
}

/// The answer is one of those that are described for such a call.
#[track_caller]
pub fn assert_described(method: &Method, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    if ITS_OWN.iter().any(|own| fits(own, path)) {
        return;
    }
    let known: Vec<_> = operations().into_iter().filter(|operation| fits(operation.path, path)).collect();
    // axum answers HEAD where it answers GET, without the body.
    let verb = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let responses = &ENGLISH["components"]["responses"];
    let status = answer.status.as_str();
    let response = match known.iter().find(|operation| operation.method == verb) {
        // A GET that changes something has no HEAD.
        Some(_) if method == Method::HEAD && answer.status == 405 => &responses["MethodNotAllowed"],
        Some(operation) => &operation.object["responses"][status],
        None if known.is_empty() => &responses["NotFound"],
        None if answer.status == 405 && path == "/api/v2/tenant/token" => return assert_oauth(answer),
        None => &responses["MethodNotAllowed"],
    };
    assert!(response.is_object(), "{method} {path} is not described to answer {answer:?}");
    assert_headers(response, answer);
    if method != Method::HEAD {
        assert_body(response, answer);
    }
}

/// Its path answers all failures in OAuth 2's form, that of a wrong method too, which belongs to no operation.
#[track_caller]
fn assert_oauth(answer: &Answer) {
    assert_eq!(answer.text("error"), "invalid_request");
}

#[track_caller]
fn assert_headers(response: &'static Value, answer: &Answer) {
    for (name, reference) in response["headers"].as_object().into_iter().flatten() {
        let described = resolve(reference);
        let Some(text) = answer.header(name) else {
            assert_ne!(described["required"], true, "{name} is missing: {answer:?}");
            continue;
        };
        let is_number = described["schema"]["type"] == "integer";
        let value = if is_number { json!(text.parse::<u64>().unwrap()) } else { json!(text) };
        assert_valid(&described["schema"], &value);
    }
}

#[track_caller]
fn assert_body(response: &Value, answer: &Answer) {
    let Some(content) = response["content"].as_object() else {
        assert!(answer.body.is_empty(), "no body is described: {answer:?}");
        return;
    };
    let media_type = answer.header("content-type").unwrap_or_default();
    let described = content.get(media_type).unwrap_or_else(|| panic!("{media_type} is not described: {answer:?}"));
    assert_valid(&described["schema"], &answer.json());
}

/// Valid against a schema of the description, whose references lead into its components.
#[track_caller]
pub fn assert_valid(schema: &Value, value: &Value) {
    let validator = validator(schema);
    let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{value} is not as described: {errors:?}\n{schema}");
}

/// Made once for each schema: hundreds of tests ask for a few dozen.
fn validator(schema: &Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let mut whole = schema.clone();
        whole["components"] = ENGLISH["components"].clone();
        let validator = jsonschema::options().should_validate_formats(true).build(&whole);
        Arc::new(validator.unwrap_or_else(|error| panic!("{error}: {schema}")))
    };
    Arc::clone(made.entry(schema.to_string()).or_insert_with(make))
}

/// What a reference into the components stands for; anything else stands for itself.
pub fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => ENGLISH.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// `/users/{user_id}/disable` fits `/users/1/disable`; a literal part goes before a named one, as in the router.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let part = |(pattern, part): (&&str, &&str)| pattern == part || pattern.starts_with('{') && !part.is_empty();
    pattern.len() == path.len() && pattern.iter().zip(&path).all(part)
}
