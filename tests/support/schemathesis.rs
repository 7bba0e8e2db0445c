//! Schemathesis, which fuzzes a server from its OpenAPI document: from PyPI, in a Python environment of its own below
//! `target`, made once. Nothing is skipped: where it cannot be made the test fails and says what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::{install, run};

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docs/schemathesis.txt");
const HELP: &str = "the API is fuzzed with schemathesis, which cannot be installed. It needs python3 with venv (on Debian: \
                    apt-get install python3-venv) and a PyPI that pip reaches:";

/// The program.
pub fn find() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let wanted = fs::read_to_string(REQUIREMENTS).unwrap();
    // Written last: what stands there without it, or with another, was left half-made or is of other versions.
    let done = home.join("installed.txt");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return home.join("bin/schemathesis");
    }
    let _ = fs::remove_dir_all(&home);
    make(&home).unwrap_or_else(|why| panic!("{HELP}\n{why}"));
    fs::write(done, wanted).unwrap();
    home.join("bin/schemathesis")
}

fn make(home: &Path) -> Result<(), String> {
    let environment = || run(Command::new("python3").args(["-m", "venv"]).arg(home));
    environment().or_else(|why| {
        install(&["python3-venv"]).map_err(|also| format!("{why}\n{also}"))?;
        environment()
    })?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS];
    run(Command::new(home.join("bin/python")).args(pip))?;
    Ok(())
}
