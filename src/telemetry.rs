//! Logs: one line a request, JSON or text.
