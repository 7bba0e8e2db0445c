//! The database's password is changed under a running server, as a secret manager does: in the role, and then in the file
//! that is mounted.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sqlx::{AssertSqlSafe, Executor};

use crate::support::get_mobile::GetMobile;
use crate::support::postgres::{TestDatabase, database_on_own_server};
use crate::support::program::{Program, Setup, eventually};

const ROLE: &str = "canary_role";

/// A server that asks the role, and only the role, for a password.
async fn database_with_passwords() -> TestDatabase {
    let database = database_on_own_server(&[]).await;
    execute(
        &database,
        &format!(
            "create role {ROLE} login superuser password 'canary-1';
             do $$ begin execute format('copy (select unnest(array[
                 ''local all {ROLE} scram-sha-256'', ''host all {ROLE} all scram-sha-256'',
                 ''local all all trust'', ''host all all all trust''])) to %L', current_setting('hba_file')); end $$;
             select pg_reload_conf()"
        ),
    )
    .await;
    database
}

async fn execute(database: &TestDatabase, sql: &str) {
    database.connection().await.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// Gives the role another password, and ends its connections.
async fn change_password(database: &TestDatabase, password: &str) {
    execute(
        database,
        &format!(
            "alter role {ROLE} password '{password}';
             select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '{ROLE}'"
        ),
    )
    .await;
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

fn count(program: &Program, message: &str) -> usize {
    program.log_lines().iter().filter(|line| line["message"].as_str().unwrap().starts_with(message)).count()
}

async fn log_in(program: &Program, token: &str) -> u16 {
    program.log_in(&format!("ok-13900000001-{token}")).await.status.as_u16()
}

/// Where the URL stands in a file, and where libpq's password file stands beside it: what the file holds for a password.
async fn follows(place: impl Fn(Setup, &Path) -> Setup, content: impl Fn(&TestDatabase, &str) -> String) {
    let database = database_with_passwords().await;
    let peer = GetMobile::start().await;
    let without_password = database.url().replace("postgres@", &format!("{ROLE}@"));
    let setup = peer.verifies_for(Setup::on(without_password));
    let file = setup.folder().join("mounted");
    write(&file, &content(&database, "canary-1"));
    let program = place(setup, &file).start().await;
    program.wait_until_ready().await;
    assert_eq!(log_in(&program, "first").await, 200);

    write(&file, &content(&database, "canary-2"));
    change_password(&database, "canary-2").await;
    for n in 0..10 {
        assert_eq!(log_in(&program, &format!("second{n}")).await, 200, "{}", program.stdout());
    }
    assert_eq!(count(&program, "database.url or its password has changed"), 1);

    // The role first, and the file a while later.
    change_password(&database, "canary-3").await;
    eventually("refused", async || (program.health("/readyz").await.status == 503).then_some(())).await;
    assert_eq!(program.health("/livez").await.status, 200);
    assert_eq!(log_in(&program, "third").await, 500);
    write(&file, &content(&database, "canary-3"));
    program.wait_until_ready().await;
    assert_eq!(log_in(&program, "fourth").await, 200);
    let billed = peer.ledger();
    // The third met a breaker that was closed still: nobody had logged in since the password was changed.
    assert_eq!(billed.len(), 13, "no other is billed in vain: {billed:?}");
    let said = program.stdout() + &program.stderr();
    assert!(!said.contains("canary-"), "{said}");
}

#[tokio::test]
async fn a_password_that_was_changed_in_the_file_of_the_url_is_taken_without_a_restart() {
    follows(
        |setup, file| setup.unset("DATABASE_URL").set("DATABASE_URL_FILE", file.to_str().unwrap()),
        |database, password| database.url().replace("postgres@", &format!("{ROLE}:{password}@")) + "\n",
    )
    .await;
}

#[tokio::test]
async fn a_password_that_was_changed_in_libpqs_password_file_is_taken_without_a_restart() {
    follows(
        |setup, file| setup.set("PGPASSFILE", file.to_str().unwrap()),
        |_, password| format!("*:*:*:{ROLE}:{password}\n"),
    )
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_again_is_said_once_and_what_was_read_before_stays() {
    let database = database_with_passwords().await;
    let url = |password: &str| database.url().replace("postgres@", &format!("{ROLE}:{password}@"));
    let setup = Setup::on("");
    let file = setup.folder().join("mounted");
    write(&file, &url("canary-1"));
    let program = setup.clone().unset("DATABASE_URL").set("DATABASE_URL_FILE", file.to_str().unwrap()).start().await;
    program.wait_until_ready().await;
    let said = "database.url cannot be read again: the one read before stays";
    let mut times = 0;
    for broken in [Some("postgres://canary:canary-9@h/d?surprise=canary-9"), Some("sqlite://canary-9"), Some(""), None]
    {
        match broken {
            Some(text) => write(&file, text),
            None => std::fs::remove_file(&file).unwrap(),
        }
        change_password(&database, "canary-2").await;
        times += 1;
        eventually("said", async || (count(&program, said) == times).then_some(())).await;
        // What was read before is as good as it was.
        change_password(&database, "canary-1").await;
        program.wait_until_ready().await;
        assert_eq!(program.log_in("sandbox:13900000001").await.status, 200);
    }
    assert_eq!(count(&program, said), times);
    let lines = program.stdout();
    for words in ["must begin with", "has a parameter that is not known", "mounted"] {
        assert!(lines.contains(words), "{words:?} is not said: {lines}");
    }
    assert!(!lines.contains("canary-"), "{lines}");
}
