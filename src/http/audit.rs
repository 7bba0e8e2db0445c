//! One audit event for each request of an audited route, whatever becomes of the request: answered by whichever layer,
//! ended by a panic, or given up by its client. Which routes are audited stands in the route table.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use tokio::runtime::Handle;
use tracing::Instrument;

use super::LOGIN_PATH;
use super::device::{claimed_client_id, claimed_fingerprint};
use super::error::Failure;
use crate::audit::{Act, Actor, Event};
use crate::client_address::ClientAddress;
use crate::error_code::{ErrorCode, SUCCESS};
use crate::ids::{ClientId, RequestId, SessionId, UserId};
use crate::login::{Login, UnderWay};
use crate::phone_number::PhoneNumber;
use crate::session::Owner;
use crate::trace::{Trace, TraceId};

/// The outcome of a request whose client was gone before a login began, or before a tenant's act had ended.
const ABANDONED: &str = "ABANDONED";

/// What the layer of an audited route needs.
#[derive(Debug, Clone)]
pub struct Audited {
    pub act: Act,
    pub login: Arc<Login>,
}

/// Where handlers note what they learn of a request that is audited.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    app: Option<ClientId>,
    tenant: Option<ClientId>,
    user: Option<UserId>,
    session: Option<SessionId>,
    number: Option<PhoneNumber>,
    login: Option<UnderWay>,
}

impl Findings {
    pub fn app(&self, client_id: &ClientId) {
        self.lock().app = Some(client_id.clone());
    }

    /// The app is a tenant that has shown its token.
    pub fn tenant(&self, client_id: &ClientId) {
        self.app(client_id);
        self.lock().tenant = Some(client_id.clone());
    }

    pub fn user(&self, id: UserId) {
        self.lock().user = Some(id);
    }

    pub fn owner(&self, owner: Owner) {
        let mut found = self.lock();
        (found.session, found.user) = (Some(owner.session), Some(owner.user));
    }

    pub fn number(&self, number: &PhoneNumber) {
        self.lock().number = Some(number.clone());
    }

    pub fn login(&self, under_way: &UnderWay) {
        self.lock().login = Some(under_way.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layer of an audited route.
pub async fn record(State(route): State<Audited>, mut request: Request, next: Next) -> Response {
    let entry = Entry::of(&route, &request);
    request.extensions_mut().insert(entry.findings.clone());
    let mut unanswered = Unanswered { entry: Some(entry), login: route.login };
    let response = next.run(request).await;
    if let Some(entry) = unanswered.entry.take() {
        entry.end(Failure::code_of(&response).map_or(SUCCESS, ErrorCode::number));
    }
    response
}

/// A request that is refused before it reaches the routes; a login attempt all the same, if it is one.
pub fn record_unrouted(parts: &Parts, request_id: &RequestId, trace_id: TraceId, code: ErrorCode) {
    if parts.method == Method::POST && parts.uri.path() == LOGIN_PATH {
        let event = Event {
            app: claimed_client_id(&parts.headers),
            // Every gateway sends a host: whoever sends none is not behind one.
            address: parts
                .extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|ConnectInfo(peer)| peer.ip().to_canonical()),
            request_id: Some(request_id.clone()),
            trace_id: Some(trace_id),
            ..Event::of(Act::LogIn)
        };
        event.record(code.number());
    }
}

/// One audited request. Its event is written when this is dropped: once, whatever happens.
struct Entry {
    event: Event,
    findings: Findings,
    outcome: &'static str,
}

impl Entry {
    fn of(route: &Audited, request: &Request) -> Self {
        let (headers, extensions) = (request.headers(), request.extensions());
        let mut event = Event {
            address: extensions.get::<ClientAddress>().map(|client| client.ip),
            request_id: extensions.get::<RequestId>().cloned(),
            trace_id: extensions.get::<Trace>().map(Trace::id),
            ..Event::of(route.act)
        };
        if matches!(route.act, Act::LogIn | Act::RefreshSession | Act::LogOut) {
            event.app = claimed_client_id(headers);
            event.fingerprint = claimed_fingerprint(headers).map(|text| route.login.vault.fingerprint_hash(text));
        }
        Self { event, findings: Findings::default(), outcome: ABANDONED }
    }

    fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut found = self.findings.lock();
        let (event, login) = (&mut self.event, found.login.take());
        event.app = found.app.take().or(event.app.take());
        event.actor = found.tenant.take().map(Actor::Tenant);
        event.user = found.user.take();
        event.session = found.session.take();
        event.number = found.number.take();
        if let Some(subject) = login.as_ref().and_then(UnderWay::subject) {
            event.number = subject.number.cloned();
            event.user = subject.opened.map(|opened| opened.owner.user);
            event.session = subject.opened.map(|opened| opened.owner.session);
            event.new_user = subject.opened.map(|opened| opened.new_user);
            if subject.opened.is_some_and(|opened| opened.repeated) {
                event.act = Act::RepeatLogIn;
            }
        }
        event.record(self.outcome);
    }
}

/// Holds the entry while the request is worked on. A login goes on when its client is gone, and what it comes to is what
/// its event says.
struct Unanswered {
    entry: Option<Entry>,
    login: Arc<Login>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        if std::thread::panicking() {
            // What the client is told, further out.
            return entry.end(ErrorCode::SystemBusy.number());
        }
        let under_way = entry.findings.lock().login.clone();
        if let (Some(under_way), Ok(_)) = (under_way, Handle::try_current()) {
            let follow = async move {
                let failed = under_way.end().await.err().map(Failure::from);
                entry.end(failed.map_or(SUCCESS, |failure| failure.code.number()));
            };
            self.login.tasks.spawn(follow.in_current_span());
        }
    }
}
