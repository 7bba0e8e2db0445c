//! The counters in front of the verifier and of the database, where those fail or take long.

use std::sync::Arc;

use async_trait::async_trait;
use oneclick_login::ids::RequestId;
use oneclick_login::metrics::{Format, Metrics, Sample};
use oneclick_login::store::{NewSession, OpenSessions, Outcome, StoreError};
use oneclick_login::trace::TraceContext;
use oneclick_login::verifier::{AccessToken, CallContext, PhoneNumberVerifier, Verified, VerifierError};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::support::scrape::Scrape;

fn metrics() -> Metrics {
    Metrics::new(OffsetDateTime::UNIX_EPOCH)
}

fn scrape(metrics: &Metrics) -> Scrape {
    let nothing = Sample { not_ready: Vec::new(), lost_log_lines: 0, parts: None };
    Scrape::parse(&metrics.encode(&nothing, Format::OpenMetrics))
}

fn call() -> CallContext {
    CallContext { request_id: RequestId::new(OffsetDateTime::UNIX_EPOCH), trace: TraceContext::root(false) }
}

/// Answers what the token says, once it is let.
struct Told(Semaphore);

#[async_trait]
impl PhoneNumberVerifier for Told {
    async fn verify(&self, token: &AccessToken, _: &CallContext) -> Result<Verified, VerifierError> {
        let _let = self.0.acquire().await;
        let code = token.expose().to_owned();
        Err(match token.expose() {
            "ambiguous" => VerifierError::Ambiguous { code },
            "unreachable" => VerifierError::Unreachable("no route".into()),
            "misconfigured" => VerifierError::Misconfigured { code },
            "not_a_number" => VerifierError::NotANumber,
            "unsupported_number" => VerifierError::UnsupportedNumber,
            _ => VerifierError::NoAnswer { reason: code, source: None },
        })
    }
}

#[tokio::test]
async fn every_outcome_of_the_verifier_counts_apart_and_only_a_number_is_billed() {
    let metrics = metrics();
    let verifier = metrics.verifier.meter(Arc::new(Told(Semaphore::new(1))), 9);
    let outcomes =
        ["ambiguous", "unreachable", "misconfigured", "not_a_number", "unsupported_number", "no_answer", "ambiguous"];
    for outcome in outcomes {
        let token = AccessToken::parse(outcome).unwrap();
        verifier.verify(&token, &call()).await.unwrap_err();
    }
    let scrape = scrape(&metrics);
    for (outcome, expected) in [
        ("ambiguous", 2.0),
        ("unreachable", 1.0),
        ("misconfigured", 1.0),
        ("not_a_number", 1.0),
        ("unsupported_number", 1.0),
        ("no_answer", 1.0),
        ("ok", 0.0),
    ] {
        assert_eq!(scrape.value("oneclick_verifier_calls_total", &[("outcome", outcome)]), expected, "{outcome}");
    }
    assert_eq!(scrape.value("oneclick_verifier_billed_calls_total", &[]), 1.0, "a number of another kind is one");
    assert_eq!(scrape.value("oneclick_verifier_call_duration_seconds_count", &[]), 7.0);
}

#[tokio::test]
async fn calls_under_way_are_seen_also_when_they_are_given_up() {
    let metrics = metrics();
    let verifier = metrics.verifier.meter(Arc::new(Told(Semaphore::new(0))), 9);
    let (token, call) = (AccessToken::parse("held").unwrap(), call());
    let in_flight = || scrape(&metrics).value("oneclick_verifier_in_flight", &[]);
    let mut calls = [verifier.verify(&token, &call), verifier.verify(&token, &call)];
    for call in &mut calls {
        assert!(futures_util::poll!(call).is_pending());
    }
    assert_eq!(in_flight(), 2.0);
    assert_eq!(scrape(&metrics).value("oneclick_verifier_in_flight_limit", &[]), 9.0);
    drop(calls);
    assert_eq!(in_flight(), 0.0);
}

struct Unavailable;

#[async_trait]
impl OpenSessions for Unavailable {
    async fn open_sessions(&self, _: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        Err(StoreError::Unavailable("away".into()))
    }

    async fn probe_sessions(&self, _: OffsetDateTime) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_batch_that_fails_counts_by_its_kind_and_opens_nothing() {
    let metrics = metrics();
    let store = metrics.sessions.meter(Arc::new(Unavailable));
    for _ in 0..2 {
        store.open_sessions(&[]).await.unwrap_err();
    }
    store.probe_sessions(OffsetDateTime::UNIX_EPOCH).await.unwrap();
    let scrape = scrape(&metrics);
    assert_eq!(scrape.value("oneclick_commits_total", &[("outcome", "unavailable")]), 2.0);
    assert_eq!(scrape.value("oneclick_commits_total", &[("outcome", "ok")]), 0.0, "a probe is no batch");
    assert_eq!(scrape.value("oneclick_commit_duration_seconds_count", &[]), 2.0);
    assert_eq!(scrape.value("oneclick_sessions_opened_total", &[]), 0.0);
}
