//! Turns logins away at the door while the server has more of them under way than it answers in time, or while the
//! database takes no sessions: before their body is read, with their tokens unspent, and as cheaply as can be. One
//! counter and a line now and then tell of them, for a line and an audit event each would cost more than the answer.

use std::fmt;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::LOGIN_PATH;
use super::error::{ACCESS_TOKEN_STATE, Failure, language, retry_after_seconds};
use super::now_and_then::NowAndThen;
use super::request_id::HeaderId;
use crate::clock::Clock;
use crate::commit_queue::CommitQueue;
use crate::error_code::ErrorCode;
use crate::locale::Locale;
use crate::metrics::Counter;
use crate::verifier::TokenState;

pub struct LoadShedding {
    commit_queue: CommitQueue,
    turned_away: Counter,
    clock: Clock,
    default_locale: Locale,
    /// The body of the answer, by language.
    bodies: [(Locale, Bytes); 2],
    lines: NowAndThen,
}

impl LoadShedding {
    pub fn new(commit_queue: CommitQueue, turned_away: Counter, clock: Clock, default_locale: Locale) -> Self {
        let failure = Failure::new(ErrorCode::SystemBusy);
        let bodies = [Locale::En, Locale::Zh].map(|locale| (locale, failure.contract_body(locale)));
        Self { commit_queue, turned_away, clock, default_locale, bodies, lines: NowAndThen::default() }
    }

    /// The answer to a login that must not begin now; `None` for everything else.
    pub fn turn_away(&self, parts: &Parts) -> Option<Response> {
        let is_login = parts.method == Method::POST && parts.uri.path() == LOGIN_PATH;
        if !is_login || self.commit_queue.has_room() {
            return None;
        }
        self.turned_away.inc();
        self.tell_now_and_then();
        let locale = language(&parts.headers).unwrap_or(self.default_locale);
        let body = self.bodies.iter().find(|(spoken, _)| *spoken == locale).map(|(_, body)| body.clone());
        let mut response = Response::new(Body::from(body.unwrap_or_default()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds()));
        headers.insert(ACCESS_TOKEN_STATE, HeaderValue::from_static(TokenState::Unspent.as_str()));
        HeaderId::of(&parts.headers, self.clock.now()).write(headers);
        Some(response)
    }

    fn tell_now_and_then(&self) {
        let Some(logins) = self.lines.count() else { return };
        let cause = if self.commit_queue.is_healthy() { "overload" } else { "the database takes no sessions" };
        tracing::warn!(logins, cause, under_way = self.commit_queue.taken(), "logins are turned away, unspent");
    }
}

impl fmt::Debug for LoadShedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShedding").field("commit_queue", &self.commit_queue).finish_non_exhaustive()
    }
}
