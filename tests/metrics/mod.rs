//! What `/metrics` shows: exact counts, bounded labels, and a form that scrapers can read.

mod bounds;
mod counts;
mod decorators;
mod listener;
