//! One named value of a request or an answer: a header, a part of the path, a key of a JSON object. Its limits are the
//! constants that the code checks by.

use serde_json::{Value, json};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::text::Text;
use crate::locale::Locale;

#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub required: bool,
    about: Text,
    form: Form,
    example: Example,
}

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Whatever its type allows.
    Free,
    /// A text of 1 to `max` bytes that matches `pattern`.
    Text {
        max: usize,
        pattern: &'static str,
    },
    /// A text that is recorded, as far as it is not too long, and must say something.
    Recorded,
    /// `prefix` and so many characters `[A-Za-z0-9]`.
    Random {
        prefix: &'static str,
        length: usize,
    },
    OneOf(&'static [&'static str]),
    Uuid,
    /// A text by convention; nothing is refused for it.
    Advisory,
}

/// The pattern of a text that only has to say something.
pub const NOT_BLANK: &str = r"\S";

#[derive(Debug, Clone, Copy)]
pub enum Example {
    Text(&'static str),
    Texts(&'static [&'static str]),
    Number(u64),
    False,
    Null,
    /// The reader's language.
    Language,
    /// Of a JWK Set, with one key (that of RFC 7517, appendix A.1).
    Keys,
}

impl Field {
    pub const fn new(name: &'static str, about: Text, example: Example) -> Self {
        Self { name, required: true, about, form: Form::Free, example }
    }

    pub const fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    pub const fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// The same under another key.
    pub const fn renamed(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub const fn about(mut self, about: Text) -> Self {
        self.about = about;
        self
    }

    pub const fn description(&self, locale: Locale) -> &'static str {
        self.about.get(locale)
    }

    pub fn example_value(&self, locale: Locale) -> Value {
        match self.example {
            Example::Text(text) => json!(text),
            Example::Texts(texts) => json!(texts),
            Example::Number(number) => json!(number),
            Example::False => json!(false),
            Example::Null => Value::Null,
            Example::Keys => json!([{
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
            }]),
            Example::Language => json!(match locale {
                Locale::En => "en",
                Locale::Zh => "zh",
            }),
        }
    }

    /// The schema of a header or of a part of the path.
    pub fn text_schema(&self) -> Schema {
        self.complete(Object::with_type(Type::String)).into()
    }

    /// The schema of a key in a request's object, where null is the same as leaving it out.
    pub fn key_schema(&self, locale: Locale) -> Schema {
        let kind = match (self.form, self.required) {
            (Form::Advisory, _) => SchemaType::AnyValue,
            (_, true) => SchemaType::Type(Type::String),
            (_, false) => SchemaType::from_iter([Type::String, Type::Null]),
        };
        let object = ObjectBuilder::new().schema_type(kind).build();
        self.described(object, locale).into()
    }

    /// The schema of a key in an answer's object, of which the type is known from the code.
    pub fn answer_schema(&self, known: RefOr<Schema>, locale: Locale) -> RefOr<Schema> {
        match known {
            RefOr::T(Schema::Object(object)) => Schema::Object(self.described(object, locale)).into(),
            RefOr::T(Schema::Array(mut array)) => {
                array.description = Some(self.description(locale).to_owned());
                Schema::Array(array).into()
            }
            other => other,
        }
    }

    fn described(&self, object: Object, locale: Locale) -> Object {
        let mut object = self.complete(object);
        object.description = Some(self.description(locale).to_owned());
        object.examples = vec![self.example_value(locale)];
        object
    }

    fn complete(&self, mut object: Object) -> Object {
        match self.form {
            Form::Free | Form::Advisory => {}
            Form::Text { max, pattern } => {
                (object.min_length, object.max_length) = (Some(1), Some(max));
                object.pattern = Some(pattern.to_owned());
            }
            Form::Recorded => (object.min_length, object.pattern) = (Some(1), Some(NOT_BLANK.to_owned())),
            Form::Random { prefix, length } => object.pattern = Some(format!("^{prefix}[A-Za-z0-9]{{{length}}}$")),
            Form::OneOf(words) => object.enum_values = Some(words.iter().map(|word| json!(word)).collect()),
            Form::Uuid => object.format = Some(SchemaFormat::Custom("uuid".to_owned())),
        }
        object
    }
}
