//! A pooler in transaction mode that drops the time limits of a connection.

use super::{Deployment, doctor};
use crate::support::pooler::Pooler;

#[tokio::test]
async fn a_pooler_without_its_setting_is_a_failure_and_the_limits_it_dropped_are_set_by_the_role() {
    let deployment = Deployment::new().await;
    let setup = deployment.setup.clone().set("DATABASE_URL", Pooler::start(&deployment.database).await);
    let report = doctor(&setup).await;
    report.assert_says("FAIL", "pooler", &["in transaction mode", "set database.transaction_pooler to true"]);
    let said: Vec<_> = report.of("time-outs").into_iter().map(|[verdict, _, words]| (&**verdict, &**words)).collect();
    let [("WARN", statement), ("WARN", lock)] = said[..] else { panic!("{said:?}") };
    assert!(statement.ends_with("run: alter role postgres set statement_timeout = '10000ms';"), "{statement}");
    assert!(lock.ends_with("run: alter role postgres set lock_timeout = '4000ms';"), "{lock}");
}

#[tokio::test]
async fn through_a_pooler_with_its_setting_the_limits_hold() {
    let deployment = Deployment::new().await;
    let setup = deployment
        .setup
        .clone()
        .set("DATABASE_URL", Pooler::start(&deployment.database).await)
        .set("ONECLICK_DATABASE__TRANSACTION_POOLER", "true");
    let report = doctor(&setup).await;
    report.assert_says("ok", "pooler", &["database.transaction_pooler is true"]);
    report.assert_warns("time-outs", &["run: alter role postgres set idle_in_transaction_session_timeout = '5s';"]);
    let name = deployment.name().await;
    deployment.administer(&format!("alter database {name} set idle_in_transaction_session_timeout = '5s'")).await;
    let setup = setup.set("DATABASE_URL", Pooler::start(&deployment.database).await);
    doctor(&setup).await.assert_says("ok", "time-outs", &["after 10000 ms", "after 4000 ms"]);
}
