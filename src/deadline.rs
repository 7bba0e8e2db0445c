//! The moment by which a request must be answered: made once, when the request's last byte is there, and passed inward
//! to every stage. Whoever begins a stage asks first whether it can end in time.

use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Copied freely; it only ever comes nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether a stage that may take so long can still end in time.
    #[must_use]
    pub fn allows(self, time: Duration) -> bool {
        self.left() >= time
    }

    /// An earlier one, that keeps so much for what comes after it. Never before now.
    #[must_use]
    pub fn keeping(self, reserve: Duration) -> Self {
        Self::after(self.left().saturating_sub(reserve))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// Waits for the future until then.
    ///
    /// # Errors
    /// If the deadline came first; the future is dropped.
    pub async fn limit<F: Future>(self, future: F) -> Result<F::Output, Elapsed> {
        timeout_at(self.0, future).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_comes_nearer_and_passes() {
        let deadline = Deadline::after(Duration::from_secs(7));
        assert!(deadline.allows(Duration::from_secs(7)) && !deadline.allows(Duration::from_millis(7_001)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(deadline.left(), Duration::from_secs(4));
        assert_eq!(deadline.keeping(Duration::from_secs(1)).left(), Duration::from_secs(3));
        assert_eq!(deadline.keeping(Duration::from_secs(9)).left(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(deadline.has_passed() && deadline.allows(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn it_limits_a_future() {
        let deadline = Deadline::after(Duration::from_millis(50));
        assert_eq!(deadline.limit(async { 1 }).await.ok(), Some(1));
        assert!(deadline.limit(std::future::pending::<()>()).await.is_err());
        assert!(deadline.has_passed());
    }
}
