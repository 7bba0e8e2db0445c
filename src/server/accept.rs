//! Takes connections from a listener, never more at a time than the limit, and keeps their tasks. It must not know what
//! is spoken on them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Config;
use super::connection::Engine;
use super::parking::ParkingLot;
use super::peers::{PeerPlace, Peers};
use super::shutdown::Phase;
use crate::refusal::Refusal;

/// The open connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    engine: Arc<Engine>,
    limit: Arc<Semaphore>,
    tasks: JoinSet<()>,
    peers: Arc<Peers>,
    /// One that waits for its place.
    accepted: Option<Accepted>,
    /// An idle connection is closing for it.
    made_way: bool,
}

#[derive(Debug)]
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place_of_peer: PeerPlace,
}

impl Connections {
    pub(super) fn new(engine: Arc<Engine>, config: &Config) -> Self {
        let limit = Arc::new(Semaphore::new(config.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        let peers = Arc::new(Peers::new(config.max_connections_per_peer, config.exempt_peers.clone()));
        Self { engine, limit, peers, tasks: JoinSet::new(), accepted: None, made_way: false }
    }

    pub(super) fn open(&self) -> usize {
        self.tasks.len()
    }

    /// Accepts for ever. At the limit the connection that has been idle longest makes way. Where none is idle, the next one
    /// waits: that is better than one that is accepted and dropped.
    pub(super) async fn accept(&mut self, listener: &TcpListener) -> Infallible {
        let mut pause = Pause::default();
        loop {
            let (limit, parking) = (Arc::clone(&self.limit), Arc::clone(&self.engine.parking));
            tokio::select! {
                Some(ended) = self.tasks.join_next() => note_panic(&ended),
                place = place(limit, &parking, &mut self.made_way), if self.accepted.is_some() => {
                    self.made_way = false;
                    if let Some(accepted) = self.accepted.take() {
                        self.spawn(accepted, place);
                    }
                }
                next = listener.accept(), if self.accepted.is_none() => match next {
                    Ok((stream, peer)) => {
                        pause.reset();
                        self.accepted = self.admit(stream, peer);
                    }
                    Err(error) if concerns_one_connection(&error) => {}
                    Err(error) => {
                        if pause.is_worth_a_line(Instant::now()) {
                            tracing::error!(
                                error = &error as &dyn std::error::Error,
                                connections.open = self.open(),
                                "cannot accept connections",
                            );
                        }
                        tokio::time::sleep(pause.lengthen()).await;
                    }
                },
            }
        }
    }

    /// Takes what the kernel has accepted for us, then closes the listener: closing it first would reset them. The
    /// limit does not count here, for the backlog is one and these are the last.
    pub(super) fn empty_queue(&mut self, listener: TcpListener) -> io::Result<()> {
        if let Some(accepted) = self.accepted.take() {
            self.spawn(accepted, None);
        }
        let listener = listener.into_std()?;
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    if let Some(accepted) = self.admit(TcpStream::from_std(stream)?, peer) {
                        self.spawn(accepted, None);
                    }
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the connections to end, then cuts the rest; returns how many that were.
    pub(super) async fn end(mut self, within: Duration) -> usize {
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                note_panic(&ended);
            }
        };
        tokio::select! {
            () = ended => {}
            () = tokio::time::sleep(within) => {}
            () = self.engine.shutdown.reached(Phase::Now) => {}
        }
        // Those that have ended since, but were not collected, are not cut.
        while let Some(ended) = self.tasks.try_join_next() {
            note_panic(&ended);
        }
        let cut = self.tasks.len();
        self.tasks.shutdown().await;
        cut
    }

    /// Closes the connection if its peer has as many as it may have.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
        let place_of_peer = self.peers.place(peer.ip());
        if place_of_peer.is_none() {
            self.engine.doorkeeper.closed(Refusal::TooManyConnections, peer);
        }
        Some(Accepted { stream, peer, place_of_peer: place_of_peer? })
    }

    fn spawn(&mut self, accepted: Accepted, permit: Option<OwnedSemaphorePermit>) {
        let engine = self.engine.clone();
        self.tasks.spawn(async move {
            let Accepted { stream, peer, place_of_peer } = accepted;
            engine.serve(stream, peer).await;
            drop((permit, place_of_peer));
        });
    }
}

/// A place for one more connection. `made_way` says whether an idle one is closing for it: one is enough.
async fn place(limit: Arc<Semaphore>, parking: &ParkingLot, made_way: &mut bool) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(place) = Arc::clone(&limit).try_acquire_owned() {
            return Some(place);
        }
        *made_way = (*made_way && !parking.has_stayed()) || parking.make_way();
        tokio::select! {
            place = Arc::clone(&limit).acquire_owned() => return place.ok(),
            () = parking.one_more() => {}
        }
    }
}

/// A panic ends its own connection only.
fn note_panic(ended: &Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended in a panic");
    }
}

/// The client went away while it was in the queue; the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// How long to leave the listener alone when there are no descriptors or no memory for a connection. The listener stays
/// readable meanwhile: without a pause the loop would spin.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    last_line: Option<Instant>,
}

impl Pause {
    const SHORTEST: Duration = Duration::from_millis(50);
    /// Clients wait at most this long after the shortage has ended.
    const LONGEST: Duration = Duration::from_millis(800);
    /// A shortage that comes and goes is one burst.
    const BETWEEN_LINES: Duration = Duration::from_secs(10);

    fn lengthen(&mut self) -> Duration {
        let pause = Self::SHORTEST.saturating_mul(2_u32.saturating_pow(self.failures)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn is_worth_a_line(&mut self, now: Instant) -> bool {
        let due = self.last_line.is_none_or(|last| now.duration_since(last) >= Self::BETWEEN_LINES);
        if due {
            self.last_line = Some(now);
        }
        due
    }

    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_longest_and_starts_anew_after_a_success() {
        let mut pause = Pause::default();
        let millis: Vec<u128> = (0..7).map(|_| pause.lengthen().as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 800, 800]);

        pause.failures = u32::MAX;
        assert_eq!(pause.lengthen(), Pause::LONGEST);

        pause.reset();
        assert_eq!(pause.lengthen(), Pause::SHORTEST);
    }

    #[test]
    fn a_burst_of_failures_is_one_line() {
        let mut pause = Pause::default();
        let start = Instant::now();
        assert!(pause.is_worth_a_line(start));
        pause.reset();
        assert!(!pause.is_worth_a_line(start + Duration::from_secs(9)));
        assert!(pause.is_worth_a_line(start + Duration::from_secs(10)));
    }

    #[test]
    fn a_lack_of_descriptors_is_not_taken_for_one_clients_trouble() {
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        const ECONNABORTED: i32 = if cfg!(target_os = "linux") { 103 } else { 53 };
        assert!(!concerns_one_connection(&io::Error::from_raw_os_error(EMFILE)));
        assert!(!concerns_one_connection(&io::Error::from_raw_os_error(ENFILE)));
        if cfg!(unix) {
            assert!(concerns_one_connection(&io::Error::from_raw_os_error(ECONNABORTED)));
        }
    }
}
