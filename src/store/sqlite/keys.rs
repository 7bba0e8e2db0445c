//! Data keys and signing keys, as wrapped as they come. It must not know what any of them opens.

use sqlx::sqlite::{SqliteConnection, SqliteExecutor, SqlitePool};

use super::error::Failure;
use crate::clock::{from_unix_micros, unix_micros};
use crate::store::{DataKey, KeyPurpose, NewDataKey, SigningKeyRow, StoreError};

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
        sqlx::query_as("select id, purpose, wrapped from data_keys where state = 'active' order by id")
            .fetch_all(db)
            .await?;
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

/// Returns whether the key still was wrapped as in `from`: of two that re-wrap at once, neither undoes the other's work.
pub(super) async fn rewrap_data_key(
    db: &mut SqliteConnection,
    id: u32,
    from: &[u8],
    to: &[u8],
) -> Result<bool, Failure> {
    let rewrapped = sqlx::query("update data_keys set wrapped = ?3 where id = ?1 and wrapped = ?2")
        .bind(id)
        .bind(from)
        .bind(to)
        .execute(db)
        .await?;
    Ok(rewrapped.rows_affected() == 1)
}

#[derive(sqlx::FromRow)]
struct SigningRow {
    kid: String,
    generation: i64,
    alg: String,
    private_key_wrapped: Vec<u8>,
    public_jwk: String,
    created_at: i64,
    signs_from: i64,
}

impl TryFrom<SigningRow> for SigningKeyRow {
    type Error = StoreError;

    fn try_from(row: SigningRow) -> Result<Self, StoreError> {
        Ok(Self {
            kid: row.kid,
            generation: u32::try_from(row.generation)
                .map_err(|_| StoreError::Corrupt { what: "signing key's generation" })?,
            alg: row.alg,
            private_key_wrapped: row.private_key_wrapped,
            public_jwk: row.public_jwk,
            created_at: from_unix_micros(row.created_at),
            signs_from: from_unix_micros(row.signs_from),
        })
    }
}

pub(super) async fn signing_keys(readers: &SqlitePool) -> Result<Vec<SigningKeyRow>, Failure> {
    let rows: Vec<SigningRow> = sqlx::query_as(
        "select kid, generation, alg, private_key_wrapped, public_jwk, created_at, signs_from
         from signing_keys
         order by generation",
    )
    .fetch_all(readers)
    .await?;
    Ok(rows.into_iter().map(SigningKeyRow::try_from).collect::<Result<_, _>>()?)
}

/// Returns whether it was stored: not where its generation, or its `kid`, is taken.
pub(super) async fn add_signing_key(db: &mut SqliteConnection, key: &SigningKeyRow) -> Result<bool, Failure> {
    let added = sqlx::query(
        "insert into signing_keys (kid, generation, alg, private_key_wrapped, public_jwk, created_at, signs_from)
         values (?, ?, ?, ?, ?, ?, ?)
         on conflict do nothing",
    )
    .bind(key.kid.as_str())
    .bind(key.generation)
    .bind(key.alg.as_str())
    .bind(key.private_key_wrapped.as_slice())
    .bind(key.public_jwk.as_str())
    .bind(unix_micros(key.created_at))
    .bind(unix_micros(key.signs_from))
    .execute(db)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Returns whether the key was there.
pub(super) async fn remove_signing_key(db: &mut SqliteConnection, kid: &str) -> Result<bool, Failure> {
    let removed = sqlx::query("delete from signing_keys where kid = ?").bind(kid).execute(db).await?;
    Ok(removed.rows_affected() == 1)
}
