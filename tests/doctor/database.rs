//! A database that is not there, does not let us in, is not ours yet, or is set up in a way that costs logins.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Deployment, doctor, doctor_with};
use crate::support::postgres;
use crate::support::program::Setup;

/// A Postgres that ends every connection at once with this.
async fn refusing(sqlstate: &str, message: &str) -> String {
    let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    answering([b"E".as_slice(), &length, fields.as_bytes()].concat(), "disable").await
}

async fn answering(answer: Vec<u8>, sslmode: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    format!("postgres://login:canary@{address}/login?sslmode={sslmode}")
}

#[tokio::test]
async fn each_way_not_to_be_let_in_has_its_own_advice() {
    for (sqlstate, message, advice) in [
        ("28P01", "password authentication failed for user \"login\"", "put the role's password into database.url"),
        ("28000", "no pg_hba.conf entry for host", "pg_hba.conf"),
        ("3D000", "database \"login\" does not exist", "create the database"),
        ("53300", "sorry, too many clients already", "lower database.max_connections"),
        ("57P03", "the database system is starting up", "wait"),
        ("08P01", "unsupported startup parameter: options", "set database.transaction_pooler to true"),
    ] {
        let report = doctor(&Setup::on(refusing(sqlstate, message).await)).await;
        report.assert_fails("database", &[message, sqlstate, advice, "login:[redacted]@"]);
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_apart_by_what_is_missing() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let http = wiremock::MockServer::start().await;
    for (url, words) in [
        (format!("postgres://u:canary@{nobody}/d"), ["refused", "start Postgres"]),
        ("postgres://u:canary@no-such-host.invalid/d".to_owned(), ["lookup", "no address"]),
        (format!("postgres://u:canary@{}/d", http.address()), ["SSLRequest", "something else than Postgres"]),
        (answering(b"N".to_vec(), "require").await, ["TLS", "sslmode"]),
    ] {
        doctor(&Setup::on(&url)).await.assert_fails("database", &words);
    }
}

#[tokio::test]
async fn a_role_that_may_have_no_more_connections_is_told_so() {
    let deployment = Deployment::new().await;
    let role = deployment.name().await;
    deployment.administer(&format!("create role {role} login connection limit 0")).await;
    let url = deployment.database.url().replace("postgres@", &format!("{role}@"));
    let report = doctor(&deployment.setup.clone().set("DATABASE_URL", url)).await;
    deployment.administer(&format!("drop role {role}")).await;
    report.assert_fails("database", &["too many connections for role", "raise the limit"]);
}

#[tokio::test]
async fn a_schema_that_is_absent_names_the_command_and_in_development_is_no_failure() {
    let database = postgres::durable_database().await;
    let setup = Setup::on(database.url());
    doctor(&setup).await.assert_warns("schema", &["run `oneclick-login migrate`"]);

    let production = setup
        .set("ONECLICK_ENVIRONMENT", "production")
        .set("ONECLICK_ID_TOKEN__ISSUER", "https://no-such-host.invalid/api/v1/oauth2")
        .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
        .set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "https://no-such-host.invalid")
        .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test")
        .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary");
    let report = doctor(&production).await;
    report.assert_says("FAIL", "schema", &["run `oneclick-login migrate`", "whose role owns the database"]);
    assert!(report.of("apps").is_empty(), "there is no table to read");
    assert_eq!(report.ran.code, Some(1));

    let absent = production.set("DATABASE_URL", "sqlite://absent.db");
    let report = doctor(&absent).await;
    report.assert_says("FAIL", "database", &["sqlite://absent.db", "run: oneclick-login migrate"]);
    assert!(!absent.folder().join("absent.db").exists());
}

#[tokio::test]
async fn a_newer_schema_is_a_warning() {
    let deployment = Deployment::new().await;
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        select version + 1000000, 'newer', success, checksum, 0 from _sqlx_migrations";
    deployment.administer(newer).await;
    doctor(&deployment.setup).await.assert_warns("schema", &["a newer version", "run that version here"]);
}

#[tokio::test]
async fn a_database_that_is_read_only_says_how_to_switch_that_off() {
    let deployment = Deployment::new().await;
    let name = deployment.name().await;
    deployment.administer(&format!("alter database {name} set default_transaction_read_only = on")).await;
    let words = ["takes no writes", "run: alter role postgres set default_transaction_read_only = off;"];
    doctor(&deployment.setup).await.assert_fails("database", &words);
}

#[tokio::test]
async fn a_role_that_may_not_write_is_told_what_to_grant() {
    let deployment = Deployment::new().await;
    let role = deployment.name().await;
    deployment.administer(&format!("create role {role} login")).await;
    deployment.administer(&format!("grant select on all tables in schema public to {role}")).await;
    let url = deployment.database.url().replace("postgres@", &format!("{role}@"));
    let report = doctor(&deployment.setup.clone().set("DATABASE_URL", url)).await;
    deployment.administer(&format!("drop owned by {role}; drop role {role}")).await;
    report.assert_fails("database", &["sessions", "write_probe", "grant select, insert, update, delete on all tables"]);
}

#[tokio::test]
async fn a_single_table_without_its_rights_is_named() {
    let deployment = Deployment::new().await;
    let role = deployment.name().await;
    deployment.administer(&format!("create role {role} login")).await;
    let grant = format!("grant select, insert, update, delete on all tables in schema public to {role}");
    deployment.administer(&grant).await;
    deployment.administer(&format!("revoke insert on tickets from {role}")).await;
    let url = deployment.database.url().replace("postgres@", &format!("{role}@"));
    let setup = deployment.setup.clone().set("DATABASE_URL", url);
    let report = doctor(&setup).await;
    deployment.administer(&grant).await;
    let granted = doctor(&setup).await;
    deployment.administer(&format!("drop owned by {role}; drop role {role}")).await;
    report.assert_fails("database", &[&format!("the role {role} may not read and write: tickets; run"), &grant]);
    granted.assert_says("ok", "database", &["reachable"]);
}

#[tokio::test]
async fn commits_that_a_crash_can_lose_are_a_failure_with_the_statement_that_ends_it() {
    let deployment = Deployment::new().await;
    let name = deployment.name().await;
    deployment.administer(&format!("alter database {name} set synchronous_commit = off")).await;
    let words = ["can lose sessions", "run: alter role postgres set synchronous_commit = on;"];
    doctor(&deployment.setup).await.assert_fails("durability", &words);
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "says why it has nothing to show")]
async fn a_server_without_fsync_is_a_failure() {
    let database = postgres::database().await;
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut database.connection().await).await.unwrap();
    if fsync == "on" {
        println!("the tests were given a server that is durable");
        return;
    }
    let report = doctor(&Setup::on(database.url())).await;
    let said = report.of("durability")[0];
    assert_eq!(said[0], "FAIL", "{said:?}");
    assert!(said[2].contains("can destroy the database; take fsync = off out"), "{said:?}");
    assert_eq!(report.ran.code, Some(1));
}

#[tokio::test]
async fn connections_are_counted_for_all_replicas() {
    let deployment = Deployment::new().await;
    let name = deployment.name().await;
    deployment.administer(&format!("alter database {name} connection limit 40")).await;
    let two = doctor_with(&deployment.setup, &["--replicas", "2"]).await;
    two.assert_says("ok", "connections", &["2 x (16", "fit into 40"]);
    assert_eq!(two.ran.code, Some(0), "{:?}", two.ran);
    let three = doctor_with(&deployment.setup, &["--replicas", "3"]).await;
    let limit = format!("the connection limit of the database {name}");
    three.assert_fails("connections", &["3 x (16", "= 51", "more than 40", &limit, "to 12 or less"]);
}

#[tokio::test]
async fn a_pooler_that_is_expected_and_not_there_is_a_warning() {
    let deployment = Deployment::new().await;
    let name = deployment.name().await;
    deployment.administer(&format!("alter database {name} set idle_in_transaction_session_timeout = '5s'")).await;
    let setup = deployment.setup.clone().set("ONECLICK_DATABASE__TRANSACTION_POOLER", "true");
    let report = doctor(&setup).await;
    report.assert_warns("pooler", &["set database.transaction_pooler to false if there is none"]);
    report.assert_says("skip", "connections", &["a pooler's own limits count"]);
}

#[tokio::test]
async fn what_the_doctor_says_of_the_database_the_start_warns_of_too() {
    let deployment = Deployment::new().await;
    let name = deployment.name().await;
    deployment.administer(&format!("alter database {name} set synchronous_commit = off")).await;
    let report = doctor(&deployment.setup).await;
    let [[_, _, said]] = report.of("durability")[..] else { panic!("{:?}", report.ran) };
    let server = deployment.setup.start().await;
    let lines = server.log_lines();
    let warnings = lines.iter().filter(|line| line["level"] == "WARN");
    let warnings: Vec<_> = warnings.map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(warnings, [said.as_str()]);
}
