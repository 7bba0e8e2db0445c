//! What stands in the way of a first start is said with what to run, by the server and by every command alike; and what
//! is said to be run is run here, word by word, and helps.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use sqlx::{AssertSqlSafe, Executor};

use crate::support::postgres::{self, TestDatabase};
use crate::support::program::{Setup, eventually};
use crate::support::unprivileged;

async fn execute(database: &TestDatabase, sql: &str) {
    database.connection().await.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// A new role that may log in and nothing else, and the database's url for it.
async fn role(database: &TestDatabase) -> (String, String) {
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&mut database.connection().await)
        .await
        .unwrap();
    let role = format!("{name}_role");
    execute(database, &format!("create role {role} login; revoke create on schema public from public")).await;
    (role.clone(), database.url().replace("postgres@", &format!("{role}@")))
}

/// Runs the statement that a message names.
async fn obey(database: &TestDatabase, said: &str, begin: &str) {
    let (_, rest) = said.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is not said: {said}"));
    let statement = rest.split(';').next().unwrap();
    execute(database, &format!("{begin}{statement}")).await;
}

#[tokio::test]
async fn a_role_without_rights_is_told_which_grants_it_needs_and_they_are_enough() {
    let database = postgres::empty_database().await;
    let (role, url) = role(&database).await;
    let theirs = Setup::on(url).in_production();
    let refused = theirs.run(&["migrate"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("permission denied for schema public"), "{refused:?}");
    // A role that migrates for itself.
    obey(&database, &refused.stderr, "grant usage, create on schema public to ").await;
    let migrated = theirs.run(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    execute(
        &database,
        &format!("drop owned by {role}; grant connect on database {} to {role}", &role[..role.len() - 5]),
    )
    .await;

    // A role that another one migrates for.
    let ours = Setup::on(database.url()).in_production();
    assert_eq!(ours.run(&["migrate"]).await.code, Some(0));
    for command in [&["serve"][..], &["app", "list"], &["key", "list"]] {
        let refused = theirs.run(command).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("permission denied for table _sqlx_migrations"), "{refused:?}");
        assert!(refused.stderr.contains("grant select, insert, update, delete on all tables in schema public to "));
    }
    let refused = theirs.run(&["serve"]).await;
    obey(&database, &refused.stderr, "grant select, insert, update, delete on all tables in schema public to ").await;
    let mut server = theirs.start().await;
    server.wait_until_ready().await;
    server.end().await;
    execute(&database, &format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_told_with_the_command_that_makes_it() {
    let database = postgres::empty_database().await;
    let url = format!("{}_missing", database.url().split('?').next().unwrap());
    let name = url.rsplit('/').next().unwrap().to_owned();
    let command = format!("createdb --owner=postgres --encoding=UTF8 --template=template0 {name}");
    for setup in [Setup::on(&url), Setup::on(&url).in_production()] {
        for arguments in [&["migrate"][..], &["user", "find", "--mobile", "13800000001"]] {
            let refused = setup.run(arguments).await;
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.stderr.contains(&command), "{refused:?}");
        }
        let mut server = setup.spawn();
        server.wait_until_alive().await;
        eventually("it says what it waits for and what would help", async || {
            let lines = server.log_lines();
            let line = lines.iter().find(|line| line["message"] == "waiting for the database")?;
            assert!(line["remedy"].as_str().unwrap().contains(&command), "{line}");
            Some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_schema_that_search_path_names_and_nobody_made_is_told_with_the_statement_that_makes_it() {
    let database = postgres::empty_database().await;
    let separator = if database.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}options=-csearch_path%3Dlogin", database.url());
    let refused = Setup::on(&url).run(&["migrate"]).await;
    assert!(refused.stderr.contains("create schema NAME authorization postgres;"), "{refused:?}");
    execute(&database, "create schema login authorization postgres").await;
    assert_eq!(Setup::on(&url).run(&["migrate"]).await.code, Some(0));
}

#[tokio::test]
async fn a_database_in_which_another_program_has_our_tables_is_told_to_be_left_to_it() {
    let database = postgres::empty_database().await;
    execute(&database, "create table users (id int)").await;
    let refused = Setup::on(database.url()).run(&["migrate"]).await;
    assert!(refused.stderr.contains("give this one a database of its own"), "{refused:?}");
}

/// As with a volume that root has made for a program that runs as another user.
#[test]
fn a_sqlite_file_or_folder_of_another_user_is_named_with_its_owner_and_with_us() {
    let other = unprivileged::user().unwrap();
    let folder = unprivileged::folder("oneclick-login-volume-").unwrap();
    if let Some((user, group)) = other {
        chown(&folder, Some(user), Some(group)).unwrap();
    }
    let program = folder.join("oneclick-login");
    std::fs::copy(env!("CARGO_BIN_EXE_oneclick-login"), &program).unwrap();
    let (file, volume) = (folder.join("login.db"), folder.join("volume"));
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir(&volume).unwrap();
    // Only who is not root is stopped by a mode.
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o444)).unwrap();
    std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o555)).unwrap();
    let run = |database: &Path| {
        let mut command = Command::new(&program);
        command.arg("app").arg("list").env_clear().current_dir(&folder);
        command.env("DATABASE_URL", format!("sqlite://{}", database.display()));
        if let Some((user, group)) = other {
            command.uid(user).gid(group);
        }
        command.output().unwrap()
    };
    let outputs = [run(&file), run(&volume.join("new.db"))];
    std::fs::remove_dir_all(&folder).unwrap();
    let owner = rustix::process::geteuid().as_raw();
    let us = other.map_or(owner, |(user, _)| user);
    let (file, volume) = (file.display(), volume.display());
    for (output, named, run) in [
        (&outputs[0], format!("{file} belongs to the user {owner} with mode 444"), format!("chown {us} {file}*")),
        (&outputs[1], format!("{volume} belongs to the user {owner} with mode 555"), format!("chown -R {us} {volume}")),
    ] {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for words in [named, format!("as the user {us}, may not write it"), format!("run: {run};")] {
            assert!(said.contains(&words), "{words:?} is not said: {said}");
        }
        assert!(!said.contains("readonly"), "{said}");
    }
}
