//! The Bearer tokens of tenant apps. It must not know secrets, nor what a tenant may do.

use time::OffsetDateTime;

use super::PostgresStore;
use crate::ids::ClientId;
use crate::session_token::TokenHash;
use crate::store::rows::stored_client_id;
use crate::store::{NewTenantToken, StoreError};

/// A token that is there already is this very one: the caller repeats an insert whose answer was lost.
const INSERT: &str = r"
insert into tenant_tokens (token_hash, client_id, secret_hash, created_at, expires_at)
values ($1, $2, $3, $4, $5)
on conflict (token_hash) do nothing";

/// The app is looked at with every use, so that whatever ends a token does so on every replica at once.
const FIND: &str = r"
select apps.client_id
from tenant_tokens
join apps on apps.client_id = tenant_tokens.client_id
         and apps.secret_hash = tenant_tokens.secret_hash
where tenant_tokens.token_hash = $1
  and tenant_tokens.expires_at > $2
  and apps.kind = 'tenant'
  and apps.enabled";

/// Replicas that purge at once pass over each other's rows.
const PURGE: &str = r"
delete from tenant_tokens
where token_hash = any (array(
    select token_hash
    from tenant_tokens
    where expires_at <= $1
    order by expires_at
    limit $2
    for update skip locked
))
returning true";

impl PostgresStore {
    pub(super) async fn insert_tenant_token(&self, token: &NewTenantToken) -> Result<(), StoreError> {
        let statement = sqlx::query(INSERT)
            .bind(token.token_hash.0)
            .bind(token.client_id.as_str())
            .bind(token.secret_hash.0)
            .bind(token.created_at)
            .bind(token.expires_at);
        self.count(statement).await.map(drop)
    }

    pub(super) async fn select_tenant(
        &self,
        token: &TokenHash,
        now: OffsetDateTime,
    ) -> Result<Option<ClientId>, StoreError> {
        let found: Option<(String,)> = self.fetch(sqlx::query(FIND).bind(token.0).bind(now)).await?.pop();
        found.map(|(client_id,)| stored_client_id(client_id)).transpose()
    }

    pub(super) async fn delete_expired_tenant_tokens(
        &self,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.count(sqlx::query(PURGE).bind(now).bind(i64::from(limit))).await
    }
}
