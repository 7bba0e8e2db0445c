//! A file system of a few megabytes that can be filled to the last byte. Needs root, which mounts it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

/// Unmounted with the last clone.
#[derive(Clone)]
pub struct SmallDisk(Arc<Mounted>);

struct Mounted {
    folder: TempDir,
}

impl SmallDisk {
    pub fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=0755", "oneclick-login-test"])
            .arg(folder.path())
            .output()
            .expect("mount can be started");
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "a small file system cannot be mounted: run the tests as root ({said})");
        Self(Arc::new(Mounted { folder }))
    }

    pub fn path(&self) -> &Path {
        self.0.folder.path()
    }

    /// Leaves no byte.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.path().join("filler")).unwrap();
        for chunk in [vec![0; 1 << 16], vec![0; 1 << 8], vec![0; 1]] {
            while filler.write_all(&chunk).is_ok() {}
        }
    }

    pub fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a program that has just been killed may hold a file for a moment.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
