//! What a store says of the deployment it finds itself in.

use oneclick_login::finding::{Finding, Verdict};
use oneclick_login::store::Store;
use oneclick_login::store::postgres::{Config, PostgresStore};

use super::faults::{administer, name_of};
use crate::support::postgres::{TestDatabase, database};

async fn findings(database: &TestDatabase, transaction_pooler: bool) -> Vec<Finding> {
    let config = Config { transaction_pooler, ..database.config() };
    PostgresStore::connect(&config).unwrap().look_at_deployment(1).await.unwrap()
}

/// Without that of the tests' server itself, which may be one that nobody needs to outlive.
async fn troubles(database: &TestDatabase, transaction_pooler: bool) -> Vec<Finding> {
    let findings = findings(database, transaction_pooler).await.into_iter();
    findings.filter(|finding| finding.is_trouble() && finding.check != "durability").collect()
}

#[tokio::test]
async fn a_good_deployment_gives_no_trouble_and_too_few_connections_do() {
    let database = database().await;
    assert_eq!(troubles(&database, false).await, []);
    let name = name_of(&database).await;
    administer(&database, &format!("alter database {name} connection limit 7")).await;
    let [finding] = <[Finding; 1]>::try_from(troubles(&database, false).await).unwrap();
    let text = finding.to_string();
    assert_eq!(finding.verdict, Verdict::Fail);
    assert!(text.contains(&format!("more than 7, the connection limit of the database {name}")), "{text}");
}

#[tokio::test]
async fn commits_that_are_not_waited_for_are_seen_directly_and_as_through_a_pooler() {
    for transaction_pooler in [false, true] {
        let database = database().await;
        let name = name_of(&database).await;
        administer(&database, &format!("alter database {name} set synchronous_commit = off")).await;
        let findings = findings(&database, transaction_pooler).await;
        let remedy = "run: alter role postgres set synchronous_commit = on;";
        assert!(findings.iter().any(|finding| finding.to_string().ends_with(remedy)), "{findings:#?}");
    }
}

#[tokio::test]
async fn a_pooler_that_does_not_show_itself_is_a_warning_and_so_are_transactions_that_nobody_ends() {
    let database = database().await;
    let checks = async || troubles(&database, true).await.iter().map(|finding| finding.check).collect::<Vec<_>>();
    assert_eq!(checks().await, ["time-outs", "pooler"]);
    let name = name_of(&database).await;
    administer(&database, &format!("alter database {name} set idle_in_transaction_session_timeout = '5s'")).await;
    assert_eq!(checks().await, ["pooler"]);
}
