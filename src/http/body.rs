//! Reads request bodies within limits of size and time. Does not know what is in them.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use bytes::BytesMut;
use http_body_util::BodyExt;

use super::error::Failure;
use crate::error_code::ErrorCode;

/// The largest body that is read.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Reads a whole body, at most [`MAX_BODY_BYTES`], in at most `timeout`.
pub async fn read(request: Request, timeout: Duration) -> Result<Bytes, Failure> {
    let too_large = Failure::new(ErrorCode::BodyTooLarge).closing();
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large);
    }
    // Chunks are the one coding that is taken off: what is in them would be read as it is.
    let codings = request.headers().get_all(TRANSFER_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Failure::format("Transfer-Encoding").closing());
    }
    match tokio::time::timeout(timeout, collect(request.into_body(), announced)).await {
        Err(_) => Err(Failure::new(ErrorCode::RequestTimeout).closing()),
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large),
        // Broken chunking, or the client went away in the middle.
        Ok(Err(_)) => Err(Failure::format("body").closing()),
    }
}

/// Into one buffer, which grows as bytes come: frames kept as they are, each with a hold on the buffer that it was read
/// into, would let a client that sends one byte at a time take thirty times what it sends. `None` if it is too large.
async fn collect(mut body: Body, announced: Option<u64>) -> Result<Option<Bytes>, axum::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let Ok(data) = frame?.into_data() else { continue };
        if whole.is_empty() && announced == Some(data.len() as u64) {
            return Ok(Some(data));
        }
        if whole.len() + data.len() > MAX_BODY_BYTES {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.freeze()))
}
