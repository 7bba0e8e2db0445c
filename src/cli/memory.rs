//! Keeps what is in this process' memory (keys, tokens, numbers) out of core dumps, and from debuggers of other processes
//! of the same user.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Best effort: a system that does not know it goes without.
pub fn keep_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(%error, "core dumps of this process cannot be switched off");
    }
}
