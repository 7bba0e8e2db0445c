//! What the program refuses to start with, in one line that names what is wrong.

use std::net::TcpListener;

use crate::support::app::SEED_TOKEN;
use crate::support::program::{Ran, Setup};

/// Complete, but for a database that is there.
fn production() -> Setup {
    Setup::on("postgres://login:word@127.0.0.1:1/login")
        .set("ONECLICK_ENVIRONMENT", "production")
        .set("ONECLICK_ID_TOKEN__ISSUER", "https://login.example.com/api/v1/oauth2")
        .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
        .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test")
        .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-test")
}

/// Ended by itself, with one line on standard error that says all of this and nothing that looks like a start.
#[track_caller]
fn assert_refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is not said: {ran:?}");
    }
    assert!(!ran.stdout.contains("\"listening\""), "{ran:?}");
}

#[tokio::test]
async fn production_refuses_what_is_only_for_development_and_names_the_key() {
    for (changed, words) in [
        (production().set("ONECLICK_VERIFIER__PROVIDER", "sandbox"), &["verifier.provider", "sandbox"][..]),
        (production().unset("ONECLICK_SECRETS__MASTER_KEY"), &["secrets.master_key"]),
        (
            production().set("ONECLICK_ID_TOKEN__ISSUER", "http://login.example.com/api/v1/oauth2"),
            &["id_token.issuer", "https://"],
        ),
        (production().unset("ONECLICK_ID_TOKEN__ISSUER"), &["id_token.issuer", "https://"]),
        (
            production().set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "http://127.0.0.1:9"),
            &["verifier.aliyun.endpoint", "https://"],
        ),
        (production().unset("DATABASE_URL"), &["database.url", "DATABASE_URL"]),
        (production().unset("ALIBABA_CLOUD_ACCESS_KEY_SECRET"), &["verifier.aliyun.access_key_secret"]),
    ] {
        let ran = changed.run(&["serve"]).await;
        assert_refused(&ran, words);
        assert!(!ran.stderr.contains("word@") && !ran.stderr.contains("secret-test"), "{ran:?}");
        assert!(!changed.folder().join("data").exists(), "it has begun already");
    }
}

#[tokio::test]
async fn production_with_nothing_but_the_name_says_all_that_is_missing_at_once() {
    let ran = Setup::new().set("ONECLICK_ENVIRONMENT", "production").run(&[]).await;
    assert_refused(&ran, &["verifier.provider", "database.url", "id_token.issuer", "secrets.master_key"]);
}

#[tokio::test]
async fn development_on_all_addresses_starts_only_where_it_is_asked_for() {
    let setup = Setup::new().set("ONECLICK_SERVER__LISTEN", "0.0.0.0:0");
    for command in [&["serve"][..], &["config", "check"]] {
        assert_refused(&setup.run(command).await, &["environment is not set", "environment = \"development\""]);
    }
    assert!(!setup.folder().join("data").exists(), "it has begun already");
    setup.set("ONECLICK_ENVIRONMENT", "development").start().await;
}

#[tokio::test]
async fn an_unknown_key_and_a_value_of_the_wrong_kind_stop_the_start() {
    let misspelt = Setup::new().set("ONECLICK_SERVER__LISTN", "127.0.0.1:0").run(&[]).await;
    assert_refused(&misspelt, &["server.listn", "ONECLICK_SERVER__LISTN"]);

    let setup = Setup::new();
    std::fs::write(setup.folder().join("settings.toml"), "[server]\nlisten_on = \"127.0.0.1:0\"\n").unwrap();
    let in_a_file = setup.run(&["--config", "settings.toml"]).await;
    assert_refused(&in_a_file, &["server.listen_on", "settings.toml"]);

    let not_a_number = Setup::new().set("ONECLICK_SERVER__MAX_CONNECTIONS", "many").run(&[]).await;
    assert_refused(&not_a_number, &["server.max_connections", "ONECLICK_SERVER__MAX_CONNECTIONS"]);

    let missing_file = Setup::new().set("ONECLICK_CONFIG", "nowhere.toml").run(&[]).await;
    assert_refused(&missing_file, &["nowhere.toml"]);
}

#[tokio::test]
async fn a_quoted_access_key_stops_the_start_and_an_empty_variable_changes_nothing() {
    let setup = production().set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "\"secret-test\"");
    let ran = setup.run(&["serve"]).await;
    assert_refused(&ran, &["ALIBABA_CLOUD_ACCESS_KEY_SECRET", "begins with a quotation mark"]);
    assert!(!ran.stderr.contains("secret-test"), "{ran:?}");
    let empty = ["ONECLICK_CONFIG", "ONECLICK_ENVIRONMENT", "ONECLICK_LOGIN__MAX_BATCH"];
    let empty = empty.into_iter().fold(Setup::new(), |setup, name| setup.set(name, ""));
    assert_eq!(empty.run(&["config", "check"]).await.code, Some(0));
}

#[tokio::test]
async fn another_master_key_than_the_datas_stops_the_start_and_the_right_one_still_works() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    server.log_in(SEED_TOKEN).await;
    server.end().await;

    let canary = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E=";
    let ran = setup.clone().set("ONECLICK_SECRETS__MASTER_KEY", canary).run(&[]).await;
    assert_refused(&ran, &["master key", "the key this database was set up with is not among them"]);
    assert!(!format!("{ran:?}").contains(canary));

    assert_eq!(setup.start().await.log_in(SEED_TOKEN).await.status, 200);
}

#[tokio::test]
async fn a_lost_development_key_does_not_make_a_new_one_over_existing_data() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    server.log_in(SEED_TOKEN).await;
    server.end().await;
    std::fs::remove_file(setup.folder().join("data/master.key")).unwrap();
    assert_refused(&setup.run(&[]).await, &["master key"]);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, key) in [
        ("ONECLICK_SERVER__LISTEN", "server.listen"),
        ("ONECLICK_SERVER__MANAGEMENT_LISTEN", "server.management_listen"),
    ] {
        let ran = Setup::new().set(variable, &address).run(&[]).await;
        assert_refused(&ran, &[key, &address, "in use"]);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_named() {
    let setup = Setup::new();
    // A file where the folder should be: that refuses root as well.
    std::fs::write(setup.folder().join("data"), "").unwrap();
    assert_refused(&setup.run(&[]).await, &["data/oneclick-login.db"]);
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_left_as_it_is() {
    let setup = Setup::new();
    std::fs::create_dir(setup.folder().join("data")).unwrap();
    let text = "these are somebody's notes\n".repeat(100);
    std::fs::write(setup.sqlite_file(), &text).unwrap();
    assert_refused(&setup.run(&[]).await, &["not a SQLite database"]);
    assert_eq!(std::fs::read_to_string(setup.sqlite_file()).unwrap(), text);
}
