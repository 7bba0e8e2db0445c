//! The integration tests, one binary: a real Postgres, a real SQLite file, a real HTTP peer for the verifier, real
//! sockets, and the real program in the end-to-end tests.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says why and stops there")]

mod support;

mod aliyun;
mod api;
mod deploy;
mod doctor;
mod gateways;
mod house;
mod keys;
mod limits;
mod metrics;
mod program;
mod races;
mod settings;
mod store;
mod wire;
