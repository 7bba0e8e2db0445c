//! Far more calls than the database has connections for: those that matter go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Executor;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::app::with_session;
use crate::support::postgres;
use crate::support::program::Setup;

/// R66: readiness asks the database, and does not stand in anybody's queue for it.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_storm_of_refreshes_logins_go_on_and_the_replica_stays_ready() {
    let database = postgres::database().await;
    let setup = Setup::on(database.url()).set("ONECLICK_DATABASE__MAX_CONNECTIONS", "4");
    let program = Arc::new(setup.start().await);
    program.wait_until_ready().await;
    let session = program.log_in("sandbox:13900000001:first").await.text("session_token");
    // Each refresh waits for this row until its time is over, which is ten times what one takes.
    let mut blocker = database.connection().await;
    blocker.execute("begin; update sessions set agent = agent").await.unwrap();
    let stormy = Arc::new(AtomicBool::new(true));
    let mut storm = JoinSet::new();
    for _ in 0..60 {
        let (program, session, stormy) = (Arc::clone(&program), session.clone(), Arc::clone(&stormy));
        storm.spawn(async move {
            let mut refused = 0;
            while stormy.load(Ordering::Relaxed) {
                let refresh = with_session("/api/v2/sdk/sso/session-token/id-token", &session);
                refused += u32::from(program.send(refresh).await.unwrap().status == 500);
            }
            refused
        });
    }
    let begun = Instant::now();
    let mut logins = 0;
    // Longer than a silent database is borne.
    while begun.elapsed() < Duration::from_secs(5) {
        logins += 1;
        let answer = program.log_in(&format!("sandbox:1390000000{}:{logins}", logins % 8)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let ready = program.health("/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        sleep(Duration::from_millis(20)).await;
    }
    stormy.store(false, Ordering::Relaxed);
    let refused: u32 = storm.join_all().await.into_iter().sum();
    assert!(refused > 100, "{refused}: it was a storm");
    blocker.execute("rollback").await.unwrap();
}
