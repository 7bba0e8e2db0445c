//! The writers: they take what waits, a batch at a time, and see to it that each login gets its own outcome. A batch that
//! fails goes back into the queue and is tried again, a login at a time, until one is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::breaker::Failed;
use super::{CommitError, Job, Shared, Waiter};
use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::store::{NewSession, OpenSessions, Outcome, StoreError};

/// How often a database that takes no sessions is tried, with a login that waits or else with a probe: so logins resume
/// within a quarter of a second, and a server that has trouble is not stormed.
const TRY_INTERVAL: Duration = Duration::from_millis(100);

/// How long logins gather while a batch is on its way; then the next batch sets out beside it, so that one commit that
/// hangs holds up nobody for longer. Above the usual time of a commit: batches that overlap are smaller, and each of
/// them costs the database a commit (measured with 64 clients: 14 logins in a batch and 51 µs of Postgres each, against
/// 28 and 42).
const TURN_PATIENCE: Duration = Duration::from_millis(25);

/// A batch that is out for so many ticks holds new logins back. Well above the usual few milliseconds, and short, as each
/// login that is let through meanwhile may have spent its token in vain. Ticks, not time: while this process gets no
/// processor it makes none, and a database that has long answered is not taken for a silent one.
const STALL_TICKS: u32 = 5;
const TICK: Duration = Duration::from_millis(10);

/// So many logins refused one after the other, each alone, and it is the database that is to blame.
const REFUSALS_IN_A_ROW: usize = 2;

pub(super) struct Writers {
    store: Arc<dyn OpenSessions>,
    clock: Clock,
    shared: Arc<Shared>,
    /// For what is tried again; it does not keep the queue open.
    again: WeakUnboundedSender<Job>,
    /// Held by the writer that gathers the next batch; while the breaker is open, until that has been tried.
    queue: Mutex<Queue>,
    /// Held by the batch that is on its way.
    turn: Semaphore,
    /// Lone logins that were refused for their data since the last commit.
    refused: AtomicUsize,
}

struct Queue {
    jobs: UnboundedReceiver<Job>,
    /// When a login was last tried while the breaker was open.
    tried_at: Instant,
}

/// Logins on their way together: as many waiters as sessions, in the same order.
struct Batch {
    sessions: Vec<NewSession>,
    waiters: Vec<Waiter>,
}

impl Writers {
    pub fn start(
        store: Arc<dyn OpenSessions>,
        clock: Clock,
        shared: Arc<Shared>,
        (again, jobs): (WeakUnboundedSender<Job>, UnboundedReceiver<Job>),
    ) {
        let writers = shared.config.writers;
        let queue = Mutex::new(Queue { jobs, tried_at: Instant::now() });
        let this = Arc::new(Self {
            store,
            clock,
            shared,
            again,
            queue,
            turn: Semaphore::new(1),
            refused: AtomicUsize::new(0),
        });
        for _ in 0..writers {
            tokio::spawn(Arc::clone(&this).keep_writing());
        }
    }

    /// A panic costs the batch that it happened in, not the writer: without one no login would ever work again.
    async fn keep_writing(self: Arc<Self>) {
        loop {
            match tokio::spawn(Arc::clone(&self).write_batches()).await {
                Err(ended) if ended.is_panic() => {
                    self.shared.breaker.answered();
                    tracing::error!("a writer of sessions panicked: its batch is lost and it goes on");
                }
                // The queue is empty and nobody is left to fill it, or the runtime ends.
                Ok(()) | Err(_) => return,
            }
        }
    }

    async fn write_batches(self: Arc<Self>) {
        let max_batch = self.shared.config.max_batch;
        let mut jobs = Vec::with_capacity(max_batch);
        loop {
            let mut queue = self.queue.lock().await;
            let Some(first) = queue.jobs.recv().await else { return };
            if first.waiter.answer.is_closed() {
                // Its login has given up. Of many such, none must hold up those that have not.
                continue;
            }
            jobs.push(first);
            if self.shared.breaker.is_open() {
                // One login at a time is tried, and no other writer tries meanwhile.
                sleep_until(queue.tried_at + TRY_INTERVAL).await;
                jobs.iter_mut().for_each(|job| job.waiter.since = None);
                if let Some(batch) = Batch::of_waiting(&mut jobs) {
                    self.write(batch).await;
                }
                queue.tried_at = Instant::now();
                continue;
            }
            let turn = match self.turn.try_acquire() {
                Ok(turn) => Some(turn),
                Err(_) if jobs.len() == max_batch => None,
                Err(_) => timeout(TURN_PATIENCE, self.turn.acquire()).await.ok().and_then(Result::ok),
            };
            while jobs.len() < max_batch
                && let Ok(job) = queue.jobs.try_recv()
            {
                jobs.push(job);
            }
            drop(queue);
            self.note_waits(&mut jobs);
            if let Some(batch) = Batch::of_waiting(&mut jobs) {
                self.write(batch).await;
            }
            drop(turn);
        }
    }

    /// How long each waited until now, for the limit of logins under way; at its first try only.
    fn note_waits(&self, jobs: &mut [Job]) {
        let now = Instant::now();
        for since in jobs.iter_mut().filter_map(|job| job.waiter.since.take()) {
            self.shared.limit.waited(now - since);
        }
    }

    async fn write(self: &Arc<Self>, batch: Batch) {
        match self.try_to_open(&batch.sessions).await {
            Ok(outcomes) => batch.answer(outcomes),
            // Perhaps one login alone is at fault: the others must not suffer for it.
            Err(error) if !error.is_transient() && batch.sessions.len() > 1 => self.write_one_by_one(batch).await,
            Err(error @ StoreError::Data(_)) if !self.refuses_everybody() => batch.fail(error),
            Err(error) => self.hold(batch, &error),
        }
    }

    async fn write_one_by_one(self: &Arc<Self>, batch: Batch) {
        let mut failed: Vec<(Batch, StoreError)> = Vec::new();
        let mut held = Vec::new();
        let mut committed = false;
        for single in batch.singles() {
            if !committed && failed.len() >= REFUSALS_IN_A_ROW {
                held.push(single);
                continue;
            }
            match self.try_to_open(&single.sessions).await {
                Ok(outcomes) => {
                    committed = true;
                    single.answer(outcomes);
                }
                Err(error) => failed.push((single, error)),
            }
        }
        for (single, error) in failed {
            // Where others were committed, it is this login that the database refuses.
            if committed && !error.is_transient() {
                single.fail(error);
            } else {
                self.hold(single, &error);
            }
        }
        held.into_iter().for_each(|single| self.put_back(single));
    }

    /// Opens the sessions, at a second try if the first one may just have met a dead connection. Safe because opening is
    /// idempotent by token hash. Tells the breaker if they were committed, or refused for what is in them.
    async fn try_to_open(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        let opened = self.watch_for_stall(self.open_at_second_try(sessions)).await;
        let breaker = &self.shared.breaker;
        match &opened {
            Ok(_) => {
                self.refused.store(0, Ordering::Relaxed);
                if let Some(time) = breaker.committed(Instant::now()) {
                    let after_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(after_ms, "the database takes sessions again");
                }
            }
            Err(StoreError::Data(_)) => breaker.answered(),
            Err(_) => {}
        }
        opened
    }

    async fn open_at_second_try(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        let mut opened = self.store.open_sessions(sessions).await;
        if let Err(error) = &opened
            && error.is_transient()
            && !self.shared.breaker.is_open()
        {
            tracing::warn!(error = %Chain(error), sessions = sessions.len(), "repeating a batch of sessions");
            opened = self.store.open_sessions(sessions).await;
        }
        opened.and_then(|outcomes| match outcomes.len() == sessions.len() {
            true => Ok(outcomes),
            false => Err(StoreError::Corrupt { what: "batch of outcomes" }),
        })
    }

    /// Tells the breaker once a batch is out for long.
    async fn watch_for_stall<T>(&self, batch: impl Future<Output = T>) -> T {
        let stall = async {
            for _ in 0..STALL_TICKS {
                sleep(TICK).await;
            }
        };
        tokio::pin!(batch);
        tokio::select! {
            biased;
            done = &mut batch => return done,
            () = stall => self.shared.breaker.stalled(Instant::now()),
        }
        batch.await
    }

    /// Counts a login that was refused for its data: one is at fault itself, several in a row are not.
    fn refuses_everybody(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed) + 1 >= REFUSALS_IN_A_ROW
    }

    /// Opens the breaker and keeps the logins for the next try.
    fn hold(self: &Arc<Self>, batch: Batch, error: &StoreError) {
        match self.shared.breaker.failed(Instant::now()) {
            Failed::JustOpened => {
                tracing::error!(error = %Chain(error), "the database takes no sessions: logins are refused until it does");
                tokio::spawn(Arc::clone(self).probe());
            }
            Failed::StillOpen => tracing::debug!(error = %Chain(error), "the database still takes no sessions"),
        }
        self.put_back(batch);
    }

    /// At the end of the queue: a login that fails by itself does not stand in the others' way.
    fn put_back(&self, batch: Batch) {
        // Nobody waits any more if the queue is closed.
        let Some(queue) = self.again.upgrade() else { return };
        for (session, waiter) in batch.sessions.into_iter().zip(batch.waiters) {
            let _ = queue.send(Job { session, waiter });
        }
    }

    /// Asks for the cheap proof again and again while the breaker is open and no login waits to be tried.
    async fn probe(self: Arc<Self>) {
        while self.shared.breaker.is_open() {
            sleep(TRY_INTERVAL).await;
            if self.shared.waiting() > 0 {
                continue;
            }
            let probed = self.store.probe_sessions(self.clock.now()).await;
            if let Err(error) = &probed {
                tracing::debug!(error = %Chain(error), "the database still takes no sessions");
            }
            self.shared.breaker.probed(probed.is_ok(), Instant::now());
        }
    }
}

impl Batch {
    /// Of those whose login still waits; whoever reached its deadline has given up.
    fn of_waiting(jobs: &mut Vec<Job>) -> Option<Self> {
        let waiting = jobs.drain(..).filter(|job| !job.waiter.answer.is_closed());
        let (sessions, waiters): (Vec<_>, Vec<_>) = waiting.map(|job| (job.session, job.waiter)).unzip();
        (!sessions.is_empty()).then_some(Self { sessions, waiters })
    }

    fn singles(self) -> impl Iterator<Item = Self> {
        let jobs = self.sessions.into_iter().zip(self.waiters);
        jobs.map(|(session, waiter)| Self { sessions: vec![session], waiters: vec![waiter] })
    }

    fn answer(self, outcomes: Vec<Outcome>) {
        for (waiter, outcome) in self.waiters.into_iter().zip(outcomes) {
            // The login may have given up; its session is then found by its token hash or expires unused.
            let _ = waiter.answer.send(Ok(outcome));
        }
    }

    fn fail(self, error: StoreError) {
        let error = Arc::new(error);
        for waiter in self.waiters {
            let _ = waiter.answer.send(Err(CommitError::Store(Arc::clone(&error))));
        }
    }
}
