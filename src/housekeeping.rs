//! Throws away what nobody can need any more. Every replica tries; whoever comes first does it.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::session::Rules;
use crate::store::{DeadAnswers, Store, StoreError};

/// Between two purges.
const INTERVAL: Duration = Duration::from_secs(60);

/// Rows of each kind in one statement: small enough that no login notices.
const BATCH: u32 = 500;

/// Between two statements of one purge.
const PAUSE: Duration = Duration::from_millis(50);

/// How far back a replica looks after its start for sealed answers that are dead. Of a longer time in which no replica
/// ran, they go with their sessions.
const LOOK_BACK: Duration = Duration::from_secs(3_600);

/// Replicas' clocks may be this far apart, and so the times in their ids.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Purges until it is dropped.
pub async fn keep_clean(store: Arc<dyn Store>, clock: Clock, rules: Rules) {
    let mut forgotten_to = clock.now() - LOOK_BACK - rules.retry_window;
    loop {
        tokio::time::sleep(INTERVAL).await;
        match purge(&*store, &clock).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "purged expired sessions, tickets and tenant tokens"),
            Err(error) => tracing::warn!(error = %Chain(&error), "cannot purge what has expired"),
        }
        match forget_answers(&*store, forgotten_to, clock.now(), rules).await {
            Ok(to) => forgotten_to = to,
            Err(error) => tracing::warn!(error = %Chain(&error), "cannot take dead sealed answers away"),
        }
    }
}

/// Takes away the sealed answers that nobody may ask for any more. Returns until when it did.
async fn forget_answers(
    store: &dyn Store,
    from: OffsetDateTime,
    now: OffsetDateTime,
    rules: Rules,
) -> Result<OffsetDateTime, StoreError> {
    let to = now - rules.retry_window - CLOCK_TOLERANCE;
    let rotated_before = now - rules.rotation_grace - CLOCK_TOLERANCE;
    let dead = DeadAnswers { opened: from - CLOCK_TOLERANCE..to, rotated_before };
    while store.forget_answers(&dead, BATCH).await? > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(to)
}

async fn purge(store: &dyn Store, clock: &Clock) -> Result<u64, StoreError> {
    let mut rows = 0;
    loop {
        match store.purge(clock.now(), BATCH).await? {
            0 => return Ok(rows),
            purged => rows += purged,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
