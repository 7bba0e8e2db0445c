//! `serve`: listens, starts what serves, and ends in order.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::request::Parts;
use axum::response::Response;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpSocket};

use super::{CliError, memory};
use crate::app::{self, App, StartError};
use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::http::management::{self, Management};
use crate::http::{self, DOCS_PATH, LOGIN_PATH, LoadShedding, Refusals};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::refusal::Refusal;
use crate::server::tls::{PairError, Tls};
use crate::server::{self, Doorkeeper, Phase, Server, Shutdown};
use crate::settings::{DEMO_CLIENT_ID, Environment, Provider, Settings};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// Pauses between tries to reach the database at start: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A client that takes no byte of its answer for this long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until a signal. The management listener is up from the beginning: while the database cannot be reached the
/// process lives and is not ready, and the public port opens once it can be.
pub async fn run(mut settings: Settings) -> Result<(), CliError> {
    let started = Clock::system().now();
    let _telemetry = telemetry::init(settings.log.format);
    memory::keep_private();
    let recorder = telemetry::recorder();
    let shutdown = Shutdown::new();
    let signals = server::signals(shutdown.clone())?;
    tokio::spawn(signals);

    let management = Bound::new("server.management_listen", &mut settings.server.management_listen)?.listen()?;
    let public = Bound::new("server.listen", &mut settings.server.listen)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server.listen = %settings.server.listen,
        server.management_listen = %settings.server.management_listen,
        "starting"
    );
    let metrics = Arc::new(Metrics::new(started));
    let tls = open_tls(&settings, &metrics).await?;
    let readiness = Arc::new(Readiness::default());
    let shown = Management { readiness: Arc::clone(&readiness), metrics, lost_log_lines: telemetry::lost_lines };
    let management_end = Shutdown::new();
    let door = Door::new(settings.server.management_listen, &shown.metrics, &settings, None);
    let management = Server::new(management, management::router(shown.clone()), limits(&settings), Arc::new(door));
    let management = tokio::spawn(management.run(management_end.clone()));

    let app = tokio::select! {
        app = open_app(&settings, &shown) => app?.recorded_by(recorder.clone()),
        () = shutdown.reached(Phase::Draining) => return Ok(()),
    };
    let public = public.listen()?;
    app.start_background();
    announce(&settings);

    let draining = shutdown.clone();
    tokio::spawn(async move {
        draining.reached(Phase::Draining).await;
        readiness.drain();
    });
    let shedding = app.load_shedding(&settings);
    let door = Door::new(settings.server.listen, &shown.metrics, &settings, Some(shedding));
    let public = Server::new(public, app.router(), limits(&settings), Arc::new(door)).with_tls(tls);
    let ended = public.run(shutdown.clone()).await;
    let close = async {
        app.close().await;
        management_end.advance(Phase::Closing);
        let _ = management.await;
        if let Some(recorder) = recorder {
            let _ = tokio::task::spawn_blocking(move || recorder.finish()).await;
        }
    };
    tokio::select! {
        biased;
        () = shutdown.reached(Phase::Now) => return Err(CliError::Interrupted),
        () = close => {}
    }
    tracing::info!(connections.cut = ended.cut, "ended");
    Ok(())
}

/// What the API's listener needs for TLS, looked at as long as the process runs.
async fn open_tls(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Option<Arc<Tls>>, PairError> {
    let Some(files) = settings.tls_files() else { return Ok(None) };
    let (tls, looks) = Tls::open(files, Clock::system()).await?;
    let (tls, metrics) = (Arc::new(tls), Arc::clone(metrics));
    let kept_fresh = Arc::clone(&tls);
    tokio::spawn(async move {
        let note =
            |expires: OffsetDateTime| metrics.certificate_expires.store(expires.unix_timestamp(), Ordering::Relaxed);
        kept_fresh.keep_fresh(looks, note).await;
    });
    Ok(Some(tls))
}

/// What a listener refuses before its routes.
struct Door {
    refusals: Refusals,
    /// Where logins come in.
    shedding: Option<LoadShedding>,
}

impl Door {
    fn new(listen: SocketAddr, metrics: &Arc<Metrics>, settings: &Settings, shedding: Option<LoadShedding>) -> Self {
        let refusals = Refusals::new(listen, Arc::clone(metrics), Clock::system(), settings.i18n.default_locale);
        Self { refusals, shedding }
    }
}

impl Doorkeeper for Door {
    fn refuse(&self, request: &Parts, refusal: Refusal) -> Response {
        self.refusals.refuse(request, refusal)
    }

    fn closed(&self, refusal: Refusal, peer: SocketAddr) {
        self.refusals.closed(refusal, peer);
    }

    fn turn_away(&self, request: &Parts) -> Option<Response> {
        self.shedding.as_ref()?.turn_away(request)
    }
}

/// A port that is ours and does not listen yet: a connection is refused, not left waiting, until the app is open.
struct Bound {
    socket: TcpSocket,
    key: &'static str,
    address: SocketAddr,
}

impl Bound {
    /// Takes the port, and writes the one it got to `address`, which may have asked for any.
    fn new(key: &'static str, address: &mut SocketAddr) -> Result<Self, CliError> {
        let asked = *address;
        let bind = || {
            let socket = if asked.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(asked)?;
            Ok((socket.local_addr()?, socket))
        };
        let (bound, socket) = bind().map_err(|source| CliError::Listen { key, address: asked, source })?;
        *address = bound;
        Ok(Self { socket, key, address: bound })
    }

    fn listen(self) -> Result<TcpListener, CliError> {
        let Self { socket, key, address } = self;
        socket.listen(BACKLOG).map_err(|source| CliError::Listen { key, address, source })
    }
}

/// Opens the app, waiting for a database that cannot be reached; what waiting cannot mend ends the start.
async fn open_app(settings: &Settings, management: &Management) -> Result<App, StartError> {
    let store = app::open_store(settings).await?;
    let mut pause = FIRST_PAUSE;
    loop {
        let opened = async {
            app::prepare_schema(settings, &*store).await?;
            warn_of_deployment(&*store).await?;
            App::open(settings, Arc::clone(&store), Clock::system(), management).await
        };
        match opened.await {
            Err(error) if error.is_transient() => {
                let remedy = error.of_store().and_then(|error| store.remedy(error));
                tracing::warn!(error = %Chain(&error), remedy, "waiting for the database");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// What `doctor` says of the database, save that nobody has told here how many replicas there are. No trouble of this
/// kind ends the start, nor does a database that cannot be asked.
async fn warn_of_deployment(store: &dyn Store) -> Result<(), StoreError> {
    match store.look_at_deployment(1).await {
        Ok(findings) => {
            for finding in findings.iter().filter(|finding| finding.is_trouble()) {
                tracing::warn!(check = finding.check, "{finding}");
            }
        }
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => tracing::warn!(error = %Chain(&error), "the database cannot be asked for its settings"),
    }
    Ok(())
}

fn limits(settings: &Settings) -> server::Config {
    let server = &settings.server;
    server::Config {
        max_connections: server.max_connections,
        max_connections_per_peer: settings.max_connections_per_peer(),
        exempt_peers: settings.exempt_peers(),
        idle_timeout: Duration::from_secs(server.idle_timeout_seconds),
        header_timeout: Duration::from_secs(server.header_timeout_seconds),
        write_timeout: WRITE_TIMEOUT,
        drain_delay: Duration::from_secs(server.drain_delay_seconds),
        drain_timeout: Duration::from_secs(server.drain_timeout_seconds),
    }
}

/// Says what is running on what; in development for a person, with a request to paste.
fn announce(settings: &Settings) {
    let (store, verifier) = (settings.database_kind().as_str(), settings.verifier.provider.as_str());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        environment = settings.environment.as_str(),
        store,
        verifier,
        issuer = settings.issuer(),
        server.listen = %settings.server.listen,
        server.management_listen = %settings.server.management_listen,
        "listening"
    );
    if settings.environment == Environment::Development {
        // In one piece, or log lines would stand in the middle of it. A reader who has gone does not end the server.
        let _ = io::stdout().write_all(welcome(settings).as_bytes());
    }
}

fn welcome(settings: &Settings) -> String {
    let (version, listen) = (env!("CARGO_PKG_VERSION"), settings.server.listen);
    let store = settings.database_kind().as_str();
    let database = settings.shown_database_url();
    let verifier = match settings.verifier.provider {
        Provider::Sandbox => {
            "sandbox: NOT FOR PRODUCTION, anybody can log in with any number (token sandbox:<11 digits>)".to_owned()
        }
        Provider::Aliyun => format!("aliyun ({})", settings.verifier.aliyun.endpoint),
    };
    let management = settings.server.management_listen;
    let issuer = settings.issuer();
    let base = issuer.trim_end_matches(http::ISSUER_PATH);
    let docs = if settings.serves_docs() { format!("\n  docs      {base}{DOCS_PATH}") } else { String::new() };
    format!(
        r#"
oneclick-login {version} is listening on {listen} (development)
  store     {store} ({database})
  verifier  {verifier}
  health    http://{management}/readyz{docs}

Log in:

  curl -i {base}{LOGIN_PATH} \
    -H 'Content-Type: application/json' -H 'X-client-id: {DEMO_CLIENT_ID}' \
    -H 'X-operating-sys-version: windows10.1.1' -H 'X-device-fingerprint: 156aysdna213sc50' \
    -H 'X-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 13_3 like Mac OS X)' \
    -d '{{"access_token":"ad12sasdsfe3dfdg3sc"}}'

"#
    )
}
