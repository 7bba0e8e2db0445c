//! The guard before a verifier that does as the test says, on a clock that the test turns.

use std::sync::Mutex;

use super::*;
use crate::ids::RequestId;
use crate::phone_number::PhoneNumber;
use crate::trace::TraceContext;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Answers,
    /// Until the time-out of a call.
    Silent,
    /// Takes so many calls in each second, and sends all others away at once.
    Takes(u64),
    /// Does not survive the call.
    Panics,
}

struct Vendor {
    conduct: Mutex<Conduct>,
    began: Instant,
    calls: AtomicU64,
    taken: AtomicU64,
    /// The second that is running, and what was taken in it.
    quota: Mutex<(u64, u64)>,
}

impl Vendor {
    fn new(conduct: Conduct) -> Self {
        Self {
            conduct: Mutex::new(conduct),
            began: Instant::now(),
            calls: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            quota: Mutex::default(),
        }
    }

    fn takes(&self, quota: u64) -> bool {
        let second = self.began.elapsed().as_secs();
        let mut used = self.quota.lock().unwrap();
        if used.0 != second {
            *used = (second, 0);
        }
        used.1 += 1;
        used.1 <= quota
    }

    async fn number(&self) -> Verified {
        self.taken.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(150)).await;
        // The answer has arrived, and is not read yet.
        sleep(Duration::from_millis(50)).await;
        let number = PhoneNumber::from_national("13900001234").unwrap();
        Verified { number }
    }
}

#[async_trait]
impl PhoneNumberVerifier for Vendor {
    async fn verify(&self, _: &AccessToken, _: &CallContext) -> Result<Verified, VerifierError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let conduct = *self.conduct.lock().unwrap();
        match conduct {
            Conduct::Answers => Ok(self.number().await),
            Conduct::Silent => {
                sleep(Duration::from_secs(5)).await;
                Err(VerifierError::NoAnswer { reason: "not complete".to_owned(), source: None })
            }
            Conduct::Takes(quota) if self.takes(quota) => Ok(self.number().await),
            Conduct::Takes(_) => {
                sleep(Duration::from_millis(10)).await;
                Err(VerifierError::Throttled { reason: "Throttling.User".to_owned() })
            }
            Conduct::Panics => panic!("as the test wants it"),
        }
    }
}

fn guarded(conduct: Conduct) -> (Arc<Vendor>, Arc<Guard>) {
    let vendor = Arc::new(Vendor::new(conduct));
    (Arc::clone(&vendor), Arc::new(Guard::new(vendor)))
}

async fn call(guard: &Guard) -> Result<Verified, VerifierError> {
    let call = CallContext { request_id: RequestId::parse("request").unwrap(), trace: TraceContext::root(false) };
    guard.verify(&AccessToken::parse("token").unwrap(), &call).await
}

/// Calls at this rate for so long, none of which waits for another.
async fn offer(guard: &Arc<Guard>, (per_second, seconds): (u32, u32)) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    for _ in 0..per_second * seconds {
        ticks.tick().await;
        let guard = Arc::clone(guard);
        tokio::spawn(async move { call(&guard).await.map(drop) });
    }
}

/// R40, R46: what is lost to a verifier that falls silent is a second's worth of calls, and one trial at a time with a
/// growing pause between, however long it is silent: here some 152 of 1,800.
#[tokio::test(start_paused = true)]
async fn a_silent_verifier_gets_a_seconds_calls_and_single_trials() {
    let (vendor, guard) = guarded(Conduct::Answers);
    offer(&guard, (150, 2)).await;
    sleep(Duration::from_secs(1)).await;
    assert!(!guard.state().is_open);
    let before = vendor.calls.load(Ordering::Relaxed);
    assert_eq!(before, 300);

    *vendor.conduct.lock().unwrap() = Conduct::Silent;
    offer(&guard, (150, 12)).await;
    let lost = vendor.calls.load(Ordering::Relaxed) - before;
    assert!((100..=160).contains(&lost), "{lost} of 1800");
    assert!(guard.state().is_open && guard.state().kept_from_silent >= 1_640);

    *vendor.conduct.lock().unwrap() = Conduct::Answers;
    let mut waited = 0;
    while guard.state().is_open {
        call(&guard).await.ok();
        sleep(Duration::from_millis(100)).await;
        waited += 1;
        assert!(waited < 150, "it is tried again");
    }
    assert!(call(&guard).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_guards_own_leaves_the_token_unspent_and_costs_nothing() {
    let (_, guard) = guarded(Conduct::Silent);
    offer(&guard, (10, 3)).await;
    assert!(guard.state().is_open);
    for _ in 0..3 {
        // The first may be a trial.
        let error = call(&guard).await.unwrap_err();
        if let VerifierError::Busy { .. } = error {
            assert_eq!((error.token_state(), error.may_be_billed()), (super::super::TokenState::Unspent, false));
            return;
        }
    }
    panic!("nothing was kept back");
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_is_slow_and_answers_is_not_silent() {
    let (vendor, guard) = guarded(Conduct::Answers);
    offer(&guard, (50, 20)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(vendor.calls.load(Ordering::Relaxed), 1_000);
    assert_eq!(guard.state().kept_from_silent, 0);
}

/// R40. It throttles at once and answers later, as it does: nothing that it took has been answered when it begins.
#[tokio::test(start_paused = true)]
async fn a_verifier_that_throttles_gets_at_most_twice_what_it_takes_and_all_that_it_takes() {
    for (takes, offered) in [(10, 200), (60, 200), (60, 2_000), (300, 1_000)] {
        let (vendor, guard) = guarded(Conduct::Takes(takes));
        offer(&guard, (offered, 10)).await;
        let (calls, taken) = (vendor.calls.load(Ordering::Relaxed), vendor.taken.load(Ordering::Relaxed));
        let whole = takes * 10;
        assert!(calls <= whole * 2, "{takes}/s, offered {offered}/s: {calls} calls");
        assert!(taken * 10 >= whole * 9, "{takes}/s, offered {offered}/s: {taken} taken of {whole}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_took_nothing_for_a_while_soon_gets_all_calls_again() {
    let (vendor, guard) = guarded(Conduct::Answers);
    offer(&guard, (500, 2)).await;
    *vendor.conduct.lock().unwrap() = Conduct::Takes(0);
    offer(&guard, (500, 20)).await;
    *vendor.conduct.lock().unwrap() = Conduct::Answers;
    offer(&guard, (500, 10)).await;
    let before = vendor.calls.load(Ordering::Relaxed);
    offer(&guard, (500, 5)).await;
    assert!(vendor.calls.load(Ordering::Relaxed) - before >= 2_400);
}

/// R81.
#[tokio::test(start_paused = true)]
async fn a_process_that_gets_no_processor_does_not_take_the_verifier_for_silent() {
    let (_, guard) = guarded(Conduct::Answers);
    let starved = tokio::spawn({
        let guard = Arc::clone(&guard);
        async move { call(&guard).await.map(drop) }
    });
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(10)).await;
    while !starved.is_finished() {
        assert!(!guard.state().is_open);
        sleep(Duration::from_millis(10)).await;
    }
    starved.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_panics_or_is_given_up_makes_way_for_the_next() {
    let (vendor, guard) = guarded(Conduct::Silent);
    offer(&guard, (10, 2)).await;
    assert!(guard.state().is_open);
    sleep(Duration::from_secs(10)).await;
    *vendor.conduct.lock().unwrap() = Conduct::Panics;
    let panicking = Arc::clone(&guard);
    assert!(tokio::spawn(async move { call(&panicking).await.map(drop) }).await.unwrap_err().is_panic());
    sleep(Duration::from_secs(10)).await;
    *vendor.conduct.lock().unwrap() = Conduct::Silent;
    assert!(tokio::time::timeout(Duration::from_millis(10), call(&guard)).await.is_err());
    sleep(Duration::from_secs(10)).await;
    *vendor.conduct.lock().unwrap() = Conduct::Answers;
    assert!(call(&guard).await.is_ok());
    assert!(!guard.state().is_open);
}
