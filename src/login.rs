//! The login: from a checked request to an opened session. No HTTP, no SQL, no JSON of the wire.
//!
//! From the moment its token may leave this machine, a login runs in a task of its own: a client that goes away must
//! not turn a spent token into nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::clock::Clock;
use crate::device::Device;
use crate::id_token::{IdTokens, Subject};
use crate::ids::{RequestId, SessionId, UserId};
use crate::keys::SigningKeyError;
use crate::session_token::SessionToken;
use crate::session_writer::{Admission, Refused, SessionWriter, WriteError};
use crate::store::{App, CandidateUser, NewSession, Opened, Outcome};
use crate::vault::Vault;
use crate::verifier::{AccessToken, PhoneNumberVerifier, TokenState, Verified, VerifierError};

/// The capabilities a login needs, and the rules it follows.
pub struct Login {
    pub verifier: Arc<dyn PhoneNumberVerifier>,
    pub vault: Arc<Vault>,
    pub session_writer: SessionWriter,
    pub id_tokens: Arc<IdTokens>,
    pub clock: Clock,
    pub rules: Rules,
    /// Logins under way; a drain waits for them.
    pub tasks: TaskTracker,
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether unknown numbers become users, where the app does not say.
    pub auto_register: bool,
    pub session_ttl: Duration,
    /// From here to the answer.
    pub timeout: Duration,
}

/// A login whose form is right and whose app is known.
#[derive(Debug)]
pub struct LoginRequest {
    pub app: App,
    pub device: Device,
    pub access_token: AccessToken,
    pub request_id: RequestId,
}

#[derive(Debug)]
pub struct LoggedIn {
    pub session_token: SessionToken,
    pub session_ttl: Duration,
    pub id_token: String,
    pub user_id: UserId,
    pub new_user: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Verifier(#[from] VerifierError),
    #[error("the number has no user and the app registers none")]
    UserNotFound,
    #[error("the user is disabled")]
    UserDisabled,
    #[error("another session was opened with this access token")]
    TokenReplayed,
    #[error(transparent)]
    Write(#[from] WriteError),
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
            Self::Refused(_) => TokenState::Unspent,
            Self::Verifier(error) => error.token_state(),
            Self::UserNotFound | Self::UserDisabled | Self::TokenReplayed | Self::Write(_) | Self::Signing(_) => {
                TokenState::Spent
            }
            Self::TimedOut | Self::Task(_) => TokenState::Unknown,
        }
    }
}

impl Login {
    /// Asks for a place in the session writer's queue: the last check before the token is spent.
    pub fn admit(&self) -> Result<Admission, LoginError> {
        Ok(self.session_writer.admit()?)
    }

    /// Exchanges the token, finds or registers the user, opens a session and signs an id_token.
    pub async fn log_in(self: &Arc<Self>, admission: Admission, request: LoginRequest) -> Result<LoggedIn, LoginError> {
        let login = Arc::clone(self);
        let procedure = async move { login.run(admission, request).await }.in_current_span();
        match tokio::time::timeout(self.rules.timeout, self.tasks.spawn(procedure)).await {
            Ok(Ok(result)) => result,
            Ok(Err(failed)) => Err(LoginError::Task(failed)),
            Err(_) => Err(LoginError::TimedOut),
        }
    }

    async fn run(&self, admission: Admission, request: LoginRequest) -> Result<LoggedIn, LoginError> {
        let verified = self.verifier.verify(&request.access_token, &request.request_id).await?;
        let session_token = SessionToken::generate();
        let session = self.new_session(&request, &verified, &session_token);
        let (session_id, auth_time) = (session.id, session.created_at);

        let opened = match admission.open(session).await? {
            Outcome::Opened(opened) => opened,
            Outcome::UserNotFound => return Err(LoginError::UserNotFound),
            Outcome::UserDisabled => return Err(LoginError::UserDisabled),
            Outcome::TokenReplayed => return Err(LoginError::TokenReplayed),
        };

        let Opened { user, new_user } = opened;
        let subject =
            Subject { user: &user, number: &verified.number, client_id: &request.app.client_id, session_id, auth_time };
        let id_token = self.id_tokens.issue(&subject, self.clock.now())?;
        Ok(LoggedIn { session_token, session_ttl: self.rules.session_ttl, id_token, user_id: user.id, new_user })
    }

    fn new_session(&self, request: &LoginRequest, verified: &Verified, token: &SessionToken) -> NewSession {
        let now = self.clock.now();
        let registers = request.app.auto_register.unwrap_or(self.rules.auto_register);
        NewSession {
            id: SessionId::new(now),
            token_hash: token.hash(),
            replay_key: verified.replay_key,
            phone_index: self.vault.phone_index(&verified.number),
            candidate: registers.then(|| {
                let id = UserId::new(now);
                CandidateUser { id, phone_sealed: self.vault.seal_phone(id, &verified.number) }
            }),
            client_id: request.app.client_id.clone(),
            device: request.device.clone(),
            created_at: now,
            expires_at: now + self.rules.session_ttl,
            answer_sealed: None,
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("rules", &self.rules).finish_non_exhaustive()
    }
}
