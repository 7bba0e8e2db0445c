//! Whether the database answers and takes writes. It must not know the other tables.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use time::OffsetDateTime;

use super::error::Failure;
use crate::clock::{from_unix_micros, unix_micros};

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

pub(super) async fn probe_write(db: &mut SqliteConnection, now: OffsetDateTime) -> Result<(), Failure> {
    sqlx::query(
        "insert into write_probe (id, probed_at)
         values (1, ?)
         on conflict (id) do update set probed_at = excluded.probed_at",
    )
    .bind(unix_micros(now))
    .execute(db)
    .await?;
    Ok(())
}
