//! Stands between the program and Postgres and plays the network: nobody there, all is well, or silence.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use url::Url;

use crate::support::postgres::TestDatabase;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Connections that stood are cut. New ones are refused at first, later reset: the port must not become somebody
    /// else's.
    Down,
    Through,
    /// Connections are accepted and acknowledged and nothing is ever said on them again, nor on those that stood.
    BlackHole,
}

pub struct Forwarder {
    url: String,
    turns: mpsc::Sender<(State, oneshot::Sender<()>)>,
    running: AbortHandle,
}

impl Forwarder {
    pub async fn start(database: &TestDatabase, state: State) -> Self {
        let options: PgConnectOptions = database.url().parse().unwrap();
        assert!(options.get_socket().is_none(), "the tests' Postgres must be reachable by TCP");
        // Bound and not listening: that is what refuses, and keeps the port.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let mut url = Url::parse(&database.url()).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(socket.local_addr().unwrap().port())).unwrap();
        let (turns, asked) = mpsc::channel(1);
        let network = Network {
            upstream: Arc::new((options.get_host().to_owned(), options.get_port())),
            state: State::Down,
            connections: JoinSet::new(),
            silence: Arc::default(),
        };
        let running = tokio::spawn(network.run(socket, asked)).abort_handle();
        let forwarder = Self { url: url.into(), turns, running };
        if state != State::Down {
            forwarder.turn(state).await;
        }
        forwarder
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns once it is so.
    pub async fn turn(&self, state: State) {
        let (done, turned) = oneshot::channel();
        self.turns.send((state, done)).await.expect("the forwarder runs");
        turned.await.expect("the forwarder runs");
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.running.abort();
    }
}

struct Network {
    upstream: Arc<(String, u16)>,
    state: State,
    connections: JoinSet<()>,
    /// Told to all connections that stand.
    silence: Arc<Notify>,
}

impl Network {
    async fn run(mut self, socket: TcpSocket, mut asked: mpsc::Receiver<(State, oneshot::Sender<()>)>) {
        let Some((state, done)) = asked.recv().await else { return };
        let listener = socket.listen(1024).unwrap();
        self.turn(state, done).await;
        loop {
            tokio::select! {
                biased;
                turn = asked.recv() => match turn {
                    Some((state, done)) => self.turn(state, done).await,
                    None => return,
                },
                accepted = listener.accept() => self.take(accepted.unwrap().0),
            }
        }
    }

    async fn turn(&mut self, state: State, done: oneshot::Sender<()>) {
        self.state = state;
        match state {
            State::Through => {}
            State::Down => self.connections.shutdown().await,
            State::BlackHole => self.silence.notify_waiters(),
        }
        // A test that has ended no longer waits.
        let _ = done.send(());
    }

    fn take(&mut self, client: TcpStream) {
        match self.state {
            State::Through => {
                let silence = Arc::clone(&self.silence).notified_owned();
                self.connections.spawn(forward(client, Arc::clone(&self.upstream), silence));
            }
            State::Down => client.set_zero_linger().unwrap(),
            State::BlackHole => {
                self.connections.spawn(async move {
                    let _unheard = client;
                    std::future::pending().await
                });
            }
        }
    }
}

async fn forward(mut client: TcpStream, upstream: Arc<(String, u16)>, silence: OwnedNotified) {
    let Ok(mut server) = TcpStream::connect((upstream.0.as_str(), upstream.1)).await else { return };
    tokio::select! {
        // However it ends, both are closed.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = silence => std::future::pending().await,
    }
}
