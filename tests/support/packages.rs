//! Installs what the tests need and the machine lacks, where they may: as root on Debian or Ubuntu.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

/// Whether [`install`] has a chance.
pub fn can_install() -> bool {
    Path::new("/usr/bin/apt-get").exists() && is_root()
}

pub fn is_root() -> bool {
    tempfile::tempfile().and_then(|file| file.metadata()).is_ok_and(|file| file.uid() == 0)
}

/// Installs Debian's packages. Tests run beside each other, and apt works for one at a time.
pub fn install(packages: &[&str]) -> Result<(), String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !can_install() {
        return Err("needs root on Debian or Ubuntu".to_owned());
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    run(Command::new("apt-get").args(["-q", "update"]))?;
    let install = ["-q", "-y", "-o", "Dpkg::Options::=--force-confold", "install", "--no-install-recommends"];
    run(Command::new("apt-get").args(install).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// Where `PATH` has the first of these programs that it has at all.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|program| program.is_file())
}

/// Standard output of a command that succeeds.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
}
