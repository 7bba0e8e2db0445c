//! The production store: Postgres.
