//! Exports spans by OTLP over HTTP, through OpenTelemetry's own sampler, batches and exporter, which read the variables
//! `OTEL_*`. The ids are those of the log and the wire: a span is made here from one that has ended, and no library
//! watches the requests. It must not know what the spans are of.

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Config, SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::trace::{self, Attribute, Kind, Recorder, Span, TraceContext};

/// Where neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES say otherwise.
const SERVICE_NAME: &str = env!("CARGO_PKG_NAME");

/// What a collector that is dead may hold up the program's end.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// For one request to the collector, where OTEL_EXPORTER_OTLP_(TRACES_)TIMEOUT does not say otherwise: the standard's own.
const EXPORT_TIMEOUT_MS: u64 = 10_000;

/// A queue with a thread of its own. When it is full spans are lost, and nobody waits.
#[derive(Debug)]
pub struct Exporter {
    processor: BatchSpanProcessor,
    sampler: Box<dyn ShouldSample>,
    scope: InstrumentationScope,
    clock: Clock,
}

impl Exporter {
    /// Needs a tokio runtime, whose threads the export takes.
    pub fn from_environment() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let client = reqwest::Client::builder()
            .tls_backend_rustls()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(export_timeout())
            .build()?;
        let client = OnRuntime { client, runtime: Handle::current() };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource());
        let scope = InstrumentationScope::builder(SERVICE_NAME).with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { processor, sampler: Config::default().sampler, scope, clock: Clock::system() })
    }
}

impl Recorder for Exporter {
    fn samples(&self, trace_id: trace::TraceId, caller: Option<TraceContext>) -> bool {
        let caller = caller.map(|caller| Context::new().with_remote_span_context(span_context(caller, true)));
        let trace_id = TraceId::from_bytes(trace_id.0);
        let result = self.sampler.should_sample(caller.as_ref(), trace_id, "request", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    fn record(&self, span: Span) {
        let end_time = SystemTime::from(self.clock.now());
        let mut attributes: Vec<KeyValue> = span.attributes.into_iter().map(attribute).collect();
        attributes.extend(span.error.map(|error| KeyValue::new("error.type", error)));
        self.processor.on_end(SpanData {
            span_context: span_context(span.context, false),
            parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span_id.0)),
            parent_span_is_remote: span.parent.is_some_and(|parent| parent.is_remote),
            span_kind: match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Internal => SpanKind::Internal,
            },
            name: span.name,
            start_time: end_time.checked_sub(span.duration).unwrap_or(end_time),
            end_time,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }

    fn finish(&self) {
        // It has said by itself what went wrong.
        let _ = self.processor.shutdown_with_timeout(LAST_EXPORT);
    }
}

fn span_context(context: TraceContext, is_remote: bool) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(context.sampled);
    let (trace_id, span_id) = (TraceId::from_bytes(context.trace_id.0), SpanId::from_bytes(context.span_id.0));
    SpanContext::new(trace_id, span_id, flags, is_remote, TraceState::default())
}

fn attribute((name, value): (&'static str, Attribute)) -> KeyValue {
    let value = match value {
        Attribute::Text(text) => Value::from(text),
        Attribute::Number(number) => Value::from(number),
    };
    KeyValue::new(name, value)
}

/// What the environment says of this service, with its name and version where that says none.
fn resource() -> Resource {
    let from_environment = Resource::builder().build();
    let name = from_environment.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder_empty()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(from_environment.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    if is_named { builder.build() } else { builder.with_service_name(SERVICE_NAME).build() }
}

fn export_timeout() -> Duration {
    let milliseconds = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
        .into_iter()
        .find_map(|name| env::var(name).ok()?.trim().parse().ok());
    Duration::from_millis(milliseconds.unwrap_or(EXPORT_TIMEOUT_MS))
}

/// The batches' thread is not one of the runtime's, and the HTTP client works only there.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
