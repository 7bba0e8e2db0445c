//! Where the database is and how to get in, as `database.url` says. It is read again when no connection can be made: the
//! file that holds it, or libpq's password file, may have a new password by then.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;

use super::Config;
use super::url::{self, Target};
use crate::error_chain::Chain;
use crate::store::StoreError;
use crate::verifier::BoxError;

/// Gives the URL once more, read and checked as at the start.
#[derive(Clone)]
pub struct UrlAgain(Arc<dyn Fn() -> Result<SecretString, BoxError> + Send + Sync>);

pub(super) struct Address {
    again: UrlAgain,
    known: Mutex<Known>,
}

struct Known {
    url: SecretString,
    target: Arc<Target>,
    /// What was said last of an URL that cannot be read again, so that it is said once.
    complaint: Option<String>,
}

impl UrlAgain {
    pub fn new(read: impl Fn() -> Result<SecretString, BoxError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl Address {
    pub fn new(config: &Config) -> Result<Self, StoreError> {
        let url = config.url.clone();
        let target = Arc::new(url::parse(&url)?);
        // A password file may change beside a URL that does not.
        let fixed = url.clone();
        let again = config.url_again.clone().unwrap_or_else(|| UrlAgain::new(move || Ok(fixed.clone())));
        Ok(Self { again, known: Mutex::new(Known { url, target, complaint: None }) })
    }

    pub fn current(&self) -> Arc<Target> {
        Arc::clone(&self.known().target)
    }

    /// Reads the URL again, for a caller that got no connection to this target. `None` where nothing has changed, or
    /// what is there now cannot be used: then the target stays.
    pub async fn newer_than(&self, failed: &Arc<Target>) -> Option<Arc<Target>> {
        let again = self.again.clone();
        let read = tokio::task::spawn_blocking(move || {
            let url = (again.0)()?;
            let target = url::parse(&url)?;
            Ok::<_, BoxError>((url, target))
        });
        // It ends early only with the runtime.
        let read = read.await.ok()?;
        let mut known = self.known();
        match read {
            Ok((url, target)) => {
                known.complaint = None;
                if url.expose_secret() != known.url.expose_secret() || !same(&target, &known.target) {
                    tracing::info!("database.url or its password has changed: new connections are made by the new one");
                    (known.url, known.target) = (url, Arc::new(target));
                }
            }
            Err(error) => {
                let complaint = Chain(&*error).to_string();
                if known.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(error = complaint, "database.url cannot be read again: the one read before stays");
                    known.complaint = Some(complaint);
                }
            }
        }
        (!Arc::ptr_eq(&known.target, failed)).then(|| Arc::clone(&known.target))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what sqlx makes of an equal URL, the password of a password file included.
fn same(one: &Target, other: &Target) -> bool {
    let urls = |target: &Target| target.hosts.iter().map(ConnectOptions::to_url_lossy).collect::<Vec<_>>();
    urls(one) == urls(other)
}

/// Without what it gives.
impl fmt::Debug for UrlAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlAgain").finish_non_exhaustive()
    }
}
