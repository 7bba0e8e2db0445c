//! The budget of billed calls. It must not know what is called, nor what a call costs.

use sqlx::sqlite::SqliteConnection;
use time::{Date, OffsetDateTime};

use super::error::Failure;
use crate::store::Reservation;

pub(super) async fn reserve(
    db: &mut SqliteConnection,
    day: Date,
    calls: u32,
    limit: u64,
) -> Result<Reservation, Failure> {
    let reserved: Option<i64> = sqlx::query_scalar(
        "insert into verifier_budget (day, reserved)
         values (?1, ?2)
         on conflict (day) do update
             set reserved = verifier_budget.reserved + excluded.reserved
             where verifier_budget.reserved < ?3
         returning reserved",
    )
    .bind((day - OffsetDateTime::UNIX_EPOCH.date()).whole_days())
    .bind(i64::from(calls))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_optional(db)
    .await?;
    Ok(Reservation::new(reserved, calls, limit))
}
