//! The budget of billed calls, which all replicas share. It must not know what is called, nor what a call costs.

use time::Date;

use super::PostgresStore;
use crate::store::{Reservation, StoreError};

/// Of concurrent reservations one adds to the row; the others wait for it and then find what it left.
const RESERVE: &str = r"
insert into verifier_budget (day, reserved)
values ($1, $2)
on conflict (day) do update
    set reserved = verifier_budget.reserved + excluded.reserved
    where verifier_budget.reserved < $3
returning reserved";

impl PostgresStore {
    pub(super) async fn add_reserved_calls(
        &self,
        day: Date,
        calls: u32,
        limit: u64,
    ) -> Result<Reservation, StoreError> {
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = sqlx::query(RESERVE).bind(day).bind(i64::from(calls)).bind(most);
        let reserved: Option<(i64,)> = self.fetch(statement).await?.pop();
        Ok(Reservation::new(reserved.map(|(reserved,)| reserved), calls, limit))
    }
}
