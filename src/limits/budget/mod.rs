//! How many calls of the verifier may be billed, in a minute and in a day: a guard against surprises on the bill. It
//! stands directly before the verifier, so that only a call that is about to be made takes anything out of it.

mod day;
mod minute;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use async_trait::async_trait;
use time::Date;

use self::day::DayBudget;
use self::minute::{Minute, MinuteBudget};
use crate::clock::Clock;
use crate::ids::RequestId;
use crate::store::ReserveCalls;
use crate::verifier::{AccessToken, PhoneNumberVerifier, Verified, VerifierError};

/// `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Config {
    /// Of each replica.
    pub per_minute: Option<NonZeroU32>,
    /// Of all replicas together.
    pub per_day: Option<NonZeroU64>,
}

#[derive(Debug)]
pub struct Budget {
    minute: Option<MinuteBudget>,
    day: Option<Arc<DayBudget>>,
}

/// One call out of the budget, with where it came from.
#[derive(Debug, Clone, Copy)]
struct Call {
    minute: Option<Minute>,
    day: Option<Date>,
}

impl Budget {
    pub fn new(config: Config, store: Arc<dyn ReserveCalls>, clock: Clock) -> Self {
        Self {
            minute: config.per_minute.map(|limit| MinuteBudget::new(limit.get(), clock.clone())),
            day: config.per_day.map(|limit| Arc::new(DayBudget::new(limit.get(), store, clock))),
        }
    }

    /// What the day has left, as far as this replica knows; `None` without a limit for the day.
    pub fn left_today(&self) -> Option<u64> {
        self.day.as_ref().map(|day| day.left())
    }

    async fn take(&self) -> Result<Call, VerifierError> {
        let mut call = Call { minute: None, day: None };
        if let Some(minute) = &self.minute {
            call.minute = Some(minute.take().map_err(VerifierError::OverBudget)?);
        }
        if let Some(day) = &self.day {
            match day.take().await {
                Ok(taken) => call.day = Some(taken),
                Err(error) => {
                    self.give_back(call);
                    return Err(error);
                }
            }
        }
        Ok(call)
    }

    fn give_back(&self, call: Call) {
        if let (Some(budget), Some(minute)) = (&self.minute, call.minute) {
            budget.give_back(minute);
        }
        if let (Some(budget), Some(day)) = (&self.day, call.day) {
            budget.give_back(day);
        }
    }
}

/// A verifier whose calls come out of a budget. What surely was not billed is given back: nobody can use the budget up
/// with tokens that are worth nothing.
pub struct Budgeted {
    verifier: Arc<dyn PhoneNumberVerifier>,
    budget: Arc<Budget>,
}

impl Budgeted {
    pub fn new(verifier: Arc<dyn PhoneNumberVerifier>, budget: Arc<Budget>) -> Self {
        Self { verifier, budget }
    }
}

#[async_trait]
impl PhoneNumberVerifier for Budgeted {
    async fn verify(&self, token: &AccessToken, request_id: &RequestId) -> Result<Verified, VerifierError> {
        let call = self.budget.take().await?;
        let verified = self.verifier.verify(token, request_id).await;
        if verified.as_ref().is_err_and(|error| !error.may_be_billed()) {
            self.budget.give_back(call);
        }
        verified
    }
}

impl fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgeted").field("budget", &self.budget).finish_non_exhaustive()
    }
}
