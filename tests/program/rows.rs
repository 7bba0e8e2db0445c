//! What is in a database, looked up beside the program.

use std::path::PathBuf;

use oneclick_login::session_token::sha256;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, PgConnection};
use uuid::Uuid;

use crate::support::app::Answer;

/// Where to look.
#[derive(Clone)]
pub enum Rows {
    Sqlite(PathBuf),
    Postgres(String),
}

enum Open {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Runs one query on whichever database it is; the two differ in how they write a parameter's place.
macro_rules! ask {
    ($connection:expr, $one:ident, $sqlite:literal, $postgres:literal $(, $value:expr)*) => {
        match $connection {
            Open::Sqlite(connection) => sqlx::query_scalar($sqlite)$(.bind($value))*.$one(connection).await,
            Open::Postgres(connection) => sqlx::query_scalar($postgres)$(.bind($value))*.$one(connection).await,
        }
        .unwrap()
    };
}

impl Rows {
    async fn open(&self) -> Open {
        match self {
            Self::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).read_only(true);
                Open::Sqlite(options.connect().await.expect("the program has made the file"))
            }
            Self::Postgres(url) => {
                Open::Postgres(PgConnection::connect(url).await.expect("the tests' Postgres accepts connections"))
            }
        }
    }

    /// Whose session was opened with each answer's session_token; `None` if no user's.
    pub async fn users_of_sessions(&self, answers: &[Answer]) -> Vec<Option<Uuid>> {
        let mut open = self.open().await;
        let mut users = Vec::new();
        for answer in answers {
            let hash = sha256(answer.text("session_token").as_bytes()).to_vec();
            users.push(ask!(
                &mut open,
                fetch_optional,
                "select users.id from sessions join users on users.id = user_id where token_hash = ?",
                "select users.id from sessions join users on users.id = user_id where token_hash = $1",
                hash
            ));
        }
        users
    }

    /// Sessions that were opened with an access token.
    pub async fn sessions_of_token(&self, access_token: &str) -> i64 {
        let hash = sha256(access_token.as_bytes()).to_vec();
        ask!(
            &mut self.open().await,
            fetch_one,
            "select count(*) from sessions where access_token_hash = ?",
            "select count(*) from sessions where access_token_hash = $1",
            hash
        )
    }

    pub async fn users(&self) -> i64 {
        ask!(&mut self.open().await, fetch_one, "select count(*) from users", "select count(*) from users")
    }
}

/// The claims, unverified.
pub fn claims(id_token: &str) -> serde_json::Value {
    jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(id_token).unwrap().claims
}

pub fn subject(answer: &Answer) -> Uuid {
    claims(&answer.text("id_token"))["sub"].as_str().unwrap().parse().unwrap()
}
