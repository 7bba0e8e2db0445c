//! A log line once a second for what may happen thousands of times in one, with how often it did.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const BETWEEN_LINES: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct NowAndThen(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    untold: u64,
    told_at: Option<Instant>,
}

impl NowAndThen {
    /// Counts one more; if a line is due, how many there were since the last one.
    pub fn count(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        if state.told_at.is_some_and(|told_at| now - told_at < BETWEEN_LINES) {
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_in_a_second_are_one_line_and_the_next_line_has_the_rest() {
        let lines = NowAndThen::default();
        assert_eq!(lines.count(), Some(1));
        assert!((0..1_000).all(|_| lines.count().is_none()));
        tokio::time::advance(BETWEEN_LINES).await;
        assert_eq!(lines.count(), Some(1_001));
        assert_eq!(lines.count(), None);
    }
}
