//! What a deployment gives the file: its journal, its disk and its file system. It must not know the tables.

use std::path::Path;

use rustix::fs::statvfs;
use sqlx::sqlite::SqlitePool;

use super::error::Failure;
use crate::finding::Finding;

/// Below it there may be days left: time to act before it is urgent.
const COMFORTABLE_BYTES: u64 = 1024 * MIB;

/// The log alone grows to some 4 MiB between two checkpoints, and a busy reader lets it grow on.
const NEEDED_BYTES: u64 = 64 * MIB;

const MIB: u64 = 1024 * 1024;

pub(super) async fn look_at(readers: &SqlitePool, path: &Path) -> Result<Vec<Finding>, Failure> {
    let (version, journal_mode): (String, String) =
        sqlx::query_as("select sqlite_version(), journal_mode from pragma_journal_mode").fetch_one(readers).await?;
    let mut findings = vec![Finding::ok("database", format!("reachable, SQLite {version}, {}", path.display()))];
    findings.push(durability(&journal_mode, is_remote(path)));
    findings.extend(free_bytes(path).map(disk));
    Ok(findings)
}

fn durability(journal_mode: &str, is_remote: bool) -> Finding {
    if is_remote {
        let message = "the file is on a network file system, whose locks SQLite's log cannot rely on";
        return Finding::fail("durability", message, "put it on a local disk, or use Postgres");
    }
    if journal_mode != "wal" {
        let message = format!("the journal is {journal_mode}, not a write-ahead log: the file system cannot keep one");
        return Finding::fail("durability", message, "put the file on a local disk");
    }
    Finding::ok("durability", "write-ahead log, synced with every commit")
}

fn disk(free: u64) -> Finding {
    let message = format!("{} MiB are free on the disk of the file", free / MIB);
    if free < NEEDED_BYTES {
        Finding::fail("disk", message, "make room: a full disk takes no login")
    } else if free < COMFORTABLE_BYTES {
        Finding::warn("disk", message, "make room before it is full")
    } else {
        Finding::ok("disk", message)
    }
}

/// What is left for whoever is not root; `None` where that cannot be told.
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(target_os = "linux")]
fn is_remote(path: &Path) -> bool {
    /// NFS, CIFS, SMB 2, 9P, Ceph, AFS: `linux/magic.h`.
    const REMOTE: [u32; 6] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x00c3_6400, 0x5346_414f];
    let magic = rustix::fs::statfs(path).ok().and_then(|system| u32::try_from(system.f_type).ok());
    magic.is_some_and(|magic| REMOTE.contains(&magic))
}

#[cfg(not(target_os = "linux"))]
fn is_remote(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    #[test]
    fn a_disk_is_full_before_it_is_full() {
        let verdict = |mib: u64| disk(mib * MIB).verdict;
        assert_eq!([0, 63, 64, 1023, 1024].map(verdict), {
            use Verdict::{Fail, Ok, Warn};
            [Fail, Fail, Warn, Warn, Ok]
        });
    }

    #[test]
    fn only_a_write_ahead_log_on_a_local_disk_is_durable() {
        assert_eq!(durability("wal", false).verdict, Verdict::Ok);
        assert!(durability("wal", true).to_string().contains("put it on a local disk, or use Postgres"));
        assert!(durability("delete", false).to_string().contains("put the file on a local disk"));
    }
}
