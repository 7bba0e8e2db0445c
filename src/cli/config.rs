//! `config check` and `config print`.
