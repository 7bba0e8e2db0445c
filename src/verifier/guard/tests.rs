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
}

struct Vendor {
    conduct: Mutex<Conduct>,
    calls: AtomicU64,
}

#[async_trait]
impl PhoneNumberVerifier for Vendor {
    async fn verify(&self, token: &AccessToken, _: &CallContext) -> Result<Verified, VerifierError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let conduct = *self.conduct.lock().unwrap();
        match conduct {
            Conduct::Answers => {
                sleep(Duration::from_millis(200)).await;
                let number = PhoneNumber::from_national("13900001234").unwrap();
                Ok(Verified { number, replay_key: Some(token.replay_key()) })
            }
            Conduct::Silent => {
                sleep(Duration::from_secs(5)).await;
                Err(VerifierError::NoAnswer { reason: "not complete".to_owned(), source: None })
            }
        }
    }
}

fn guarded(conduct: Conduct) -> (Arc<Vendor>, Arc<Guard>) {
    let vendor = Arc::new(Vendor { conduct: Mutex::new(conduct), calls: AtomicU64::new(0) });
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

/// R40, R46: what is lost to a verifier that falls silent is a second's worth of calls and a few trials, however long it
/// is silent.
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
