//! Connections without a request, in the order in which they came to have none. They wait here without hyper and its
//! buffers; and where there is no place for a new connection, the one that has waited longest makes way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

#[derive(Debug, Default)]
pub(super) struct ParkingLot {
    parked: Mutex<Lot>,
    /// One more connection has come, or one has stayed that was told to go.
    came: Notify,
    stayed: AtomicBool,
}

#[derive(Debug, Default)]
struct Lot {
    next: u64,
    /// Told to close by what is sent.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place in the lot, left when this is dropped.
#[derive(Debug)]
pub(super) struct Parked {
    lot: Arc<ParkingLot>,
    number: u64,
    must_go: oneshot::Receiver<()>,
    goes: bool,
}

impl ParkingLot {
    pub fn park(self: &Arc<Self>) -> Parked {
        let (tell, must_go) = oneshot::channel();
        let mut lot = self.lot();
        let number = lot.next;
        lot.next += 1;
        lot.waiting.insert(number, tell);
        drop(lot);
        self.came.notify_one();
        Parked { lot: Arc::clone(self), number, must_go, goes: false }
    }

    /// Has the connection that waits longest close; false if none waits.
    pub fn make_way(&self) -> bool {
        let longest = self.lot().waiting.pop_first();
        // It may be about to leave by itself.
        longest.is_some_and(|(_, tell)| tell.send(()).is_ok())
    }

    /// Waits until one more has come, or one has stayed.
    pub async fn one_more(&self) {
        self.came.notified().await;
    }

    /// Whether one that was told to go has got a request in the same moment, and stays.
    pub fn has_stayed(&self) -> bool {
        self.stayed.swap(false, Ordering::Relaxed)
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parked {
    /// Waits until the connection is to make way for another.
    pub async fn must_go(&mut self) {
        if (&mut self.must_go).await.is_err() {
            std::future::pending().await
        }
        self.goes = true;
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let was_told = self.lot.lot().waiting.remove(&self.number).is_none();
        if was_told && !self.goes {
            self.lot.stayed.store(true, Ordering::Relaxed);
            self.lot.came.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_one_that_waits_longest_makes_way() {
        let lot = Arc::new(ParkingLot::default());
        assert!(!lot.make_way(), "nobody waits");
        let [mut first, left, mut third] = [lot.park(), lot.park(), lot.park()];
        drop(left);
        let patience = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(patience, first.must_go()).await.is_err());
        assert!(lot.make_way());
        first.must_go().await;
        assert!(lot.make_way());
        third.must_go().await;
        assert_eq!(lot.lot().waiting.len(), 0);
        drop((first, third));
        assert!(!lot.has_stayed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stays_although_it_was_told_to_go_says_so() {
        let lot = Arc::new(ParkingLot::default());
        let parked = lot.park();
        lot.one_more().await;
        assert!(lot.make_way());
        drop(parked);
        lot.one_more().await;
        assert!(lot.has_stayed());
        assert!(!lot.has_stayed(), "once");
    }
}
