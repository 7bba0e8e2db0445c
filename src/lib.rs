//! One-click login with the phone's own number.

pub mod app;
pub mod apps;
pub mod cli;
pub mod clock;
pub mod device;
pub mod error_chain;
pub mod error_code;
pub mod housekeeping;
pub mod http;
pub mod id_token;
pub mod ids;
pub mod keys;
pub mod locale;
pub mod login;
pub mod phone_number;
pub mod readiness;
pub mod server;
pub mod session;
pub mod session_token;
pub mod session_writer;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod tenant;
pub mod vault;
pub mod verifier;
