//! `doctor`, as an operator runs it: a deployment in which all is well, and then one thing at a time that is not.

mod credentials;
mod database;
mod issuer;
mod keys;
mod pooler;
mod settings;
mod verifier;
mod whole;

use sqlx::{AssertSqlSafe, Executor};

use crate::support::get_mobile::GetMobile;
use crate::support::postgres::{self, TestDatabase};
use crate::support::program::{Program, Ran, Setup};

/// Stands in every secret that a test gives away.
const CANARY: &str = "canary";

/// A deployment, and the settings it runs on.
struct Deployment {
    setup: Setup,
    database: TestDatabase,
    peer: GetMobile,
}

impl Deployment {
    /// Migrated and not yet started.
    async fn new() -> Self {
        let database = postgres::durable_database().await;
        let peer = GetMobile::with("the-canary-that-signs-calls", None).await;
        let setup = peer.verifies_for(Setup::on(database.url()).patient());
        let migrated = setup.run(&["migrate"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        Self { setup, database, peer }
    }

    /// Starts the server; from then on `doctor` finds the issuer where it listens.
    async fn start(&mut self) -> Program {
        let server = self.setup.start().await;
        self.setup = self.setup.clone().set("ONECLICK_SERVER__LISTEN", server.listen.to_string());
        server
    }

    async fn administer(&self, sql: &str) {
        self.database.connection().await.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    async fn name(&self) -> String {
        let name = "select current_database()::text";
        sqlx::query_scalar(name).fetch_one(&mut self.database.connection().await).await.unwrap()
    }
}

/// What was said of each check, in order: the verdict, the check, the words.
struct Report {
    ran: Ran,
    lines: Vec<[String; 3]>,
}

async fn doctor(setup: &Setup) -> Report {
    doctor_with(setup, &[]).await
}

async fn doctor_with(setup: &Setup, arguments: &[&str]) -> Report {
    let ran = setup.run(&[&["doctor"], arguments].concat()).await;
    assert!(!format!("{ran:?}").contains(CANARY), "{ran:?}");
    let line = |line: &str| {
        let (verdict, rest) = line.split_at(6);
        let (check, words) = rest.split_at(14);
        [verdict, check, words].map(|part| part.trim().to_owned())
    };
    let lines = ran.stdout.lines().map(line).collect();
    Report { ran, lines }
}

impl Report {
    fn of(&self, check: &str) -> Vec<&[String; 3]> {
        self.lines.iter().filter(|[_, named, _]| named == check).collect()
    }

    /// The one line of this check has this verdict and says all of this.
    #[track_caller]
    fn assert_says(&self, verdict: &str, check: &str, words: &[&str]) {
        let lines = self.of(check);
        let [[found, _, said]] = lines[..] else { panic!("not one line of {check}: {:?}", self.ran) };
        assert_eq!(found, verdict, "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word:?} is not said: {said}"));
    }

    /// This is the only failure, and the command fails because of it.
    #[track_caller]
    fn assert_fails(&self, check: &str, words: &[&str]) {
        self.assert_says("FAIL", check, words);
        let failures = self.lines.iter().filter(|[verdict, ..]| verdict == "FAIL").count();
        assert_eq!((failures, self.ran.code), (1, Some(1)), "{:?}", self.ran);
    }

    /// This is the only trouble, and the command does not fail because of it.
    #[track_caller]
    fn assert_warns(&self, check: &str, words: &[&str]) {
        self.assert_says("WARN", check, words);
        let troubles = self.lines.iter().filter(|[verdict, ..]| verdict != "ok" && verdict != "skip").count();
        assert_eq!((troubles, self.ran.code), (1, Some(0)), "{:?}", self.ran);
    }
}
