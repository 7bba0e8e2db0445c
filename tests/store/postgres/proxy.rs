//! A TCP proxy in front of Postgres that can stop answering, as a lost route does: the peer's kernel still acknowledges
//! what is sent, and nothing ever comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Connections accepted before this many others are forwarded no more.
    swallowed_below: usize,
    accepted: usize,
    swallow_new: bool,
    refuse: bool,
}

impl Proxy {
    pub async fn start(url: &str) -> Self {
        let upstream = authority(url).parse::<SocketAddr>().expect("the tests' Postgres has a numeric address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let accepting = tokio::spawn(accept(listener, upstream, Arc::clone(&state)));
        Self { port, state, accepting }
    }

    /// The same url, by way of the proxy.
    pub fn url(&self, url: &str) -> String {
        url.replace(authority(url), &format!("127.0.0.1:{}", self.port))
    }

    /// New connections work; those that are open never again.
    pub fn swallow_open_connections(&self) {
        self.state.send_modify(|state| state.swallowed_below = state.accepted);
    }

    pub fn swallow_everything(&self, swallow: bool) {
        self.swallow_open_connections();
        self.state.send_modify(|state| {
            // What was accepted meanwhile stays silent, too.
            state.swallowed_below = state.accepted;
            state.swallow_new = swallow;
        });
    }

    /// Hangs up on every new connection.
    pub fn refuse(&self, refuse: bool) {
        self.state.send_modify(|state| state.refuse = refuse);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn authority(url: &str) -> &str {
    let server = url.split_once("://").map_or(url, |(_, rest)| rest);
    let server = server.split('/').next().unwrap_or(server);
    server.rsplit_once('@').map_or(server, |(_, authority)| authority)
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: Arc<watch::Sender<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut number = 0;
        state.send_modify(|state| {
            number = state.accepted;
            state.accepted += 1;
        });
        let State { refuse, swallow_new, .. } = *state.borrow();
        if !refuse {
            let swallowed = state.subscribe();
            tokio::spawn(async move { forward(client, upstream, swallowed, (number, swallow_new)).await });
        }
    }
}

/// Copies both ways until the connection is to be swallowed; then holds both ends open and reads neither.
async fn forward(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut state: watch::Receiver<State>,
    (number, swallowed_at_once): (usize, bool),
) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    let swallowed = async {
        if !swallowed_at_once {
            state.wait_for(|state| number < state.swallowed_below).await.ok();
        }
    };
    tokio::select! {
        biased;
        () = swallowed => std::future::pending().await,
        _ = copy_bidirectional(&mut client, &mut server) => {}
    }
}
