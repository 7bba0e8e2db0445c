//! Makes one line of one event: the fields of the spans around it and its own, flat, as JSON or text. Whatever a value
//! holds, the line stays one line, parses, and sends no control sequence to a terminal. It knows no field by meaning.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};

use serde::Serialize;
use serde_json::Value;
use time::format_description::FormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::sink::{Kind, Sink};
use crate::audit;
use crate::clock::Clock;
use crate::error_chain::Chain;

/// A longer value is cut: a line must stay readable, and whoever sends long headers must not fill the disk.
const VALUE_BYTES: usize = 4096;

/// About what a request's line takes.
const LINE_BYTES: usize = 512;

/// RFC 3339 in UTC with all six digits, so that lines sort as text.
const TIMESTAMP: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// What every line has; a field of the same name is kept apart from it.
const OWN: [&str; 3] = ["timestamp", "level", "target"];

pub struct Lines {
    pub text: bool,
    pub clock: Clock,
    pub sink: Sink,
}

/// By name, in the order in which they came. There are a dozen: a list is quicker than a map.
type Values = Vec<(Cow<'static, str>, Value)>;

/// Fields of an event or a span; a later one of the same name replaces an earlier one.
#[derive(Default, Clone)]
struct Fields {
    values: Values,
    /// Set where the event was made by the `log` crate, whose own target is always "log".
    target: Option<String>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                outer.values.iter().for_each(|(name, value)| fields.set(name.clone(), value.clone()));
            }
        }
        event.record(&mut fields);
        let timestamp = self.clock.now().format(TIMESTAMP).unwrap_or_default();
        let level = event.metadata().level().as_str();
        let target = fields.target.take().unwrap_or_else(|| event.metadata().target().to_owned());
        let own = [timestamp.as_str(), level, target.as_str()];
        let kind = if target == audit::TARGET { Kind::Audit } else { Kind::Log };
        self.sink.push(&if self.text { as_text(own, fields.values) } else { as_json(own, fields.values) }, kind);
    }
}

fn as_json(own: [&str; 3], mut fields: Values) -> String {
    let message = take_message(&mut fields).unwrap_or_else(|| Value::from(""));
    let mut line = Vec::with_capacity(LINE_BYTES);
    for (name, value) in OWN.into_iter().zip(own) {
        put_json(&mut line, name, value);
    }
    put_json(&mut line, "message", &message);
    for (name, value) in &fields {
        put_json(&mut line, name, value);
    }
    line.push(b'}');
    let line = String::from_utf8(line).expect("JSON is UTF-8");
    escaped(line, |c, line| write!(line, "\\u{:04x}", u32::from(c)))
}

/// One more pair of an object that is still open.
fn put_json<T: Serialize + ?Sized>(line: &mut Vec<u8>, name: &str, value: &T) {
    line.push(if line.is_empty() { b'{' } else { b',' });
    // Memory takes every byte, and neither texts nor values can fail to be JSON.
    let _ = serde_json::to_writer(&mut *line, name);
    line.push(b':');
    let _ = serde_json::to_writer(line, value);
}

fn as_text([timestamp, level, target]: [&str; 3], mut fields: Values) -> String {
    let mut line = format!("{timestamp} {level:>5} {target}:");
    if let Some(Value::String(message)) = take_message(&mut fields) {
        let _ = write!(line, " {message}");
    }
    for (name, value) in fields {
        let _ = match value {
            Value::String(text) if !text.is_empty() && !text.contains(needs_quotes) => write!(line, " {name}={text}"),
            value => write!(line, " {name}={value}"),
        };
    }
    escaped(line, |c, line| write!(line, "{}", c.escape_default()))
}

fn take_message(fields: &mut Values) -> Option<Value> {
    let at = fields.iter().position(|(name, _)| name == "message")?;
    Some(fields.remove(at).1)
}

fn needs_quotes(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\\' | '=') || is_unsafe(c)
}

/// Control characters (ESC, newlines, C1), what some readers take for a line's end, and what turns the direction of
/// the text around it.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The line with its unsafe characters escaped and a newline behind it. In JSON they can only stand inside strings.
fn escaped(mut line: String, escape: impl Fn(char, &mut String) -> fmt::Result) -> String {
    if !line.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let mut safe = String::with_capacity(line.len() + 1);
        for c in line.chars() {
            if is_unsafe(c) {
                let _ = escape(c, &mut safe);
            } else {
                safe.push(c);
            }
        }
        line = safe;
    }
    line.push('\n');
    line
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            // Where a record of the `log` crate came from: its target is the line's, the rest is left out.
            "log.target" => self.target = value.into().as_str().map(str::to_owned),
            name if name.starts_with("log.") => {}
            name if OWN.contains(&name) => {
                self.set(format!("field.{name}").into(), value.into());
            }
            name => {
                self.set(name.trim_start_matches("r#").into(), value.into());
            }
        }
    }

    fn set(&mut self, name: Cow<'static, str>, value: Value) {
        match self.values.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name, value)),
        }
    }

    fn put_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        let mut cut = Cut(String::new());
        // The only failure is that it was cut.
        let _ = cut.write_fmt(text);
        self.put(field, cut.0);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, format_args!("{value:?}"));
    }

    /// With its whole chain of causes, as this is the only place that says them.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put_text(field, format_args!("{}", Chain(value)));
    }
}

/// Text of at most [`VALUE_BYTES`] and an ellipsis; stops whoever writes more.
struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(room) = VALUE_BYTES.checked_sub(self.0.len()) else { return Err(fmt::Error) };
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests;
