//! The queue against a store that does as it is told.

use std::collections::VecDeque;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::device::Device;
use crate::ids::{ClientId, SessionId, UserId};
use crate::session_token::SessionToken;
use crate::store::{Opened, PhoneIndex, Profile};

/// Everything here happens within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of one call; without orders all goes well.
#[derive(Debug, Clone, Copy)]
enum Order {
    Succeed,
    Unavailable,
    Conflict,
    Other,
    /// Refuses a batch that holds the session with this mark.
    RefuseData(u8),
    ForgetOne,
    Panic,
}

struct ObedientStore {
    orders: StdMutex<VecDeque<Order>>,
    /// The sizes of the batches, in order.
    batches: StdMutex<Vec<usize>>,
    /// One permit lets one batch through.
    gate: Semaphore,
    /// Whether a probe succeeds.
    takes_probes: AtomicBool,
}

impl ObedientStore {
    fn new(orders: impl IntoIterator<Item = Order>) -> Arc<Self> {
        Arc::new(Self {
            orders: StdMutex::new(orders.into_iter().collect()),
            batches: StdMutex::default(),
            gate: Semaphore::new(1000),
            takes_probes: AtomicBool::new(true),
        })
    }

    fn closed() -> Arc<Self> {
        let store = Self::new([]);
        store.gate.forget_permits(1000);
        store
    }

    /// A refusal of data stays, as the data does.
    fn next_order(&self) -> Order {
        let mut orders = self.orders.lock().unwrap();
        match orders.front() {
            Some(refusal @ Order::RefuseData(_)) => *refusal,
            _ => orders.pop_front().unwrap_or(Order::Succeed),
        }
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }
}

#[async_trait]
impl OpenSessions for ObedientStore {
    async fn open_sessions(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        self.batches.lock().unwrap().push(sessions.len());
        self.gate.acquire().await.unwrap().forget();
        let order = self.next_order();
        let why = || "as ordered".into();
        let mut outcomes: Vec<_> = sessions.iter().map(outcome_of).collect();
        match order {
            Order::Succeed => {}
            Order::Unavailable => return Err(StoreError::Unavailable(why())),
            Order::Conflict => return Err(StoreError::Conflict(why())),
            Order::Other => return Err(StoreError::Other(why())),
            Order::RefuseData(mark) if sessions.iter().any(|session| session.phone_index.0[0] == mark) => {
                return Err(StoreError::Data(why()));
            }
            Order::RefuseData(_) => {}
            Order::ForgetOne => drop(outcomes.pop()),
            Order::Panic => panic!("as ordered"),
        }
        Ok(outcomes)
    }

    async fn probe_sessions(&self, _: OffsetDateTime) -> Result<(), StoreError> {
        let takes = self.takes_probes.load(Ordering::SeqCst);
        if takes { Ok(()) } else { Err(StoreError::Unavailable("as ordered".into())) }
    }
}

/// The user tells which session it is.
fn outcome_of(session: &NewSession) -> Outcome {
    let user = Profile { id: UserId(session.id.0), user_name: None, name: None, email: None };
    Outcome::Opened(Opened { user, new_user: false })
}

fn session(mark: u8) -> NewSession {
    let now = Clock::system().now();
    NewSession {
        id: SessionId::new(now),
        token_hash: SessionToken::generate().hash(),
        replay_key: None,
        phone_index: PhoneIndex([mark; 32]),
        candidate: None,
        client_id: ClientId::parse("app").unwrap(),
        device: Device {
            operating_sys_version: "1".to_owned(),
            fingerprint: "1".to_owned(),
            agent: "1".to_owned(),
            ip: None,
        },
        created_at: now,
        expires_at: now + Duration::from_secs(60),
        answer_sealed: None,
    }
}

fn start(store: &Arc<ObedientStore>) -> CommitQueue {
    start_with(store, Config { places: 8, max_batch: 4, writers: 1 })
}

fn start_with(store: &Arc<ObedientStore>, config: Config) -> CommitQueue {
    CommitQueue::start(Arc::clone(store) as Arc<dyn OpenSessions>, Clock::system(), config)
}

async fn open(queue: &CommitQueue, mark: u8) -> Result<Outcome, CommitError> {
    queue.admit().unwrap().commit(session(mark), Deadline::after(PATIENCE)).await
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not {what}"));
}

/// Hands in `count` sessions, marked from 1 on, while an earlier one holds up the store; then lets all go. Gives their
/// results by mark.
async fn together(queue: &CommitQueue, store: &ObedientStore, count: u8) -> Vec<Result<Outcome, CommitError>> {
    let mut logins = JoinSet::new();
    let before = store.batches().len();
    for mark in 0..=count {
        let ticket = queue.admit().unwrap();
        logins.spawn(async move { (mark, ticket.commit(session(mark), Deadline::after(PATIENCE)).await) });
        until("handed in", || queue.shared.waiting() == usize::from(mark) + 1).await;
        if mark == 0 {
            until("begun", || store.batches().len() > before).await;
        }
    }
    store.gate.add_permits(1000);
    let mut results = logins.join_all().await;
    results.sort_by_key(|(mark, _)| *mark);
    results.into_iter().skip(1).map(|(_, result)| result).collect()
}

#[tokio::test]
async fn a_lone_login_does_not_wait_for_company() {
    let store = ObedientStore::new([]);
    let queue = start(&store);
    for _ in 0..3 {
        let session = session(1);
        let expected = outcome_of(&session);
        assert_eq!(queue.admit().unwrap().commit(session, Deadline::after(PATIENCE)).await.unwrap(), expected);
    }
    assert_eq!(store.batches(), [1, 1, 1]);
}

#[tokio::test]
async fn those_who_wait_are_committed_together_but_never_more_than_a_batch_may_carry() {
    let store = ObedientStore::closed();
    let queue = start(&store);
    assert!(together(&queue, &store, 6).await.iter().all(Result::is_ok));
    assert_eq!(store.batches(), [1, 4, 2]);
}

#[tokio::test]
async fn one_bad_login_fails_alone() {
    let store = ObedientStore::closed();
    store.orders.lock().unwrap().push_back(Order::RefuseData(2));
    let queue = start(&store);
    let results = together(&queue, &store, 4).await;
    let opened: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(opened, [true, false, true, true]);
    assert_eq!(store.batches(), [1, 4, 1, 1, 1, 1]);
    assert!(queue.is_healthy(), "the database works");
}

#[tokio::test]
async fn a_transient_failure_is_repeated_once_and_nobody_notices() {
    for order in [Order::Unavailable, Order::Conflict] {
        let store = ObedientStore::new([order]);
        let queue = start(&store);
        assert!(open(&queue, 1).await.is_ok());
        assert_eq!(store.batches(), [1, 1]);
        assert!(queue.is_healthy());
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_committed_keeps_its_place_until_it_can() {
    for order in [Order::Unavailable, Order::Other] {
        let store = ObedientStore::new([order; 5]);
        let queue = start(&store);
        let opened = open(&queue, 1);
        tokio::pin!(opened);
        tokio::select! {
            _ = &mut opened => panic!("opened at once"),
            () = until("failing", || !queue.is_healthy()) => {}
        }
        assert_eq!((queue.admit().unwrap_err(), queue.taken()), (Refused::Failing, 1));
        assert!(opened.await.is_ok());
        assert!(queue.is_healthy(), "a batch was committed");
        until("empty", || queue.taken() == 0).await;
        assert_eq!(store.batches(), [1; 6]);
    }
}

#[tokio::test]
async fn a_probe_that_succeeds_lets_one_login_try_and_its_commit_lets_all_others() {
    let store = ObedientStore::new([Order::Unavailable, Order::Unavailable]);
    store.takes_probes.store(false, Ordering::SeqCst);
    let queue = start(&store);
    let given_up = queue.admit().unwrap().commit(session(1), Deadline::after(Duration::from_millis(50))).await;
    assert!(matches!(given_up, Err(CommitError::TimedOut)), "{given_up:?}");
    until("forgotten", || queue.shared.waiting() == 0).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(queue.admit().unwrap_err(), Refused::Failing, "no probe has succeeded");
    }
    store.takes_probes.store(true, Ordering::SeqCst);
    let trial = StdMutex::new(None);
    until("probed", || {
        *trial.lock().unwrap() = queue.admit().ok();
        trial.lock().unwrap().is_some()
    })
    .await;
    let trial = trial.into_inner().unwrap().unwrap();
    assert_eq!(queue.admit().unwrap_err(), Refused::Failing, "one at a time");
    assert!(!queue.is_healthy(), "a probe closes nothing");
    trial.confirm().await.unwrap();
    assert!(trial.commit(session(2), Deadline::after(PATIENCE)).await.is_ok());
    assert!(queue.is_healthy());
    assert!(open(&queue, 3).await.is_ok());
}

#[tokio::test]
async fn a_login_whose_token_is_unspent_waits_for_a_commit_that_hangs_and_no_longer_than_a_moment() {
    let store = ObedientStore::closed();
    let queue = start(&store);
    let hanging = queue.admit().unwrap();
    let hanging = tokio::spawn(async move { hanging.commit(session(1), Deadline::after(PATIENCE)).await });
    until("stalled", || !queue.troubled_for().is_zero()).await;
    let waiting = queue.admit().unwrap();
    assert_eq!(waiting.confirm().await, Err(Refused::Failing), "it hangs on");
    let (confirmed, ()) = tokio::join!(waiting.confirm(), async { store.gate.add_permits(1) });
    assert_eq!(confirmed, Ok(()), "it was committed after all");
    assert!(hanging.await.unwrap().is_ok());
}

/// Those that gave up while the database was away do not keep the others from trying when it is back.
#[tokio::test(start_paused = true)]
async fn many_logins_that_have_given_up_hold_up_nobody() {
    let store = ObedientStore::new([Order::Unavailable; 40]);
    let queue = start_with(&store, Config { places: 1_000, max_batch: 4, writers: 2 });
    let mut logins = JoinSet::new();
    for _ in 0..500 {
        let ticket = queue.admit().unwrap();
        logins.spawn(async move { ticket.commit(session(1), Deadline::after(Duration::from_secs(2))).await });
    }
    assert!(logins.join_all().await.iter().all(|login| matches!(login, Err(CommitError::TimedOut))));
    store.orders.lock().unwrap().clear();
    let back = Instant::now();
    let trial = loop {
        match queue.admit() {
            Ok(ticket) => break ticket,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    assert!(trial.commit(session(2), Deadline::after(PATIENCE)).await.is_ok());
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_login_that_the_database_refuses_for_itself_fails_alone_and_the_others_are_committed() {
    let store = ObedientStore::closed();
    store.orders.lock().unwrap().extend([Order::Succeed, Order::Other, Order::Other]);
    let queue = start(&store);
    let results = together(&queue, &store, 4).await;
    let opened: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(opened, [false, true, true, true]);
    assert!(queue.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_database_that_refuses_everything_is_asked_twice_and_not_for_every_login_of_the_batch() {
    let store = ObedientStore::closed();
    store.orders.lock().unwrap().extend([Order::Succeed, Order::Other, Order::Other, Order::Other]);
    let queue = start(&store);
    assert!(together(&queue, &store, 4).await.iter().all(Result::is_ok));
    assert_eq!(store.batches()[..4], [1, 4, 1, 1], "then the first that is tried again closes the breaker");
    assert!(queue.is_healthy());
}

#[tokio::test]
async fn admission_ends_with_the_queue_and_comes_back_with_a_place() {
    let store = ObedientStore::closed();
    let queue = start(&store);
    let mut admitted: Vec<_> = (0..8).map(|_| queue.admit().unwrap()).collect();
    assert_eq!(queue.admit().unwrap_err(), Refused::Overloaded);
    drop(admitted.pop());
    assert!(queue.admit().is_ok());
}

#[tokio::test]
async fn who_has_given_up_is_not_written_any_more() {
    let store = ObedientStore::closed();
    let queue = start(&store);
    let soon = || Deadline::after(Duration::from_millis(50));
    let (first, second) = (queue.admit().unwrap(), queue.admit().unwrap());
    let given_up = tokio::join!(first.commit(session(1), soon()), second.commit(session(2), soon()));
    assert!(matches!(given_up, (Err(CommitError::TimedOut), Err(CommitError::TimedOut))));
    let begun = store.batches();
    let late = queue.admit().unwrap();
    store.gate.add_permits(1000);
    assert!(late.commit(session(3), Deadline::after(PATIENCE)).await.is_ok());
    let written: usize = store.batches().iter().sum();
    // Whoever was not in the first batch was in none.
    assert_eq!(written, begun.iter().sum::<usize>() + 1, "{:?}", store.batches());
}

#[tokio::test]
async fn a_store_that_loses_count_fails_the_batch_instead_of_mixing_answers_up() {
    let store = ObedientStore::new([Order::ForgetOne]);
    let queue = start(&store);
    assert!(open(&queue, 1).await.is_ok(), "at the second try");
    assert_eq!(store.batches(), [1, 1]);
}

#[tokio::test]
async fn a_panic_costs_its_own_batch_and_not_the_writer() {
    let store = ObedientStore::new([Order::Panic]);
    let queue = start(&store);
    assert!(matches!(open(&queue, 1).await, Err(CommitError::Ended)));
    assert!(open(&queue, 1).await.is_ok());
}

#[tokio::test]
async fn each_login_gets_its_own_answer() {
    let store = ObedientStore::new([]);
    let config = Config { places: 1000, max_batch: 16, writers: 3 };
    let queue = start_with(&store, config);
    let mut logins = JoinSet::new();
    for _ in 0..500 {
        let (ticket, session) = (queue.admit().unwrap(), session(1));
        logins.spawn(async move {
            (outcome_of(&session), ticket.commit(session, Deadline::after(PATIENCE)).await.unwrap())
        });
    }
    for (expected, outcome) in logins.join_all().await {
        assert_eq!(expected, outcome);
    }
    assert!(store.batches().iter().all(|size| *size <= 16));
}

#[tokio::test]
async fn a_commit_that_hangs_does_not_hold_up_the_others() {
    let store = ObedientStore::closed();
    let config = Config { places: 8, max_batch: 4, writers: 2 };
    let queue = start_with(&store, config);
    let mut logins = JoinSet::new();
    for batch in 1..=2 {
        let ticket = queue.admit().unwrap();
        logins.spawn(async move { ticket.commit(session(1), Deadline::after(PATIENCE)).await });
        until("under way", || store.batches().len() == batch).await;
    }
    store.gate.add_permits(2);
    assert!(logins.join_all().await.iter().all(Result::is_ok));
}
