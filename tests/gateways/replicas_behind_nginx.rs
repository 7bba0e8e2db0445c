//! A replica that goes away under load, with nginx in front: in order it costs no login, and killed only those that it
//! had in its hands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;

use super::nginx::{Logged, Nginx};
use crate::support::app::Answer;
use crate::support::get_mobile::GetMobile;
use crate::support::postgres::{self, TestDatabase};
use crate::support::program::{Program, Setup, eventually};

/// All of a load's logins; fewer than nginx lets one address ask for at once.
const LOGINS: usize = 450;
const CLIENTS: usize = 16;

/// A replica that drains answers with `Connection: close` for this long, in which nginx lets go of it.
const DRAIN_DELAY: &str = "2";

struct Stage {
    nginx: Nginx,
    replicas: [Program; 2],
    peer: GetMobile,
    _database: TestDatabase,
}

impl Stage {
    async fn set() -> Self {
        let database = postgres::database().await;
        let peer = GetMobile::start().await;
        let setup = Setup::on(database.url()).patient().set("ONECLICK_SERVER__DRAIN_DELAY_SECONDS", DRAIN_DELAY);
        let setup = peer.verifies_for(setup);
        let replicas = [setup.start().await, setup.start().await];
        let nginx = Nginx::before([replicas[0].listen, replicas[1].listen]);
        Self { nginx, replicas, peer, _database: database }
    }
}

/// Logins of clients that go on until the load is done, each with a new token; the answers by token.
struct Load {
    clients: JoinSet<Vec<(String, Answer)>>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    fn start(stage: &Arc<Stage>, pause: Duration) -> Self {
        let answered = Arc::<AtomicUsize>::default();
        let begun = Arc::<AtomicUsize>::default();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (stage, answered, begun) = (Arc::clone(stage), Arc::clone(&answered), Arc::clone(&begun));
            clients.spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let n = begun.fetch_add(1, Ordering::Relaxed);
                    if n >= LOGINS {
                        return answers;
                    }
                    let token = format!("ok-139000000{:02}-{n}", n % 50);
                    let answer = stage.nginx.log_in(&token).await;
                    answers.push((token, answer));
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { clients, answered }
    }

    async fn until_answered(&self, logins: usize) {
        eventually("answered", async || (self.answered.load(Ordering::Relaxed) >= logins).then_some(())).await;
    }

    async fn answers(self) -> Vec<(String, Answer)> {
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

/// The log by request id; in no line did a request reach two replicas.
async fn logged(stage: &Stage) -> HashMap<String, Logged> {
    let logged = stage.nginx.logged(LOGINS).await;
    for line in &logged {
        let reached = line.tries.iter().filter(|a_try| a_try.bytes_sent > 0).count();
        assert!(reached <= 1, "a POST went to two replicas: {line:?}");
    }
    logged.into_iter().map(|line| (line.request_id.clone(), line)).collect()
}

#[tokio::test]
async fn a_killed_replica_costs_only_the_logins_that_it_had_in_its_hands() {
    let stage = Arc::new(Stage::set().await);
    let load = Load::start(&stage, Duration::ZERO);
    load.until_answered(LOGINS / 3).await;
    stage.replicas[0].signal(Signal::KILL);
    let answers = load.answers().await;

    let logged = logged(&stage).await;
    let killed = stage.replicas[0].listen.to_string();
    let failed: Vec<_> = answers.iter().filter(|(_, answer)| answer.status != 200).collect();
    assert!(failed.len() <= CLIENTS, "{} failed, the first: {:?}", failed.len(), failed[0]);
    for (token, answer) in failed {
        answer.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
        assert_eq!(answer.header("x-access-token-state"), Some("unknown"));
        let tries = &logged[answer.header("x-request-id").unwrap()].tries;
        let last = tries.last().expect("it was passed on");
        assert!(last.upstream == killed && last.bytes_sent > 0, "it could have been saved: {tries:?}");
        // As the contract asks of a client: the same token, once more.
        let again = stage.nginx.log_in(token).await;
        assert!(again.status == 200 || again.error_code() == "IDAAS.SDK.LOGIN.1001", "{again:?}");
    }
    let after = stage.nginx.log_in("ok-13900000001-after").await;
    assert_eq!(after.status, 200, "{after:?}");
    stage.peer.assert_well_signed();
}

#[tokio::test]
async fn a_replica_that_ends_in_order_costs_no_login() {
    let stage = Arc::new(Stage::set().await);
    // Slowly enough to go on for longer than the drain.
    let load = Load::start(&stage, Duration::from_millis(100));
    load.until_answered(LOGINS / 10).await;
    stage.replicas[0].signal(Signal::TERM);
    let answers = load.answers().await;

    let failed: Vec<_> = answers.iter().filter(|(_, answer)| answer.status != 200).collect();
    assert!(failed.is_empty(), "{} failed, the first: {:?}", failed.len(), failed[0]);
    let logged = logged(&stage).await;
    let served_by = |replica: &Program| {
        let own = replica.listen.to_string();
        logged.values().filter(|line| line.tries.last().is_some_and(|last| last.upstream == own)).count()
    };
    let [ended, stayed] = [served_by(&stage.replicas[0]), served_by(&stage.replicas[1])];
    assert!(ended > 0 && stayed > ended, "{ended} and {stayed}");
    stage.peer.assert_clean();
    eventually("ended", async || {
        stage.replicas[0].log_lines().iter().any(|line| line["message"] == "ended").then_some(())
    })
    .await;
}
