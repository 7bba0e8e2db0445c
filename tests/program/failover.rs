//! A database URL of several hosts, as libpq has it: the primary dies and its standby takes over.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::rows::Rows;
use crate::support::get_mobile::GetMobile;
use crate::support::postgres::pair;
use crate::support::program::{Setup, eventually};

/// From the moment at which the standby takes writes to the first login; the rest is the share of a busy machine.
const RECOVERY: Duration = Duration::from_secs(3);

/// R62.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the figures of a run that is started by hand")]
async fn a_standby_takes_over_and_no_acknowledged_login_is_lost() {
    let (primary, standby) = pair();
    let connect = async |url: &str| PgConnection::connect(url).await.unwrap();
    let mut admin = connect(&primary.url()).await;
    admin.execute("alter system set synchronous_standby_names = '*'").await.unwrap();
    admin.execute("select pg_reload_conf()").await.unwrap();
    eventually("replicated synchronously", async || {
        let state = "select sync_state from pg_stat_replication";
        let state: Option<String> =
            sqlx::query_scalar(state).fetch_optional(&mut connect(&primary.url()).await).await.unwrap();
        (state.as_deref() == Some("sync")).then_some(())
    })
    .await;
    let second = standby.url().replace("postgres://postgres@", "");
    let hosts = primary.url().replace("/postgres?", &format!(",{}?", second.split('?').next().unwrap()));
    let peer = GetMobile::start().await;
    let program = Arc::new(peer.verifies_for(Setup::on(hosts)).start().await);
    program.wait_until_ready().await;

    let mut ticks = interval(Duration::from_millis(10));
    let mut logins = JoinSet::new();
    let mut writable = None;
    for sent in 0..450_u32 {
        ticks.tick().await;
        if sent == 100 {
            primary.kill();
        }
        if sent == 150 {
            let url = standby.url();
            writable = Some(tokio::spawn(async move {
                let mut standby = PgConnection::connect(&url).await.unwrap();
                standby.execute("alter system set synchronous_standby_names = ''").await.unwrap();
                standby.execute("select pg_promote(true)").await.unwrap();
                Instant::now()
            }));
        }
        let (program, token) = (Arc::clone(&program), format!("ok-1390000000{}-{sent}", sent % 8));
        logins.spawn(async move { (program.log_in(&token).await, token, Instant::now()) });
    }
    let writable = writable.unwrap().await.unwrap();
    let answers = logins.join_all().await;
    peer.assert_clean();
    let rows = Rows::Postgres(standby.url());
    let billed = peer.ledger();
    let (mut in_vain, mut first) = (0, None::<Instant>);
    for (answer, token, at) in &answers {
        if answer.status == 200 {
            assert_eq!(rows.sessions_of_token(token).await, 1, "{token} was acknowledged and is lost");
            if *at > writable {
                first = Some(first.map_or(*at, |first| first.min(*at)));
            }
        } else {
            in_vain += u32::from(billed.contains(token));
        }
    }
    let first = first.expect("logins go on after the failover");
    assert!(first - writable < RECOVERY, "{:?}", first - writable);
    assert_eq!(in_vain, 0, "billed in vain");
    assert!(program.log_lines().iter().any(|line| line["message"] == "another database host takes over"));
    let succeeded = answers.iter().filter(|(answer, ..)| answer.status == 200).count();
    println!("{succeeded} of {} logged in, the first {:?} after the takeover", answers.len(), first - writable);
    assert!(succeeded > 200, "{succeeded}");
    program.wait_until_ready().await;
}
