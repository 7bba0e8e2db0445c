//! One endpoint's description, put into OpenAPI's form.

use serde_json::{Map, Value};
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, Response, ResponseBuilder};

use super::endpoint::{Answer, Body, Caching, Endpoint, Failures, Security, Shape};
use super::failures;
use super::field::Field;
use super::headers::AnswerHeader;
use super::parts::EVERY;
use super::text::text;
use crate::http::LOGIN_PATH;
use crate::locale::Locale;

pub fn operation(endpoint: &Endpoint, path: &str, locale: Locale) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(endpoint.id))
        .tag(endpoint.group.title(locale))
        .summary(Some(endpoint.title.get(locale)))
        .description(Some(endpoint.about.get(locale)))
        .request_body(endpoint.body.as_ref().map(|body| request_body(body, locale)));
    // OAuth 2's errors have no text that could be in a language.
    let every = matches!(endpoint.failures, Failures::Contract(_)).then_some(&EVERY);
    for part in endpoint.parts.iter().copied().chain(every) {
        for field in part.path {
            operation = operation.parameter(parameter(field, ParameterIn::Path, locale));
        }
        for field in part.headers {
            operation = operation.parameter(parameter(field, ParameterIn::Header, locale));
        }
        if let Some(security) = part.security {
            operation = operation.security(SecurityRequirement::new(security.name(), [""; 0]));
        }
    }
    let mut success = success(&endpoint.answer, locale);
    if path == LOGIN_PATH {
        failures::add(&mut success, AnswerHeader::ServerTiming);
    }
    operation = operation.response("200", success);
    if endpoint.answer.caching == (Caching::Public { etag: true }) {
        operation = operation.response("304", unchanged(locale));
    }
    failures::responses(endpoint, path, locale)
        .into_iter()
        .fold(operation, |operation, (status, response)| operation.response(status, response))
}

impl Security {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "tenantToken",
            Self::Basic => "clientSecret",
        }
    }
}

fn parameter(field: &Field, place: ParameterIn, locale: Locale) -> Parameter {
    ParameterBuilder::new()
        .name(field.name)
        .parameter_in(place)
        .required(required(field.required))
        .description(Some(field.description(locale)))
        .schema(Some(field.text_schema()))
        .example(Some(field.example_value(locale)))
        .build()
}

fn request_body(body: &Body, locale: Locale) -> RequestBody {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(body.name)))
        .example(Some(example(&body.described(), locale)))
        .build();
    RequestBodyBuilder::new().required(Some(Required::True)).content(body.media_type, content).build()
}

fn success(answer: &Answer, locale: Locale) -> Response {
    let mut response = ResponseBuilder::new().description(answer.about.get(locale));
    if let Some(shape) = &answer.shape {
        let fields: Vec<_> = shape.fields.iter().collect();
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name((shape.name)())))
            .example(Some(example(&fields, locale)))
            .build();
        response = response.content("application/json", content);
    }
    with_caching(response.build(), answer.caching)
}

fn unchanged(locale: Locale) -> Response {
    let about = text("The set is still the one that you have.", "公钥集未变化。");
    let response = ResponseBuilder::new().description(about.get(locale)).build();
    with_caching(response, Caching::Public { etag: true })
}

fn with_caching(mut response: Response, caching: Caching) -> Response {
    failures::add(&mut response, AnswerHeader::RequestId);
    failures::add(&mut response, if caching == Caching::Never { AnswerHeader::NoStore } else { AnswerHeader::Caching });
    if caching != Caching::Never {
        failures::add(&mut response, AnswerHeader::AnyOrigin);
    }
    if caching == (Caching::Public { etag: true }) {
        failures::add(&mut response, AnswerHeader::Etag);
    }
    response
}

impl Body {
    /// The keys that the extractor knows, each with what is said of it.
    fn described(&self) -> Vec<&'static Field> {
        self.keys.iter().map(|key| find(self.fields, key)).collect()
    }

    /// Keys that it does not know are ignored, so the object is open.
    pub fn schema(&self, locale: Locale) -> Schema {
        let object = self.described().into_iter().fold(ObjectBuilder::new(), |object, field| {
            let object = object.property(field.name, field.key_schema(locale));
            if field.required { object.required(field.name) } else { object }
        });
        object.into()
    }
}

impl Shape {
    /// The type's own schema with the fields' words; every key is always there, and no other.
    pub fn described_schema(&self, locale: Locale) -> Schema {
        let RefOr::T(Schema::Object(mut object)) = (self.schema)() else {
            panic!("{} is described as an object", (self.name)());
        };
        object.description = None;
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        object.required = object.properties.keys().cloned().collect();
        for (key, schema) in &mut object.properties {
            *schema = find(self.fields, key).answer_schema(schema.clone(), locale);
        }
        object.into()
    }
}

/// A key without words is found by the first test that makes the document.
fn find(fields: &'static [Field], key: &str) -> &'static Field {
    fields.iter().find(|field| field.name == key).unwrap_or_else(|| panic!("nothing is said of the key {key}"))
}

fn example(fields: &[&Field], locale: Locale) -> Value {
    let pairs = fields.iter().map(|field| (field.name.to_owned(), field.example_value(locale)));
    pairs.collect::<Map<_, _>>().into()
}

const fn required(required: bool) -> Required {
    if required { Required::True } else { Required::False }
}
