//! How many calls of the verifier may be billed, in a minute and in a day: a guard against surprises on the bill. It
//! stands directly before the verifier, so that only a call that is about to be made takes anything out of it.

mod day;
mod minute;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use time::Date;

use self::day::DayBudget;
use self::minute::{Minute, MinuteBudget};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::store::ReserveCalls;
use crate::verifier::VerifierError;

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

    /// Takes one call out of the budget, by the deadline: what is not reserved by then leaves no time for the call.
    ///
    /// # Errors
    /// [`VerifierError::OverBudget`] or [`VerifierError::BudgetUnknown`]: the token is unspent.
    pub async fn reserve(&self, deadline: Deadline) -> Result<CallPermit<'_>, VerifierError> {
        let mut permit = CallPermit { budget: self, taken: Taken { minute: None, day: None }, begun: false };
        if let Some(minute) = &self.minute {
            permit.taken.minute = Some(minute.take().map_err(VerifierError::OverBudget)?);
        }
        if let Some(day) = &self.day {
            let taken = deadline.limit(day.take()).await;
            permit.taken.day = Some(taken.map_err(|late| VerifierError::BudgetUnknown(late.into()))??);
        }
        Ok(permit)
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

/// One call of the verifier that may be made. Dropped before it begins, it goes back into the budget.
pub struct CallPermit<'a> {
    budget: &'a Budget,
    taken: Taken,
    begun: bool,
}

impl CallPermit<'_> {
    /// The call is about to be made: from here on it counts, whatever becomes of it.
    pub fn begin(&mut self) {
        self.begun = true;
    }

    /// It surely was not billed: nobody can use the budget up with tokens that are worth nothing.
    pub fn was_not_billed(mut self) {
        self.begun = false;
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        if !self.begun {
            self.budget.give_back(self.taken);
        }
    }
}

impl fmt::Debug for CallPermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallPermit").field("taken", &self.taken).field("begun", &self.begun).finish_non_exhaustive()
    }
}
