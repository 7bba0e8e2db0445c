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
use crate::store::ReserveCalls;
use crate::verifier::{AccessToken, CallContext, PhoneNumberVerifier, Verified, VerifierError};

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
struct Taken {
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

    async fn take(&self) -> Result<Taken, VerifierError> {
        let mut taken = Taken { minute: None, day: None };
        if let Some(minute) = &self.minute {
            taken.minute = Some(minute.take().map_err(VerifierError::OverBudget)?);
        }
        if let Some(day) = &self.day {
            match day.take().await {
                Ok(day) => taken.day = Some(day),
                Err(error) => {
                    self.give_back(taken);
                    return Err(error);
                }
            }
        }
        Ok(taken)
    }

    fn give_back(&self, taken: Taken) {
        if let (Some(budget), Some(minute)) = (&self.minute, taken.minute) {
            budget.give_back(minute);
        }
        if let (Some(budget), Some(day)) = (&self.day, taken.day) {
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
    async fn verify(&self, token: &AccessToken, call: &CallContext) -> Result<Verified, VerifierError> {
        let taken = self.budget.take().await?;
        let verified = self.verifier.verify(token, call).await;
        if verified.as_ref().is_err_and(|error| !error.may_be_billed()) {
            self.budget.give_back(taken);
        }
        verified
    }
}

impl fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgeted").field("budget", &self.budget).finish_non_exhaustive()
    }
}
