//! Which file this is. One that was removed or replaced under the server stays open and takes every write, and nobody
//! finds what was written there: so the file at the path is compared with the open one every second.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::error::Failure;
use crate::ids::DeploymentId;
use crate::store::StoreError;

/// The file that this server belongs to, once it is known.
#[derive(Debug, Default)]
pub(super) struct Identity {
    own: OnceLock<Own>,
    replaced: AtomicBool,
}

#[derive(Debug)]
struct Own {
    id: Uuid,
    path: PathBuf,
    /// Device and inode of the file and of its write-ahead log, which is there as long as the file is open.
    files: [(u64, u64); 2],
}

impl Identity {
    /// Whether another file was found in the place of this one.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    pub async fn remember(&self, id: Uuid, path: &Path) -> io::Result<()> {
        let own = Own { id, path: path.to_owned(), files: files_at(path).await? };
        self.own.get_or_init(|| own);
        Ok(())
    }

    /// Fails with [`StoreError::Replaced`] if the file at the path is another one, or holds another database.
    pub async fn check(&self, readers: &SqlitePool) -> Result<(), Failure> {
        let Some(own) = self.own.get() else { return Ok(()) };
        let same_files = files_at(&own.path).await.is_ok_and(|files| files == own.files);
        let replaced = !same_files || read(readers).await? != Some(own.id);
        self.replaced.store(replaced, Ordering::Relaxed);
        if replaced { Err(StoreError::Replaced.into()) } else { Ok(()) }
    }
}

async fn files_at(path: &Path) -> io::Result<[(u64, u64); 2]> {
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    let (file, log) = (tokio::fs::metadata(path).await?, tokio::fs::metadata(log).await?);
    Ok([file, log].map(|file| (file.dev(), file.ino())))
}

async fn read(readers: &SqlitePool) -> Result<Option<Uuid>, Failure> {
    Ok(sqlx::query_scalar("select id from deployment").fetch_optional(readers).await?)
}

/// The first of all that start on a new database gives it its identity.
pub(super) async fn claim(db: &mut SqliteConnection, candidate: DeploymentId) -> Result<Uuid, Failure> {
    sqlx::query("insert into deployment (one_row, id) values (1, ?) on conflict do nothing")
        .bind(candidate.0)
        .execute(&mut *db)
        .await?;
    Ok(sqlx::query_scalar("select id from deployment").fetch_one(db).await?)
}
