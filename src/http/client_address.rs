//! Finds the client's address for every request and leaves it with the request, for whoever asks: limits, logs. Does
//! not know what it is wanted for.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderName;
use axum::middleware::Next;
use axum::response::Response;

use super::Http;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Adds the extension [`crate::client_address::ClientAddress`], wherever the server said who the peer is.
pub async fn find(State(http): State<Http>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let forwarded_for = request.headers().get_all(FORWARDED_FOR).iter().map(|value| value.as_bytes());
        let client = http.trusted_proxies.client(peer.ip(), forwarded_for);
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}
