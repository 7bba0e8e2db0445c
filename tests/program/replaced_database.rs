//! Somebody makes the database anew, restores another one over it, or removes the file, while the server runs.

use std::fs;

use sqlx::{Connection, Executor};
use tokio::time::{Duration, Instant, sleep};

use crate::support::app::DEMO_CLIENT_ID;
use crate::support::get_mobile::GetMobile;
use crate::support::postgres;
use crate::support::program::{Program, Setup, eventually};

async fn wait_for_reason(program: &Program) {
    eventually("not ready", async || {
        let answer = program.health("/readyz").await;
        (answer.status == 503 && answer.json()["reasons"].to_string().contains("the database is another one"))
            .then_some(())
    })
    .await;
}

/// Logins while the database is replaced: those that are answered 200, and those whose token was spent in vain.
async fn log_in_for_a_while(program: &Program, name: &str) -> (usize, usize) {
    let (mut opened, mut in_vain) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let token = format!("ok-13900000001-{name}{}", begun.elapsed().as_nanos());
        let answer = program.log_in(&token).await;
        if answer.status == 200 {
            opened += 1;
        } else {
            assert_eq!(answer.error_code(), "IDAAS.SDK.COM.0002");
            in_vain += usize::from(answer.header("x-access-token-state") != Some("unspent"));
        }
        sleep(Duration::from_millis(50)).await;
    }
    (opened, in_vain)
}

fn error_lines(program: &Program) -> usize {
    let about = |line: &&serde_json::Value| {
        let error = line["error"].as_str().unwrap_or_default();
        line["level"] == "ERROR" && error.contains("not the database that the server was started on")
    };
    let logins_are_refused = |line: &&serde_json::Value| line["message"] == "logins are refused";
    program.log_lines().iter().filter(about).filter(logins_are_refused).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_made_anew_gets_nothing_sealed_under_keys_that_it_does_not_have() {
    let database = postgres::empty_database().await;
    let peer = GetMobile::start().await;
    let setup = peer.verifies_for(Setup::on(database.url()));
    let program = setup.start().await;
    assert_eq!(program.log_in("ok-13900000001-before").await.status, 200);
    database.make_anew().await;
    assert_eq!(setup.run(&["migrate"]).await.code, Some(0));
    let register = ["app", "register", "--client-id", DEMO_CLIENT_ID, "--name", "demo"];
    assert_eq!(setup.run(&register).await.code, Some(0));
    let (opened, in_vain) = log_in_for_a_while(&program, "after").await;
    assert_eq!(opened, 0);
    assert!(in_vain <= 5, "{in_vain}");
    wait_for_reason(&program).await;
    let rows = "select (select count(*) from users) + (select count(*) from sessions)";
    let rows: i64 = sqlx::query_scalar(rows).fetch_one(&mut database.connection().await).await.unwrap();
    assert_eq!(rows, 0);
    assert_eq!(error_lines(&program), 1);
    peer.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_restored_in_place_is_noticed_within_a_second_and_so_is_the_return_of_the_own_one() {
    let database = postgres::empty_database().await;
    let program = Setup::on(database.url()).start().await;
    let mut admin = database.connection().await;
    let own: String = sqlx::query_scalar("select id::text from deployment").fetch_one(&mut admin).await.unwrap();
    admin.execute("update deployment set id = gen_random_uuid()").await.unwrap();
    let replaced = Instant::now();
    wait_for_reason(&program).await;
    assert!(replaced.elapsed() < Duration::from_secs(3), "{:?}", replaced.elapsed());
    let answer = program.log_in("sandbox:13900000001").await;
    assert_eq!(answer.error_code(), "IDAAS.SDK.COM.0002");
    assert_eq!(answer.header("x-access-token-state"), Some("unspent"));
    sqlx::query("update deployment set id = $1::uuid").bind(own).execute(&mut admin).await.unwrap();
    program.wait_until_ready().await;
    eventually("logged in", async || (program.log_in("sandbox:13900000001:b").await.status == 200).then_some(())).await;
    admin.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_was_removed_or_lost_its_log_takes_no_logins() {
    for lost in [&["", "-wal", "-shm"][..], &["-wal", "-shm"]] {
        let peer = GetMobile::start().await;
        let setup = peer.verifies_for(Setup::new());
        let program = setup.start().await;
        assert_eq!(program.log_in("ok-13900000001-before").await.status, 200);
        for ending in lost {
            let mut path = setup.sqlite_file().into_os_string();
            path.push(ending);
            fs::remove_file(path).unwrap();
        }
        wait_for_reason(&program).await;
        let (opened, in_vain) = log_in_for_a_while(&program, "after").await;
        assert_eq!((opened, in_vain), (0, 0), "{lost:?}");
        assert_eq!(error_lines(&program), 1);
    }
}
