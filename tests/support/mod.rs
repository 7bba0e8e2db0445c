//! What the tests share.

pub mod app;
pub mod get_mobile;
pub mod packages;
pub mod postgres;
pub mod program;
pub mod scrape;
pub mod tls;
pub mod unprivileged;
