//! The API's description: valid, complete in both languages, true to what the server answers, and a page that works.

mod document;
mod failures;
mod fuzz;
mod page;
