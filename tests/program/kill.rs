//! `kill -9` in the middle of the load: what was answered is there, what was not may be, and no token is sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::rows::{Rows, subject};
use crate::support::app::{Answer, login};
use crate::support::get_mobile::GetMobile;
use crate::support::postgres;
use crate::support::program::{Program, Setup, eventually};

const ROUNDS: usize = 5;
const CLIENTS: usize = 24;
/// Answers after which the kill comes, while the clients go on.
const ANSWERS: usize = 60;

/// Clients that log in one after the other, each time with a new token, until the server is gone. Every third login is
/// a number's first.
async fn load(program: &Arc<Program>, round: usize, answered: &Arc<AtomicUsize>) -> JoinSet<Vec<Answer>> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (program, answered) = (Arc::clone(program), Arc::clone(answered));
        clients.spawn(async move {
            let mut answers = Vec::new();
            for n in 0.. {
                let number = if n % 3 == 0 { 1000 + round * 1000 + client * 40 + n % 40 } else { client % 5 };
                let token = format!("ok-1390000{number:04}-r{round}c{client}n{n}");
                match program.send(login(&token)).await {
                    Ok(answer) => answers.push(answer),
                    Err(_) => break,
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            answers
        });
    }
    clients
}

async fn survives_kills(setup: Setup, rows: Rows) {
    let peer = GetMobile::start().await;
    let setup = peer.verifies_for(setup.patient());
    let mut logged_in: Vec<Answer> = Vec::new();
    for round in 0..ROUNDS {
        let program = Arc::new(setup.start().await);
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = load(&program, round, &answered).await;
        eventually("under load", async || (answered.load(Ordering::Relaxed) >= ANSWERS).then_some(())).await;
        program.signal(rustix::process::Signal::KILL);
        let answers: Vec<Answer> = clients.join_all().await.into_iter().flatten().collect();
        drop(program);
        for answer in answers {
            if answer.status == 200 {
                logged_in.push(answer);
            } else {
                // A disk that was slow for once.
                assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (500, "IDAAS.SDK.COM.0002"));
            }
        }
        let found = rows.users_of_sessions(&logged_in).await;
        for (answer, found) in logged_in.iter().zip(found) {
            assert_eq!(found, Some(subject(answer)), "round {round}: a 200 without its rows");
        }
    }
    assert!(logged_in.len() > ROUNDS * ANSWERS / 2, "{} logins are no load", logged_in.len());
    peer.assert_clean();

    // Those whose answer was lost with the process were spent: at most one session, and no second login.
    let program = setup.start().await;
    for token in peer.ledger().iter().rev().take(CLIENTS) {
        assert_eq!(program.log_in(token).await.error_code(), "IDAAS.SDK.LOGIN.1001");
        assert!(rows.sessions_of_token(token).await <= 1);
    }
    assert_eq!(program.log_in("ok-13900000001-after-it-all").await.status, 200);
}

#[tokio::test]
async fn on_sqlite_every_200_has_its_session_and_its_user() {
    let setup = Setup::new();
    let rows = Rows::Sqlite(setup.sqlite_file());
    survives_kills(setup, rows).await;
}

#[tokio::test]
async fn on_postgres_every_200_has_its_session_and_its_user() {
    let database = postgres::database().await;
    survives_kills(Setup::on(database.url()), Rows::Postgres(database.url())).await;
}
