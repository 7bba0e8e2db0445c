//! The throwaway Postgres cluster: durable, as in production, and with its CPU time and batches in view.

#[path = "../../tests/support/postgres/server/binaries.rs"]
mod binaries;
#[path = "../../tests/support/postgres/server/cluster.rs"]
mod cluster;
#[path = "../../tests/support/unprivileged.rs"]
mod unprivileged;

use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use self::cluster::Cluster;
use crate::process::Process;

/// The server's own defaults, said aloud: every 200 stands for a row that is on the disk.
const DURABLE: &[&str] = &["-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on"];

#[derive(Debug)]
pub struct Database {
    cluster: Cluster,
    postmaster: Process,
}

/// The sessions of some time, and the commits that brought them.
#[derive(Debug, sqlx::FromRow)]
pub struct Batches {
    pub median: i64,
    pub mean: f64,
}

impl Database {
    pub async fn start() -> Self {
        let bin = binaries::find().expect("the benchmark needs an installed Postgres (PG_BIN_DIR, PATH)");
        let cluster = Cluster::start(&bin, DURABLE).expect("the cluster starts");
        let mut connection = PgConnection::connect(&cluster.url()).await.unwrap();
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        let postmaster = Process::new(u32::try_from(backend).unwrap()).parent();
        Self { cluster, postmaster }
    }

    pub fn url(&self) -> String {
        self.cluster.url()
    }

    /// All of the cluster's processes.
    pub const fn postmaster(&self) -> Process {
        self.postmaster
    }

    pub async fn now(&self) -> OffsetDateTime {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut connection).await.unwrap()
    }

    /// Rows with one `xmin` were committed together.
    pub async fn batches(&self, since: OffsetDateTime) -> Batches {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let batches = "
            with batches as (select count(*) as sessions from sessions where created_at >= $1 group by xmin::text)
            select percentile_disc(0.5) within group (order by sessions) as median,
                   avg(sessions)::float8 as mean
            from batches";
        sqlx::query_as(batches).bind(since).fetch_one(&mut connection).await.unwrap()
    }
}
