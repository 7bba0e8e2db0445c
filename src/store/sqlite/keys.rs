//! Data keys and signing keys, as wrapped as they come. It must not know what any of them opens.

use sqlx::sqlite::{SqliteConnection, SqliteExecutor, SqlitePool};

use super::error::Failure;
use crate::clock::{from_unix_micros, unix_micros};
use crate::store::{DataKey, KeyPurpose, KeyState, NewDataKey, SigningKeyRow, StoreError};

#[derive(sqlx::FromRow)]
struct DataKeyRow {
    id: i64,
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

pub(super) async fn data_keys(db: impl SqliteExecutor<'_>) -> Result<Vec<DataKey>, Failure> {
    let rows: Vec<DataKeyRow> =
        sqlx::query_as("select id, purpose, wrapped from data_keys order by id").fetch_all(db).await?;
    Ok(rows.into_iter().map(DataKey::try_from).collect::<Result<_, _>>()?)
}

/// The caller's transaction makes one winner: who comes second finds the first one's keys.
pub(super) async fn ensure_data_keys(
    db: &mut SqliteConnection,
    candidates: &[NewDataKey],
) -> Result<Vec<DataKey>, Failure> {
    for candidate in candidates {
        sqlx::query(
            "insert into data_keys (purpose, wrapped, state, created_at)
             values (?, ?, 'active', ?)
             on conflict (purpose) where state = 'active' do nothing",
        )
        .bind(candidate.purpose.as_str())
        .bind(candidate.wrapped.as_slice())
        .bind(unix_micros(candidate.created_at))
        .execute(&mut *db)
        .await?;
    }
    data_keys(db).await
}

#[derive(sqlx::FromRow)]
struct SigningRow {
    kid: String,
    alg: String,
    private_key_wrapped: Vec<u8>,
    public_jwk: String,
    state: String,
    created_at: i64,
    activated_at: Option<i64>,
    retired_at: Option<i64>,
}

impl TryFrom<SigningRow> for SigningKeyRow {
    type Error = StoreError;

    fn try_from(row: SigningRow) -> Result<Self, StoreError> {
        Ok(Self {
            kid: row.kid,
            alg: row.alg,
            private_key_wrapped: row.private_key_wrapped,
            public_jwk: row.public_jwk,
            state: KeyState::parse(&row.state).ok_or(StoreError::Corrupt { what: "signing key's state" })?,
            created_at: from_unix_micros(row.created_at),
            activated_at: row.activated_at.map(from_unix_micros),
            retired_at: row.retired_at.map(from_unix_micros),
        })
    }
}

pub(super) async fn signing_keys(readers: &SqlitePool) -> Result<Vec<SigningKeyRow>, Failure> {
    let rows: Vec<SigningRow> = sqlx::query_as(
        "select kid, alg, private_key_wrapped, public_jwk, state, created_at, activated_at, retired_at
         from signing_keys
         order by kid",
    )
    .fetch_all(readers)
    .await?;
    Ok(rows.into_iter().map(SigningKeyRow::try_from).collect::<Result<_, _>>()?)
}

/// Returns whether it was stored: not where its `kid`, or the one place of its state, is taken.
pub(super) async fn add_signing_key(db: &mut SqliteConnection, key: &SigningKeyRow) -> Result<bool, Failure> {
    let added = sqlx::query(
        "insert into signing_keys (
             kid,
             alg,
             private_key_wrapped,
             public_jwk,
             state,
             created_at,
             activated_at,
             retired_at
         )
         values (?, ?, ?, ?, ?, ?, ?, ?)
         on conflict do nothing",
    )
    .bind(key.kid.as_str())
    .bind(key.alg.as_str())
    .bind(key.private_key_wrapped.as_slice())
    .bind(key.public_jwk.as_str())
    .bind(key.state.as_str())
    .bind(unix_micros(key.created_at))
    .bind(key.activated_at.map(unix_micros))
    .bind(key.retired_at.map(unix_micros))
    .execute(db)
    .await?;
    Ok(added.rows_affected() == 1)
}
