//! A login from its beginning on, for those who wait for it: the answer to its client, and what is known of it when it
//! has ended, which may be later. It must not know how a login is done.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};

use super::{LoggedIn, Login, LoginError};
use crate::deadline::Deadline;
use crate::phone_number::PhoneNumber;
use crate::session::{Grant, Owner};
use crate::trace::{Kind, Trace};

/// A login that has begun. It goes on whether somebody waits for it or not.
#[derive(Clone)]
pub struct UnderWay {
    pub(super) login: Arc<Login>,
    pub(super) procedure: Procedure,
    /// It shares the procedure of another request, which began it.
    pub(super) is_twin: bool,
    pub(super) trace: Trace,
    /// Of the request that waits here; one that joined may have a later one than the login it joined.
    pub(super) deadline: Deadline,
}

/// What a login's task came to, for everybody who waits for it.
pub(super) type Procedure = Shared<BoxFuture<'static, Arc<Ended>>>;

pub(super) struct Ended {
    pub(super) outcome: Result<SignedIn, Arc<LoginError>>,
    pub(super) reached: Reached,
}

pub(super) struct SignedIn {
    pub(super) grant: Grant,
    pub(super) new_user: bool,
    /// Opened by this very procedure, not found again.
    pub(super) fresh: bool,
}

/// How far a procedure came, be it in vain.
#[derive(Default)]
pub(super) struct Reached {
    /// What the verifier said.
    pub(super) number: Option<PhoneNumber>,
    pub(super) stages: Stages,
}

/// How long each stage took that was reached; a twin's first two are those of the login it joined.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stages {
    pub verify: Option<Duration>,
    pub commit: Option<Duration>,
    pub sign: Option<Duration>,
}

/// Whom a login that has ended was about, as far as that came out.
#[derive(Debug)]
pub struct Subject<'a> {
    pub number: Option<&'a PhoneNumber>,
    /// Only of a login that succeeded.
    pub opened: Option<OpenedSession>,
}

#[derive(Debug, Clone, Copy)]
pub struct OpenedSession {
    pub owner: Owner,
    pub new_user: bool,
    /// An earlier login opened it, whose answer is given once more.
    pub repeated: bool,
}

impl UnderWay {
    /// Signs an id_token once the session is there; waits until the deadline.
    pub async fn answer(&self) -> Result<LoggedIn, Arc<LoginError>> {
        let login = &self.login;
        let Ok(ended) = self.deadline.limit(self.procedure.clone()).await else {
            return Err(Arc::new(LoginError::TimedOut));
        };
        let SignedIn { grant, new_user, fresh } = ended.outcome.as_ref().map_err(Arc::clone)?;
        let now = login.clock.now();
        let stage = self.trace.stage("sign", Kind::Internal);
        let id_token = grant.id_token(&login.id_tokens, now);
        let sign = stage.end(id_token.as_ref().err().map(|_| "not_signed"));
        Ok(LoggedIn {
            session_token: grant.session_token.clone(),
            expires_in_seconds: if *fresh { login.rules.session_ttl.as_secs() } else { grant.expires_in_seconds(now) },
            id_token: id_token.map_err(|error| Arc::new(error.into()))?,
            user_id: grant.user.id,
            new_user: *new_user && !self.is_twin,
            stages: Stages { sign: Some(sign), ..ended.reached.stages },
        })
    }

    /// Waits for the end, however long that takes, and for no answer.
    pub async fn end(&self) -> Result<(), Arc<LoginError>> {
        self.procedure.clone().await.outcome.as_ref().map(|_| ()).map_err(Arc::clone)
    }

    /// None until it has ended.
    pub fn stages(&self) -> Stages {
        self.procedure.peek().map(|ended| ended.reached.stages).unwrap_or_default()
    }

    /// `None` until it has ended.
    pub fn subject(&self) -> Option<Subject<'_>> {
        let Ended { outcome, reached } = &**self.procedure.peek()?;
        Some(match outcome {
            Ok(SignedIn { grant, new_user, fresh }) => Subject {
                number: Some(&grant.number),
                opened: Some(OpenedSession {
                    owner: Owner { session: grant.session_id, user: grant.user.id },
                    new_user: *new_user && !self.is_twin,
                    repeated: self.is_twin || !fresh,
                }),
            },
            Err(_) => Subject { number: reached.number.as_ref(), opened: None },
        })
    }
}

impl std::fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnderWay").field("is_twin", &self.is_twin).finish_non_exhaustive()
    }
}
