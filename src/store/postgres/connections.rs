//! A small pool of connections: lends them out one call at a time and takes back only those that are known to be whole.
//! It knows nothing of SQL.
//!
//! Why not sqlx's own pool, as of 0.9: it gives a connection back when the call on it was merely dropped, so a peer that
//! acknowledges and never answers blocks it for ever (launchbadge/sqlx#4349); it pings every connection on its return
//! without a time limit, with the same end; it has one time limit for queueing (to be short) and for connecting (which,
//! cut short, never succeeds); and after a restart of the server it hands out each dead connection once.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::error::Damage;
use super::host::{self, within};
use super::identity::Identity;
use super::url::Target;
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

/// A connection that was in use so lately was cut with its server, or with the way to it: then the others are as dead. One
/// that had been idle for longer may have been cut alone, by a balancer that ends idle connections.
const RECENT_USE: Duration = Duration::from_secs(5);

/// Connections of the control lane, beside all others.
pub const CONTROL_CONNECTIONS: u32 = 1;

/// How long the goodbyes of [`Connections::close`] may take in all.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Connections {
    address: Arc<Address>,
    /// What each connection sets as it opens.
    parameters: Vec<(&'static str, String)>,
    /// Of logins and of all other calls.
    slots: Semaphore,
    /// Taken before a slot by every call but a login's own: half of the connections are kept for committing logins,
    /// whose tokens are spent already. A storm of other calls must not make those wait in its queue.
    others: Semaphore,
    /// A lane of its own, so that no storm makes a database that is busy look like one that is silent.
    control: Semaphore,
    queue: Queue,
    queue_timeout: Duration,
    limit: usize,
    kept: Mutex<Kept>,
    pub identity: Identity,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Opens sessions, for logins whose tokens are spent.
    Login,
    /// Finds out how the database is, and keeps the snapshots of keys and apps fresh.
    Control,
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
    /// `None` of one that was opened for this call.
    idle_since: Option<Instant>,
    places: Places<'a>,
}

/// What a call holds of the lanes.
struct Places<'a> {
    _slot: SemaphorePermit<'a>,
    _other: Option<SemaphorePermit<'a>>,
}

impl Connections {
    /// Opens nothing yet. Beside `max_connections` there are those of the control lane.
    pub fn new(
        address: Arc<Address>,
        parameters: Vec<(&'static str, String)>,
        max_connections: u32,
        statement_timeout: Duration,
    ) -> Self {
        let slots = usize::try_from(max_connections.max(1)).unwrap_or(Semaphore::MAX_PERMITS);
        let slots = slots.min(Semaphore::MAX_PERMITS);
        let control = CONTROL_CONNECTIONS as usize;
        Self {
            address,
            parameters,
            slots: Semaphore::new(slots),
            others: Semaphore::new(slots.div_ceil(2)),
            control: Semaphore::new(control),
            queue: Queue::default(),
            queue_timeout: statement_timeout * QUEUE_SHARE_PERCENT / 100,
            limit: slots + control,
            kept: Mutex::default(),
            identity: Identity::default(),
        }
    }

    pub async fn lease(&self, caller: Caller) -> Result<Lease<'_>, StoreError> {
        let places = self.places(caller).await?;
        match self.take_idle() {
            Some(Idle { connection, opened_at, idle_since }) => {
                Ok(Lease { connections: self, connection, opened_at, idle_since: Some(idle_since), places })
            }
            None => self.open(places).await,
        }
    }

    async fn places(&self, caller: Caller) -> Result<Places<'_>, StoreError> {
        let places = async {
            let (slots, other) = match caller {
                Caller::Login => (&self.slots, None),
                Caller::Control => (&self.control, None),
                Caller::Other => (&self.slots, Some(self.others.acquire().await?)),
            };
            Ok::<_, AcquireError>(Places { _slot: slots.acquire().await?, _other: other })
        };
        let _waiting = self.queue.enter();
        timeout(self.queue_timeout, places)
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Unavailable(BoxError::from("the database connections are closed")))
    }

    /// A new connection for a call that has its place.
    async fn open<'a>(&'a self, places: Places<'a>) -> Result<Lease<'a>, StoreError> {
        let opened_at = Instant::now();
        let opened = self.connect().await;
        if opened.is_err() {
            self.distrust_all();
        }
        Ok(Lease { connections: self, connection: opened?, opened_at, idle_since: None, places })
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let target = self.address.current();
        match self.connect_to_any(&target).await {
            Ok(connection) => Ok(connection),
            Err(error) => match self.address.newer_than(&target).await {
                Some(newer) => self.connect_to_any(&newer).await,
                None => Err(error),
            },
        }
    }

    /// To the host that took the last connection, or else to the first that takes one.
    async fn connect_to_any(&self, target: &Target) -> Result<PgConnection, StoreError> {
        let (last, count) = (target.last.load(Ordering::Relaxed), target.hosts.len());
        let mut failed = None;
        for host in std::iter::once(last).chain((0..count).filter(|host| *host != last)) {
            match self.connect_to(target, host).await {
                Ok(connection) => {
                    if target.last.swap(host, Ordering::Relaxed) != host {
                        tracing::warn!(
                            database.host = target.hosts[host].get_host(),
                            "another database host takes over"
                        );
                    }
                    return Ok(connection);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| StoreError::Unavailable(BoxError::from("database.url names no host"))))
    }

    async fn connect_to(&self, target: &Target, host: usize) -> Result<PgConnection, StoreError> {
        let mut options = target.hosts[host].clone();
        // An empty list would be sent as well, and a pooler refuses it.
        if !self.parameters.is_empty() {
            options = options.options(self.parameters.iter().map(|(name, value)| (name, value)));
        }
        let mut connection = host::connect_to(&options, target.session).await?;
        within(CONNECT_TIMEOUT, self.identity.check(&mut connection)).await?;
        Ok(connection)
    }

    /// Whether the connections still lead to the database that this server belongs to.
    pub async fn check_identity(&self) -> Result<(), StoreError> {
        let mut lease = self.lease(Caller::Control).await?;
        let checked = within(CONNECT_TIMEOUT, self.identity.check(lease.connection())).await;
        if checked.is_ok() {
            lease.give_back(Damage::None);
        }
        checked
    }

    pub fn state(&self) -> PoolState {
        PoolState {
            in_use: self.limit.saturating_sub(self.slots.available_permits() + self.control.available_permits()),
            idle: self.kept().idle.len(),
            limit: self.limit,
            waiting: self.queue.len(),
        }
    }

    /// What became of a connection that had been idle since then.
    fn note(&self, damage: Damage, idle_since: Option<Instant>) {
        let in_use_lately = idle_since.is_none_or(|since| since.elapsed() < RECENT_USE);
        match damage {
            Damage::Server => self.distrust_all(),
            Damage::Dead if in_use_lately => self.distrust_all(),
            Damage::Dead | Damage::Stale | Damage::Connection | Damage::None => {}
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
        self.control.close();
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

    /// Whether it has been used by calls before this one.
    pub const fn is_reused(&self) -> bool {
        self.idle_since.is_some()
    }

    /// Gives the connection up for a new one, which is not one of those that were idle. The call keeps its place.
    pub async fn replace(self, damage: Damage) -> Result<Self, StoreError> {
        let connections = self.connections;
        connections.note(damage, self.idle_since);
        let Self { connection, places, .. } = self;
        drop(connection);
        connections.open(places).await
    }

    /// Ends the lease after a call that came to its end. Without damage the connection is kept for the next call.
    pub fn give_back(self, damage: Damage) {
        let Self { connections, connection, opened_at, idle_since, places: _places } = self;
        connections.note(damage, idle_since);
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
