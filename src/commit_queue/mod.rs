//! Group commit in front of the store: all logins that wait are committed together, and a lone one does not wait for
//! company. Knows rows and outcomes, not numbers, tokens or HTTP.
//!
//! A login takes its place **before** the verifier is called ([`CommitQueue::admit`]) and keeps it until its commit: so a
//! login whose token is spent always finds room, and a database that takes no sessions refuses logins before they cost
//! anything. A commit that fails is tried again, on fresh connections, for as long as its login's deadline allows.

mod breaker;
mod limit;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::store::{NewSession, OpenSessions, Outcome, StoreError};

use breaker::{Breaker, Entry};
use limit::DelayLimit;
use writer::Writers;

/// How long a login, its token unspent, waits for what becomes of a batch that is out for long. A disk that hesitates
/// costs nobody an answer; a database that has gone away is known by then.
const STALL_PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// The most logins between admission and their commit.
    pub places: usize,
    /// The most logins one commit carries.
    pub max_batch: usize,
    /// The most commits under way at once; SQLite has one writer.
    pub writers: usize,
}

/// The way to the writers; clones share one queue.
#[derive(Clone)]
pub struct CommitQueue {
    jobs: UnboundedSender<Job>,
    shared: Arc<Shared>,
}

/// What admission and the writers share.
struct Shared {
    breaker: Breaker,
    limit: DelayLimit,
    /// Logins whose number is known and that wait for their commit.
    waiting: AtomicUsize,
    suspended: AtomicBool,
    config: Config,
}

/// A login that waits for its commit. Dropping it gives its place back.
struct Job {
    session: NewSession,
    waiter: Waiter,
}

struct Waiter {
    answer: oneshot::Sender<Result<Outcome, CommitError>>,
    /// When it was handed in; `None` once its batch has set out.
    since: Option<Instant>,
    _waiting: Waiting,
    _place: Place,
}

/// Given back when it is dropped.
struct Place(Arc<Shared>);

/// Counts a job for as long as it is there.
struct Waiting(Arc<Shared>);

/// A place in the queue.
pub struct Ticket {
    queue: CommitQueue,
    place: Place,
    trial: Option<Trial>,
}

/// The one login that tries whether the database takes sessions again. Dropped, it makes way for the next.
struct Trial {
    shared: Arc<Shared>,
    number: u64,
}

/// Why no place is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the database takes no sessions")]
    Failing,
    #[error("more logins are under way than are answered in time")]
    Overloaded,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Shared by all logins of the batch.
    #[error("the session could not be written")]
    Store(#[source] Arc<StoreError>),
    #[error("the session was not written in time")]
    TimedOut,
    #[error("the commit queue ended before it answered")]
    Ended,
}

impl CommitError {
    /// A short, bounded name of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Store(_) => "store",
            Self::TimedOut => "timed_out",
            Self::Ended => "ended",
        }
    }
}

impl CommitQueue {
    /// Starts the writers; they end once every clone of this is gone and the queue is empty.
    pub fn start(store: Arc<dyn OpenSessions>, clock: Clock, config: Config) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            breaker: Breaker::default(),
            limit: DelayLimit::new(config.places),
            waiting: AtomicUsize::new(0),
            suspended: AtomicBool::new(false),
            config,
        });
        tokio::spawn(limit::keep_adjusting(Arc::downgrade(&shared)));
        Writers::start(store, clock, Arc::clone(&shared), (jobs.downgrade(), queue));
        Self { jobs, shared }
    }

    /// Takes a place in the queue, at once or not at all.
    pub fn admit(&self) -> Result<Ticket, Refused> {
        if self.is_suspended() {
            return Err(Refused::Failing);
        }
        let trial = match self.shared.enter() {
            Entry::Free | Entry::Stalled => None,
            Entry::Trial(number) => Some(Trial { shared: Arc::clone(&self.shared), number }),
            Entry::Refused => return Err(Refused::Failing),
        };
        let place = Place::take(&self.shared).ok_or(Refused::Overloaded)?;
        Ok(Ticket { queue: self.clone(), place, trial })
    }

    /// Whether [`CommitQueue::admit`] is likely to give a place. Takes none.
    pub fn has_room(&self) -> bool {
        !self.is_suspended()
            && self.shared.limit.has_room()
            && self.shared.breaker.lets_in(self.shared.waiting(), Instant::now())
    }

    /// Whether no place is given at all, whatever the batches come to: for who knows that the database is a wrong one.
    pub fn suspend(&self, suspended: bool) {
        self.shared.suspended.store(suspended, Ordering::Relaxed);
    }

    fn is_suspended(&self) -> bool {
        self.shared.suspended.load(Ordering::Relaxed)
    }

    /// Places taken: each from the admission of a login to its commit.
    pub fn taken(&self) -> usize {
        self.shared.limit.taken()
    }

    /// How many places there are at the moment: as many as are answered in time.
    pub fn limit(&self) -> usize {
        self.shared.limit.current()
    }

    /// False from a failed batch to the next one that is committed.
    pub fn is_healthy(&self) -> bool {
        !self.shared.breaker.is_open()
    }

    /// For how long no batch has been committed although some were tried; zero while all is well.
    pub fn troubled_for(&self) -> Duration {
        self.shared.breaker.troubled_for(Instant::now())
    }
}

impl Shared {
    fn enter(&self) -> Entry {
        self.breaker.enter(self.waiting(), Instant::now())
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Ticket {
    /// The last question before the token is spent: whether the database took sessions just now. Waits a moment where
    /// that is about to come out.
    pub async fn confirm(&self) -> Result<(), Refused> {
        if self.trial.is_some() {
            return Ok(());
        }
        let breaker = &self.queue.shared.breaker;
        if timeout(STALL_PATIENCE, breaker.unstalled()).await.is_err() || breaker.is_open() {
            return Err(Refused::Failing);
        }
        Ok(())
    }

    /// Has the session written, trying again and again until the deadline. `Ok` means durable.
    pub async fn commit(self, session: NewSession, deadline: Deadline) -> Result<Outcome, CommitError> {
        let Self { queue, place, trial } = self;
        let (answer, outcome) = oneshot::channel();
        let since = Some(Instant::now());
        let waiter = Waiter { answer, since, _waiting: Waiting::new(&queue.shared), _place: place };
        queue.jobs.send(Job { session, waiter }).map_err(|_| CommitError::Ended)?;
        let outcome = deadline.limit(outcome).await;
        drop(trial);
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(CommitError::Ended),
            Err(_) => Err(CommitError::TimedOut),
        }
    }
}

impl Waiting {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        shared.limit.take().then(|| Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.limit.give_back();
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.shared.breaker.trial_ended(self.number);
    }
}

impl std::fmt::Debug for CommitQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitQueue").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("is_trial", &self.trial.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
