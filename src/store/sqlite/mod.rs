//! The embedded default store: SQLite.
