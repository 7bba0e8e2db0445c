//! Wrapped keys: the data keys and the signing keys. It never sees one unwrapped.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::PostgresStore;
use super::connections::Caller;
use crate::store::{DataKey, KeyPurpose, NewDataKey, SigningKeyRow, StoreError};

/// In the order of the purposes, so that replicas that start together wait for each other in one direction only. The
/// loser of a purpose inserts nothing, and reads the winner's key in a statement after this one.
const INSERT_DATA_KEYS: &str = r"
insert into data_keys (purpose, wrapped, created_at)
select purpose, wrapped, created_at
from unnest($1::text[], $2::bytea[], $3::timestamptz[]) as candidate (purpose, wrapped, created_at)
order by purpose
on conflict do nothing";

const DATA_KEYS: &str = r"
select id, purpose, wrapped
from data_keys
where state = 'active'
order by id";

/// The wrapping that was read must still be there: of two that re-wrap at once, neither undoes the other's work.
const REWRAP: &str = r"
update data_keys
set wrapped = $3
where id = $1 and wrapped = $2
returning true";

const INSERT_SIGNING_KEY: &str = r"
insert into signing_keys (kid, generation, alg, private_key_wrapped, public_jwk, created_at, signs_from)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict do nothing
returning true";

const SIGNING_KEYS: &str = r"
select kid, generation, alg, private_key_wrapped, public_jwk, created_at, signs_from
from signing_keys
order by generation";

const REMOVE_SIGNING_KEY: &str = r"
delete from signing_keys
where kid = $1
returning true";

#[derive(FromRow)]
struct DataKeyRow {
    id: i32,
    purpose: String,
    wrapped: Vec<u8>,
}

impl TryFrom<DataKeyRow> for DataKey {
    type Error = StoreError;

    fn try_from(row: DataKeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: u32::try_from(row.id).map_err(|_| StoreError::Corrupt { what: "data key's id" })?,
            purpose: KeyPurpose::parse(&row.purpose).ok_or(StoreError::Corrupt { what: "data key's purpose" })?,
            wrapped: row.wrapped,
        })
    }
}

#[derive(FromRow)]
struct StoredSigningKey {
    kid: String,
    generation: i64,
    alg: String,
    private_key_wrapped: Vec<u8>,
    public_jwk: String,
    created_at: OffsetDateTime,
    signs_from: OffsetDateTime,
}

impl TryFrom<StoredSigningKey> for SigningKeyRow {
    type Error = StoreError;

    fn try_from(row: StoredSigningKey) -> Result<Self, StoreError> {
        Ok(Self {
            kid: row.kid,
            generation: u32::try_from(row.generation)
                .map_err(|_| StoreError::Corrupt { what: "signing key's generation" })?,
            alg: row.alg,
            private_key_wrapped: row.private_key_wrapped,
            public_jwk: row.public_jwk,
            created_at: row.created_at,
            signs_from: row.signs_from,
        })
    }
}

impl PostgresStore {
    pub(super) async fn insert_data_keys(&self, candidates: &[NewDataKey]) -> Result<(), StoreError> {
        if candidates.is_empty() {
            return Ok(());
        }
        let statement = sqlx::query(INSERT_DATA_KEYS)
            .bind(candidates.iter().map(|key| key.purpose.as_str()).collect::<Vec<_>>())
            .bind(candidates.iter().map(|key| key.wrapped.as_slice()).collect::<Vec<_>>())
            .bind(candidates.iter().map(|key| key.created_at).collect::<Vec<_>>());
        self.count(statement).await.map(drop)
    }

    pub(super) async fn select_data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        self.fetch_for::<DataKeyRow>(Caller::Control, sqlx::query(DATA_KEYS))
            .await?
            .into_iter()
            .map(DataKey::try_from)
            .collect()
    }

    pub(super) async fn update_data_key(&self, id: u32, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        // No row has an id beyond the column's range.
        let Ok(id) = i32::try_from(id) else { return Ok(false) };
        self.has_row_once(sqlx::query(REWRAP).bind(id).bind(from).bind(to)).await
    }

    pub(super) async fn insert_signing_key(&self, key: &SigningKeyRow) -> Result<bool, StoreError> {
        let statement = sqlx::query(INSERT_SIGNING_KEY)
            .bind(key.kid.as_str())
            .bind(i64::from(key.generation))
            .bind(key.alg.as_str())
            .bind(key.private_key_wrapped.as_slice())
            .bind(key.public_jwk.as_str())
            .bind(key.created_at)
            .bind(key.signs_from);
        self.has_row_once(statement).await
    }

    pub(super) async fn delete_signing_key(&self, kid: &str) -> Result<bool, StoreError> {
        self.has_row_once(sqlx::query(REMOVE_SIGNING_KEY).bind(kid)).await
    }

    pub(super) async fn select_signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let rows: Vec<StoredSigningKey> = self.fetch_for(Caller::Control, sqlx::query(SIGNING_KEYS)).await?;
        rows.into_iter().map(SigningKeyRow::try_from).collect()
    }
}
