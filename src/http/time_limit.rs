//! The deadline of every request but a login, which brings its own: it begins with the last byte of the request's body,
//! and at its end the handler is dropped and the answer is "busy".

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use super::Http;
use super::error::Failure;
use crate::deadline::Deadline;
use crate::error_code::ErrorCode;

/// Around a handler, inside of what records its outcome.
pub async fn enforce(State(http): State<Http>, request: Request, next: Next) -> Response {
    let (handed_on, body_is_read) = oneshot::channel();
    let request = request.map(|body| Body::new(WatchedBody { body, _handed_on: handed_on }));
    let handler = next.run(request);
    tokio::pin!(handler);
    tokio::select! {
        biased;
        response = &mut handler => return response,
        // Never sent: an error says that the body is gone.
        _ = body_is_read => {}
    }
    let late = || Failure::new(ErrorCode::SystemBusy).waiting_helps().into_response();
    Deadline::after(http.login.rules.timeout).limit(handler).await.unwrap_or_else(|_| late())
}

/// Whoever reads a body drops it when it is complete, or refused; and who does not read it drops it at once.
struct WatchedBody {
    body: Body,
    _handed_on: oneshot::Sender<()>,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
