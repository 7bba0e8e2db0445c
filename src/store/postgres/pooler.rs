//! Whether a pooler hands the sessions of this program to whichever server process is free.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use super::CONNECT_TIMEOUT;
use crate::finding::Finding;

/// How often the two sessions take turns. A pooler that does not give the last server process first has some more
/// chances to show itself.
const TURNS: usize = 4;

/// The setting beside what is there. What cannot be told is no reason to stop anything.
pub(super) async fn look_for(options: &PgConnectOptions, expected: bool) -> Finding {
    let seen = match timeout(CONNECT_TIMEOUT * 2, shares_processes(options)).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => {
            return Finding::skip("pooler", format!("two connections at once cannot be compared: {error}"));
        }
        Err(_) => return Finding::skip("pooler", "two connections at once cannot be compared in time"),
    };
    match (seen, expected) {
        (true, true) => Finding::ok("pooler", "in transaction mode, and database.transaction_pooler is true"),
        (false, false) => Finding::ok("pooler", "none in transaction mode, and database.transaction_pooler is false"),
        (true, false) => Finding::fail(
            "pooler",
            "there is a pooler in transaction mode, in which prepared statements and time limits of ours get lost",
            "set database.transaction_pooler to true",
        ),
        (false, true) => Finding::warn(
            "pooler",
            "no pooler in transaction mode shows itself, and each statement pays three more round trips for one",
            "set database.transaction_pooler to false if there is none",
        ),
    }
}

/// Each session of Postgres has a process of its own. If two sessions that are both open were served by one process, or
/// one of them by two, then somebody in between deals them out.
async fn shares_processes(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut sessions = [options.connect().await?, options.connect().await?];
    let mut processes = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..TURNS {
        for (session, processes) in sessions.iter_mut().zip(&mut processes) {
            processes.insert(process_id(session).await?);
        }
    }
    for session in sessions {
        session.close().await?;
    }
    let moved = processes.iter().any(|processes| processes.len() > 1);
    Ok(moved || !processes[0].is_disjoint(&processes[1]))
}

async fn process_id(session: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select pg_backend_pid()").persistent(false).fetch_one(session).await
}
