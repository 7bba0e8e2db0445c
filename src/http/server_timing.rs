//! `Server-Timing` on a login's answer: which of its stages took how long, shown by the tools of every browser. For
//! development; to whom it may concern it would tell more than an answer should.

use std::fmt::Write;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::login::Stages;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Says how long it took in all, beside the stages that the login came to.
pub async fn add(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let mut response = next.run(request).await;
    let stages = response.extensions().get::<Stages>().copied().unwrap_or_default();
    if let Ok(value) = HeaderValue::try_from(value(stages, began.elapsed())) {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
    response
}

/// In milliseconds, as the header's specification has them.
fn value(Stages { verify, commit, sign }: Stages, total: Duration) -> String {
    let mut value = String::new();
    for (name, duration) in [("verify", verify), ("commit", commit), ("sign", sign), ("total", Some(total))] {
        if let Some(duration) = duration {
            let separator = if value.is_empty() { "" } else { ", " };
            // Memory takes every text.
            let _ = write!(value, "{separator}{name};dur={:.3}", duration.as_secs_f64() * 1_000.0);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stages_that_were_reached_are_named() {
        let total = Duration::from_micros(2_500);
        assert_eq!(value(Stages::default(), total), "total;dur=2.500");
        let stages =
            Stages { verify: Some(Duration::from_millis(1)), sign: Some(Duration::from_nanos(22)), commit: None };
        assert_eq!(value(stages, total), "verify;dur=1.000, sign;dur=0.000, total;dur=2.500");
    }
}
