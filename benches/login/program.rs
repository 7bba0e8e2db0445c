//! The program under measurement, as a process of its own.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::Process;

const TRIES: usize = 6_000;
const PAUSE: Duration = Duration::from_millis(5);

/// Of 32 bytes. A benchmark's data die with it.
const MASTER_KEY: &str = "b25lY2xpY2stbG9naW4gYmVuY2htYXJrIGtleSAzMiE=";

/// Ended by a kill when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Program {
    /// Starts it in `folder`, with its log in a file there and nothing of this process's environment.
    pub fn spawn(program: &Path, folder: &Path, variables: &[(&str, &str)]) -> Self {
        let address = free_address();
        let log = folder.join("log");
        let output = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(program)
            .current_dir(folder)
            .env_clear()
            .env("ONECLICK_SERVER__LISTEN", address.to_string())
            .env("ONECLICK_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
            .env("ONECLICK_SECRETS__MASTER_KEY", MASTER_KEY)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        Self { child, address, log }
    }

    pub async fn listening(mut self) -> Self {
        for _ in 0..TRIES {
            if TcpStream::connect(self.address).is_ok() {
                return self;
            }
            if self.child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the server does not start: {}", fs::read_to_string(&self.log).unwrap());
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// So that a long run does not fill the disk.
    pub fn empty_log(&self) {
        OpenOptions::new().write(true).open(&self.log).unwrap().set_len(0).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port that nobody has at this moment.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
