//! The audit stream: one event for every login attempt, every use of a session and every administrative act, with who, whom and how it ended.
//!
//! An event is a line of the log under the target [`TARGET`]. `telemetry` lets that through whatever `RUST_LOG` says and
//! keeps room for it while nobody reads. This must not know what leads to an event, nor how a line is made.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Level;

use crate::device::FingerprintHash;
use crate::ids::{ClientId, RequestId, SessionId, UserId};
use crate::phone_number::PhoneNumber;
use crate::trace::TraceId;

pub const TARGET: &str = "audit";

/// Counts this process's events. A number that is missing is an event that was lost on its way.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// What is audited. Reading what the log, `app list` and the like show anyway is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    LogIn,
    /// The answer of a login, given once more because it was lost.
    RepeatLogIn,
    RefreshSession,
    LogOut,
    /// A token that had been replaced came again.
    EndReusedSession,
    IssueTenantToken,
    IssueTicket,
    RedeemTicket,
    FindUser,
    DisableUser,
    EnableUser,
    EraseUser,
    RevokeSessions,
    RegisterApp,
    RenewSecret,
    EnableApp,
    DisableApp,
    RotateKey,
    ReplaceKeys,
    RemoveKey,
    RewrapKeys,
}

impl Act {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LogIn => "login",
            Self::RepeatLogIn => "login.repeat",
            Self::RefreshSession => "session.refresh",
            Self::LogOut => "session.log_out",
            Self::EndReusedSession => "session.reuse",
            Self::IssueTenantToken => "tenant_token.issue",
            Self::IssueTicket => "ticket.issue",
            Self::RedeemTicket => "ticket.redeem",
            Self::FindUser => "user.find",
            Self::DisableUser => "user.disable",
            Self::EnableUser => "user.enable",
            Self::EraseUser => "user.erase",
            Self::RevokeSessions => "session.revoke",
            Self::RegisterApp => "app.register",
            Self::RenewSecret => "app.new_secret",
            Self::EnableApp => "app.enable",
            Self::DisableApp => "app.disable",
            Self::RotateKey => "key.rotate",
            Self::ReplaceKeys => "key.rotate_compromised",
            Self::RemoveKey => "key.remove",
            Self::RewrapKeys => "key.rewrap",
        }
    }
}

/// Who acted, where that is known. Nobody is before a login.
#[derive(Debug, Clone)]
pub enum Actor {
    CommandLine,
    Tenant(ClientId),
}

/// A client id cannot be taken for the command line: it has no colon.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("cli"),
            Self::Tenant(client_id) => write!(f, "tenant:{client_id}"),
        }
    }
}

/// An act and what is known of it; what is not stays out of the line.
#[derive(Debug, Clone)]
pub struct Event {
    pub act: Act,
    pub actor: Option<Actor>,
    pub app: Option<ClientId>,
    pub user: Option<UserId>,
    /// Whether this login made the user.
    pub new_user: Option<bool>,
    pub session: Option<SessionId>,
    /// A signing key's `kid`, as the operator wrote it.
    pub key: Option<String>,
    /// Only its masked form is written.
    pub number: Option<PhoneNumber>,
    pub fingerprint: Option<FingerprintHash>,
    pub address: Option<IpAddr>,
    pub request_id: Option<RequestId>,
    pub trace_id: Option<TraceId>,
}

impl Event {
    pub const fn of(act: Act) -> Self {
        Self {
            act,
            actor: None,
            app: None,
            user: None,
            new_user: None,
            session: None,
            key: None,
            number: None,
            fingerprint: None,
            address: None,
            request_id: None,
            trace_id: None,
        }
    }

    /// Writes the event; `outcome` is [`crate::error_code::SUCCESS`] or what it failed with, of a request the error code in
    /// full. Its fields do not rest on the span around it, which `RUST_LOG` may switch off.
    pub fn record(&self, outcome: &str) {
        tracing::event!(
            target: TARGET,
            Level::INFO,
            audit.event = self.act.as_str(),
            audit.sequence = EVENTS.fetch_add(1, Ordering::Relaxed) + 1,
            outcome,
            actor = self.actor.as_ref().map(display),
            app.client_id = self.app.as_ref().map(ClientId::as_str),
            user.id = self.user.map(display),
            user.new = self.new_user,
            session.id = self.session.map(display),
            key.id = self.key,
            phone.masked = self.number.as_ref().map(debug),
            device.fingerprint_hash = self.fingerprint.map(display),
            client.address = self.address.map(display),
            request.id = self.request_id.as_ref().map(RequestId::as_str),
            trace.id = self.trace_id.map(display),
            "audit"
        );
    }
}
