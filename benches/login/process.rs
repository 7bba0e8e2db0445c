//! What the kernel knows of a process: its CPU time and its memory, from `/proc`.

use std::fs;
use std::time::Duration;

/// Of `utime` and its kin: `USER_HZ`, 100 wherever Linux runs.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
pub struct Process(u32);

struct Stat {
    parent: u32,
    own_ticks: u32,
    /// Of the children that have ended and were waited for, and of theirs.
    ended_children_ticks: u32,
}

impl Process {
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    pub const fn id(self) -> u32 {
        self.0
    }

    pub fn parent(self) -> Self {
        Self(stat(self.0).expect("the process runs").parent)
    }

    /// User and system time of all threads, those that have ended too.
    pub fn cpu(self) -> Duration {
        TICK * stat(self.0).expect("the process runs").own_ticks
    }

    /// Of this process and all its children, whether they still run or have ended.
    pub fn cpu_of_family(self) -> Duration {
        let own = stat(self.0).expect("the process runs");
        let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let child = stat(entry.ok()?.file_name().to_str()?.parse().ok()?)?;
            (child.parent == self.0).then_some(child.own_ticks + child.ended_children_ticks)
        });
        TICK * (own.own_ticks + own.ended_children_ticks + children.sum::<u32>())
    }

    pub fn resident_mib(self) -> f64 {
        self.status_mib("VmRSS:")
    }

    pub fn peak_resident_mib(self) -> f64 {
        self.status_mib("VmHWM:")
    }

    fn status_mib(self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

/// Nothing if the process is gone.
fn stat(process: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which stands in parentheses and may hold anything: state, parent, and so on.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
    let ticks = |user: usize| Some(fields[user].parse::<u32>().ok()? + fields[user + 1].parse::<u32>().ok()?);
    Some(Stat { parent: fields[1].parse().ok()?, own_ticks: ticks(11)?, ended_children_ticks: ticks(13)? })
}
