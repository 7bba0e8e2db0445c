//! Group commit in front of the store: all logins that wait are committed together, and a lone one does not wait for
//! company. Knows rows and outcomes, not numbers, tokens or HTTP.
//!
//! A place in the queue is taken **before** the verifier is called ([`SessionWriter::admit`]), so a login whose token
//! is spent always finds room, and a database that cannot write refuses logins before they cost anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::store::{NewSession, OpenSessions, Outcome, StoreError};

/// How often a store that failed is tried with a small write, so that logins resume within a quarter of a second.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long logins gather while a batch is on its way; then the next batch sets out beside it, so that one commit that
/// hangs holds up nobody for longer. Above the usual time of a commit: batches that overlap are smaller, and each of
/// them costs the database a commit (measured with 64 clients: 14 logins in a batch and 51 µs of Postgres each, against
/// 28 and 42).
const TURN_PATIENCE: Duration = Duration::from_millis(25);

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Logins between admission and their commit.
    pub queue: usize,
    /// The most logins one commit carries.
    pub max_batch: usize,
    /// The most commits under way at once; SQLite has one writer.
    pub writers: usize,
    /// For a login from here to its commit, the one repetition included.
    pub phase_timeout: Duration,
}

/// The way to the writers; clones share one queue.
#[derive(Clone)]
pub struct SessionWriter {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn OpenSessions>,
    clock: Clock,
    config: Config,
    /// The last batch failed, and nothing has been written since.
    failing: AtomicBool,
    /// Held by the batch that is on its way.
    turn: Semaphore,
}

struct Job {
    session: NewSession,
    answer: oneshot::Sender<Result<Outcome, WriteError>>,
}

/// A place in the queue.
pub struct Admission {
    place: OwnedPermit<Job>,
    phase_timeout: Duration,
}

/// Why no place is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the session writer is failing")]
    Failing,
    #[error("the session writer's queue is full")]
    Full,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Shared by all logins of the batch.
    #[error("the sessions could not be written")]
    Store(#[source] Arc<StoreError>),
    #[error("the session was not written in time")]
    TimedOut,
    #[error("the session writer ended before it answered")]
    Ended,
}

impl WriteError {
    /// A short, bounded name of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Store(_) => "store",
            Self::TimedOut => "timed_out",
            Self::Ended => "ended",
        }
    }
}

impl SessionWriter {
    /// Starts the writers; they end once every clone of this is gone and the queue is empty.
    pub fn start(store: Arc<dyn OpenSessions>, clock: Clock, config: Config) -> Self {
        let (queue, jobs) = mpsc::channel(config.queue);
        let shared =
            Arc::new(Shared { store, clock, config, failing: AtomicBool::new(false), turn: Semaphore::new(1) });
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..config.writers {
            tokio::spawn(keep_writing(Arc::clone(&shared), Arc::clone(&jobs)));
        }
        Self { queue, shared }
    }

    /// Takes a place in the queue, at once or not at all.
    pub fn admit(&self) -> Result<Admission, Refused> {
        if !self.is_healthy() {
            return Err(Refused::Failing);
        }
        let place = self.queue.clone().try_reserve_owned().map_err(|_| Refused::Full)?;
        Ok(Admission { place, phase_timeout: self.shared.config.phase_timeout })
    }

    /// Places taken: each from the admission of a login until its batch sets out.
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// How many places there are.
    pub fn limit(&self) -> usize {
        self.queue.max_capacity()
    }

    /// False from a failed batch to the next successful write.
    pub fn is_healthy(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }
}

impl Admission {
    /// Has the session written. `Ok` means durable.
    pub async fn open(self, session: NewSession) -> Result<Outcome, WriteError> {
        let (answer, outcome) = oneshot::channel();
        self.place.send(Job { session, answer });
        match timeout(self.phase_timeout, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(WriteError::Ended),
            Err(_) => Err(WriteError::TimedOut),
        }
    }
}

/// A panic costs the batch that it happened in, not the writer: without one no login would ever work again.
async fn keep_writing(shared: Arc<Shared>, jobs: Arc<Mutex<mpsc::Receiver<Job>>>) {
    loop {
        match tokio::spawn(write_batches(Arc::clone(&shared), Arc::clone(&jobs))).await {
            Err(ended) if ended.is_panic() => {
                tracing::error!("a session writer panicked: its batch is lost and it goes on");
            }
            // The queue is empty and nobody is left to fill it, or the runtime ends.
            Ok(()) | Err(_) => return,
        }
    }
}

async fn write_batches(shared: Arc<Shared>, jobs: Arc<Mutex<mpsc::Receiver<Job>>>) {
    let mut batch = Vec::with_capacity(shared.config.max_batch);
    loop {
        let mut queue = jobs.lock().await;
        if queue.recv_many(&mut batch, shared.config.max_batch).await == 0 {
            return;
        }
        let turn = match shared.turn.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) if batch.len() == shared.config.max_batch => None,
            Err(_) => timeout(TURN_PATIENCE, shared.turn.acquire()).await.ok().and_then(Result::ok),
        };
        while batch.len() < shared.config.max_batch
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        drop(queue);
        // Whoever waited longer than the phase lasts has given up.
        batch.retain(|job| !job.answer.is_closed());
        let (sessions, answers): (Vec<_>, Vec<_>) = batch.drain(..).map(|job| (job.session, job.answer)).unzip();
        if sessions.is_empty() {
            continue;
        }
        let outcomes = shared.write(&sessions).await;
        drop(turn);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // The login may have given up; its session is then found by its token hash or expires unused.
            let _ = answer.send(outcome);
        }
    }
}

impl Shared {
    async fn write(self: &Arc<Self>, sessions: &[NewSession]) -> Vec<Result<Outcome, WriteError>> {
        match self.write_repeating_once(sessions).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            // One login's data was refused: the others must not suffer for it.
            Err(StoreError::Data(_)) if sessions.len() > 1 => {
                let mut outcomes = Vec::with_capacity(sessions.len());
                for session in sessions {
                    let single = self.write_repeating_once(std::slice::from_ref(session)).await;
                    outcomes.push(single.map(|mut one| one.remove(0)).map_err(write_error));
                }
                outcomes
            }
            Err(error) => {
                let error = write_error(error);
                sessions.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    /// Safe because opening is idempotent by token hash. The store sees to it that the repetition has a fresh
    /// connection.
    async fn write_repeating_once(self: &Arc<Self>, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        let mut written = self.store.open_sessions(sessions).await;
        if let Err(error) = &written
            && error.is_transient()
        {
            tracing::warn!(error = %Chain(error), sessions = sessions.len(), "repeating a batch of sessions");
            written = self.store.open_sessions(sessions).await;
        }
        let healthy = match &written {
            Ok(_) | Err(StoreError::Data(_)) => true,
            Err(_) => false,
        };
        if let Ok(outcomes) = &written
            && outcomes.len() != sessions.len()
        {
            written = Err(StoreError::Corrupt { what: "batch of outcomes" });
        }
        self.note(healthy);
        written
    }

    fn note(self: &Arc<Self>, healthy: bool) {
        let was_failing = self.failing.swap(!healthy, Ordering::Relaxed);
        match (was_failing, healthy) {
            (false, false) => {
                tracing::error!("the database takes no sessions: logins are refused until it does");
                tokio::spawn(Arc::clone(self).probe());
            }
            (true, true) => tracing::info!("the database takes sessions again"),
            (false, true) | (true, false) => {}
        }
    }

    /// Writes a small row again and again until the store takes it, or takes a batch.
    async fn probe(self: Arc<Self>) {
        while self.failing.load(Ordering::Relaxed) {
            tokio::time::sleep(PROBE_INTERVAL).await;
            match self.store.probe_write(self.clock.now()).await {
                Ok(()) => self.note(true),
                Err(error) => tracing::debug!(error = %Chain(&error), "the database still takes no writes"),
            }
        }
    }
}

fn write_error(error: StoreError) -> WriteError {
    WriteError::Store(Arc::new(error))
}

impl std::fmt::Debug for SessionWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionWriter").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admission")
    }
}

#[cfg(test)]
mod tests;
