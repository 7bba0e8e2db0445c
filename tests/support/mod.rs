//! What the tests share.

pub mod app;
pub mod browser;
pub mod description;
pub mod get_mobile;
pub mod log;
pub mod packages;
pub mod pooler;
pub mod postgres;
pub mod program;
pub mod python;
pub mod scrape;
pub mod tls;
pub mod unprivileged;
