//! The master key, the signing keys and the applications.

use super::{Deployment, doctor};

const OTHER_MASTER_KEY: &str = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E=";
const MASTER_KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

async fn started_once() -> Deployment {
    let mut deployment = Deployment::new().await;
    deployment.start().await.end().await;
    deployment
}

#[tokio::test]
async fn before_the_first_start_there_is_nothing_to_open_and_nothing_is_made() {
    let deployment = Deployment::new().await;
    let report = doctor(&deployment.setup).await;
    report.assert_says("ok", "master key", &["the first start makes"]);
    report.assert_says("ok", "signing keys", &["the first start makes one"]);
    report.assert_says("ok", "apps", &["1 more with the next start"]);
    let rows = "select (select count(*) from data_keys) + (select count(*) from signing_keys)";
    let mut connection = deployment.database.connection().await;
    assert_eq!(sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut connection).await.unwrap(), 0);
}

#[tokio::test]
async fn another_master_key_opens_nothing_and_its_copy_is_asked_for() {
    let deployment = started_once().await;
    let setup = deployment.setup.clone().set("ONECLICK_SECRETS__MASTER_KEY", OTHER_MASTER_KEY);
    let report = doctor(&setup).await;
    report.assert_fails("master key", &["no master key opens", "give secrets.master_key the key"]);
    report.assert_says("skip", "signing keys", &["cannot be opened"]);
    assert!(!report.ran.stdout.contains(OTHER_MASTER_KEY));
}

#[tokio::test]
async fn data_keys_under_an_earlier_master_key_wait_for_their_rewrapping() {
    let deployment = started_once().await;
    let both = format!("{OTHER_MASTER_KEY},{MASTER_KEY}");
    let setup = deployment.setup.clone().set("ONECLICK_SECRETS__MASTER_KEY", both);
    doctor(&setup).await.assert_warns("master key", &["4 of the 4", "run: oneclick-login key rewrap"]);
    assert_eq!(setup.run(&["key", "rewrap"]).await.code, Some(0));
    doctor(&setup).await.assert_says("ok", "master key", &["opens the 4 data keys"]);
}

#[tokio::test]
async fn a_signing_key_that_cannot_be_read_is_named() {
    let deployment = started_once().await;
    deployment.administer("update signing_keys set private_key_wrapped = 'ruined'").await;
    let words = ["cannot unwrap the signing key", "or delete the row", "the next start makes a key"];
    doctor(&deployment.setup).await.assert_fails("signing keys", &words);

    deployment.administer("delete from signing_keys").await;
    deployment.setup.start().await.end().await;
    doctor(&deployment.setup).await.assert_says("ok", "signing keys", &["signs"]);
}

#[tokio::test]
async fn a_signing_key_that_should_have_been_followed_long_ago_is_a_warning() {
    let deployment = started_once().await;
    deployment.administer("update signing_keys set signs_from = signs_from - interval '91 days'").await;
    let words = ["beyond id_token.key_lifetime_days", "run: oneclick-login key rotate"];
    doctor(&deployment.setup).await.assert_warns("signing keys", &words);
    let by_command = deployment.setup.clone().set("ONECLICK_ID_TOKEN__KEY_LIFETIME_DAYS", "0");
    doctor(&by_command).await.assert_says("ok", "signing keys", &["the next one comes by command"]);
}

#[tokio::test]
async fn a_database_in_which_nobody_may_log_users_in_is_a_warning() {
    let deployment = started_once().await;
    deployment.administer("update apps set enabled = false").await;
    doctor(&deployment.setup).await.assert_warns("apps", &["oneclick-login app register --client-id ID --name NAME"]);
}
