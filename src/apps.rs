//! The client registry.
