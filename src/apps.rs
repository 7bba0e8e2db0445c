//! The client registry: which applications may call, from a snapshot in memory. Knows the store's table, not requests.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error_chain::Chain;
use crate::ids::ClientId;
use crate::store::{App, AppKind, Store, StoreError};

/// The application that development always has: the one of the contract's own example request.
pub const DEMO_CLIENT_ID: &str = "nTo1eRIub60vPb54WeE6aojPwYwImtl4";

/// How long a change made elsewhere may take to be seen here.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(3);

/// An unknown client id makes the table be read again, but not more often than this: a freshly registered app works
/// within a second, and a flood of invented ids costs one small query a second.
const UNKNOWN_ID_INTERVAL: Duration = Duration::from_secs(1);

pub struct Apps {
    store: Arc<dyn Store>,
    snapshot: RwLock<Arc<HashMap<ClientId, App>>>,
    /// When the table was last read; the lock makes waiters share one reading.
    read_at: Mutex<Instant>,
}

impl Apps {
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let snapshot = read(&*store).await?;
        Ok(Self { store, snapshot: RwLock::new(Arc::new(snapshot)), read_at: Mutex::new(Instant::now()) })
    }

    /// The app, enabled or not. While the database is away the last snapshot answers.
    pub async fn find(&self, client_id: &ClientId) -> Option<App> {
        let known = self.snapshot().get(client_id).cloned();
        if known.is_some() {
            return known;
        }
        let mut read_at = self.read_at.lock().await;
        if read_at.elapsed() >= UNKNOWN_ID_INTERVAL {
            self.refresh(&mut read_at).await;
        }
        self.snapshot().get(client_id).cloned()
    }

    /// Whether the last snapshot has such an app of kind sdk, enabled or not.
    pub fn has_sdk_app(&self, client_id: &ClientId) -> bool {
        self.snapshot().get(client_id).is_some_and(|app| app.kind == AppKind::Sdk)
    }

    /// The ids of all apps of kind sdk, enabled or not, sorted.
    pub fn sdk_apps(&self) -> Vec<ClientId> {
        let snapshot = self.snapshot();
        let sdk_apps = snapshot.values().filter(|app| app.kind == AppKind::Sdk);
        let mut client_ids: Vec<_> = sdk_apps.map(|app| app.client_id.clone()).collect();
        client_ids.sort_unstable();
        client_ids
    }

    /// Refreshes until it is dropped.
    pub async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(REFRESH_INTERVAL).await;
            self.refresh(&mut *self.read_at.lock().await).await;
        }
    }

    async fn refresh(&self, read_at: &mut Instant) {
        match read(&*self.store).await {
            Ok(apps) => *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(apps),
            Err(error) => tracing::warn!(error = %Chain(&error), "cannot refresh the registered apps"),
        }
        *read_at = Instant::now();
    }

    fn snapshot(&self) -> Arc<HashMap<ClientId, App>> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Apps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apps").field("count", &self.snapshot().len()).finish_non_exhaustive()
    }
}

async fn read(store: &dyn Store) -> Result<HashMap<ClientId, App>, StoreError> {
    Ok(store.apps().await?.into_iter().map(|app| (app.client_id.clone(), app)).collect())
}
