//! Claims and signing.
