//! A primary that must wait for its standby, and a standby that never answers: no login may be answered 200 that no standby
//! has, since a failover would lose it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::support::get_mobile::GetMobile;
use crate::support::postgres::database_on_own_server;
use crate::support::program::{Setup, eventually};

const LASTS: Duration = Duration::from_secs(4);
const RATE: u32 = 25;

/// Postgres commits locally before it waits. Whoever ends the wait (an administrator, a connection killer) leaves rows
/// that everybody can read and no standby has.
#[tokio::test(flavor = "multi_thread")]
async fn no_login_is_answered_that_no_standby_has_however_the_wait_for_it_ends() {
    let database = database_on_own_server(&["-c", "fsync=off"]).await;
    let peer = GetMobile::start().await;
    let program = Arc::new(peer.verifies_for(Setup::on(database.url()).impatient()).start().await);
    program.wait_until_ready().await;
    let warm = program.log_in("ok-13900000001-before").await;
    assert_eq!(warm.status, 200);
    let session = warm.text("session_token");

    let mut admin = database.connection().await;
    admin.execute("set synchronous_commit = local").await.unwrap();
    admin.execute("alter system set synchronous_standby_names = '*'").await.unwrap();
    admin.execute("select pg_reload_conf()").await.unwrap();
    let waits = "select current_setting('synchronous_standby_names') = '*'";
    eventually("it waits for a standby", async || {
        sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut database.connection().await).await.unwrap().then_some(())
    })
    .await;
    let ours = "from pg_stat_activity where datname = current_database() and application_name = 'oneclick-login'";
    admin.execute(AssertSqlSafe(format!("select pg_terminate_backend(pid, 5000) {ours}"))).await.unwrap();

    for end in ["pg_terminate_backend", "pg_cancel_backend"] {
        let ends = format!("select count({end}(pid)) {ours} and wait_event = 'SyncRep'");
        let begun = Instant::now();
        let mut ticks = interval(Duration::from_secs(1) / RATE);
        let (mut logins, mut sent, mut ended) = (JoinSet::new(), 0, 0);
        while begun.elapsed() < LASTS {
            ticks.tick().await;
            sent += 1;
            let (program, token) = (Arc::clone(&program), format!("ok-1390000000{}-{end}{sent}", sent % 4));
            logins.spawn(async move { program.log_in(&token).await.status.as_u16() });
            if sent % 3 == 0 {
                ended += sqlx::query_scalar::<_, i64>(AssertSqlSafe(ends.clone())).fetch_one(&mut admin).await.unwrap();
            }
        }
        let log_out = crate::support::app::with_session("/api/v2/sdk/logout", &session);
        let logged_out = tokio::spawn({
            let program = Arc::clone(&program);
            async move { program.send(log_out).await.unwrap().status.as_u16() }
        });
        // Those that still wait are ended as well, until nobody does.
        let answers = loop {
            if let Ok(answers) = tokio::time::timeout(Duration::from_millis(20), async {
                let mut answers = Vec::new();
                while let Some(answer) = logins.join_next().await {
                    answers.push(answer.unwrap());
                }
                answers
            })
            .await
            {
                break answers;
            }
            ended += sqlx::query_scalar::<_, i64>(AssertSqlSafe(ends.clone())).fetch_one(&mut admin).await.unwrap();
        };
        assert!(ended > 5, "{end}: somebody waited");
        let succeeded = answers.iter().filter(|status| **status == 200).count();
        assert_eq!(succeeded, 0, "{end}: {succeeded} of {sent} were answered 200");
        assert_eq!(logged_out.await.unwrap(), 500, "{end}: nor is a log-out");
    }

    let available = "alter system set synchronous_standby_names = ''";
    admin.execute(available).await.unwrap();
    admin.execute("select pg_reload_conf()").await.unwrap();
    eventually("logins work again", async || {
        let token = format!("ok-13900000001-after{}", peer.ledger().len());
        (program.log_in(&token).await.status == 200).then_some(())
    })
    .await;
}

/// A command is answered by the same Postgres: what it says is done must not be lost by a failover either.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_says_done_when_somebody_ended_its_wait_for_the_standby() {
    let database = database_on_own_server(&["-c", "fsync=off"]).await;
    let setup = Setup::on(database.url());
    let mut server = setup.start().await;
    let user = super::rows::subject(&server.log_in(crate::support::app::SEED_TOKEN).await).to_string();
    server.end().await;
    let mut admin = database.connection().await;
    admin.execute("set synchronous_commit = local").await.unwrap();
    admin.execute("alter system set synchronous_standby_names = '*'").await.unwrap();
    admin.execute("select pg_reload_conf()").await.unwrap();
    let waits = "select current_setting('synchronous_standby_names') = '*'";
    eventually("it waits for a standby", async || {
        sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut database.connection().await).await.unwrap().then_some(())
    })
    .await;

    let register = ["app", "register", "--client-id", "shop", "--name", "The shop"];
    let mut outcomes = Vec::new();
    for arguments in [&["user", "disable", "--id", &user][..], &register, &["session", "revoke", "--user", &user]] {
        let running = tokio::spawn({
            let (setup, arguments) = (setup.clone(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
            async move { setup.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
        });
        let cancel = "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'";
        while !running.is_finished() {
            sqlx::query_scalar::<_, i64>(cancel).fetch_one(&mut admin).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        outcomes.push(running.await.unwrap());
    }
    // Or the database's removal would wait as well.
    admin.execute("alter system set synchronous_standby_names = ''").await.unwrap();
    admin.execute("select pg_reload_conf()").await.unwrap();
    for ran in outcomes {
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains("perhaps no standby has it"), "{ran:?}");
    }
}
