//! A cluster that follows another one, and the sudden end of the first.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::cluster::Cluster;

impl Cluster {
    /// A streaming standby of `primary`.
    pub fn start_standby(bin: &Path, primary: &Self, options: &[&str]) -> Result<Self, String> {
        Self::start_as(bin, Some(primary.port), options)
    }

    /// As a machine that loses its power: no process of it says goodbye.
    pub fn kill(&self) {
        let pid_file = fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        let pid = pid_file.lines().next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it runs");
    }
}
