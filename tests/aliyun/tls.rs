//! A peer whose certificate nobody vouches for. No configuration makes the client accept one.

use oneclick_login::verifier::VerifierError;

use super::{config, verifier, verify};
use crate::support::tls::untrusted_tls_peer;

/// ASVS 12.3.2.
#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_ends_the_call_before_a_byte_of_it_left() {
    let (port, peer) = untrusted_tls_peer().await;
    let error = verify(&verifier(config(&format!("https://localhost:{port}")))).await.unwrap_err();
    assert!(matches!(&error, VerifierError::Unreachable(_)), "{error:?}");
    assert!(format!("{error:?}").contains("InvalidCertificate"), "{error:?}");
    assert_eq!(peer.await.unwrap(), b"");
}
