//! A peer whose certificate nobody vouches for. No configuration makes the client accept one.

use std::sync::Arc;

use oneclick_login::verifier::VerifierError;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{config, verifier, verify};
use crate::support::tls;

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_ends_the_call_before_a_byte_of_it_left() {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(tls::private_key()));
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(tls::certificate())], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(tls)).accept(stream).await {
            let _ = stream.read_to_end(&mut request).await;
        }
        request
    });

    let error = verify(&verifier(config(&format!("https://localhost:{port}")))).await.unwrap_err();
    assert!(matches!(&error, VerifierError::Unreachable(_)), "{error:?}");
    assert!(format!("{error:?}").contains("InvalidCertificate"), "{error:?}");
    assert_eq!(peer.await.unwrap(), b"");
}
