//! What a store's connections are doing at a moment, for whoever watches them. No SQL, no connection.

use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Open, with a call on them.
    pub in_use: usize,
    /// Open, for the next call.
    pub idle: usize,
    /// The most that may be open.
    pub limit: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
}

/// Counts who waits in a queue, by the guards they hold meanwhile.
#[derive(Debug, Default)]
pub(super) struct Queue(AtomicUsize);

pub(super) struct Waiting<'a>(&'a Queue);

impl Queue {
    pub fn enter(&self) -> Waiting<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    pub fn len(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
