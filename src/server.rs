//! The accept loop and its connections.
