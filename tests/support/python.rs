//! Python programs and libraries from PyPI, each list of requirements in an environment of its own below `target`, made
//! once. Nothing is skipped: where it cannot be made the test fails and says what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::{install, run};

const HELP: &str = "an environment for Python cannot be made. It needs python3 with venv (on Debian: apt-get install \
                    python3-venv) and a PyPI that pip reaches:";

/// The environment for `tests/<requirements>`; its programs are in `bin`.
pub fn environment(requirements: &str) -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(requirements);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(requirements.file_stem().unwrap());
    let wanted = fs::read_to_string(&requirements).unwrap();
    // Written last: what stands there without it, or with another, was left half-made or is of other versions.
    let done = home.join("installed.txt");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return home;
    }
    let _ = fs::remove_dir_all(&home);
    make(&home, &requirements).unwrap_or_else(|why| panic!("{HELP}\n{why}"));
    fs::write(done, wanted).unwrap();
    home
}

fn make(home: &Path, requirements: &Path) -> Result<(), String> {
    let environment = || run(Command::new("python3").args(["-m", "venv"]).arg(home));
    environment().or_else(|why| {
        install(&["python3-venv"]).map_err(|also| format!("{why}\n{also}"))?;
        environment()
    })?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(home.join("bin/python")).args(pip).arg(requirements))?;
    Ok(())
}
