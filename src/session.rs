//! What a session_token is for: a new id_token, logging out, and answering a login whose first answer was lost. No HTTP,
//! no SQL.
//!
//! Everything is decided from one reading of the session and its user. A disabled user's session needs no lock to die:
//! disabling adds one to the user's epoch, and a session is live only while its own copy is the user's (see
//! [`liveness`]). Writes that follow are conditional, so replicas need not know of each other.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::apps::Apps;
use crate::audit::{Act, Event};
use crate::clock::{Clock, ClockTrust};
use crate::error_code::SUCCESS;
use crate::id_token::{IdTokens, Subject};
use crate::ids::{ClientId, SessionId, UserId};
use crate::keys::SigningKeyError;
use crate::metrics::SessionCounters;
use crate::phone_number::PhoneNumber;
use crate::session_token::SessionToken;
use crate::store::{Profile, Rotation, SessionKey, Store, StoredSession, Superseded, UserStatus};
use crate::vault::Vault;
use crate::verifier::AccessToken;

mod error;

pub use error::{Dead, SessionError};

/// A lost answer is looked for once more after this long: its twin may still be about to be written.
const TWIN_PATIENCE: Duration = Duration::from_millis(250);

pub struct Sessions {
    pub store: Arc<dyn Store>,
    pub apps: Arc<Apps>,
    pub vault: Arc<Vault>,
    pub id_tokens: Arc<IdTokens>,
    pub clock: Clock,
    pub clock_trust: ClockTrust,
    pub rules: Rules,
    pub counters: SessionCounters,
}

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub rotate_on_refresh: bool,
    /// How long the token before the current one still gets its successor, from the rotation on.
    pub rotation_grace: Duration,
    /// How long a login's answer may be given once more, from the login on; zero: never.
    pub retry_window: Duration,
    /// The most live sessions of a user, the newest; zero: any number.
    pub max_per_user: u32,
}

/// Who presents a session_token: it is worth something only to its own application on its own device.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'a> {
    /// `None` where the caller is a tenant that does not name the application.
    pub client_id: Option<&'a ClientId>,
    pub device_fingerprint: &'a str,
}

/// A session that may be told to its owner: by the login that opened it, and by whatever finds it live later.
#[derive(Debug, Clone)]
pub struct Grant {
    pub session_token: SessionToken,
    pub session_id: SessionId,
    pub client_id: ClientId,
    pub user: Profile,
    pub number: PhoneNumber,
    pub opened_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

impl Grant {
    /// Signs an id_token for the owner.
    pub fn id_token(&self, id_tokens: &IdTokens, now: OffsetDateTime) -> Result<String, SigningKeyError> {
        let subject = Subject {
            user: &self.user,
            number: &self.number,
            client_id: &self.client_id,
            session_id: self.session_id,
            auth_time: self.opened_at,
        };
        id_tokens.issue(&subject, now)
    }

    /// How long the session_token is still valid, whole seconds.
    pub fn expires_in_seconds(&self, now: OffsetDateTime) -> u64 {
        u64::try_from((self.expires_at - now).whole_seconds()).unwrap_or(0)
    }
}

/// A session_token's answer.
#[derive(Debug)]
pub struct Refreshed {
    pub session_token: SessionToken,
    pub expires_in_seconds: u64,
    pub id_token: String,
    pub owner: Owner,
}

/// Whose session it was.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    pub session: SessionId,
    pub user: UserId,
}

/// A live session and its user's number.
#[derive(Debug)]
pub struct Live {
    pub session: StoredSession,
    pub number: PhoneNumber,
}

impl Live {
    fn grant(self, session_token: SessionToken) -> Grant {
        let Self { session, number } = self;
        Grant {
            session_token,
            session_id: session.id,
            client_id: session.client_id,
            user: session.user.profile,
            number,
            opened_at: session.created_at,
            expires_at: session.expires_at,
        }
    }
}

impl Sessions {
    /// A new id_token for a session_token, which may be rotated on the way. Repeating the call with the same token gives
    /// the same session_token again: without rotation always, with it within the grace.
    pub async fn refresh(&self, token: &SessionToken, bearer: Bearer<'_>) -> Result<Refreshed, SessionError> {
        if self.clock_trust.is_lost() {
            return Err(SessionError::ClockOff);
        }
        let now = self.clock.now();
        let live = self.find_live(token, bearer, now).await?;
        let session_token = match &live.session.superseded {
            Some(superseded) => self.successor(&live.session, superseded, token)?,
            None if self.rules.rotate_on_refresh => self.rotate(&live.session, token, bearer, now).await?,
            None => {
                self.note_use(&live.session, now).await?;
                token.clone()
            }
        };
        let grant = live.grant(session_token);
        let id_token = grant.id_token(&self.id_tokens, now)?;
        self.counters.refreshed.inc();
        Ok(Refreshed {
            expires_in_seconds: grant.expires_in_seconds(now),
            id_token,
            owner: Owner { session: grant.session_id, user: grant.user.id },
            session_token: grant.session_token,
        })
    }

    /// Ends the session of a token. Fine with one that has ended already, by whatever way.
    pub async fn log_out(&self, token: &SessionToken, bearer: Bearer<'_>) -> Result<Owner, SessionError> {
        let now = self.clock.now();
        let session = self.find_by_token(token, now).await?;
        check_bearer(&session, bearer)?;
        if session.expires_at <= now {
            return Err(SessionError::Invalid(Dead::Expired));
        }
        self.store.revoke_session(session.id, now).await?;
        if session.revoked_at.is_none() {
            self.counters.revoked.inc();
        }
        Ok(Owner { session: session.id, user: session.user.profile.id })
    }

    /// The live session of a token, its use noted: for a ticket.
    pub async fn authenticate(&self, token: &SessionToken, bearer: Bearer<'_>) -> Result<Live, SessionError> {
        let now = self.clock.now();
        let live = self.find_live(token, bearer, now).await?;
        self.note_use(&live.session, now).await?;
        Ok(live)
    }

    /// The session that a ticket was made for, if it is live still. The ticket has been checked against its device.
    pub async fn find_live_by_id(&self, id: SessionId) -> Result<Live, SessionError> {
        let now = self.clock.now();
        let session = self.find(SessionKey::Id(id), now).await?;
        self.live(session, now).await
    }

    /// The answer of an earlier login with this access token, for whoever sends it again from the same application and
    /// device before the session was used: the same session_token. `None` for everybody else.
    ///
    /// The token comes out of a seal that only the access token opens, so our database alone cannot give it.
    pub async fn repeat_answer(
        &self,
        access_token: &AccessToken,
        bearer: Bearer<'_>,
    ) -> Result<Option<Grant>, SessionError> {
        if self.rules.retry_window.is_zero() {
            return Ok(None);
        }
        let key = SessionKey::Replay(access_token.replay_key());
        let found = match self.find(key, self.clock.now()).await {
            Err(SessionError::Invalid(Dead::Unknown)) => {
                tokio::time::sleep(TWIN_PATIENCE).await;
                self.find(key, self.clock.now()).await
            }
            found => found,
        };
        let now = self.clock.now();
        let checked = found.and_then(|session| check_bearer(&session, bearer).map(|()| session));
        let live = match checked {
            Ok(session) => self.live(session, now).await,
            Err(error) => Err(error),
        };
        let live = match live {
            Ok(live) => live,
            Err(SessionError::Invalid(_) | SessionError::UserDisabled) => return Ok(None),
            Err(error) => return Err(error),
        };
        let session = &live.session;
        let in_window = now - session.created_at <= self.rules.retry_window;
        match &session.answer_sealed {
            Some(sealed) if in_window && session.first_used_at.is_none() => {
                let token = self.vault.open_answer(access_token, session.id, sealed)?;
                tracing::info!(event = "answer_repeated", session.id = %session.id, "a login is answered once more");
                self.counters.answers_repeated.inc();
                Ok(Some(live.grant(token)))
            }
            _ => Ok(None),
        }
    }

    async fn find(&self, key: SessionKey, now: OffsetDateTime) -> Result<StoredSession, SessionError> {
        let found = self.store.find_session(key, now, self.rules.max_per_user).await?;
        found.ok_or(SessionError::Invalid(Dead::Unknown))
    }

    /// The session of a token. A token that was replaced, be it long ago, and comes again is in two hands: nobody can
    /// tell which of them is the owner's, so the session ends (RFC 9700, 4.14.2). Only the token before the current one
    /// is let through for the grace: an answer with its successor may have been lost.
    async fn find_by_token(&self, token: &SessionToken, now: OffsetDateTime) -> Result<StoredSession, SessionError> {
        let count_newer_to = self.rules.max_per_user;
        let session = match self.store.find_session(SessionKey::Token(token.hash()), now, count_newer_to).await? {
            Some(session) => {
                let in_grace = |superseded: &Superseded| now - superseded.rotated_at <= self.rules.rotation_grace;
                // Another replica's clock may be a little ahead: a rotation in the future is one of just now.
                if session.superseded.as_ref().is_none_or(in_grace) {
                    return Ok(session);
                }
                session
            }
            None => self.find(SessionKey::Family(token.family()), now).await?,
        };
        // A dead session has nothing to end, and says itself why it is dead.
        liveness(&session, self.rules.max_per_user, now)?;
        self.store.revoke_session(session.id, now).await?;
        self.counters.reused.inc();
        tracing::warn!(
            event = "reuse",
            session.id = %session.id,
            user.id = %session.user.profile.id,
            "a session token was used again after its rotation: the session is ended"
        );
        let event = Event {
            app: Some(session.client_id),
            user: Some(session.user.profile.id),
            session: Some(session.id),
            ..Event::of(Act::EndReusedSession)
        };
        event.record(SUCCESS);
        Err(SessionError::Invalid(Dead::Reused))
    }

    async fn find_live(
        &self,
        token: &SessionToken,
        bearer: Bearer<'_>,
        now: OffsetDateTime,
    ) -> Result<Live, SessionError> {
        let session = self.find_by_token(token, now).await?;
        check_bearer(&session, bearer)?;
        self.live(session, now).await
    }

    async fn live(&self, session: StoredSession, now: OffsetDateTime) -> Result<Live, SessionError> {
        liveness(&session, self.rules.max_per_user, now)?;
        // A device's own request has been checked for this; a tenant's, on behalf of any session, has not.
        if !self.apps.find(&session.client_id).await.is_some_and(|app| app.enabled) {
            return Err(SessionError::Invalid(Dead::AppDisabled));
        }
        let number = self.vault.open_phone(session.user.profile.id, &session.user.phone_sealed)?;
        Ok(Live { session, number })
    }

    async fn note_use(&self, session: &StoredSession, now: OffsetDateTime) -> Result<(), SessionError> {
        if session.first_used_at.is_none() {
            self.store.mark_session_used(session.id, now).await?;
        }
        Ok(())
    }

    /// Replaces the token. Of concurrent calls with one token a single one does; the others get what it made.
    async fn rotate(
        &self,
        session: &StoredSession,
        token: &SessionToken,
        bearer: Bearer<'_>,
        now: OffsetDateTime,
    ) -> Result<SessionToken, SessionError> {
        let successor = token.successor();
        let rotation = Rotation {
            id: session.id,
            current: token.hash(),
            successor: successor.hash(),
            successor_sealed: self.vault.seal_successor(token, session.id, &successor),
            family: token.family(),
            at: now,
        };
        if self.store.rotate_session(&rotation).await? {
            return Ok(successor);
        }
        let lost = self.find_live(token, bearer, now).await?;
        match &lost.session.superseded {
            Some(superseded) => self.successor(&lost.session, superseded, token),
            // Neither rotated by somebody else nor by us: it was revoked in between.
            None => Err(SessionError::Invalid(Dead::Revoked)),
        }
    }

    /// The one successor of a token that was replaced within the grace.
    fn successor(
        &self,
        session: &StoredSession,
        superseded: &Superseded,
        token: &SessionToken,
    ) -> Result<SessionToken, SessionError> {
        let sealed = superseded.successor_sealed.as_ref().ok_or(SessionError::Invalid(Dead::Reused))?;
        Ok(self.vault.open_successor(token, session.id, sealed)?)
    }
}

/// Whether a session may be used. A known, unexpired session of a disabled user says so, before the epoch that the
/// disabling raised makes it look ended.
///
/// No login can leave a live session behind a disabling, whatever the order: the login copies the epoch from the row
/// version in which it read `active`; the disabling changes status and epoch in one row version. So either the login saw
/// the older version, and its copy is behind the user's for good, or it saw the newer one and opened nothing.
fn liveness(session: &StoredSession, max_per_user: u32, now: OffsetDateTime) -> Result<(), SessionError> {
    let dead = |why| Err(SessionError::Invalid(why));
    if session.expires_at <= now {
        return dead(Dead::Expired);
    }
    match session.user.status {
        UserStatus::Active => {}
        UserStatus::Disabled => return Err(SessionError::UserDisabled),
        UserStatus::Erased => return dead(Dead::Unknown),
    }
    if session.revoked_at.is_some() {
        return dead(Dead::Revoked);
    }
    if !session.epoch_is_current {
        return dead(Dead::Ended);
    }
    if max_per_user > 0 && session.newer_live >= max_per_user {
        return dead(Dead::Displaced);
    }
    Ok(())
}

fn check_bearer(session: &StoredSession, bearer: Bearer<'_>) -> Result<(), SessionError> {
    let same_app = bearer.client_id.is_none_or(|client_id| *client_id == session.client_id);
    if same_app && bearer.device_fingerprint == session.device_fingerprint {
        Ok(())
    } else {
        Err(SessionError::Invalid(Dead::ForeignBearer))
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("rules", &self.rules).finish_non_exhaustive()
    }
}
