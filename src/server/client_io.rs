//! A client's socket with three kinds of patience: for a request's head, for a client that does not read, and for what
//! is still on its way when the connection is closed. hyper gets one whole head at a time, and behind it no more than its
//! body.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::head_scan::{HeadScan, Seen, stand_in};
use super::stream::Stream;
use crate::refusal::Refusal;

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
    /// Heads that began.
    heads: AtomicU32,
    /// The body of the last request came with the end of its head.
    body_came: AtomicBool,
    /// Why the last request, or what would have been one, is refused.
    refusal: OnceLock<Refusal>,
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
    pub(super) fn request_ends(&self) {
        self.state.store(IDLE, Ordering::Relaxed);
    }

    /// Of the request that has begun, which is then a stand-in; or why the connection was closed.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
    }

    /// Whether the body of the request that has begun is with hyper already.
    pub(super) fn has_body_come(&self) -> bool {
        self.body_came.load(Ordering::Relaxed)
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

    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Relaxed) == state
    }

    fn refuse(&self, refusal: Refusal) {
        // Nothing is read behind the first.
        let _ = self.refusal.set(refusal);
    }

    /// How many heads have begun with this one, if these bytes begin one.
    fn bytes_came(&self) -> Option<u32> {
        let begins = self.is(IDLE);
        begins.then(|| {
            self.state.store(HEAD, Ordering::Relaxed);
            self.heads.fetch_add(1, Ordering::Relaxed) + 1
        })
    }
}

#[derive(Debug)]
pub(super) struct ClientIo {
    stream: Stream,
    /// Came, and is not for hyper yet: a part of a head, or what lies behind the request under way.
    held: BytesMut,
    /// What hyper is still to get of the request under way, in bytes.
    due: u64,
    /// hyper was told to wait although there is something to read, and must be woken after its answer.
    owes_wake: bool,
    /// Why any request is refused.
    misdirected: Option<Refusal>,
    activity: Arc<Activity>,
    head: Patience,
    scan: HeadScan,
    write: Patience,
    linger: Patience,
    linger_bytes: usize,
    fin_sent: bool,
}

impl ClientIo {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>, header: Duration, write: Duration) -> Self {
        Self {
            stream,
            held: BytesMut::new(),
            due: 0,
            owes_wake: false,
            misdirected: None,
            activity,
            head: Patience::new(header),
            scan: HeadScan::default(),
            write: Patience::new(write),
            linger: Patience::new(LINGER_TIME),
            linger_bytes: LINGER_BYTES,
            fin_sent: false,
        }
    }

    /// Until when the first head must be complete, and why it is refused even then.
    pub(super) fn expect(&mut self, first_head: Instant, misdirected: Option<Refusal>) {
        self.head.first_ends = Some(first_head);
        self.misdirected = misdirected;
    }

    /// Waits until there is something to read, or the client is gone.
    pub(super) async fn readable(&self) {
        if self.held.is_empty() {
            self.stream.readable().await;
        }
    }

    /// Reads into what is held; says how much that was. `room` is left as it is.
    fn poll_hold(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = room.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, room))?;
        let came = &room.filled()[before..];
        let bytes = came.len();
        self.held.extend_from_slice(came);
        room.set_filled(before);
        Poll::Ready(Ok(bytes))
    }

    /// Waits until hyper may have a request, or instead of one that is refused, a stand-in; or until the client is gone.
    fn poll_head(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.held.is_empty() {
                if let Some(nth) = self.activity.bytes_came() {
                    self.head.begin(nth);
                    self.scan = HeadScan::default();
                }
                match (self.scan.look(&self.held), self.misdirected) {
                    (Seen::Part, _) => {}
                    (Seen::Request(bytes), None) => self.due = bytes,
                    (Seen::Refused(refusal), _) | (Seen::Request(_), Some(refusal)) => {
                        self.held = BytesMut::from(&*stand_in(&self.held));
                        self.due = self.held.len() as u64;
                        self.activity.refuse(refusal);
                    }
                }
                if self.due > 0 {
                    self.head.reset();
                    return Poll::Ready(Ok(()));
                }
            }
            match self.poll_hold(cx, room) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.activity.is(HEAD) && self.head.is_over(cx) => {
                    self.activity.refuse(Refusal::HeaderTimeout);
                    return Poll::Ready(Err(timed_out("the request's head is not complete")));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Hands over what is due.
    fn poll_due(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            ready!(self.poll_hold(cx, buf))?;
        }
        let due = usize::try_from(self.due).unwrap_or(usize::MAX);
        let given = self.held.len().min(due).min(buf.remaining());
        buf.put_slice(&self.held[..given]);
        self.held.advance(given);
        if self.held.is_empty() {
            // Also what it has room for.
            self.held = BytesMut::new();
        }
        if self.activity.is(HEAD) {
            self.activity.body_came.store(given == due, Ordering::Relaxed);
        }
        self.due -= given as u64;
        Poll::Ready(Ok(()))
    }

    /// While its request is worked on, hyper looks whether the client is gone. What comes meanwhile is for later.
    fn poll_gone(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() && ready!(self.poll_hold(cx, room))? == 0 {
            return Poll::Ready(Ok(()));
        }
        self.owes_wake = true;
        Poll::Pending
    }

    fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.writing.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.write.reset();
        } else if self.write.is_over(cx) {
            // The kernel would go on offering the rest for minutes, with the buffer that holds it.
            let _ = self.stream.tcp().set_zero_linger();
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
            match self.stream.poll_discard(cx, &mut buf) {
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
        if self.due == 0 {
            if self.activity.is(BUSY) {
                return self.poll_gone(cx, buf);
            }
            ready!(self.poll_head(cx, buf))?;
        }
        if self.due == 0 { Poll::Ready(Ok(())) } else { self.poll_due(cx, buf) }
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
        if self.owes_wake && self.activity.is(IDLE) {
            self.owes_wake = false;
            cx.waker().wake_by_ref();
        }
        // Of TLS, what was written may still be here.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.fin_sent {
            let sent = Pin::new(&mut self.stream).poll_shutdown(cx);
            if sent.is_pending() && !self.linger.is_over(cx) {
                return Poll::Pending;
            }
            self.fin_sent = true;
            if !matches!(sent, Poll::Ready(Ok(()))) {
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

    /// For the `nth` time.
    fn begin(&mut self, nth: u32) {
        self.timer = None;
        if nth > 1 {
            self.first_ends = None;
        }
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
