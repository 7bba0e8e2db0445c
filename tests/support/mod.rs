//! What the tests share.

pub mod app;
pub mod description;
pub mod get_mobile;
pub mod postgres;
pub mod program;
pub mod scrape;
