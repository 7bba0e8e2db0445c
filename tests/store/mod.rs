//! One suite for both stores.

mod sqlite;
