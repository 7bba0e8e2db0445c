//! Logs panics like everything else: one line, with the place. It does not decide what a panic leads to.

use std::any::Any;
use std::panic::{self, PanicHookInfo};
use std::thread;

/// Our own panics carry a fixed text that states an invariant; a library's may carry more, so little of it is shown.
const MESSAGE_CHARACTERS: usize = 200;

/// Replaces the hook that prints to standard error, whose several lines no log collector reads as one.
pub fn log_them() {
    panic::set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    tracing::error!(
        panic.location = place,
        panic.message = message(info.payload()),
        panic.thread = thread::current().name().unwrap_or("unnamed"),
        "a thread panicked"
    );
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("not a text").chars().take(MESSAGE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn little_of_a_panics_message_is_shown() {
        assert_eq!(message(&"an invariant"), "an invariant");
        assert_eq!(message(&format!("{}canary", "é".repeat(200))), "é".repeat(200));
        assert_eq!(message(&5), "not a text");
    }
}
