//! What an enterprise's own services may do: take a tenant token, exchange sessions for tickets and tickets for users,
//! switch users. No HTTP, no SQL.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::clock::Clock;
use crate::ids::{ClientId, UserId};
use crate::phone_number::PhoneNumber;
use crate::session::{Bearer, Live, SessionError, Sessions};
use crate::session_token::{SessionToken, TokenHash, random_alphanumeric, sha256};
use crate::store::{App, AppKind, NewTenantToken, NewTicket, SecretHash, Store, StoreError, User, UserKey, UserStatus};
use crate::vault::Vault;

/// How long a tenant token is good for.
pub const TOKEN_TTL: Duration = Duration::from_secs(1800);

/// How long a ticket is good for.
pub const TICKET_TTL: Duration = Duration::from_secs(300);

/// What a ticket begins with, so that it cannot be taken for a session_token.
pub const TICKET_PREFIX: &str = "ssoTicket-";

/// Characters of random text in a token, a ticket and a secret: 190 bits.
pub const RANDOM_LENGTH: usize = 32;

pub struct Tenants {
    pub store: Arc<dyn Store>,
    pub vault: Arc<Vault>,
    pub sessions: Arc<Sessions>,
    pub clock: Clock,
}

/// A tenant app's secret or Bearer token, or a ticket: shown to its owner once, kept as a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Unknown client, wrong secret, not a tenant, disabled: which, is nobody's business.
    #[error("the client is not a tenant with this secret")]
    InvalidClient,
    #[error("the tenant token is unknown or expired, or died with its app or secret")]
    InvalidToken,
    #[error("the ticket is not valid: {0}")]
    InvalidTicket(&'static str),
    #[error("no such user")]
    UserNotFound,
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Secret {
    /// Draws one from the operating system's random source.
    pub fn generate() -> Self {
        Self(random_alphanumeric(RANDOM_LENGTH))
    }

    fn generate_ticket() -> Self {
        Self(format!("{TICKET_PREFIX}{}", random_alphanumeric(RANDOM_LENGTH)))
    }

    /// What is kept of a tenant app's secret.
    pub fn hash(&self) -> SecretHash {
        SecretHash(sha256(self.0.as_bytes()))
    }

    /// The text itself, for its owner and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Tenants {
    /// A Bearer token for an app of kind tenant.
    pub async fn issue_token(&self, client_id: &ClientId, secret: &str) -> Result<Secret, TenantError> {
        let presented = SecretHash(sha256(secret.as_bytes()));
        let app = self.store.find_app(client_id).await?;
        let app = app.filter(|app| app.enabled && app.kind == AppKind::Tenant && has_secret(app, presented));
        if app.is_none() {
            return Err(TenantError::InvalidClient);
        }
        let (token, now) = (Secret::generate(), self.clock.now());
        let row = NewTenantToken {
            token_hash: hash(token.expose()),
            client_id: client_id.clone(),
            secret_hash: presented,
            created_at: now,
            expires_at: now + TOKEN_TTL,
        };
        self.store.add_tenant_token(&row).await?;
        Ok(token)
    }

    /// The app that a Bearer token belongs to.
    pub async fn authenticate(&self, token: &str) -> Result<ClientId, TenantError> {
        let client_id = self.store.find_tenant(&hash(token), self.clock.now()).await?;
        client_id.ok_or(TenantError::InvalidToken)
    }

    /// A one-time ticket for the session of a token, good on the same device only, and whose session that is.
    pub async fn issue_ticket(
        &self,
        tenant: &ClientId,
        token: &SessionToken,
        bearer: Bearer<'_>,
    ) -> Result<(Secret, UserId), TenantError> {
        let live = self.sessions.authenticate(token, bearer).await?;
        let (ticket, now) = (Secret::generate_ticket(), self.clock.now());
        // A tenant that names the application means its own.
        let redeemable_by = bearer.client_id.map(|_| tenant.clone());
        let row = NewTicket {
            ticket_hash: hash(ticket.expose()),
            session_id: live.session.id,
            client_id: tenant.clone(),
            device_fingerprint: bearer.device_fingerprint.to_owned(),
            redeemable_by,
            created_at: now,
            expires_at: now + TICKET_TTL,
        };
        self.store.add_ticket(&row).await?;
        Ok((ticket, live.session.user.profile.id))
    }

    /// The user of a ticket; session and user are looked at again. Using the ticket up comes last, so that trouble on
    /// the way there leaves it good: of concurrent calls, whoever uses it up has everything to answer with.
    pub async fn redeem_ticket(
        &self,
        tenant: &ClientId,
        ticket: &str,
        device_fingerprint: &str,
    ) -> Result<Live, TenantError> {
        const NOT_GOOD: TenantError =
            TenantError::InvalidTicket("unknown, used, expired, or of another device or tenant");
        let (ticket, now) = (hash(ticket), self.clock.now());
        let session = self.store.find_ticket(&ticket, device_fingerprint, tenant, now).await?.ok_or(NOT_GOOD)?;
        let live = match self.sessions.find_live_by_id(session).await {
            Err(SessionError::Invalid(_) | SessionError::UserDisabled) => {
                return Err(TenantError::InvalidTicket("its session has ended"));
            }
            live => live?,
        };
        self.store.use_ticket(&ticket, device_fingerprint, tenant, now).await?.ok_or(NOT_GOOD)?;
        Ok(live)
    }

    /// Disables or enables a user; disabling ends all of the user's sessions for good.
    pub async fn set_user_status(&self, id: UserId, status: UserStatus) -> Result<(), TenantError> {
        let known = self.store.set_user_status(id, status, self.clock.now()).await?;
        if known { Ok(()) } else { Err(TenantError::UserNotFound) }
    }

    /// The user of a number.
    pub async fn find_user(&self, number: &PhoneNumber) -> Result<User, TenantError> {
        let found = self.store.find_user(UserKey::Phone(self.vault.phone_index(number))).await?;
        found.ok_or(TenantError::UserNotFound)
    }
}

fn has_secret(app: &App, presented: SecretHash) -> bool {
    app.secret_hash.is_some_and(|kept| verify_slices_are_equal(&kept.0, &presented.0).is_ok())
}

fn hash(text: &str) -> TokenHash {
    TokenHash(sha256(text.as_bytes()))
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tenants")
    }
}
