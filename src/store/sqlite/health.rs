//! Whether the database answers.

use sqlx::sqlite::SqlitePool;
use time::OffsetDateTime;

use super::error::Failure;
use crate::clock::from_unix_micros;

/// To the millisecond, which is all that SQLite has.
pub(super) async fn database_time(readers: &SqlitePool) -> Result<OffsetDateTime, Failure> {
    // Without a table SQLite would answer without looking at the file.
    let millis: i64 = sqlx::query_scalar(
        "select cast(round(unixepoch('subsec') * 1000) as integer)
         from (select count(*) from sqlite_schema)",
    )
    .fetch_one(readers)
    .await?;
    Ok(from_unix_micros(millis * 1_000))
}
