//! The login: from a checked request to an opened session. No HTTP, no SQL, no JSON of the wire.
//!
//! From the moment its token may leave this machine, a login runs in a task of its own: a client that goes away must
//! not turn a spent token into nothing.

mod under_way;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::under_way::{Ended, Procedure, Reached, SignedIn};
use crate::client_address::ClientAddress;
use crate::clock::{Clock, ClockTrust};
use crate::commit_queue::{CommitError, CommitQueue, Refused, Ticket};
use crate::deadline::Deadline;
use crate::device::Device;
use crate::id_token::IdTokens;
use crate::ids::{ClientId, RequestId, SessionId, UserId};
use crate::keys::SigningKeyError;
use crate::limits::budget::Budget;
use crate::limits::{Caller, Limits};
use crate::over_limit::OverLimit;
use crate::session::{Bearer, Grant, SessionError, Sessions};
use crate::session_token::SessionToken;
use crate::store::{App, CandidateUser, NewSession, Opened, Outcome};
use crate::trace::{Kind, Trace};
use crate::vault::Vault;
use crate::verifier::{AccessToken, CallContext, PhoneNumberVerifier, ReplayKey, TokenState, Verified, VerifierError};

pub use self::under_way::{OpenedSession, Stages, Subject, UnderWay};

/// The capabilities a login needs, and the rules it follows.
pub struct Login {
    pub limits: Arc<Limits>,
    pub verifier: Arc<dyn PhoneNumberVerifier>,
    pub vault: Arc<Vault>,
    pub budget: Arc<Budget>,
    pub commit_queue: CommitQueue,
    pub sessions: Arc<Sessions>,
    pub id_tokens: Arc<IdTokens>,
    pub clock: Clock,
    pub clock_trust: ClockTrust,
    pub rules: Rules,
    /// Logins under way; a drain waits for them.
    pub tasks: TaskTracker,
    pub in_flight: InFlight,
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether unknown numbers become users, where the app does not say.
    pub auto_register: bool,
    pub session_ttl: Duration,
    /// From the last byte of a request's body to its answer.
    pub timeout: Duration,
    /// What a call of the verifier may take at the most.
    pub verifier_timeout: Duration,
    /// What is kept of a request's time for its commit: no call of the verifier begins that would leave less.
    pub commit_reserve: Duration,
    /// Whether a login whose answer was lost may have it once more.
    pub repeats_answers: bool,
}

/// A login whose form is right and whose app is known.
#[derive(Debug)]
pub struct LoginRequest {
    pub app: App,
    pub device: Device,
    pub access_token: AccessToken,
    pub request_id: RequestId,
    pub trace: Trace,
    pub client_address: Option<ClientAddress>,
    pub deadline: Deadline,
}

impl LoginRequest {
    fn caller(&self) -> Caller<'_> {
        Caller { app: &self.app.client_id, address: self.client_address, device_fingerprint: &self.device.fingerprint }
    }
}

#[derive(Debug)]
pub struct LoggedIn {
    pub session_token: SessionToken,
    /// How long the session_token is valid.
    pub expires_in_seconds: u64,
    pub id_token: String,
    pub user_id: UserId,
    pub new_user: bool,
    pub stages: Stages,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("this machine's clock is too far from the database's to sign tokens by it")]
    ClockOff,
    #[error("too little time is left to verify the token and to commit the session")]
    TooLate,
    #[error(transparent)]
    Verifier(#[from] VerifierError),
    #[error("the number has no user and the app registers none")]
    UserNotFound,
    #[error("the user is disabled")]
    UserDisabled,
    #[error("another session was opened with this access token")]
    TokenReplayed,
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("an earlier answer could not be looked for")]
    Repeat(#[from] SessionError),
    #[error("the id_token was not signed")]
    Signing(#[from] SigningKeyError),
    #[error("the login took too long")]
    TimedOut,
    #[error("the login's task failed")]
    Task(#[source] JoinError),
}

impl LoginError {
    /// What the client may do with its token now.
    pub const fn token_state(&self) -> TokenState {
        match self {
            Self::OverLimit(_) | Self::Refused(_) | Self::ClockOff | Self::TooLate => TokenState::Unspent,
            Self::Verifier(error) => error.token_state(),
            Self::UserNotFound | Self::UserDisabled | Self::TokenReplayed => TokenState::Spent,
            // Spent at the verifier, but the session may be there: the same token may get its answer once more.
            Self::Commit(_) | Self::Signing(_) | Self::Repeat(_) | Self::TimedOut | Self::Task(_) => {
                TokenState::Unknown
            }
        }
    }

    /// Which limit was reached, and when to come again.
    pub const fn over_limit(&self) -> Option<&OverLimit> {
        match self {
            Self::OverLimit(over) | Self::Verifier(VerifierError::OverBudget(over)) => Some(over),
            _ => None,
        }
    }

    /// Whether it says that the token is bad or was used before: then an earlier login may have used it.
    const fn rejects_token(&self) -> bool {
        matches!(
            self,
            Self::TokenReplayed | Self::Verifier(VerifierError::TokenRejected { .. } | VerifierError::Ambiguous { .. })
        )
    }
}

/// The logins in flight, by their access token: a token is at the verifier at most once at a time.
#[derive(Default)]
pub struct InFlight(Mutex<HashMap<ReplayKey, InFlightLogin>>);

struct InFlightLogin {
    client_id: ClientId,
    device_fingerprint: String,
    procedure: Procedure,
}

impl Login {
    /// Begins to exchange the token, to find or register the user and to open a session; or joins an equal login that is
    /// at it. The limits and the place in the commit queue come here.
    pub fn begin(self: &Arc<Self>, request: LoginRequest) -> Result<UnderWay, Arc<LoginError>> {
        self.limits.count_login(request.caller()).map_err(|over| Arc::new(over.into()))?;
        if self.clock_trust.is_lost() {
            return Err(Arc::new(LoginError::ClockOff));
        }
        let (trace, deadline) = (request.trace.clone(), request.deadline);
        let (procedure, is_twin) = self.join_or_start(request)?;
        Ok(UnderWay { login: Arc::clone(self), procedure, is_twin, trace, deadline })
    }

    /// A request whose token is in flight already makes no call. From the same application and device it shares the
    /// answer; from another one it waits for the end and is refused.
    fn join_or_start(self: &Arc<Self>, request: LoginRequest) -> Result<(Procedure, bool), Arc<LoginError>> {
        let Some(token) = self.verifier.replay_key(&request.access_token) else {
            return Ok((self.start(request, None)?, false));
        };
        let mut in_flight = self.in_flight.lock();
        if let Some(first) = in_flight.get(&token) {
            let shares = self.rules.repeats_answers && first.is_of(&request);
            let first = first.procedure.clone();
            return Ok((if shares { first } else { refused_after(first) }, true));
        }
        let (client_id, device_fingerprint) = (request.app.client_id.clone(), request.device.fingerprint.clone());
        let procedure = self.start(request, Some(token))?;
        in_flight.insert(token, InFlightLogin { client_id, device_fingerprint, procedure: procedure.clone() });
        Ok((procedure, false))
    }

    fn start(self: &Arc<Self>, request: LoginRequest, token: Option<ReplayKey>) -> Result<Procedure, Arc<LoginError>> {
        let ticket = self.commit_queue.admit().map_err(|refused| Arc::new(refused.into()))?;
        let login = Arc::clone(self);
        let task = async move {
            let _registered = Registered { in_flight: &login.in_flight, token };
            let mut reached = Reached::default();
            let outcome = login.run(ticket, request, &mut reached).await.map_err(Arc::new);
            Ended { outcome, reached }
        };
        let task = self.tasks.spawn(task.in_current_span());
        let failed = |failed| Ended { outcome: Err(Arc::new(LoginError::Task(failed))), reached: Reached::default() };
        Ok(task.map(move |ended| Arc::new(ended.unwrap_or_else(failed))).boxed().shared())
    }

    async fn run(&self, ticket: Ticket, request: LoginRequest, reached: &mut Reached) -> Result<SignedIn, LoginError> {
        match self.sign_in(ticket, &request, reached).await {
            Err(error) if error.rejects_token() && self.rules.repeats_answers => {
                let bearer =
                    Bearer { client_id: Some(&request.app.client_id), device_fingerprint: &request.device.fingerprint };
                let repeated = self.sessions.repeat_answer(&request.access_token, bearer);
                let repeated = request.deadline.limit(repeated).await.map_err(|_| LoginError::TimedOut)??;
                repeated.map(|grant| SignedIn { grant, new_user: false, fresh: false }).ok_or(error)
            }
            signed_in => signed_in,
        }
        .inspect_err(|error| {
            if error.rejects_token() {
                self.limits.count_rejected_token(request.caller());
            }
        })
    }

    async fn sign_in(
        &self,
        ticket: Ticket,
        request: &LoginRequest,
        reached: &mut Reached,
    ) -> Result<SignedIn, LoginError> {
        let verified = self.verify(&ticket, request, reached).await?;
        reached.number = Some(verified.number.clone());
        let session_token = SessionToken::generate();
        let session = self.new_session(request, &verified, &session_token);
        let (session_id, opened_at, expires_at) = (session.id, session.created_at, session.expires_at);

        let stage = request.trace.stage("commit", Kind::Client);
        let committed = ticket.commit(session, request.deadline).await;
        reached.stages.commit = Some(stage.end(committed.as_ref().err().map(CommitError::kind)));
        let Opened { user, new_user } = match committed? {
            Outcome::Opened(opened) => opened,
            Outcome::UserNotFound => return Err(LoginError::UserNotFound),
            Outcome::UserDisabled => return Err(LoginError::UserDisabled),
            Outcome::TokenReplayed => return Err(LoginError::TokenReplayed),
        };

        let client_id = request.app.client_id.clone();
        let number = verified.number;
        let grant = Grant { session_token, session_id, client_id, user, number, opened_at, expires_at };
        Ok(SignedIn { grant, new_user, fresh: true })
    }

    /// Spends the token, once it is sure that there is time for it, a call left in the budget, and a database that takes
    /// sessions. Until the call itself begins, every failure leaves the token unspent.
    async fn verify(
        &self,
        ticket: &Ticket,
        request: &LoginRequest,
        reached: &mut Reached,
    ) -> Result<Verified, LoginError> {
        let needed = self.rules.verifier_timeout + self.rules.commit_reserve;
        let mut permit = self.budget.reserve(request.deadline.keeping(needed)).await?;
        ticket.confirm().await?;
        if !request.deadline.allows(needed) {
            return Err(LoginError::TooLate);
        }
        let stage = request.trace.stage("verify", Kind::Client);
        let call = CallContext { request_id: request.request_id.clone(), trace: stage.context() };
        permit.begin();
        let verified = self.verifier.verify(&request.access_token, &call).await;
        reached.stages.verify = Some(stage.end(verified.as_ref().err().map(VerifierError::kind)));
        if verified.as_ref().is_err_and(|error| !error.may_be_billed()) {
            permit.was_not_billed();
        }
        Ok(verified?)
    }

    fn new_session(&self, request: &LoginRequest, verified: &Verified, token: &SessionToken) -> NewSession {
        let now = self.clock.now();
        let id = SessionId::new(now);
        let registers = request.app.auto_register.unwrap_or(self.rules.auto_register);
        let replay_key = self.verifier.replay_key(&request.access_token);
        let repeatable = self.rules.repeats_answers && replay_key.is_some();
        NewSession {
            id,
            token_hash: token.hash(),
            replay_key,
            phone_index: self.vault.phone_index(&verified.number),
            candidate: registers.then(|| {
                let id = UserId::new(now);
                CandidateUser { id, phone_sealed: self.vault.seal_phone(id, &verified.number) }
            }),
            client_id: request.app.client_id.clone(),
            device: request.device.clone(),
            created_at: now,
            expires_at: now + self.rules.session_ttl,
            answer_sealed: repeatable.then(|| self.vault.seal_answer(&request.access_token, id, token)),
        }
    }
}

/// What another client or device gets that sends the token of `first` meanwhile. Where `first` did not spend the token,
/// what stopped it stops this one, too.
fn refused_after(first: Procedure) -> Procedure {
    let refuse = |first: Arc<Ended>| {
        let error = match &first.outcome {
            Err(error) if error.token_state() == TokenState::Unspent => Arc::clone(error),
            _ => Arc::new(LoginError::TokenReplayed),
        };
        Arc::new(Ended { outcome: Err(error), reached: Reached::default() })
    };
    first.map(refuse).boxed().shared()
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<ReplayKey, InFlightLogin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlightLogin {
    fn is_of(&self, request: &LoginRequest) -> bool {
        self.client_id == request.app.client_id && self.device_fingerprint == request.device.fingerprint
    }
}

/// Takes a login out of those in flight when it ends, however it ends.
struct Registered<'a> {
    in_flight: &'a InFlight,
    token: Option<ReplayKey>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            self.in_flight.lock().remove(token);
        }
    }
}

impl std::fmt::Debug for InFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InFlight({})", self.lock().len())
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("rules", &self.rules).finish_non_exhaustive()
    }
}
