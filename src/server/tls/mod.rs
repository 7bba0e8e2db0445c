//! TLS 1.2 and 1.3 on a listener. The certificate and its key are looked at again and again while the server runs; a new
//! pair is for new connections, and one that cannot be used leaves the old one where it is.

mod pair;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};

pub use pair::{Files, PairError};

use crate::clock::{Clock, Utc};
use crate::error_chain::Chain;
use pair::{Pair, Texts};

const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// How long before its certificate expires the log begins to warn, once a day.
const WARNS_BEFORE: time::Duration = time::Duration::days(14);

/// What a listener needs to speak TLS.
pub struct Tls {
    files: Files,
    clock: Clock,
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(RwLock<Pair>);

/// What the files held at the last looks.
#[derive(Debug)]
pub struct Looks {
    /// What is in use, or was found to be unusable.
    settled: Result<Texts, String>,
    /// Seen once: it may be half of a change.
    last: Result<Texts, String>,
    warned: Option<OffsetDateTime>,
}

impl Tls {
    /// # Errors
    /// Where the files cannot be used.
    pub async fn open(files: Files, clock: Clock) -> Result<(Self, Looks), PairError> {
        let texts = files.read().await?;
        let pair = texts.parse(&files)?;
        let current = Arc::new(Current(RwLock::new(pair)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|source| PairError::unusable(&files, source))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let looks = Looks { settled: Ok(texts.clone()), last: Ok(texts), warned: None };
        Ok((Self { files, clock, config: Arc::new(config), current }, looks))
    }

    /// When the certificate in use expires.
    pub fn expires(&self) -> OffsetDateTime {
        self.current.pair().expires
    }

    /// Looks at the files every few seconds, for ever; says when the certificate in use expires, now and after each change.
    pub async fn keep_fresh(&self, mut looks: Looks, expires: impl Fn(OffsetDateTime)) {
        loop {
            expires(self.expires());
            self.warn_of_expiry(&mut looks);
            tokio::time::sleep(BETWEEN_LOOKS).await;
            self.look(&mut looks).await;
        }
    }

    /// Takes a pair that is new, and was already there at the last look: certificate and key are not changed in one step.
    pub async fn look(&self, looks: &mut Looks) {
        let now = self.files.read().await.map_err(|error| Chain(&error).to_string());
        let is_steady = now == looks.last;
        looks.last = now;
        if !is_steady || looks.last == looks.settled {
            return;
        }
        looks.settled = looks.last.clone();
        let pair = match &looks.last {
            Ok(texts) => texts.parse(&self.files).map_err(|error| Chain(&error).to_string()),
            Err(error) => Err(error.clone()),
        };
        match pair {
            Ok(pair) => {
                tracing::info!(certificate.expires = %Utc(pair.expires), "took a new TLS certificate");
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = pair;
                looks.warned = None;
            }
            Err(error) => {
                let expires = tracing::field::display(Utc(self.expires()));
                tracing::error!(error, certificate.expires = expires, "the TLS certificate stays as it was");
            }
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    fn warn_of_expiry(&self, looks: &mut Looks) {
        let (now, expires) = (self.clock.now(), self.expires());
        let told = looks.warned.is_some_and(|warned| now - warned < time::Duration::DAY);
        if expires - now < WARNS_BEFORE && !told {
            looks.warned = Some(now);
            let days = (expires - now).whole_days();
            tracing::warn!(certificate.expires = %Utc(expires), days, "the TLS certificate expires soon, or has expired");
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Current {
    fn pair(&self) -> Pair {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair().key)
    }
}

/// What `rustls` says of a handshake that failed, if it was that.
pub(super) fn is_handshake_error(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<rustls::Error>())
}
