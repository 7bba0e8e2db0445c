//! The sandbox verifier: tokens that say themselves which number they stand for.
