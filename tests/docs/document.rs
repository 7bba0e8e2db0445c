//! The document itself: OpenAPI 3.1, examples that keep to their schemas, and the same in both languages.

use axum::http::{Method, StatusCode};
use oneclick_login::http::{LOGIN_PATH, document};
use oneclick_login::locale::Locale;
use serde_json::{Value, json};

use crate::support::app::{Answer, SEED_TOKEN, TestApp, settings};
use crate::support::description::{assert_described, assert_valid, described_in, english, operations, resolve};

/// The OpenAPI Initiative's own schema of OpenAPI 3.1, as published on 2022-10-07.
const OPENAPI: &str = include_str!("../vectors/openapi-3.1.json");

#[test]
fn both_documents_are_openapi_3_1() {
    let mut schema: Value = serde_json::from_str(OPENAPI).unwrap();
    // It leaves the schemas inside a document to their dialect, which is JSON Schema's own.
    schema["$defs"]["schema"] =
        json!({ "$dynamicAnchor": "meta", "$ref": "https://json-schema.org/draft/2020-12/schema" });
    let validator = jsonschema::validator_for(&schema).unwrap();
    for locale in [Locale::En, Locale::Zh] {
        let document = described_in(locale);
        let errors: Vec<_> =
            validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        assert_eq!(document["openapi"], "3.1.0");
    }
    let mut spoilt = described_in(Locale::En);
    spoilt["components"]["schemas"]["LoginBody"]["properties"]["access_token"]["maxLength"] = json!("many");
    assert!(!validator.is_valid(&spoilt), "schemas are looked at too");
}

#[test]
fn every_example_is_valid_against_its_schema() {
    let mut examples = 0;
    let mut check = |schema: &Value, value: &Value| {
        assert_valid(schema, value);
        examples += 1;
    };
    for operation in operations() {
        for parameter in operation.object["parameters"].as_array().into_iter().flatten() {
            check(&parameter["schema"], &parameter["example"]);
        }
        let responses = operation.object["responses"].as_object().unwrap().values();
        for content in [&operation.object["requestBody"]].into_iter().chain(responses).flat_map(content_of) {
            let named = content["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
            let all: Vec<_> = content.get("example").into_iter().chain(named).collect();
            assert!(!all.is_empty(), "{} {} has a body without an example", operation.method, operation.path);
            all.into_iter().for_each(|example| check(&content["schema"], example));
        }
    }
    for schema in english()["components"]["schemas"].as_object().unwrap().values() {
        for property in schema["properties"].as_object().unwrap().values() {
            property["examples"].as_array().into_iter().flatten().for_each(|example| check(property, example));
        }
    }
    assert!(examples > 250, "{examples}");
}

fn content_of(body: &'static Value) -> impl Iterator<Item = &'static Value> {
    resolve(body)["content"].as_object().into_iter().flatten().map(|(_, content)| content)
}

/// ASVS 15.3.1.
#[test]
#[should_panic(expected = "is not as described")]
fn an_answer_with_a_key_that_is_not_described_ends_its_test() {
    let headers = [("content-type", "application/json"), ("cache-control", "no-store"), ("x-request-id", "1")];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let body = json!({ "session_token": "a".repeat(32), "expire": 1, "status": "SUCCESS", "id_token": "", "new": 1 });
    let answer =
        Answer { status: StatusCode::OK, headers: headers.into_iter().collect(), body: body.to_string().into() };
    assert_described(&Method::POST, LOGIN_PATH, &answer);
}

#[test]
fn whatever_is_said_is_said_in_both_languages() {
    let mut texts = 0;
    compare("", english(), &described_in(Locale::Zh), &mut texts);
    assert!(texts > 150, "{texts}");
}

/// The same document but for its texts and the order of its examples; and every text in its own language.
fn compare(place: &str, en: &Value, zh: &Value, texts: &mut usize) {
    let is_text = place.ends_with("/description") || place.ends_with("/summary") && !place.contains("/examples/");
    match (en, zh) {
        (Value::String(en), Value::String(zh)) if is_text => {
            *texts += 1;
            assert!(!en.trim().is_empty() && !en.chars().any(is_chinese), "{place} is not in English: {en}");
            assert!(zh.chars().any(is_chinese), "{place} is not in Chinese: {zh}");
        }
        (Value::Object(en), Value::Object(zh)) if place.ends_with("/examples") => {
            let values = |examples: &serde_json::Map<String, Value>| {
                let mut values: Vec<_> = examples.values().map(|example| example["value"].to_string()).collect();
                values.sort();
                values
            };
            assert_eq!(values(en), values(zh), "{place}");
        }
        (Value::Object(en), Value::Object(zh)) => {
            assert_eq!(en.keys().collect::<Vec<_>>(), zh.keys().collect::<Vec<_>>(), "{place}");
            en.iter().for_each(|(key, value)| compare(&format!("{place}/{key}"), value, &zh[key], texts));
        }
        (Value::Array(en), Value::Array(zh)) => {
            assert_eq!(en.len(), zh.len(), "{place}");
            en.iter().zip(zh).for_each(|(en, zh)| compare(&format!("{place}/"), en, zh, texts));
        }
        // The names of groups, and of the language that errors are asked for in.
        (Value::String(_), Value::String(_)) if place.contains("/tags/") || place.ends_with("/example") => {}
        (en, zh) => assert_eq!(en, zh, "{place}"),
    }
}

fn is_chinese(character: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&character)
}

#[tokio::test]
async fn the_tokens_of_the_introduction_do_what_it_says() {
    let app = TestApp::start().await;
    for locale in [Locale::En, Locale::Zh] {
        let document = described_in(locale);
        let introduction = document["info"]["description"].as_str().unwrap();
        let tokens: Vec<_> =
            introduction.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).skip(1).collect();
        let [seed, once, slow, busy, foreign] = tokens[..] else { panic!("{tokens:?}") };
        assert_eq!(seed, SEED_TOKEN);
        let suffix = format!("{locale:?}");
        for (token, status) in [
            (seed, 200),
            (seed, 200),
            (&*format!("{once}:{suffix}"), 200),
            (&*format!("{slow}:{suffix}"), 200),
            (busy, 500),
            (foreign, 400),
            ("anything else", 400),
        ] {
            assert_eq!(app.log_in(token).await.status, status, "{token}");
        }
        let spent = app.log_in("anything-else").await;
        assert_eq!((spent.error_code().as_str(), spent.header("x-access-token-state")), (REJECTED, Some("spent")));
    }
}

const REJECTED: &str = "IDAAS.SDK.LOGIN.1001";

#[test]
fn nobody_is_told_to_try_made_up_tokens_where_they_do_not_work() {
    for locale in [Locale::En, Locale::Zh] {
        let of = |sandbox| String::from_utf8(document(locale, sandbox).to_vec()).unwrap();
        assert!(of(true).contains("sandbox:"));
        assert!(!of(false).contains("sandbox"));
    }
}

/// ASVS 13.4.5.
#[tokio::test]
async fn the_description_is_served_in_development_and_elsewhere_only_if_asked_for() {
    let paths = ["/docs", "/docs/page.js", "/openapi.json", "/openapi.zh.json"];
    let app = TestApp::start().await;
    for path in paths {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    assert_eq!(app.get("/openapi.json").await.json(), *english());
    assert_eq!(app.get("/openapi.zh.json").await.json(), described_in(Locale::Zh));

    let off = TestApp::with(&[("ONECLICK_DOCS__SERVE", "off")]).await;
    for path in paths {
        off.get(path).await.assert_error(404, "IDAAS.SDK.COM.0404", "Resource not found");
    }
    let production = [
        ("ONECLICK_ENVIRONMENT", "production"),
        ("DATABASE_URL", "postgres://localhost/x"),
        ("ONECLICK_VERIFIER__PROVIDER", "aliyun"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "x"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "x"),
    ];
    assert!(!settings(&production).serves_docs());
    assert!(settings(&[&production[..], &[("ONECLICK_DOCS__SERVE", "on")]].concat()).serves_docs());
}

#[tokio::test]
async fn the_page_and_its_files_come_from_here_and_may_ask_nobody_else() {
    let app = TestApp::start().await;
    let page = app.get("/docs").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    for path in ["/docs", "/docs/page.js", "/docs/page.css", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"] {
        let answer = app.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-content-type-options")), (200, Some("nosniff")), "{path}");
        let packed = answer.header("content-encoding") == Some("gzip");
        assert_eq!(packed, path.contains("swagger"), "{path}");
        assert!(packed || !String::from_utf8_lossy(&answer.body).contains("://"), "{path} names another host");
    }
    for path in ["/docs/", "/docs/index.html", "/docs/swagger-ui.js", "/docs/..%2fCargo.toml"] {
        app.get(path).await.assert_error(404, "IDAAS.SDK.COM.0404", "Resource not found");
    }
}
