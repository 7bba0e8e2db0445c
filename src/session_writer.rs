//! Group commit in front of the store.
