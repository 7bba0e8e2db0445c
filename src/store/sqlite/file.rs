//! From `database.url` to a database file that exists, private to its owner. It must not know what is stored there.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};

use super::Config;
use crate::store::StoreError;

/// Closing any descriptor of a file drops every POSIX lock that the process holds on it, SQLite's too. So no other
/// store of this process may get at a new file between its making and its closing here.
static MAKING: Mutex<()> = Mutex::new(());

/// What every connection is opened with; the writer and the readers each add their own.
pub(super) fn connect_options(config: &Config) -> Result<SqliteConnectOptions, StoreError> {
    let (location, mode) = parse(&config.url)?;
    let path = std::path::absolute(location.get_filename()).map_err(|error| StoreError::Other(error.into()))?;
    let made = if mode == Mode::Create { make_private(&path) } else { Ok(()) };
    if mode != Mode::ReadOnly {
        check_writable(&path).map_err(|why| StoreError::Unavailable(why.into()))?;
    }
    made.map_err(|error| {
        let named = io::Error::new(error.kind(), format!("{} cannot be made: {error}", path.display()));
        StoreError::Unavailable(named.into())
    })?;
    Ok(location
        .filename(path)
        .read_only(mode == Mode::ReadOnly)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(config.statement_timeout)
        // Statements are logged by whoever runs into them, with a name of ours; not each of them as SQL.
        .disable_statement_logging())
}

/// Reads a URL as [`connect_options`] does, and makes nothing.
pub(super) fn check(url: &str) -> Result<(), StoreError> {
    parse(url).map(drop)
}

/// Whether there is a file at all; opening one makes it.
pub(super) fn exists(url: &str) -> Result<bool, StoreError> {
    Ok(parse(url)?.0.get_filename().exists())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Existing,
    ReadOnly,
}

/// Takes `sqlite://file`, `sqlite:file` or a bare path, with `?mode=rwc` (the default), `rw` or `ro`. What else
/// SQLite's URLs offer (memory, a shared cache, another file system layer) would lose rows or locks.
fn parse(url: &str) -> Result<(SqliteConnectOptions, Mode), StoreError> {
    let refused = |why: &str| StoreError::Url(why.to_owned());
    let Some(rest) = url.strip_prefix("sqlite:") else {
        return if url.is_empty() || url.contains("://") {
            Err(refused("must be a sqlite:// URL"))
        } else {
            Ok((SqliteConnectOptions::new().filename(url), Mode::Create))
        };
    };
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let mode = match query {
        None | Some("mode=rwc") => Mode::Create,
        Some("mode=rw") => Mode::Existing,
        Some("mode=ro") => Mode::ReadOnly,
        Some(_) => return Err(refused("must not have a parameter other than mode=rwc, mode=rw or mode=ro")),
    };
    if matches!(path.trim_start_matches('/'), "" | ":memory:") {
        return Err(refused("must name a file, as in sqlite://data/oneclick-login.db"));
    }
    SqliteConnectOptions::from_str(url)
        .map(|options| (options, mode))
        .map_err(|error| StoreError::Url(format!("cannot be read: {error}")))
}

/// Makes the folder (0700) and the file (0600) that are not there yet; SQLite gives the file's mode to its companions
/// `-wal` and `-shm`. What exists keeps its mode.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// SQLite's own words for a file of another user's, "attempt to write a readonly database", name neither.
fn check_writable(path: &Path) -> Result<(), String> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let folder = path.parent().unwrap_or(path).to_owned();
    for file in [folder, path.to_owned(), beside("-wal"), beside("-shm")] {
        let refused = rustix::fs::accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS).err();
        if refused.is_some_and(|error| matches!(error, Errno::ACCESS | Errno::PERM | Errno::ROFS)) {
            return Err(not_writable(&file, refused == Some(Errno::ROFS)));
        }
    }
    Ok(())
}

fn not_writable(file: &Path, read_only_file_system: bool) -> String {
    let (name, ours) = (file.display(), rustix::process::geteuid());
    if read_only_file_system {
        return format!("{name} is on a file system that is mounted read-only");
    }
    let found = match std::fs::metadata(file) {
        Ok(found) => found,
        Err(error) => return format!("{name} may not be written by the user {ours}: {error}"),
    };
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    // A file's companions beside it have the same owner.
    let chown = if found.is_dir() { format!("chown -R {ours} {name}") } else { format!("chown {ours} {name}*") };
    format!(
        "{name} belongs to the user {owner} with mode {mode:o}, and this process, as the user {ours}, may not write it; \
         run: {chown}; or start the program as the user {owner}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_and_nothing_else() {
        let file = |url: &str| parse(url).unwrap().0.get_filename().to_owned();
        assert_eq!(file("sqlite://data/x.db"), Path::new("data/x.db"));
        assert_eq!(file("sqlite:///srv/a%20b.db?mode=rw"), Path::new("/srv/a b.db"));
        assert_eq!(file("sqlite:x.db"), Path::new("x.db"));
        assert_eq!(file("data/x.db"), Path::new("data/x.db"));
        for bad in ["", "postgres://h/d", "sqlite:", "sqlite://", "sqlite::memory:", "sqlite://:memory:"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in ["sqlite://x?mode=memory", "sqlite://x?cache=shared", "sqlite://x?immutable=1", "sqlite://?mode=ro"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
