//! A database that takes no sessions, in every way that we know of, under a steady stream of logins: hardly a token is
//! billed without a session, readiness says so, and logins resume by themselves.
//!
//! The short runs belong to every test run; the long ones, at their full rates, are started by hand:
//! `cargo test --test integration -- --ignored nothing_in_vain`.

use std::sync::Arc;
use std::time::Duration;

use oneclick_login::http::LOGIN_PATH;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, SqliteConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use super::forwarder::{Forwarder, State};
use super::rows::Rows;
use super::small_disk::SmallDisk;
use crate::support::get_mobile::GetMobile;
use crate::support::postgres::{self, TestDatabase};
use crate::support::program::{Program, Setup, eventually};

/// What is wrong with the database for as long as [`Fault::end`] is not called.
enum Fault {
    Locked(PgConnection),
    /// With the statement that undoes it.
    Undone(PgConnection, String),
    LockedFile(SqliteConnection),
    UndoneInFile(SqliteConnection, &'static str),
    Silent(Arc<Forwarder>),
    Full(SmallDisk),
}

impl Fault {
    async fn lock(database: &TestDatabase, table: &str) -> Self {
        let mut connection = database.connection().await;
        let lock = format!("begin; lock table {table} in access exclusive mode");
        connection.execute(AssertSqlSafe(lock)).await.unwrap();
        Self::Locked(connection)
    }

    async fn statement(database: &TestDatabase, begin: &str, end: &str) -> Self {
        let mut connection = database.connection().await;
        connection.execute(AssertSqlSafe(begin.to_owned())).await.unwrap();
        Self::Undone(connection, end.to_owned())
    }

    async fn end(self) {
        match self {
            Self::Locked(mut connection) => drop(connection.execute("rollback").await.unwrap()),
            Self::Undone(mut connection, end) => drop(connection.execute(AssertSqlSafe(end)).await.unwrap()),
            Self::LockedFile(mut connection) => drop(connection.execute("rollback").await.unwrap()),
            Self::UndoneInFile(mut connection, end) => drop(connection.execute(end).await.unwrap()),
            Self::Silent(forwarder) => forwarder.turn(State::Through).await,
            Self::Full(disk) => disk.make_room(),
        }
    }
}

/// How long the fault lasts and how many logins a second come meanwhile.
#[derive(Clone, Copy)]
struct Run {
    rate: u32,
    lasts: Duration,
}

/// A third of what a request may take goes by after the fault has ended, so logins that came early give up within it.
const SHORT: Run = Run { rate: 25, lasts: Duration::from_secs(3) };
const LONG: [Run; 2] =
    [Run { rate: 5, lasts: Duration::from_secs(10) }, Run { rate: 200, lasts: Duration::from_secs(10) }];

struct Subject {
    program: Arc<Program>,
    peer: GetMobile,
    rows: Rows,
}

impl Subject {
    async fn on(setup: Setup, rows: Rows) -> Self {
        let peer = GetMobile::start().await;
        let program = Arc::new(peer.verifies_for(setup).start().await);
        program.wait_until_ready().await;
        // Users who are known, and connections that have been used.
        for user in 0..4 {
            assert_eq!(program.log_in(&format!("ok-1390000000{user}-before")).await.status, 200);
        }
        Self { program, peer, rows }
    }

    /// Logs in at the rate of the run, whatever is answered, while the fault lasts.
    async fn under(&self, name: &str, fault: Fault, run: Run) {
        let begun = Instant::now();
        let mut ticks = interval(Duration::from_secs(1) / run.rate);
        let mut logins = JoinSet::new();
        let mut sent = 0_u32;
        let mut not_ready_at = None;
        while begun.elapsed() < run.lasts {
            ticks.tick().await;
            let program = Arc::clone(&self.program);
            let token = format!("ok-1390000000{}-{name}{}n{sent}", sent % 4, run.rate);
            sent += 1;
            logins.spawn(async move { (program.log_in(&token).await, token) });
            if not_ready_at.is_none() && sent.is_multiple_of((run.rate / 5).max(1)) {
                let ready = self.program.health("/readyz").await.status == 200;
                not_ready_at = (!ready).then(|| begun.elapsed());
            }
        }
        fault.end().await;
        let ended = Instant::now();
        eventually("a login works again", async || {
            let token = format!("ok-13900000000-{name}{}after{}", run.rate, ended.elapsed().as_nanos());
            (self.program.log_in(&token).await.status == 200).then_some(())
        })
        .await;
        let resumed = Instant::now();
        self.program.wait_until_ready().await;
        let ready_again = resumed.elapsed();
        self.judge(name, (sent, logins.join_all().await)).await;
        assert!(not_ready_at.is_some_and(|at| at < Duration::from_millis(2_500)), "{name}: {not_ready_at:?}");
        assert!(ready_again < Duration::from_millis(1_500), "{name}: {ready_again:?}");
    }

    /// A 200 has its session, no token is sent twice; and hardly one is billed without a session.
    #[expect(clippy::print_stdout, reason = "the figures of a run that is started by hand")]
    async fn judge(&self, name: &str, (sent, answers): (u32, Vec<(crate::support::app::Answer, String)>)) {
        self.peer.assert_clean();
        let billed = self.peer.ledger();
        let mut in_vain = 0;
        let mut succeeded = 0;
        for (answer, token) in &answers {
            let there = self.rows.sessions_of_token(token).await;
            if answer.status == 200 {
                succeeded += 1;
                assert_eq!(there, 1, "{name}: {token}");
            } else {
                assert_eq!(answer.error_code(), "IDAAS.SDK.COM.0002", "{name}");
                let state = answer.header("x-access-token-state");
                let was_billed = billed.contains(token);
                assert_eq!(state, Some(if was_billed { "unknown" } else { "unspent" }), "{name}: {token}");
                in_vain += u32::from(was_billed);
            }
        }
        println!("{name}: {sent} sent, {succeeded} logged in, {in_vain} billed in vain");
        assert!(in_vain <= 5 + sent / 100, "{name}: {in_vain} of {sent} were billed in vain");
    }
}

async fn postgres_faults(setup: impl Fn(&str) -> Setup, runs: &[Run]) {
    let database = postgres::database().await;
    let forwarder = Arc::new(Forwarder::start(&database, State::Through).await);
    let role = own_role(&database).await;
    let url = forwarder.url().replace("postgres://", "").replace("postgresql://", "");
    let (_, host) = url.rsplit_once('@').unwrap_or(("", &url));
    let setup = setup(&format!("postgres://{role}:{role}@{host}"));
    let subject = Subject::on(setup, Rows::Postgres(database.url())).await;
    for run in runs {
        for table in ["sessions", "users"] {
            let fault = Fault::lock(&database, table).await;
            subject.under(table, fault, *run).await;
        }
        let (revoke, grant) = ("revoke insert on sessions from", "grant insert on sessions to");
        let fault = Fault::statement(&database, &format!("{revoke} {role}"), &format!("{grant} {role}")).await;
        subject.under("revoked", fault, *run).await;
        let raises = "create function refuse() returns trigger language plpgsql as
                      $$ begin raise exception 'refused by a trigger'; end $$;
                      create trigger refuse before insert on sessions for each row execute function refuse()";
        let fault = Fault::statement(&database, raises, "drop function refuse cascade").await;
        subject.under("trigger", fault, *run).await;
    }
    for run in runs {
        forwarder.turn(State::BlackHole).await;
        subject.under("silent", Fault::Silent(Arc::clone(&forwarder)), *run).await;
    }
    drop(subject);
    database
        .connection()
        .await
        .execute(AssertSqlSafe(format!("drop owned by {role}; drop role {role}")))
        .await
        .unwrap();
}

/// One that is no superuser, with the rights that the documentation asks for.
async fn own_role(database: &TestDatabase) -> String {
    let role = format!("oneclick_vain_{}_{}", std::process::id(), next());
    let sql = format!(
        "create role {role} login password '{role}';
         grant create on schema public to {role};
         grant select, insert, update, delete on all tables in schema public to {role}"
    );
    database.connection().await.execute(AssertSqlSafe(sql)).await.unwrap();
    role
}

fn next() -> u32 {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

async fn sqlite_faults(setup: Setup, runs: &[Run]) {
    let disk = SmallDisk::mount();
    let file = disk.path().join("logins.db");
    let url = format!("sqlite://{}", file.display());
    let key = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
    let setup = setup.set("DATABASE_URL", url).set("ONECLICK_SECRETS__MASTER_KEY", key);
    let subject = Subject::on(setup, Rows::Sqlite(file.clone())).await;
    let open = async || SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    for run in runs {
        let mut locking = open().await;
        locking.execute("begin immediate").await.unwrap();
        subject.under("locked", Fault::LockedFile(locking), *run).await;
        let mut connection = open().await;
        let raises = "create trigger refuse before insert on sessions begin select raise(abort, 'refused'); end";
        connection.execute(raises).await.unwrap();
        subject.under("trigger", Fault::UndoneInFile(connection, "drop trigger refuse"), *run).await;
    }
    for run in runs {
        disk.fill();
        subject.under("full", Fault::Full(disk.clone()), *run).await;
    }
}

/// R64, R66.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_hardly_a_token_is_billed_in_vain() {
    postgres_faults(|url| Setup::on(url).impatient(), &[SHORT]).await;
}

/// R64, R66.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_hardly_a_token_is_billed_in_vain() {
    sqlite_faults(Setup::new().impatient(), &[SHORT]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes"]
async fn on_postgres_over_ten_seconds_at_any_rate() {
    postgres_faults(|url| Setup::on(url), &LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn on_sqlite_over_ten_seconds_at_any_rate() {
    sqlite_faults(Setup::new(), &LONG).await;
}

/// A database that is away for less than a request may take costs no login whose number is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_is_over_in_time_costs_no_token_at_all() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Through).await;
    let rows = Rows::Postgres(database.url());
    let subject = Subject::on(Setup::on(forwarder.url()), rows).await;
    for (round, state) in [State::Down, State::BlackHole].into_iter().enumerate() {
        let mut logins = JoinSet::new();
        let mut ticks = interval(Duration::from_millis(10));
        for sent in 0..350_u32 {
            ticks.tick().await;
            match sent {
                30 => forwarder.turn(state).await,
                330 => forwarder.turn(State::Through).await,
                _ => {}
            }
            let program = Arc::clone(&subject.program);
            let token = format!("ok-1390000000{}-failover{round}n{sent}", sent % 4);
            logins.spawn(async move { (program.log_in(&token).await, token) });
        }
        let answers = logins.join_all().await;
        let billed = subject.peer.ledger();
        for (answer, token) in &answers {
            let there = subject.rows.sessions_of_token(token).await == 1;
            assert_eq!(answer.status == 200, billed.contains(token), "{token}: {answer:?}");
            assert_eq!(answer.status == 200, there, "{token}");
        }
        subject.peer.assert_clean();
        let refused = answers.iter().filter(|(answer, _)| answer.status != 200).count();
        assert!(refused > 0, "the database was away");
        subject.program.wait_until_ready().await;
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_login_that_cannot_begin_is_turned_away_before_its_body_is_read() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Through).await;
    let subject = Subject::on(Setup::on(forwarder.url()).impatient(), Rows::Postgres(database.url())).await;
    forwarder.turn(State::Down).await;
    let first = subject.program.log_in("ok-13900000001-first").await;
    assert_eq!(first.header("x-access-token-state"), Some("unknown"), "it found out");
    let head = format!("POST {LOGIN_PATH} HTTP/1.1\r\nHost: a\r\nX-L: zh\r\nContent-Length: 100\r\n\r\n");
    let answer = subject.program.raw(head.as_bytes()).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 500 "), "{answer}");
    for part in ["x-access-token-state: unspent", "retry-after: ", "x-request-id: ", "connection: close", "系统繁忙"]
    {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let turned_away = async || subject.program.scrape().await.value("oneclick_logins_turned_away_total", &[]);
    assert_eq!(turned_away().await, 1.0);
    let second = subject.program.log_in("ok-13900000001-second").await;
    assert_eq!((second.error_code().as_str(), turned_away().await), ("IDAAS.SDK.COM.0002", 2.0));
    let lines = subject.program.log_lines();
    let told = lines.iter().find(|line| line["message"] == "logins are turned away, unspent").unwrap();
    assert_eq!((&told["cause"], &told["logins"]), (&"the database takes no sessions".into(), &1.into()));
}
