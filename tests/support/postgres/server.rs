//! The tests' Postgres server: a given one, else a throwaway cluster of this process's own, else docker's, else (as
//! root on Debian or Ubuntu) the distribution's, installed. Nothing is skipped: without a server the tests fail and say
//! what to do.

mod binaries;
mod cluster;
mod standby;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use self::cluster::Cluster;
use crate::support::packages::{self, run};
use crate::support::unprivileged;

const HELP: &str = "the tests need Postgres. Any one of these will do:
  - TEST_DATABASE_URL=postgres://… of a database whose role may create databases
  - an installed server (initdb and postgres in PG_BIN_DIR, PATH or /usr/lib/postgresql/*/bin)
  - docker with the compose plugin, running
What was tried:";

/// The tests' data need not outlive the machine.
const NOT_DURABLE: &[&str] = &["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum_naptime=10min"];

#[derive(Debug)]
pub struct Server {
    /// Of a database to connect to for creating others.
    maintenance: String,
    /// Runs as long as this process.
    _cluster: Option<Cluster>,
}

impl Server {
    pub fn maintenance_url(&self) -> String {
        self.maintenance.clone()
    }

    /// The url of another database on the same server.
    pub fn url(&self, database: &str) -> String {
        let (base, query) = self.maintenance.split_once('?').unwrap_or((&self.maintenance, ""));
        let authority_at = base.find("://").map_or(0, |at| at + 3);
        let server = base[authority_at..].find('/').map_or(base, |at| &base[..authority_at + at]);
        format!("{server}/{database}?{query}")
    }
}

type Attempt = fn() -> Result<Server, String>;

/// # Errors
/// With what to do about it.
pub fn start() -> Result<Server, String> {
    if let Ok(maintenance) = std::env::var("TEST_DATABASE_URL") {
        return Ok(Server { maintenance, _cluster: None });
    }
    let mut tried = Vec::new();
    let attempts: [(&str, Attempt); 3] =
        [("installed binaries", from_binaries), ("docker compose", from_compose), ("apt-get install", from_packages)];
    for (name, attempt) in attempts {
        match attempt() {
            Ok(server) => return Ok(server),
            Err(reason) => tried.push(format!("  - {name}: {}", reason.trim())),
        }
    }
    Err(format!("{HELP}\n{}", tried.join("\n")))
}

/// A server as in production, which keeps what it has committed: a cluster of its own where there are binaries, else
/// the one of all tests.
///
/// # Errors
/// With what to do about it.
pub fn start_durable() -> Result<Server, String> {
    match binaries::find() {
        Some(bin) => from_cluster(Cluster::start(&bin, &[])?),
        None => start(),
    }
}

/// A cluster with these options.
///
/// # Errors
/// With what to do about it.
pub fn start_own(options: &[&str]) -> Result<Server, String> {
    from_cluster(Cluster::start(&own_binaries()?, options)?)
}

/// A primary and its streaming standby.
///
/// # Errors
/// With what to do about it.
pub fn start_pair(options: &[&str]) -> Result<(Cluster, Cluster), String> {
    let bin = own_binaries()?;
    let primary = Cluster::start(&bin, options)?;
    let standby = Cluster::start_standby(&bin, &primary, options)?;
    Ok((primary, standby))
}

fn own_binaries() -> Result<PathBuf, String> {
    if binaries::find().is_none() && unprivileged::is_root() {
        packages::install(&["postgresql"])?;
    }
    let bin = binaries::find().ok_or_else(|| HELP.to_owned())?;
    // Where PATH has links to a few of the programs, the others are where those lead.
    let whole = std::fs::canonicalize(bin.join("postgres")).map_err(|error| error.to_string())?;
    Ok(whole.parent().map_or(bin, Path::to_path_buf))
}

fn from_binaries() -> Result<Server, String> {
    let bin = binaries::find().ok_or("none found")?;
    from_cluster(Cluster::start(&bin, NOT_DURABLE)?)
}

fn from_cluster(cluster: Cluster) -> Result<Server, String> {
    Ok(Server { maintenance: cluster.url(), _cluster: Some(cluster) })
}

/// The service `postgres` of the repository's compose file, left running; it tells port, user and password itself.
fn from_compose() -> Result<Server, String> {
    compose(&["up", "-d", "--wait", "postgres"])?;
    let address = compose(&["port", "postgres", "5432"])?;
    let port = address.rsplit_once(':').ok_or("the service publishes no port")?.1;
    let variable = |name: &str| compose(&["exec", "-T", "postgres", "printenv", name]);
    let user = variable("POSTGRES_USER").unwrap_or_else(|_| "postgres".to_owned());
    let password = variable("POSTGRES_PASSWORD").unwrap_or_default();
    Ok(Server { maintenance: format!("postgres://{user}:{password}@127.0.0.1:{port}/postgres"), _cluster: None })
}

fn compose(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("docker").arg("compose").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")))
}

fn from_packages() -> Result<Server, String> {
    if !unprivileged::is_root() {
        return Err("needs root on Debian or Ubuntu".to_owned());
    }
    // The package would make and start a cluster of its own.
    let settings = Path::new("/etc/postgresql-common");
    let keep_quiet = std::fs::create_dir_all(settings)
        .and_then(|()| std::fs::write(settings.join("createcluster.conf"), "create_main_cluster = false\n"));
    keep_quiet.map_err(|error| error.to_string())?;
    packages::install(&["postgresql"])?;
    from_binaries()
}
