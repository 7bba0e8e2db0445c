//! A gateway's process in a folder of its own. It runs as an unprivileged user and dies with this process, however that
//! ends: a shell waits for the end of its standard input, the other end of which only this process holds.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::unprivileged;

/// `$1` our folder, then the command. The end of the input is to decide alone, so other signals are none.
const SUPERVISE: &str = r#"
trap '' HUP INT PIPE TERM
folder=$1
shift
cd "$folder" || exit 1
"$@" >output.log 2>&1 &
server=$!
read -r _
while kill -TERM "$server" 2>/dev/null; do sleep 0.1; done
cd /
rm -rf "$folder"
"#;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The port is picked free and taken a moment later: somebody else may be quicker.
const START_ATTEMPTS: usize = 5;

pub struct Daemon {
    pub port: u16,
    folder: PathBuf,
    /// Its standard input is what the shell waits for.
    supervisor: Child,
}

impl Daemon {
    /// `files` makes the files of the folder, for this folder and port, by name; `command` has `{folder}` in the place
    /// of the folder.
    pub fn start(name: &str, command: &[&str], files: impl Fn(&Path, u16) -> Vec<(&'static str, String)>) -> Self {
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            let port = unprivileged::free_port().unwrap();
            let folder = unprivileged::folder(&format!("oneclick-login-{name}-")).unwrap();
            let owner = unprivileged::user().unwrap_or_else(|error| panic!("{error}"));
            for (name, text) in files(&folder, port) {
                fs::write(folder.join(name), text).unwrap();
                give(&folder.join(name), owner);
            }
            give(&folder, owner);
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(SUPERVISE).arg("sh").arg(&folder);
            shell.args(command.iter().map(|word| word.replace("{folder}", folder.to_str().unwrap())));
            shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            if let Some((user, group)) = owner {
                shell.uid(user).gid(group);
            }
            let daemon = Self { port, folder, supervisor: shell.spawn().unwrap() };
            if daemon.comes_up() {
                return daemon;
            }
            failure = format!("{}\n{}", daemon.log("output.log"), daemon.log("error.log"));
        }
        panic!("{name} does not start:\n{failure}");
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Both gateways name this step of a start in their log, so that nobody else's port is taken for ours.
    fn comes_up(&self) -> bool {
        let give_up_at = Instant::now() + START_TIMEOUT;
        while Instant::now() < give_up_at {
            let log = self.log("error.log") + &self.log("output.log");
            let runs = log.contains("start worker process") || log.contains("resuming normal operations");
            if runs && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return true;
            }
            if log.contains("[emerg]") || log.contains("could not bind") || log.contains("Syntax error") {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // Or the next test of this process would still find it running.
        let _ = self.supervisor.wait();
    }
}

fn give(path: &Path, owner: Option<(u32, u32)>) {
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).unwrap();
    }
}
