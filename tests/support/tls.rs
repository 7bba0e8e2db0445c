//! A certificate for peers of the tests' own, and one that nobody believes because of it; and such as are made when they
//! are needed, for servers of ours.

use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Self-signed for `localhost` and 127.0.0.1 until 2126; worth nothing anywhere.
const CERTIFICATE: &str = "MIIBmTCCAT6gAwIBAgIUadwi4HjvQ1g6HEb84qB9iljJinwwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2\
    MTEyMjE4MjMyMloYDzIxMjYxMDI5MTgyMzIyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\
    AAQ6BmAqnC0csr+zIcvGD0iT2GXXDRVw6RVWZVHnVqFG0j5qNZa7jpuDSpmHzMjKaSnA/7frMhB7zy9/BEA/Frubo2wwajAdBgNV\
    HQ4EFgQUxZJ8Pv90ITxvuqPLV1w5vB2EFlkwHwYDVR0jBBgwFoAUxZJ8Pv90ITxvuqPLV1w5vB2EFlkwDAYDVR0TAQH/BAIwADAa\
    BgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZIzj0EAwIDSQAwRgIhALO5aFbpIkmNpbp8nrcNnOQFtd3vgcaAjS3WXyD6\
    D8QNAiEA60IuUqfWy5wsmUtKoQnwsZjNprlWBc4FMM1OQXa9LPI=";
const PRIVATE_KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwvXjqu/uYMC4NbBTivQGoKJC6FBYHRGoIcp46Egour6hRANCAAQ6\
    BmAqnC0csr+zIcvGD0iT2GXXDRVw6RVWZVHnVqFG0j5qNZa7jpuDSpmHzMjKaSnA/7frMhB7zy9/BEA/Frub";

/// In DER.
pub fn certificate() -> Vec<u8> {
    STANDARD.decode(CERTIFICATE).unwrap()
}

/// PKCS #8, in DER.
pub fn private_key() -> Vec<u8> {
    STANDARD.decode(PRIVATE_KEY).unwrap()
}

pub fn certificate_pem() -> String {
    pem("CERTIFICATE", CERTIFICATE)
}

pub fn private_key_pem() -> String {
    pem("PRIVATE KEY", PRIVATE_KEY)
}

fn pem(label: &str, base64: &str) -> String {
    // 64 characters a line, as strict readers want it.
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Its port on `localhost`, and what it read on its one connection.
pub async fn untrusted_tls_peer() -> (u16, JoinHandle<Vec<u8>>) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(private_key()));
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate())], key)
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
    (port, peer)
}

/// A certificate for `localhost` and its key, in PEM.
pub struct MadePair {
    pub certificate: String,
    pub private_key: String,
}

impl MadePair {
    pub fn new() -> Self {
        Self::until(2126)
    }

    /// To the beginning of that year.
    pub fn until(year: i32) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate: certificate.pem(), private_key: key.serialize_pem() }
    }

    /// As `tls.crt` and `tls.key` of a folder.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("tls.crt"), &self.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &self.private_key).unwrap();
    }

    /// A handshake with a server that must have this certificate.
    pub async fn connect(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), tcp).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(stream)
    }
}
