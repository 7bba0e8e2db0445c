//! Finds an installed Postgres.

use std::path::{Path, PathBuf};

/// The folder of `initdb` and `postgres`: `PG_BIN_DIR`, else from `PATH`, else the newest where Debian, Fedora and
/// Homebrew put them.
pub fn find() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("PG_BIN_DIR").map(PathBuf::from) {
        assert!(is_complete(&given), "PG_BIN_DIR={} has no initdb and postgres", given.display());
        return Some(given);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(installed()).find(|folder| is_complete(folder))
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
}

fn installed() -> Vec<PathBuf> {
    let parents = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr/pgsql"];
    let entries = parents.iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten().flatten();
    let mut versions: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("postgres")).collect();
    versions.sort_by_key(|path| std::cmp::Reverse(version(path)));
    versions.into_iter().map(|version| version.join("bin")).collect()
}

/// `15` of `/usr/lib/postgresql/15` and of `/opt/homebrew/opt/postgresql@15`.
fn version(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit('@').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
