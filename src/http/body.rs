//! Reads request bodies within limits of size and time. Does not know what is in them.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use futures_util::FutureExt;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::Failure;
use crate::error_code::ErrorCode;

/// The largest body that is read.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Bodies that did not come with their heads and are waited for at once, 32 MiB together. A gateway that buffers requests,
/// as nginx does, sends a body with its head: it needs none of these places.
const MAX_WAITED_FOR: usize = 2_048;

/// hyper begins to read a body when it is first asked for it, and then needs another turn.
const TURNS_AT_HAND: u32 = 2;

/// Reads bodies.
#[derive(Debug)]
pub struct Bodies {
    /// From the end of a request's head to the end of its body.
    timeout: Duration,
    places: Semaphore,
}

impl Bodies {
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, places: Semaphore::const_new(MAX_WAITED_FOR) }
    }

    /// Reads a whole body, at most [`MAX_BODY_BYTES`].
    pub async fn read(&self, request: Request) -> Result<Bytes, Failure> {
        let headers = request.headers();
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(too_large());
        }
        // Chunks are the one coding that is taken off: what is in them would be read as it is.
        let codings = headers.get_all(TRANSFER_ENCODING);
        if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(Failure::format("Transfer-Encoding").closing());
        }
        let collected = timeout(self.timeout, self.collect(request.into_body(), announced)).await;
        collected.unwrap_or(Err(Failure::new(ErrorCode::RequestTimeout).closing()))
    }

    /// Into one buffer, which grows as bytes come: frames kept as they are, each with a hold on the buffer that it was
    /// read into, would let a client that sends one byte at a time take thirty times what it sends.
    async fn collect(&self, mut body: Body, announced: Option<u64>) -> Result<Bytes, Failure> {
        let mut whole = Vec::new();
        let mut place = None;
        let mut turns = 0;
        loop {
            let frame = match next_frame_at_hand(&mut body, &mut turns).await {
                Some(frame) => frame,
                None => {
                    if place.is_none() {
                        let taken = self.places.try_acquire();
                        place = Some(taken.map_err(|_| Failure::new(ErrorCode::SystemBusy).waiting_helps().closing())?);
                    }
                    body.frame().await
                }
            };
            let Some(frame) = frame else { return Ok(whole.into()) };
            // Broken chunking, or the client went away in the middle.
            let frame = frame.map_err(|_| Failure::format("body").closing())?;
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else { continue };
            if whole.is_empty() && announced == Some(data.len() as u64) {
                return Ok(data);
            }
            let length = whole.len() + data.len();
            if length > MAX_BODY_BYTES {
                return Err(too_large());
            }
            if length > whole.capacity() {
                // Doubled as a vector does it, but not beyond what a body may have.
                whole.reserve_exact((2 * length).min(MAX_BODY_BYTES) - whole.len());
            }
            whole.extend_from_slice(&data);
        }
    }
}

/// The next frame, if it comes within the turns that hyper takes to hand over what it has read already. `None`: it has to be
/// waited for.
async fn next_frame_at_hand(body: &mut Body, turns: &mut u32) -> Option<Option<Result<Frame<Bytes>, axum::Error>>> {
    let mut frame = body.frame();
    poll_fn(|context| match frame.poll_unpin(context) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending if *turns < TURNS_AT_HAND => {
            *turns += 1;
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

const fn too_large() -> Failure {
    Failure::new(ErrorCode::BodyTooLarge).closing()
}
