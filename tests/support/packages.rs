//! Debian's packages, installed where a test needs one and this process may.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use super::unprivileged::is_root;

/// # Errors
/// With what stands in the way.
pub fn install(names: &[&str]) -> Result<(), String> {
    // Two installations at once wait for each other only in part.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !Path::new("/usr/bin/apt-get").exists() || !is_root() {
        return Err("needs root on Debian or Ubuntu".to_owned());
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    run(Command::new("apt-get").args(["-q", "update"]))?;
    let options = ["-q", "-y", "-o", "Dpkg::Options::=--force-confold", "install", "--no-install-recommends"];
    let mut install = Command::new("apt-get");
    // In runlevel 1 no package starts the service that it brings.
    install.args(options).args(names).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    run(&mut install).map(drop)
}

/// Where `PATH` has the first of these programs that it has at all.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|program| program.is_file())
}

/// Standard output of a command that succeeds.
///
/// # Errors
/// With what it said instead.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
}
