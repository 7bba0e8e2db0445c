//! The real program, started as an operator starts it, and killed as an operator never would.

mod audit;
mod canaries;
mod clients;
mod commands;
mod database_trouble;
mod failover;
mod first_minutes;
mod forwarder;
mod kill;
mod limits;
mod log_lines;
pub mod memory;
mod nothing_in_vain;
mod operators;
#[cfg(feature = "otel")]
mod otlp;
mod refusals;
mod remedies;
mod replaced_database;
mod replicas;
mod rotated_password;
mod rows;
mod signals;
mod silent_database;
mod small_disk;
mod storm;
mod synchronous_standby;
pub mod tls;
mod traces;
mod vendor_trouble;
mod wire;
