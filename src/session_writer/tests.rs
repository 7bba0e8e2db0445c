//! The writer against a store that does as it is told.

use std::collections::VecDeque;
use std::sync::Mutex as StdMutex;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::device::Device;
use crate::ids::{ClientId, SessionId, UserId};
use crate::session_token::SessionToken;
use crate::store::{App, DataKey, NewDataKey, Opened, PhoneIndex, Profile, SigningKeyRow, User, UserKey, UserStatus};

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
impl Store for ObedientStore {
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

    async fn probe_write(&self, _: OffsetDateTime) -> Result<(), StoreError> {
        let takes = self.takes_probes.load(Ordering::SeqCst);
        if takes { Ok(()) } else { Err(StoreError::Unavailable("as ordered".into())) }
    }

    fn kind(&self) -> &'static str {
        "obedient"
    }
    async fn migrate(&self) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn check_schema(&self) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn database_time(&self) -> Result<OffsetDateTime, StoreError> {
        unreachable!()
    }
    async fn find_user(&self, _: UserKey) -> Result<Option<User>, StoreError> {
        unreachable!()
    }
    async fn set_user_status(&self, _: UserId, _: UserStatus, _: OffsetDateTime) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        unreachable!()
    }
    async fn register_app(&self, _: &App, _: OffsetDateTime) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn add_app(&self, _: &App, _: OffsetDateTime) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn set_app_enabled(&self, _: &ClientId, _: bool, _: OffsetDateTime) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn ensure_data_keys(&self, _: &[NewDataKey]) -> Result<Vec<DataKey>, StoreError> {
        unreachable!()
    }
    async fn data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        unreachable!()
    }
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        unreachable!()
    }
    async fn add_signing_key(&self, _: &SigningKeyRow) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn deployment_warnings(&self) -> Result<Vec<String>, StoreError> {
        unreachable!()
    }
    async fn close(&self) {
        unreachable!()
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

fn start(store: &Arc<ObedientStore>) -> SessionWriter {
    let config = Config { queue: 8, max_batch: 4, writers: 1, phase_timeout: PATIENCE };
    start_with(store, config)
}

fn start_with(store: &Arc<ObedientStore>, config: Config) -> SessionWriter {
    SessionWriter::start(Arc::clone(store) as Arc<dyn Store>, Clock::system(), config)
}

async fn open(writer: &SessionWriter, mark: u8) -> Result<Outcome, WriteError> {
    writer.admit().unwrap().open(session(mark)).await
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
async fn together(writer: &SessionWriter, store: &ObedientStore, count: u8) -> Vec<Result<Outcome, WriteError>> {
    let mut logins = JoinSet::new();
    let before = store.batches().len();
    let first = writer.admit().unwrap();
    logins.spawn(async move { (0, first.open(session(0)).await) });
    until("begun", || store.batches().len() > before).await;
    let free = writer.queue.capacity();
    for mark in 1..=count {
        let admission = writer.admit().unwrap();
        admission.place.send(Job { session: session(mark), answer: answer_to(&mut logins, mark) });
    }
    assert_eq!(writer.queue.capacity(), free - usize::from(count));
    store.gate.add_permits(1000);
    let mut results = logins.join_all().await;
    results.sort_by_key(|(mark, _)| *mark);
    results.into_iter().skip(1).map(|(_, result)| result).collect()
}

type Result_ = Result<Outcome, WriteError>;

fn answer_to(logins: &mut JoinSet<(u8, Result_)>, mark: u8) -> oneshot::Sender<Result_> {
    let (sender, receiver) = oneshot::channel();
    logins.spawn(async move { (mark, receiver.await.unwrap_or(Err(WriteError::Ended))) });
    sender
}

#[tokio::test]
async fn a_lone_login_does_not_wait_for_company() {
    let store = ObedientStore::new([]);
    let writer = start(&store);
    for _ in 0..3 {
        let session = session(1);
        let expected = outcome_of(&session);
        assert_eq!(writer.admit().unwrap().open(session).await.unwrap(), expected);
    }
    assert_eq!(store.batches(), [1, 1, 1]);
}

#[tokio::test]
async fn those_who_wait_are_committed_together_but_never_more_than_a_batch_may_carry() {
    let store = ObedientStore::closed();
    let writer = start(&store);
    assert!(together(&writer, &store, 6).await.iter().all(Result::is_ok));
    assert_eq!(store.batches(), [1, 4, 2]);
}

#[tokio::test]
async fn one_bad_login_fails_alone() {
    let store = ObedientStore::closed();
    store.orders.lock().unwrap().push_back(Order::RefuseData(2));
    let writer = start(&store);
    let results = together(&writer, &store, 4).await;
    let opened: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(opened, [true, false, true, true]);
    assert_eq!(store.batches(), [1, 4, 1, 1, 1, 1]);
    assert!(writer.is_healthy(), "the database works");
}

#[tokio::test]
async fn a_transient_failure_is_repeated_once_and_nobody_notices() {
    for order in [Order::Unavailable, Order::Conflict] {
        let store = ObedientStore::new([order]);
        let writer = start(&store);
        assert!(open(&writer, 1).await.is_ok());
        assert_eq!(store.batches(), [1, 1]);
        assert!(writer.is_healthy());
    }
}

#[tokio::test]
async fn a_failing_store_is_asked_for_no_more_until_a_probe_succeeds() {
    let store = ObedientStore::new([Order::Unavailable, Order::Unavailable]);
    store.takes_probes.store(false, Ordering::SeqCst);
    let writer = start(&store);
    assert!(matches!(open(&writer, 1).await, Err(WriteError::Store(_))));
    assert_eq!((writer.admit().unwrap_err(), writer.is_healthy()), (Refused::Failing, false));

    store.takes_probes.store(true, Ordering::SeqCst);
    until("healthy again", || writer.is_healthy()).await;
    assert!(open(&writer, 1).await.is_ok());
    assert_eq!(store.batches(), [1, 1, 1]);
}

#[tokio::test]
async fn what_repeating_cannot_mend_is_not_repeated() {
    let store = ObedientStore::new([Order::Other]);
    let writer = start(&store);
    assert!(matches!(open(&writer, 1).await, Err(WriteError::Store(_))));
    assert_eq!(store.batches(), [1]);
}

#[tokio::test]
async fn admission_ends_with_the_queue_and_comes_back_with_a_place() {
    let store = ObedientStore::closed();
    let writer = start(&store);
    let mut admitted: Vec<_> = (0..8).map(|_| writer.admit().unwrap()).collect();
    assert_eq!(writer.admit().unwrap_err(), Refused::Full);
    drop(admitted.pop());
    assert!(writer.admit().is_ok());
}

#[tokio::test]
async fn who_has_given_up_is_not_written_any_more() {
    let store = ObedientStore::closed();
    let config = Config { queue: 8, max_batch: 4, writers: 1, phase_timeout: Duration::from_millis(50) };
    let writer = start_with(&store, config);
    let (first, second) = tokio::join!(open(&writer, 1), open(&writer, 2));
    assert!(matches!((first, second), (Err(WriteError::TimedOut), Err(WriteError::TimedOut))));
    let begun = store.batches();
    let late = writer.admit().unwrap();
    store.gate.add_permits(1000);
    assert!(late.open(session(3)).await.is_ok());
    let written: usize = store.batches().iter().sum();
    // Whoever was not in the first batch was in none.
    assert_eq!(written, begun.iter().sum::<usize>() + 1, "{:?}", store.batches());
}

#[tokio::test]
async fn a_store_that_loses_count_fails_the_batch_instead_of_mixing_answers_up() {
    let store = ObedientStore::new([Order::ForgetOne]);
    let writer = start(&store);
    assert!(matches!(open(&writer, 1).await, Err(WriteError::Store(_))));
    assert!(open(&writer, 1).await.is_ok());
}

#[tokio::test]
async fn a_panic_costs_its_own_batch_and_not_the_writer() {
    let store = ObedientStore::new([Order::Panic]);
    let writer = start(&store);
    assert!(matches!(open(&writer, 1).await, Err(WriteError::Ended)));
    assert!(open(&writer, 1).await.is_ok());
}

#[tokio::test]
async fn each_login_gets_its_own_answer() {
    let store = ObedientStore::new([]);
    let config = Config { queue: 1000, max_batch: 16, writers: 3, phase_timeout: PATIENCE };
    let writer = start_with(&store, config);
    let mut logins = JoinSet::new();
    for _ in 0..500 {
        let (admission, session) = (writer.admit().unwrap(), session(1));
        logins.spawn(async move { (outcome_of(&session), admission.open(session).await.unwrap()) });
    }
    for (expected, outcome) in logins.join_all().await {
        assert_eq!(expected, outcome);
    }
    assert!(store.batches().iter().all(|size| *size <= 16));
}
