//! Throws away what nobody can need any more. Every replica tries; whoever comes first does it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::store::{Store, StoreError};

/// Between two purges.
const INTERVAL: Duration = Duration::from_secs(60);

/// Rows of each kind in one statement: small enough that no login notices.
const BATCH: u32 = 500;

/// Between two statements of one purge.
const PAUSE: Duration = Duration::from_millis(50);

/// Purges until it is dropped.
pub async fn keep_clean(store: Arc<dyn Store>, clock: Clock) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        match purge(&*store, &clock).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "purged expired sessions, tickets and tenant tokens"),
            Err(error) => tracing::warn!(error = %Chain(&error), "cannot purge what has expired"),
        }
    }
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
