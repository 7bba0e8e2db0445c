//! Takes finished lines and writes them from a thread of its own. A reader that stalls costs lines, which are counted,
//! and never time: no caller waits for the output. It knows nothing of what a line says.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that may wait: about 20,000 of a request's. Twice as much memory at most, as a chunk may be being written.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Of these only audit events take the last ones: some 4,000 more of them wait when the log is full already.
const AUDIT_BYTES: usize = 2 * 1024 * 1024;

/// What the program's end may be held up by a reader that stalls.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// From the first line that waits to its writing. The lines of that time share one wake-up and one write: with a few
/// thousand requests a second, waking the thread for each one was 8 % of all CPU time.
const GATHER: Duration = Duration::from_millis(5);

/// Before an output in non-blocking mode, which somebody else may have set on it, is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
pub struct Sink(Arc<Shared>);

/// Writes what still waits when it is dropped; afterwards every line is lost.
#[derive(Debug)]
#[must_use]
pub struct Guard(Arc<Shared>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Log,
    Audit,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    writing: bool,
    closed: bool,
}

impl Sink {
    /// # Panics
    /// If the operating system refuses a thread: no server could run then.
    pub fn start(output: impl Write + Send + 'static) -> (Self, Guard) {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(output))
            .expect("the operating system gives a thread at the program's start");
        (Self(Arc::clone(&shared)), Guard(shared))
    }

    /// Takes a line with its newline, or counts it as lost. Never waits for the output.
    pub fn push(&self, line: &str, kind: Kind) {
        let room = match kind {
            Kind::Log => WAITING_BYTES - AUDIT_BYTES,
            Kind::Audit => WAITING_BYTES,
        };
        let mut state = self.0.lock();
        if state.closed || state.waiting.len() + line.len() > room {
            drop(state);
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            let first = state.waiting.is_empty();
            state.waiting.extend_from_slice(line.as_bytes());
            drop(state);
            if first {
                self.0.filled.notify_one();
            }
        }
    }

    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Whatever panicked while it held the lock, bytes are bytes: logging goes on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut output: impl Write) {
        let mut chunk = Vec::new();
        let mut state = self.lock();
        loop {
            if state.waiting.is_empty() {
                state.writing = false;
                self.written.notify_all();
                if state.closed {
                    return;
                }
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.writing = true;
            if !state.closed {
                drop(state);
                thread::sleep(GATHER);
                state = self.lock();
            }
            std::mem::swap(&mut state.waiting, &mut chunk);
            drop(state);
            if write_out(&mut output, &chunk).is_err() {
                // Where to say so, if not in the log: the count is a metric.
                let lines = chunk.split(|byte| *byte == b'\n').count() - 1;
                self.lost.fetch_add(lines as u64, Ordering::Relaxed);
            }
            chunk.clear();
            state = self.lock();
        }
    }
}

fn write_out(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TRY_AGAIN),
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.filled.notify_one();
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        // Whether it was written in time or not, the program ends now.
        let _ = self.0.written.wait_timeout_while(state, LAST_WRITES, busy);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Accepts nothing until it is told to, or until whoever tells is gone.
    struct Stalled(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_never_time() {
        let (release, stalled) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (sink, guard) = Sink::start(Stalled(stalled, Arc::clone(&written)));
        let line = format!("{}\n", "x".repeat(1023));
        let pushed = 3 * WAITING_BYTES / line.len();
        // Would never end if a push waited.
        (0..pushed).for_each(|_| sink.push(&line, Kind::Log));
        assert!(sink.lost() > 0);
        drop(release);
        drop(guard);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written.len() / line.len() + usize::try_from(sink.lost()).unwrap(), pushed);
        assert!(written.lines().all(|written| written.len() == 1023), "no line is torn");
    }

    #[test]
    fn a_log_that_is_full_leaves_room_for_audit_events() {
        let (_release, stalled) = channel();
        let (sink, _guard) = Sink::start(Stalled(stalled, Arc::default()));
        let line = format!("{}\n", "x".repeat(1023));
        while sink.lost() == 0 {
            sink.push(&line, Kind::Log);
        }
        let room = AUDIT_BYTES / line.len();
        (0..room).for_each(|_| sink.push(&line, Kind::Audit));
        assert_eq!(sink.lost(), 1, "all of them are taken");
        sink.push(&line, Kind::Audit);
        assert_eq!(sink.lost(), 2, "and the next one is counted");
    }

    #[test]
    fn the_end_does_not_wait_for_ever_and_later_lines_are_lost() {
        let (_release, stalled) = channel();
        let (sink, guard) = Sink::start(Stalled(stalled, Arc::default()));
        sink.push("a\n", Kind::Log);
        drop(guard);
        sink.push("b\n", Kind::Log);
        assert_eq!(sink.lost(), 1);
    }

    #[test]
    fn an_output_that_fails_is_counted() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sink, guard) = Sink::start(Closed);
        sink.push("a\n", Kind::Log);
        sink.push("b\n", Kind::Log);
        drop(guard);
        assert_eq!(sink.lost(), 2);
    }
}
