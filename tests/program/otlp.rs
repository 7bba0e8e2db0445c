//! The feature `otel`: what a collector gets of a login through the real program, and that nobody suffers where it gets
//! nothing.

use std::collections::HashMap;
use std::time::Duration;

use oneclick_login::trace::TraceContext;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::Instant;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::app::login;
use crate::support::get_mobile::GetMobile;
use crate::support::program::{Program, Setup};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const LOGIN: &str = "POST /api/v2/sdk/login/aliyun-mobile-auth";

/// A collector that wants to know who sends.
async fn collector() -> MockServer {
    let server = MockServer::start().await;
    let traces = Mock::given(method("POST")).and(path("/v1/traces")).and(header("authorization", "Bearer of spans"));
    traces.respond_with(ResponseTemplate::new(200)).mount(&server).await;
    server
}

fn exporting_to(endpoint: &str, setup: Setup) -> Setup {
    setup
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .set("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of%20spans")
        .set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
}

/// All that the collector took.
async fn exports(collector: &MockServer) -> Vec<ExportTraceServiceRequest> {
    let requests = collector.received_requests().await.unwrap();
    requests.iter().map(|request| ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap()).collect()
}

fn spans(exports: &[ExportTraceServiceRequest]) -> Vec<&Span> {
    let scopes = exports.iter().flat_map(|export| &export.resource_spans).flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).collect()
}

fn texts(attributes: &[KeyValue]) -> HashMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let value = |pair: &KeyValue| pair.value.as_ref().and_then(|value| value.value.as_ref()).map(text);
    attributes.iter().map(|pair| (pair.key.as_str(), value(pair).unwrap())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traced(token: &str, flags: &str) -> crate::support::app::Call {
    login(token).with("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"))
}

#[tokio::test]
async fn a_login_is_four_spans_of_the_callers_trace_with_the_ids_of_the_log_and_of_the_wire() {
    let (collector, peer) = (collector().await, GetMobile::start().await);
    let setup = exporting_to(&collector.uri(), peer.verifies_for(Setup::new().patient()));
    let mut program = setup.start().await;
    let answer = program.send(traced("ok-13900001234-canary", "01")).await.unwrap();
    assert_eq!(answer.status, 200);
    // What is still waiting is sent at the end.
    program.end().await;

    let exports = exports(&collector).await;
    let spans = spans(&exports);
    let named =
        |name: &str| *spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:?}"));
    assert_eq!(spans.len(), 4, "{spans:?}");
    let request = named(LOGIN);
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(request.kind(), SpanKind::Server);
    let id = answer.header("x-request-id").unwrap();
    let attributes = texts(&request.attributes);
    assert_eq!(attributes["request.id"], id);
    assert_eq!(attributes["http.response.status_code"], "200");
    assert_eq!(attributes.len(), 4, "{attributes:?}");
    for (stage, kind) in [("verify", SpanKind::Client), ("commit", SpanKind::Client), ("sign", SpanKind::Internal)] {
        let span = named(stage);
        assert_eq!((&span.trace_id, &span.parent_span_id), (&request.trace_id, &request.span_id), "{stage}");
        assert_eq!((span.kind(), span.attributes.len()), (kind, 0), "{stage}");
        assert!(request.start_time_unix_nano <= span.end_time_unix_nano, "{stage}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{stage}");
    }

    let sent: Vec<_> = peer.traceparents().iter().map(|sent| TraceContext::parse(sent).unwrap()).collect();
    assert_eq!((hex(&named("verify").span_id), true), (sent[0].span_id.to_string(), sent[0].sampled));
    assert!(program.log_lines().iter().filter(|line| line["request.id"] == id).all(|line| line["trace.id"] == TRACE));

    let resource = exports[0].resource_spans[0].resource.as_ref().unwrap();
    let resource = texts(&resource.attributes);
    assert_eq!((&*resource["service.name"], &*resource["deployment.environment.name"]), ("oneclick-login", "test"));

    let user = super::rows::subject(&answer).to_string();
    let all = String::from_utf8_lossy(&collector.received_requests().await.unwrap()[0].body).into_owned();
    for personal in ["1390000", "0001234", "canary", "156aysdna213sc50", &user, "127.0.0.1"] {
        assert!(!all.contains(personal), "{personal} is exported");
    }
}

#[tokio::test]
async fn failures_and_clients_that_are_gone_are_told_as_such() {
    let (collector, peer) = (collector().await, GetMobile::start().await);
    let setup = exporting_to(&collector.uri(), peer.verifies_for(Setup::new().patient()))
        .set("OTEL_SERVICE_NAME", "login-of-a-test");
    let mut program = setup.start().await;
    program.send(traced("ok-13900001234", "01").without("X-agent")).await.unwrap();
    let mut client = program.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut client, &super::wire::raw_login("held-13900001235")).await.unwrap();
    peer.wait_for("held-13900001235").await;
    drop(client);
    peer.release(1);
    // The last: after a refusal calls are paced.
    program.send(traced("busy-13900001234", "01")).await.unwrap();
    program.end().await;

    let exports = exports(&collector).await;
    let mut told: Vec<_> = spans(&exports)
        .into_iter()
        .map(|span| (span.name.as_str(), texts(&span.attributes).remove("error.type").unwrap_or_default()))
        .collect();
    told.sort_unstable();
    let expected = [
        (LOGIN, ""),
        (LOGIN, "IDAAS.SDK.COM.0002"),
        (LOGIN, "abandoned"),
        ("commit", ""),
        ("verify", ""),
        ("verify", "throttled"),
    ];
    assert_eq!(told, expected.map(|(name, error)| (name, error.to_owned())));
    let resource = exports[0].resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(texts(&resource.attributes)["service.name"], "login-of-a-test");
}

#[tokio::test]
async fn the_sampler_of_the_environment_decides_and_the_next_service_hears_of_it() {
    for (sampler, flags, sampled) in [
        (None, "00", false),
        (Some(("always_on", "")), "00", true),
        (Some(("always_off", "")), "01", false),
        (Some(("parentbased_traceidratio", "0")), "01", true),
        (Some(("traceidratio", "0")), "01", false),
    ] {
        let (collector, peer) = (collector().await, GetMobile::start().await);
        let mut setup = exporting_to(&collector.uri(), peer.verifies_for(Setup::new().patient()));
        if let Some((sampler, argument)) = sampler {
            setup = setup.set("OTEL_TRACES_SAMPLER", sampler).set("OTEL_TRACES_SAMPLER_ARG", argument);
        }
        let mut program = setup.start().await;
        assert_eq!(program.send(traced("ok-13900001234", flags)).await.unwrap().status, 200);
        program.end().await;
        let sent = TraceContext::parse(&peer.traceparents()[0]).unwrap();
        assert_eq!((sent.trace_id.to_string().as_str(), sent.sampled), (TRACE, sampled), "{sampler:?}");
        assert_eq!(spans(&exports(&collector).await).len(), if sampled { 4 } else { 0 }, "{sampler:?}");
    }
}

/// Logs in often, ends, and says how long each took at most.
async fn log_in_and_end(mut program: Program) -> (Duration, Duration) {
    let mut longest = Duration::ZERO;
    for n in 0..50 {
        let began = Instant::now();
        assert_eq!(program.log_in(&format!("sandbox:13900001234:{n}")).await.status, 200);
        longest = longest.max(began.elapsed());
    }
    let ending = Instant::now();
    program.end().await;
    (longest, ending.elapsed())
}

#[tokio::test]
async fn a_collector_that_is_dead_costs_no_login_and_hardly_delays_the_end() {
    // Accepts and never answers; the other does not even accept.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in [silent.as_str(), "http://127.0.0.1:1"] {
        // Every few milliseconds, and with room for less than the spans of three logins.
        let setup = exporting_to(endpoint, Setup::new().patient())
            .set("OTEL_BSP_SCHEDULE_DELAY", "5")
            .set("OTEL_BSP_MAX_QUEUE_SIZE", "10");
        let program = setup.start().await;
        let (longest, end) = log_in_and_end(program).await;
        assert!(longest < Duration::from_secs(5) && end < Duration::from_secs(10), "{endpoint}: {longest:?}, {end:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_set_up_is_logged_and_logins_go_on() {
    let mut program = exporting_to("not a URL", Setup::new()).start().await;
    assert_eq!(program.log_in("sandbox:13900001234").await.status, 200);
    program.end().await;
    assert!(
        program.log_lines().iter().any(|line| line["message"] == "traces are not exported"),
        "{}",
        program.stdout()
    );
}
