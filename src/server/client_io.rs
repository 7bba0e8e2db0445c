//! A client's socket with three kinds of patience: for a request's head, for a client that does not read, and for what
//! is still on its way when the connection is closed. It must not know HTTP beyond where a head begins and ends, and
//! that it is told.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::head_scan::HeadScan;

/// What is read and thrown away after the last answer. Enough for a client that was just sending its body; more would
/// let anyone who ignores the answer keep us reading.
const LINGER_BYTES: usize = 64 * 1024;

/// How long a client has to take the last answer and close its side.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Between requests, or before the first.
const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// Where a connection stands; written by the socket and by the service on top of hyper, which do not see each other.
#[derive(Debug, Default)]
pub(super) struct Activity {
    state: AtomicU8,
    /// Heads that began with bytes of their own, and were looked at as they came.
    heads: AtomicU32,
    /// The last of them gives the length of its body in two ways.
    two_lengths: AtomicBool,
    /// What came together with the end of the last of them.
    bytes_behind: AtomicUsize,
    /// Something is written that the client has not taken yet.
    writing: AtomicBool,
    shut_down: AtomicBool,
}

// The order of these accesses among threads does not matter: socket and service are polled by the same task.
impl Activity {
    /// A request's head is complete.
    pub(super) fn request_begins(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    /// The answer has been handed over. Bytes that come from now on begin a new head.
    ///
    /// The beginning of a pipelined head that hyper holds already cannot be seen here; until more of it comes, it is
    /// under hyper's idle time-out.
    pub(super) fn request_ends(&self) {
        self.state.store(IDLE, Ordering::Relaxed);
    }

    /// Whether the `nth` request's head gives the length of its body in two ways, or may do so: it came together with the
    /// end of another request, where no head was looked for.
    pub(super) fn may_have_two_lengths(&self, nth: u32) -> bool {
        self.two_lengths.load(Ordering::Relaxed) || nth > self.heads.load(Ordering::Relaxed)
    }

    /// Whether the `nth` request's body has come already, with its head, and is so long.
    pub(super) fn has_come_with_head(&self, nth: u32, body_bytes: u64) -> bool {
        let behind = u64::try_from(self.bytes_behind.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        body_bytes <= behind && nth == self.heads.load(Ordering::Relaxed)
    }

    /// How many requests have begun, if the connection has none now and has sent all its answers.
    pub(super) fn idle_after(&self) -> Option<u32> {
        let idle = self.state.load(Ordering::Relaxed) == IDLE && !self.writing.load(Ordering::Relaxed);
        idle.then(|| self.heads.load(Ordering::Relaxed))
    }

    /// Whether any head has begun.
    pub(super) fn has_had_bytes(&self) -> bool {
        self.heads.load(Ordering::Relaxed) > 0
    }

    /// Whether the connection was closed with everything sent.
    pub(super) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Relaxed)
    }

    fn in_head(&self) -> bool {
        self.state.load(Ordering::Relaxed) == HEAD
    }

    /// True if these bytes begin a head.
    fn bytes_came(&self) -> bool {
        let begins = self.state.load(Ordering::Relaxed) == IDLE;
        if begins {
            self.state.store(HEAD, Ordering::Relaxed);
            self.heads.fetch_add(1, Ordering::Relaxed);
        }
        begins
    }
}

#[derive(Debug)]
pub(super) struct ClientIo {
    stream: TcpStream,
    /// Read before, and to be read again.
    unread: Bytes,
    activity: Arc<Activity>,
    head: Patience,
    scan: HeadScan,
    write: Patience,
    linger: Patience,
    linger_bytes: usize,
    fin_sent: bool,
}

impl ClientIo {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, header: Duration, write: Duration) -> Self {
        Self {
            stream,
            unread: Bytes::new(),
            activity,
            head: Patience { first_ends: Some(Instant::now() + header), ..Patience::new(header) },
            scan: HeadScan::default(),
            write: Patience::new(write),
            linger: Patience::new(LINGER_TIME),
            linger_bytes: LINGER_BYTES,
            fin_sent: false,
        }
    }

    /// Hands back what was read and not used. A copy, for the bytes keep the whole buffer that they were read into, even
    /// where there are none.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.unread = Bytes::copy_from_slice(bytes);
    }

    /// Waits until there is something to read, or the client is gone.
    pub(super) async fn readable(&self) {
        if self.unread.is_empty() {
            // An error will be met by whoever reads.
            let _ = self.stream.readable().await;
        }
    }

    fn watch_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.writing.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.write.reset();
        } else if self.write.is_over(cx) {
            // The kernel would go on offering the rest for minutes, with the buffer that holds it.
            let _ = self.stream.set_zero_linger();
            return Poll::Ready(Err(timed_out("the client does not read")));
        }
        written
    }

    /// Reads and discards until the client closes. Past the byte limit the window is left to fill up, but the socket
    /// stays open for the rest of the time: closing it would send a RST, which makes clients drop an answer that they
    /// have not read yet.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut discarded = [0; 4096];
        while self.linger_bytes > 0 {
            let mut buf = ReadBuf::new(&mut discarded);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.linger_bytes = self.linger_bytes.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if self.linger.is_over(cx) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = if self.unread.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        } else {
            let again = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(again));
            Poll::Ready(Ok(()))
        };
        if buf.filled().len() > before {
            if self.activity.bytes_came() {
                self.head.reset();
                if self.activity.heads.load(Ordering::Relaxed) > 1 {
                    self.head.first_ends = None;
                }
                self.scan = HeadScan::default();
            }
            if self.activity.in_head() {
                self.scan.feed(&buf.filled()[before..]);
                self.activity.two_lengths.store(self.scan.has_two_lengths(), Ordering::Relaxed);
                self.activity.bytes_behind.store(self.scan.bytes_behind(), Ordering::Relaxed);
            }
        } else if read.is_pending() {
            if !self.activity.in_head() {
                self.head.reset();
            } else if self.head.is_over(cx) {
                return Poll::Ready(Err(timed_out("the request's head is not complete")));
            }
        }
        read
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.fin_sent {
            let sent = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
            self.fin_sent = true;
            if sent.is_err() {
                // The client is gone already: nothing to say, nobody to wait for.
                self.linger_bytes = 0;
                self.linger.limit = Duration::ZERO;
            }
        }
        ready!(self.poll_linger(cx));
        self.activity.shut_down.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// A timer that exists only while something is waited for: most connections never make one.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    /// When the first time-out ends, if that began before anybody waited.
    first_ends: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, first_ends: None, timer: None }
    }

    /// Runs from the first call after a reset.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { limit, first_ends, timer } = self;
        let mut ends = || first_ends.take().unwrap_or_else(|| Instant::now() + *limit);
        timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(ends()))).as_mut().poll(cx).is_ready()
    }

    fn reset(&mut self) {
        self.timer = None;
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
