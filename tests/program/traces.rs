//! A request's trace, through the real program: taken from the caller, in every line of the log, and sent on.

use std::collections::HashSet;

use oneclick_login::trace::TraceContext;

use crate::support::app::login;
use crate::support::get_mobile::GetMobile;
use crate::support::program::Setup;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[tokio::test]
async fn a_callers_trace_goes_on_to_the_verifier_and_stands_in_every_line() {
    let peer = GetMobile::start().await;
    let mut program = peer.verifies_for(Setup::new().patient()).start().await;
    let call = login("ok-13900001234").with("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let answer = program.send(call).await.unwrap();
    assert_eq!(answer.status, 200);
    program.end().await;
    peer.assert_clean();

    let sent = peer.traceparents();
    let [sent] = sent.as_slice() else { panic!("one call has one traceparent: {sent:?}") };
    let sent = TraceContext::parse(sent).expect("a valid traceparent");
    assert_eq!((sent.trace_id.to_string().as_str(), sent.sampled), (TRACE, true));
    assert_ne!(sent.span_id.to_string(), CALLER, "our span is the parent there, not the caller's");

    let id = answer.header("x-request-id").unwrap();
    let lines: Vec<_> = program.log_lines().into_iter().filter(|line| line["request.id"] == id).collect();
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| line["trace.id"] == TRACE), "{lines:#?}");
}

#[tokio::test]
async fn without_a_valid_traceparent_every_request_begins_a_trace_of_its_own() {
    let peer = GetMobile::start().await;
    let mut program = peer.verifies_for(Setup::new().patient()).start().await;
    let valid = format!("00-{TRACE}-{CALLER}-01");
    let calls = [
        login("ok-13900000000"),
        login("ok-13900000001").with("traceparent", "forged\"}"),
        login("ok-13900000002").with("traceparent", valid.to_uppercase()),
        login("ok-13900000003").with("traceparent", &valid).and("traceparent", &valid),
        login("ok-13900000004").with("traceparent", format!("{valid}-{{\"level\":\"FATAL\"}}")),
    ];
    let sent = calls.len();
    for call in calls {
        assert_eq!(program.send(call).await.unwrap().status, 200);
    }
    program.end().await;

    let traces: Vec<_> = peer.traceparents().iter().map(|sent| TraceContext::parse(sent).unwrap()).collect();
    let ids: HashSet<_> = traces.iter().map(|trace| trace.trace_id.to_string()).collect();
    assert_eq!((traces.len(), ids.len()), (sent, sent));
    assert!(!ids.contains(TRACE) && traces.iter().all(|trace| !trace.sampled), "nobody records here");
    let logged: HashSet<_> =
        program.log_lines().iter().filter_map(|line| Some(line["trace.id"].as_str()?.to_owned())).collect();
    assert_eq!(logged, ids);
    assert!(!program.stdout().contains("FATAL"));
}
