//! A small pool of connections: lends them out one call at a time and takes back only those that are known to be whole.
//! It knows nothing of SQL.
//!
//! Why not sqlx's own pool, as of 0.9: it gives a connection back when the call on it was merely dropped, so a peer that
//! acknowledges and never answers blocks it for ever (launchbadge/sqlx#4349); it pings every connection on its return
//! without a time limit, with the same end; it has one time limit for queueing (to be short) and for connecting (which,
//! cut short, never succeeds); and after a restart of the server it hands out each dead connection once.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::error::{Damage, NoAnswer, no_connection};
use crate::store::pool::Queue;
use crate::store::{PoolState, StoreError};
use crate::verifier::BoxError;

/// How long a call waits for one of the connections to be free: this share of what a statement may take, 150 ms unless
/// set otherwise. Statements take a few milliseconds: who waits longer stands in a queue that does not move.
const QUEUE_SHARE_PERCENT: u32 = 30;

/// TCP, TLS and a password take 10 to 100 ms within a region, several times that on a cold start. Within the database
/// phase of a login (1.2 s), and, as delivered, longer than the queue's: a connection never waited for is never made.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Shorter than the 350 s after which load balancers and firewalls forget a silent connection without a word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(240);

/// Lets a server's memory for a connection go, and lets connections follow a changed DNS record.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How long the goodbyes of [`Connections::close`] may take in all.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Connections {
    options: PgConnectOptions,
    slots: Semaphore,
    /// Taken before a slot by every call but a login's own: half of the connections are kept for committing logins,
    /// whose tokens are spent already. A storm of other calls must not make those wait in its queue.
    others: Semaphore,
    queue: Queue,
    queue_timeout: Duration,
    limit: usize,
    kept: Mutex<Kept>,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Opens sessions, for logins whose tokens are spent.
    Login,
    Other,
}

#[derive(Default)]
struct Kept {
    /// The connection used last is used next, so that a quiet server lets the others go.
    idle: Vec<Idle>,
    /// Nothing that was opened before this is used again.
    broken_at: Option<Instant>,
}

struct Idle {
    connection: PgConnection,
    opened_at: Instant,
    idle_since: Instant,
}

/// A connection for one call. Dropping it closes the connection: only [`Lease::give_back`] keeps it, so that a call
/// that was cancelled, timed out or panicked can never leave half an answer behind for the next one.
pub(super) struct Lease<'a> {
    connections: &'a Connections,
    connection: PgConnection,
    opened_at: Instant,
    _slot: SemaphorePermit<'a>,
    _other: Option<SemaphorePermit<'a>>,
}

impl Connections {
    /// Opens nothing yet.
    pub fn new(options: PgConnectOptions, max_connections: u32, statement_timeout: Duration) -> Self {
        let slots = usize::try_from(max_connections.max(1)).unwrap_or(Semaphore::MAX_PERMITS);
        let slots = slots.min(Semaphore::MAX_PERMITS);
        let others = Semaphore::new(slots.div_ceil(2));
        let (queue, kept) = (Queue::default(), Mutex::default());
        let queue_timeout = statement_timeout * QUEUE_SHARE_PERCENT / 100;
        Self { options, slots: Semaphore::new(slots), others, queue, queue_timeout, limit: slots, kept }
    }

    pub async fn lease(&self, caller: Caller) -> Result<Lease<'_>, StoreError> {
        let places = async {
            let other = match caller {
                Caller::Login => None,
                Caller::Other => Some(self.others.acquire().await?),
            };
            Ok::<_, AcquireError>((self.slots.acquire().await?, other))
        };
        let waiting = self.queue.enter();
        let (slot, other) = timeout(self.queue_timeout, places)
            .await
            .map_err(|_| unavailable("every database connection is busy"))?
            .map_err(|_| unavailable("the database connections are closed"))?;
        drop(waiting);
        if let Some(Idle { connection, opened_at, .. }) = self.take_idle() {
            return Ok(Lease { connections: self, connection, opened_at, _slot: slot, _other: other });
        }
        let opened_at = Instant::now();
        match timeout(CONNECT_TIMEOUT, self.options.connect()).await {
            Ok(Ok(connection)) => Ok(Lease { connections: self, connection, opened_at, _slot: slot, _other: other }),
            Ok(Err(error)) => Err(no_connection(error)),
            Err(_) => Err(StoreError::Unavailable(NoAnswer(CONNECT_TIMEOUT).into())),
        }
    }

    pub fn state(&self) -> PoolState {
        PoolState {
            in_use: self.limit.saturating_sub(self.slots.available_permits()),
            idle: self.kept().idle.len(),
            limit: self.limit,
            waiting: self.queue.len(),
        }
    }

    /// Lets every idle connection go, and those that are lent out when they come back.
    pub fn distrust_all(&self) {
        let mut kept = self.kept();
        kept.broken_at = Some(Instant::now());
        kept.idle.clear();
    }

    /// Says goodbye on every idle connection; those that are lent out are closed when their call ends.
    pub async fn close(&self) {
        self.slots.close();
        self.others.close();
        let idle = std::mem::take(&mut self.kept().idle);
        let goodbyes = async {
            for kept in idle {
                // The connection is of no more use, whether its goodbye arrived or not.
                kept.connection.close().await.ok();
            }
        };
        timeout(CLOSE_TIMEOUT, goodbyes).await.ok();
    }

    fn take_idle(&self) -> Option<Idle> {
        let mut kept = self.kept();
        kept.drop_stale();
        kept.idle.pop()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_stale(&mut self) {
        let now = Instant::now();
        self.idle.retain(|kept| now - kept.idle_since < IDLE_TIMEOUT && now - kept.opened_at < MAX_LIFETIME);
    }
}

impl Lease<'_> {
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Ends the lease after a call that came to its end. Without damage the connection is kept for the next call.
    pub fn give_back(self, damage: Damage) {
        let Self { connections, connection, opened_at, _slot, _other } = self;
        if damage == Damage::Server {
            connections.distrust_all();
        }
        let mut kept = connections.kept();
        let trusted = kept.broken_at.is_none_or(|broken_at| opened_at > broken_at);
        if damage == Damage::None && trusted && !connections.slots.is_closed() {
            kept.drop_stale();
            kept.idle.push(Idle { connection, opened_at, idle_since: Instant::now() });
        }
    }
}

/// Without the options, which hold the password.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("free", &self.slots.available_permits()).finish_non_exhaustive()
    }
}

fn unavailable(reason: &'static str) -> StoreError {
    StoreError::Unavailable(BoxError::from(reason))
}
