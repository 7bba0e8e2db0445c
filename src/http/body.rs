//! Reads request bodies within limits of size and time. Does not know what is in them.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body_util::{BodyExt, LengthLimitError, Limited};

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
    match tokio::time::timeout(timeout, Limited::new(request.into_body(), MAX_BODY_BYTES).collect()).await {
        Err(_) => Err(Failure::new(ErrorCode::RequestTimeout).closing()),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        // Broken chunking, or the client went away in the middle.
        Ok(Err(_)) => Err(Failure::format("body").closing()),
    }
}
