//! The process as the operating system sees it, under the names that every Prometheus client library uses. Read from
//! `/proc`; where there is none, nothing is shown.

use std::fs;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// The unit of times in `/proc`: on Linux 100 a second for every program, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn register(registry: &mut Registry) {
    if let Some(seconds) = cpu_seconds() {
        registry.register("process_cpu_seconds", "CPU time spent, user and system", ConstCounter::new(seconds));
    }
    if let Some(bytes) = resident_bytes() {
        registry.register("process_resident_memory_bytes", "Memory in use", ConstGauge::new(bytes));
    }
    if let Some(count) = open_fds() {
        registry.register("process_open_fds", "Open file descriptors", ConstGauge::new(count));
    }
    if let Some(limit) = max_fds() {
        registry.register("process_max_fds", "The most file descriptors that may be open", ConstGauge::new(limit));
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything. User and system time are fields 14 and 15, the state is field 3.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Some(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn open_fds() -> Option<u64> {
    // One of them is that of this very reading.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}
