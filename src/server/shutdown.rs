//! How far the end has come, shared by the listeners, their connections and the readiness answer; and the signals that
//! bring it about. It must not know what is being shut down.

use std::future::Future;
use std::io;

use tokio::sync::watch;

/// The steps of an orderly end, in order; there is no way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// Not ready, but still accepting: the gateway needs time to notice. Every answer closes its connection.
    Draining,
    /// No new connections; requests in flight end, every answer closes its connection, and after a moment the idle ones
    /// are closed.
    Closing,
    /// Whatever is still open is cut.
    Now,
}

/// What asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, from an orchestrator in front of which a gateway may still send requests.
    Terminate,
    /// SIGINT, from a person at a terminal, who does not want to wait for a gateway.
    Interrupt,
}

/// The handle to all of it. Clones move together.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<Phase>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }

    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// For the readiness answer: true from the first signal on.
    pub fn draining(&self) -> bool {
        self.phase() > Phase::Running
    }

    /// Goes on to `phase`; a phase that lies behind changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = *current < phase;
            *current = phase.max(*current);
            later
        });
    }

    /// Returns once `phase` or a later one has come.
    pub async fn reached(&self, phase: Phase) {
        // The error would mean that every sender is gone, and `self` is one.
        let _ = self.0.subscribe().wait_for(|current| *current >= phase).await;
    }

    /// The first signal begins an orderly end, any second one ends at once.
    pub fn signalled(&self, signal: Signal) {
        self.advance(match (self.phase(), signal) {
            (Phase::Running, Signal::Terminate) => Phase::Draining,
            (Phase::Running, Signal::Interrupt) => Phase::Closing,
            (Phase::Draining | Phase::Closing | Phase::Now, _) => Phase::Now,
        });
    }
}

/// Listens for the signals that ask for an end from this call on; the future passes them to `shutdown` and never ends.
/// SIGHUP (a terminal that closes, a supervisor that reloads) and SIGQUIT ask for the same as SIGTERM: what they do by
/// default, ending at once, would lose requests in flight.
///
/// # Errors
/// When the operating system refuses a signal handler.
#[cfg(unix)]
pub fn signals(shutdown: Shutdown) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            let signal = tokio::select! {
                Some(()) = terminate.recv() => Signal::Terminate,
                Some(()) = hang_up.recv() => Signal::Terminate,
                Some(()) = quit.recv() => Signal::Terminate,
                Some(()) = interrupt.recv() => Signal::Interrupt,
                else => break,
            };
            tracing::info!(signal = ?signal, "asked to end");
            shutdown.signalled(signal);
        }
    })
}

/// Listens for Ctrl-C; the future passes it to `shutdown` and never ends.
///
/// # Errors
/// None here: the Unix form has them.
#[cfg(not(unix))]
pub fn signals(shutdown: Shutdown) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            tracing::info!(signal = ?Signal::Interrupt, "asked to end");
            shutdown.signalled(Signal::Interrupt);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigterm_drains_with_the_delay_and_sigint_without_it() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.draining());
        shutdown.signalled(Signal::Terminate);
        assert_eq!(shutdown.phase(), Phase::Draining);
        assert!(shutdown.draining());

        let shutdown = Shutdown::new();
        shutdown.signalled(Signal::Interrupt);
        assert_eq!(shutdown.phase(), Phase::Closing);
        assert!(shutdown.draining());
    }

    #[test]
    fn a_second_signal_of_either_kind_ends_at_once() {
        for first in [Signal::Terminate, Signal::Interrupt] {
            for second in [Signal::Terminate, Signal::Interrupt] {
                let shutdown = Shutdown::new();
                shutdown.signalled(first);
                shutdown.clone().signalled(second);
                assert_eq!(shutdown.phase(), Phase::Now, "{first:?} then {second:?}");
            }
        }
    }

    #[test]
    fn the_end_never_goes_back() {
        let shutdown = Shutdown::new();
        shutdown.advance(Phase::Closing);
        shutdown.advance(Phase::Draining);
        assert_eq!(shutdown.phase(), Phase::Closing);
    }
}
