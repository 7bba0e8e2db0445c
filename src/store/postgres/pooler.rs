//! Whether a pooler hands the sessions of this program to whichever server process is free.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};
use tokio::time::timeout;

use super::connections::CONNECT_TIMEOUT;
use super::error::Failure;
use super::host;
use super::url::{SessionTarget, Target};
use crate::error_chain::Chain;
use crate::finding::Finding;
use crate::store::StoreError;

/// How often the two sessions take turns. A pooler that does not give the last server process first has some more
/// chances to show itself.
const TURNS: usize = 4;

/// The setting beside what is there. What cannot be told is no reason to stop anything.
pub(super) async fn look_for(target: &Target, expected: bool) -> Finding {
    let looked = async {
        let (mut session, options) = host::connect(target).await?;
        is_between(&mut session, options).await
    };
    let seen = match looked.await {
        Ok(seen) => seen,
        Err(error) => {
            let why = Chain(&error);
            return Finding::skip("pooler", format!("two connections at once cannot be compared: {why}"));
        }
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
pub(super) async fn is_between(session: &mut PgConnection, options: &PgConnectOptions) -> Result<bool, StoreError> {
    let mut second = host::connect_to(options, SessionTarget::Any).await?;
    let compared = async {
        let mut processes = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..TURNS {
            processes[0].insert(process_id(session).await?);
            processes[1].insert(process_id(&mut second).await?);
        }
        second.close().await?;
        let moved = processes.iter().any(|processes| processes.len() > 1);
        Ok(moved || !processes[0].is_disjoint(&processes[1]))
    };
    let outcome = timeout(CONNECT_TIMEOUT, compared).await;
    outcome.unwrap_or_else(|_| Err(Failure::no_answer(CONNECT_TIMEOUT))).map_err(|failure: Failure| failure.error)
}

/// By the simple protocol: a pooler may lead the two messages of the other one to two servers, where they fail.
async fn process_id(session: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("select pg_backend_pid()").fetch_one(session).await?.try_get(0)
}
