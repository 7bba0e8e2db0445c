//! Warnings that Postgres sends along with a success. One of them must not be passed over: somebody cancelled the wait for
//! a synchronous standby, so what was committed may be lost with this server.
//!
//! sqlx 0.9 hands notices to nobody; it reports them as events of `tracing`, in the very poll in which they arrive. So a
//! layer of the subscriber notes them for the statement that is being polled. Their SQLSTATE is not among the event's
//! fields and their words depend on the server's language, but no statement of ours gives cause for any warning.

use std::cell::Cell;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Under which sqlx reports a notice.
pub const TARGET: &str = "sqlx::postgres::notice";

tokio::task_local! {
    static WARNED: Cell<bool>;
}

/// Runs a statement and tells whether Postgres warned meanwhile.
pub(super) async fn watch<T>(statement: impl Future<Output = T>) -> (T, bool) {
    WARNED.scope(Cell::new(false), async { (statement.await, WARNED.with(Cell::get)) }).await
}

/// The layer, which has to be in the subscriber for [`watch`] to see anything.
#[derive(Debug, Clone, Copy)]
pub struct NoticeLayer;

impl<S: Subscriber> Layer<S> for NoticeLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == TARGET && *event.metadata().level() <= Level::WARN {
            // Outside of a statement of ours, while a connection opens say, nobody is told.
            let _ = WARNED.try_with(|warned| warned.set(true));
        }
    }
}
