//! Registered applications. It does not know which of them may do what.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::connections::Caller;
use super::{PostgresStore, Statement};
use crate::ids::ClientId;
use crate::store::rows::stored_client_id;
use crate::store::{App, AppKind, SecretHash, StoreError};

const ALL: &str = r"
select client_id, name, kind, enabled, auto_register, secret_hash
from apps
order by client_id";

const BY_CLIENT_ID: &str = r"
select client_id, name, kind, enabled, auto_register, secret_hash
from apps
where client_id = $1";

/// `xmax` is the transaction that replaced or locked a row version: zero in one that was just inserted.
const UPSERT: &str = r"
insert into apps (client_id, name, kind, enabled, auto_register, secret_hash, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $7)
on conflict (client_id) do update
set name = excluded.name,
    kind = excluded.kind,
    auto_register = excluded.auto_register,
    secret_hash = coalesce(excluded.secret_hash, apps.secret_hash),
    updated_at = excluded.updated_at
returning xmax = 0";

const INSERT: &str = r"
insert into apps (client_id, name, kind, enabled, auto_register, secret_hash, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $7)
on conflict (client_id) do nothing
returning true";

const SET_ENABLED: &str = r"
with changed as (
    update apps
    set enabled = $2, updated_at = $3
    where client_id = $1 and enabled <> $2
)
select from apps where client_id = $1";

#[derive(FromRow)]
struct AppRow {
    client_id: String,
    name: String,
    kind: String,
    enabled: bool,
    auto_register: Option<bool>,
    secret_hash: Option<[u8; 32]>,
}

impl TryFrom<AppRow> for App {
    type Error = StoreError;

    fn try_from(row: AppRow) -> Result<Self, StoreError> {
        Ok(Self {
            client_id: stored_client_id(row.client_id)?,
            name: row.name,
            kind: AppKind::parse(&row.kind).ok_or(StoreError::Corrupt { what: "kind of app" })?,
            enabled: row.enabled,
            auto_register: row.auto_register,
            secret_hash: row.secret_hash.map(SecretHash),
        })
    }
}

impl PostgresStore {
    pub(super) async fn select_apps(&self) -> Result<Vec<App>, StoreError> {
        self.fetch_for::<AppRow>(Caller::Control, sqlx::query(ALL)).await?.into_iter().map(App::try_from).collect()
    }

    pub(super) async fn select_app(&self, client_id: &ClientId) -> Result<Option<App>, StoreError> {
        let statement = sqlx::query(BY_CLIENT_ID).bind(client_id.as_str());
        self.fetch_for::<AppRow>(Caller::Control, statement).await?.pop().map(App::try_from).transpose()
    }

    pub(super) async fn upsert_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        let is_new: Option<(bool,)> = self.fetch_once(bind(UPSERT, app, now)).await?.pop();
        Ok(is_new.is_some_and(|(is_new,)| is_new))
    }

    pub(super) async fn insert_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.has_row_once(bind(INSERT, app, now)).await
    }

    pub(super) async fn update_app_enabled(
        &self,
        client_id: &ClientId,
        enabled: bool,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.has_row(sqlx::query(SET_ENABLED).bind(client_id.as_str()).bind(enabled).bind(now)).await
    }
}

fn bind<'q>(sql: &'static str, app: &App, now: OffsetDateTime) -> Statement<'q> {
    sqlx::query(sql)
        .bind(app.client_id.as_str())
        .bind(app.name.as_str())
        .bind(app.kind.as_str())
        .bind(app.enabled)
        .bind(app.auto_register)
        .bind(app.secret_hash.map(|hash| hash.0))
        .bind(now)
}
