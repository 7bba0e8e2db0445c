//! The wiring: turns settings into a running set of parts. Knows everything, decides nothing.

pub mod verifier;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;

use crate::apps::Apps;
use crate::clock::{Clock, ClockTrust};
use crate::commit_queue::{self, CommitQueue};
use crate::housekeeping;
use crate::http::management::Management;
use crate::http::{self, Bodies, Docs, LoadShedding, Shared};
use crate::id_token::IdTokens;
use crate::ids::{ClientId, DeploymentId};
use crate::keys::{self, Keys, KeysError, Timing};
use crate::limits::Limits;
use crate::limits::budget::Budget;
use crate::login::{InFlight, Login, Rules};
use crate::readiness::{Readiness, Watched};
use crate::session::{self, Sessions};
use crate::settings::{DatabaseKind, Environment, Provider, Settings};
use crate::store::postgres::{PostgresStore, UrlAgain};
use crate::store::sqlite::SqliteStore;
use crate::store::{self, AppKind, Store, StoreError};
use crate::tenant::Tenants;
use crate::trace::Recorder;
use crate::vault::{MasterKeyError, MasterKeys, Vault, VaultError};
use crate::verifier::aliyun::{self, InvalidCredentials, RefreshedCredentials};

/// Where development keeps the master key that it makes for itself.
pub const DEVELOPMENT_MASTER_KEY: &str = "data/master.key";

/// SQLite takes one transaction at a time.
const SQLITE_WRITERS: usize = 1;

/// Everything that serves a login, wired together.
#[derive(Debug)]
pub struct App {
    http: Shared,
    watched: Watched,
    readiness: Arc<Readiness>,
    /// Of a role that signs calls to Alibaba Cloud.
    role: Option<Arc<RefreshedCredentials>>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("verifier.aliyun cannot be used")]
    Verifier(#[from] aliyun::ConfigError),
    #[error("the credentials for Alibaba Cloud cannot be used")]
    Credentials(#[from] InvalidCredentials),
}

impl StartError {
    /// Whether waiting for the database may help.
    pub const fn is_transient(&self) -> bool {
        match self.of_store() {
            Some(error) => error.is_transient(),
            None => false,
        }
    }

    /// What went wrong in the database, if it was there.
    pub const fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) | Self::Vault(VaultError::Store(error)) | Self::Keys(KeysError::Store(error)) => {
                Some(error)
            }
            Self::MasterKey(_) | Self::Vault(_) | Self::Keys(_) | Self::Verifier(_) | Self::Credentials(_) => None,
        }
    }
}

impl App {
    /// Opens the parts over a store whose schema is in place. From then on `management` shows them.
    pub async fn open(
        settings: &Settings,
        store: Arc<dyn Store>,
        clock: Clock,
        management: &Management,
    ) -> Result<Self, StartError> {
        let Management { readiness, metrics, .. } = management;
        let vault = Arc::new(open_vault(settings, &*store, &clock).await?);
        store.claim_identity(DeploymentId::new(clock.now())).await?;
        let keys = Arc::new(open_keys(settings, &store, &vault, &clock).await?);
        register_apps(settings, &*store, &clock).await?;
        let apps = Arc::new(Apps::open(Arc::clone(&store)).await?);
        metrics.name_apps(&apps.sdk_apps());

        let commit_queue = CommitQueue::start(
            Arc::new(metrics.sessions.meter(store.clone())),
            clock.clone(),
            commit_queue::Config {
                places: settings.login.max_in_flight,
                max_batch: settings.login.max_batch,
                writers: if store.kind() == "sqlite" { SQLITE_WRITERS } else { postgres_writers(settings) },
            },
        );
        let id_tokens = Arc::new(IdTokens::new(Arc::clone(&keys), settings.issuer(), settings.id_token.ttl_seconds));
        let clock_trust = ClockTrust::default();
        let sessions = Arc::new(Sessions {
            store: Arc::clone(&store),
            apps: Arc::clone(&apps),
            vault: Arc::clone(&vault),
            id_tokens: Arc::clone(&id_tokens),
            clock: clock.clone(),
            clock_trust: clock_trust.clone(),
            rules: session_rules(settings),
            counters: metrics.sessions.counters.clone(),
        });
        let tenants = Arc::new(Tenants {
            store: Arc::clone(&store),
            vault: Arc::clone(&vault),
            sessions: Arc::clone(&sessions),
            clock: clock.clone(),
        });
        let role = verifier::role_credentials(settings, &clock)?;
        let verifier::Guarded { verifier, guard } = verifier::open(settings, &clock, role.as_ref(), &metrics.verifier)?;
        let budget = Arc::new(Budget::new(settings.verifier_budget(), store.clone(), clock.clone()));
        let limits = Arc::new(Limits::new(settings.login_limits(), clock.clone()));
        let login = Login {
            limits: Arc::clone(&limits),
            verifier,
            budget: Arc::clone(&budget),
            vault,
            commit_queue: commit_queue.clone(),
            sessions: Arc::clone(&sessions),
            id_tokens,
            clock: clock.clone(),
            clock_trust: clock_trust.clone(),
            rules: Rules {
                auto_register: settings.registration.auto_register,
                session_ttl: Duration::from_secs(settings.session.ttl_seconds),
                timeout: Duration::from_millis(settings.server.request_timeout_ms),
                verifier_timeout: settings.verifier_timeout(),
                commit_reserve: Duration::from_millis(settings.database.phase_timeout_ms),
                repeats_answers: settings.login.retry_window_seconds > 0,
            },
            tasks: TaskTracker::new(),
            in_flight: InFlight::default(),
        };
        let http = Shared {
            login: Arc::new(login),
            sessions,
            tenants,
            apps,
            keys: Arc::clone(&keys),
            metrics: Arc::clone(metrics),
            clock: clock.clone(),
            trusted_proxies: Arc::new(settings.trusted_proxies()),
            default_locale: settings.i18n.default_locale,
            recorder: None,
            server_timing: settings.environment == Environment::Development,
            bodies: Arc::new(Bodies::new(Duration::from_millis(settings.server.body_timeout_ms))),
            docs: settings.serves_docs().then(|| Arc::new(Docs::new(settings.verifier.provider == Provider::Sandbox))),
        };
        // In a start as it should be, the first login finds credentials. Without them the start goes on nevertheless: what
        // is not a login needs none.
        if let Some(role) = &role {
            role.refresh_if_due().await;
        }
        let watched = Watched { store, keys, commit_queue, limits, budget, guard, clock, clock_trust };
        readiness.started(watched.clone());
        Ok(Self { http, watched, readiness: Arc::clone(readiness), role })
    }

    /// Has the traces of requests recorded; before [`App::router`].
    #[must_use]
    pub fn recorded_by(mut self, recorder: Option<Arc<dyn Recorder>>) -> Self {
        self.http.recorder = recorder;
        self
    }

    /// The public routes.
    pub fn router(&self) -> Router {
        http::router(self.http.clone())
    }

    /// What turns logins away before they reach the routes.
    pub fn load_shedding(&self, settings: &Settings) -> LoadShedding {
        let (queue, counter) = (self.watched.commit_queue.clone(), self.http.metrics.requests.turned_away.clone());
        LoadShedding::new(queue, counter, self.watched.clock.clone(), settings.i18n.default_locale)
    }

    /// Starts what keeps the snapshots fresh and readiness true; it runs until the runtime ends.
    pub fn start_background(&self) {
        let (apps, keys) = (Arc::clone(&self.http.apps), Arc::clone(&self.http.keys));
        let clock = self.watched.clock.clone();
        let (readiness, watched) = (Arc::clone(&self.readiness), self.watched.clone());
        tokio::spawn(async move { apps.keep_fresh().await });
        if let Some(role) = self.role.clone() {
            tokio::spawn(async move { role.keep_fresh().await });
        }
        tokio::spawn(async move { keys.keep_fresh(&clock).await });
        tokio::spawn(housekeeping::keep_clean(watched.store, watched.clock, self.http.sessions.rules));
        tokio::spawn(async move { readiness.watch().await });
    }

    /// Waits for the logins under way, which outlive their requests, then lets go of the database.
    pub async fn close(self) {
        self.http.login.tasks.close();
        self.http.login.tasks.wait().await;
        self.watched.store.close().await;
    }
}

/// The store that the settings name. Nothing is asked of Postgres yet; a SQLite file is opened.
pub async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let statement_timeout = Duration::from_millis(settings.database.statement_timeout_ms);
    let url = settings.database_url();
    Ok(match settings.database_kind() {
        DatabaseKind::Postgres => Arc::new(PostgresStore::connect(&store::postgres::Config {
            url_again: Some(url_again(settings)),
            url,
            max_connections: settings.database.max_connections,
            transaction_pooler: settings.database.transaction_pooler,
            statement_timeout,
        })?),
        DatabaseKind::Sqlite => Arc::new(
            SqliteStore::open(&store::sqlite::Config {
                statement_timeout,
                ..store::sqlite::Config::new(url.expose_secret())
            })
            .await?,
        ),
    })
}

fn url_again(settings: &Settings) -> UrlAgain {
    let settings = settings.clone();
    UrlAgain::new(move || Ok(settings.database_url_again()?))
}

/// What an operator can do about what went wrong in the database.
pub fn remedy(settings: &Settings, error: &StoreError) -> Option<String> {
    match settings.database_kind() {
        DatabaseKind::Postgres => store::postgres::remedy(&settings.database_url(), error),
        DatabaseKind::Sqlite => None,
    }
}

/// The vault under the configured master keys.
pub async fn open_vault(settings: &Settings, store: &dyn Store, clock: &Clock) -> Result<Vault, StartError> {
    Ok(Vault::open(&master_keys(settings)?, store, clock.now()).await?)
}

/// The configured master keys, or in development one that is made once.
pub fn master_keys(settings: &Settings) -> Result<MasterKeys, MasterKeyError> {
    match settings.master_keys() {
        Some(keys) => keys,
        None => MasterKeys::load_or_create(Path::new(DEVELOPMENT_MASTER_KEY)),
    }
}

/// The same, if there are any: none is made.
pub fn known_master_keys(settings: &Settings) -> Result<Option<MasterKeys>, MasterKeyError> {
    let there = settings.secrets.master_key.is_some() || Path::new(DEVELOPMENT_MASTER_KEY).exists();
    there.then(|| master_keys(settings)).transpose()
}

/// The signing keys, under the settings' rules.
pub async fn open_keys(
    settings: &Settings,
    store: &Arc<dyn Store>,
    vault: &Arc<Vault>,
    clock: &Clock,
) -> Result<Keys, KeysError> {
    let id_token = &settings.id_token;
    let config = keys::Config {
        signing_alg: id_token.signing_alg,
        key_lifetime: id_token.key_lifetime(),
        timing: Timing::default(),
    };
    Keys::open(Arc::clone(store), Arc::clone(vault), config, clock.now()).await
}

/// Development brings the schema up by itself, where that is needed; production has `migrate` run first, by one hand.
pub async fn prepare_schema(settings: &Settings, store: &dyn Store) -> Result<(), StoreError> {
    match (store.check_schema().await, settings.environment) {
        (Err(StoreError::Schema(_)), Environment::Development) => store.migrate().await,
        (checked, _) => checked.map(drop),
    }
}

/// Half of the connections: whatever else asks the database finds one free while commits are slow.
fn postgres_writers(settings: &Settings) -> usize {
    usize::try_from(settings.database.max_connections / 2).unwrap_or(1).max(1)
}

async fn register_apps(settings: &Settings, store: &dyn Store, clock: &Clock) -> Result<(), StoreError> {
    for app in settings.apps() {
        let Ok(client_id) = ClientId::parse(app.client_id) else { continue };
        let app = store::App {
            client_id,
            name: app.name,
            kind: AppKind::Sdk,
            enabled: true,
            auto_register: app.auto_register,
            secret_hash: None,
        };
        if store.add_app(&app, clock.now()).await? {
            tracing::info!(app.client_id = app.client_id.as_str(), "registered an app from the settings");
        }
    }
    Ok(())
}

fn session_rules(settings: &Settings) -> session::Rules {
    session::Rules {
        rotate_on_refresh: settings.session.rotate_on_refresh,
        rotation_grace: Duration::from_secs(settings.session.rotation_grace_seconds),
        retry_window: Duration::from_secs(settings.login.retry_window_seconds),
        max_per_user: settings.session.max_per_user,
    }
}
