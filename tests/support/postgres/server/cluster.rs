//! A throwaway Postgres cluster that dies with this process, however that ends.
//!
//! A supervising shell makes it, runs it and waits for the end of its own standard input, the other end of which only
//! this process holds: it ends with a return, a panic, an abort and `kill -9` alike. Then the shell stops the server
//! and removes the folder.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::unprivileged;

/// `$1` the programs' folder, `$2` ours, `$3` the port, `$4` the port of the server whose standby it is to be, or nothing;
/// then the server's options. The signals are those of a terminal
/// and of a closed pipe: the end of the input is to decide alone. A server that has only just begun misses a signal, so
/// it gets several. No Unix socket: its path would have to be short, and TCP is what production uses.
const SUPERVISE: &str = r#"
trap '' HUP INT PIPE TERM
bin=$1 folder=$2 port=$3 primary=$4
shift 4
cd "$folder" || exit 1
make() {
    if [ -n "$primary" ]; then
        "$bin/pg_basebackup" -h 127.0.0.1 -p "$primary" -U postgres -D data -R --checkpoint=fast --no-sync
    else
        "$bin/initdb" -D data -U postgres -A trust -E UTF8 --no-locale --no-sync
    fi
}
if make >initdb.log 2>&1; then
    "$bin/postgres" -D data -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c max_connections=300 -c max_wal_size=4GB "$@" >server.log 2>&1 &
    server=$!
    while kill -0 "$server" 2>/dev/null && read -r _; do :; done
    while kill -QUIT "$server" 2>/dev/null; do sleep 0.1; done
else
    read -r _
fi
cd /
rm -rf "$folder"
"#;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The port is picked free and taken a moment later: somebody else may be quicker.
const START_ATTEMPTS: usize = 5;

#[derive(Debug)]
pub struct Cluster {
    pub(super) port: u16,
    pub(super) folder: PathBuf,
    /// Holds the shell's standard input open.
    _supervisor: Child,
}

impl Cluster {
    /// `options` are the server's, as on its command line.
    pub fn start(bin: &Path, options: &[&str]) -> Result<Self, String> {
        Self::start_as(bin, None, options)
    }

    pub(super) fn start_as(bin: &Path, primary: Option<u16>, options: &[&str]) -> Result<Self, String> {
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            match Self::try_start(bin, primary, options) {
                Ok(cluster) => return Ok(cluster),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Of the database `postgres`. Whatever `PGSSLMODE` asks for, there is no TLS here.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    fn try_start(bin: &Path, primary: Option<u16>, options: &[&str]) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let port = unprivileged::free_port().map_err(text)?;
        // Postgres does not run as root.
        let owner = unprivileged::user()?;
        let folder = unprivileged::folder("oneclick-login-pg-").map_err(text)?;
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(SUPERVISE).arg("sh").arg(bin).arg(&folder).arg(port.to_string());
        shell.arg(primary.map(|port| port.to_string()).unwrap_or_default()).args(options);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            shell.env_remove(name);
        }
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group)).map_err(text)?;
            shell.uid(user).gid(group);
        }
        let supervisor = shell.spawn().map_err(text)?;
        Self { port, folder, _supervisor: supervisor }.wait_until_ready()
    }

    fn wait_until_ready(mut self) -> Result<Self, String> {
        let folder = self.folder.clone();
        let log = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let give_up_at = Instant::now() + START_TIMEOUT;
        while Instant::now() < give_up_at {
            // Its own log says so, and not a port that somebody else may have taken.
            let log_of_server = log("server.log");
            if log_of_server.lines().any(|line| line.contains("ready to accept") && line.contains("connections"))
                && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            {
                return Ok(self);
            }
            let failed = log("server.log").contains("FATAL")
                || log("initdb.log").contains("error")
                || log("initdb.log").contains("not found");
            if failed || self._supervisor.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let logs = format!("{}\n{}", log("initdb.log"), log("server.log"));
        // Closes the shell's input, so that it cleans up.
        drop(self._supervisor.stdin.take());
        self._supervisor.wait().ok();
        Err(logs)
    }
}

/// Runs itself once more as the process that is killed; that one is told by a variable that it is to hold a cluster.
#[test]
#[expect(clippy::print_stdout, reason = "tells the folder to the process that kills this one")]
fn a_killed_test_process_leaves_no_server_and_no_folder_behind() {
    const HOLD: &str = "ONECLICK_TEST_HOLDS_A_CLUSTER";
    let Some(bin) = super::binaries::find() else {
        println!("there are no binaries to make a cluster from, so none can be left behind");
        return;
    };
    if std::env::var_os(HOLD).is_some() {
        println!("holding {}", Cluster::start(&bin, &[]).unwrap().folder.display());
        loop {
            std::thread::park();
        }
    }
    let this_test = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &this_test])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let folder =
        lines.map(Result::unwrap).find_map(|line| Some(PathBuf::from(line.split_once("holding ")?.1))).unwrap();
    assert!(folder.join("data/postmaster.pid").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let gone_by = Instant::now() + Duration::from_secs(20);
    while folder.exists() {
        assert!(Instant::now() < gone_by, "{} is still there", folder.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
