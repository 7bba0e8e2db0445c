//! The certificate of the API's listener, where it speaks TLS: both files are there, belong together, and are in time.

use time::{Duration, OffsetDateTime};

use crate::clock::Utc;
use crate::error_chain::Chain;
use crate::finding::Finding;
use crate::settings::Settings;

const CHECK: &str = "tls";

/// As long before its end the server itself begins to warn.
const SOON: Duration = Duration::days(14);

pub async fn look_at(settings: &Settings, now: OffsetDateTime) -> Option<Finding> {
    let files = settings.tls_files()?;
    let renew = "renew the certificate; the running server takes the new files by itself";
    Some(match files.check().await {
        Ok(expires) if expires <= now => {
            Finding::fail(CHECK, format!("the certificate expired at {}", Utc(expires)), renew)
        }
        Ok(expires) if expires - now < SOON => {
            Finding::warn(CHECK, format!("the certificate expires at {}", Utc(expires)), renew)
        }
        Ok(expires) => Finding::ok(CHECK, format!("certificate and key belong together, until {}", Utc(expires))),
        Err(error) => {
            let advice = "mend server.tls.certificate_file and server.tls.private_key_file; see with: oneclick-login config check";
            Finding::fail(CHECK, Chain(&error).to_string(), advice)
        }
    })
}
