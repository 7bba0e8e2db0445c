//! The bytes that leave: the query, the headers, and a signature that the peer computes again from what it received.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use aws_lc_rs::{digest, hmac};
use oneclick_login::verifier::aliyun::{AliyunVerifier, Config, Credentials, CredentialsSource, NoCredentials};
use secrecy::SecretString;

use super::peer::{Conduct, Peer, Received, http};
use super::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, SUCCESS, TRACEPARENT};
use super::{clock, config, credentials, verifier, verify, verify_token};

async fn peer() -> Peer {
    Peer::start(Conduct::Answer(http("200 OK", SUCCESS))).await
}

/// What the service does: it knows the secret and trusts nothing but the bytes.
pub fn expected_authorization(request: &Received, secret: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let authorization = request.only_header("authorization");
    let (_, rest) = authorization.split_once("SignedHeaders=").expect("the signed headers are named");
    let (signed, _) = rest.split_once(',').expect("the signature follows");
    let mut canonical = format!("POST\n/\n{}\n", request.raw_query());
    for name in signed.split(';') {
        canonical.push_str(&format!("{name}:{}\n", request.only_header(name)));
    }
    canonical.push_str(&format!("\n{signed}\n{}", hex(digest::digest(&digest::SHA256, b"").as_ref())));
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hex(hmac::sign(&key, format!("ACS3-HMAC-SHA256\n{hashed}").as_bytes()).as_ref());
    format!("ACS3-HMAC-SHA256 Credential={ACCESS_KEY_ID},SignedHeaders={signed},Signature={signature}")
}

#[tokio::test]
async fn a_call_is_a_signed_post_with_an_empty_body_and_says_so() {
    let mut peer = peer().await;
    verify(&verifier(config(&peer.endpoint()))).await.unwrap();
    let request = peer.next_request().await;

    assert_eq!(request.only_header("authorization"), expected_authorization(&request, ACCESS_KEY_SECRET));
    assert!(request.only_header("authorization").contains(
        "SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
    ));
    assert_eq!(request.only_header("host"), peer.host);
    assert_eq!(request.only_header("content-length"), "0");
    assert_eq!(request.only_header("traceparent"), TRACEPARENT);
    assert_eq!(request.only_header("x-acs-action"), "GetMobile");
    assert_eq!(request.only_header("x-acs-version"), "2017-05-25");
    assert_eq!(request.only_header("x-acs-date"), "2026-03-01T08:30:00Z");
    assert_eq!(
        request.only_header("x-acs-content-sha256"),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for absent in ["transfer-encoding", "accept-encoding", "cookie", "referer", "x-acs-security-token"] {
        assert!(request.header(absent).is_empty(), "{absent}");
    }
}

#[tokio::test]
async fn the_canonical_query_reaches_the_wire_byte_for_byte() {
    let mut peer = peer().await;
    let verifier = verifier(config(&peer.endpoint()));
    let all_visible: String = ('!'..='~').collect();
    for (token, canonical) in [
        ("eyJh+bGci/OiJIUz==abc+/=", "eyJh%2BbGci%2FOiJIUz%3D%3Dabc%2B%2F%3D"),
        ("100%25%2B%zz%", "100%2525%252B%25zz%25"),
        ("*!'()~", "%2A%21%27%28%29~"),
        ("a&OutId=x;#?b\\^`{|}\"<>", "a%26OutId%3Dx%3B%23%3Fb%5C%5E%60%7B%7C%7D%22%3C%3E"),
        (
            all_visible.as_str(),
            "%21%22%23%24%25%26%27%28%29%2A%2B%2C-.%2F0123456789%3A%3B%3C%3D%3E%3F%40ABCDEFGHIJKLMNOPQRSTUVWXYZ\
             %5B%5C%5D%5E_%60abcdefghijklmnopqrstuvwxyz%7B%7C%7D~",
        ),
        ("../..", "..%2F.."),
    ] {
        verify_token(&verifier, token).await.unwrap();
        let request = peer.next_request().await;
        assert_eq!(request.request_line, format!("POST /?AccessToken={canonical}&OutId=request-1 HTTP/1.1"));
        assert_eq!(request.only_header("authorization"), expected_authorization(&request, ACCESS_KEY_SECRET));
    }
    let longest = "%".repeat(4096);
    verify_token(&verifier, &longest).await.unwrap();
    assert_eq!(peer.next_request().await.raw_query(), format!("AccessToken={}&OutId=request-1", "%25".repeat(4096)));
}

#[tokio::test]
async fn temporary_credentials_send_and_sign_their_security_token() {
    let mut peer = peer().await;
    let source = Rotating::holding(credentials(Some("sts+token/=")));
    verify(&verifier(Config { credentials: source, ..config(&peer.endpoint()) })).await.unwrap();
    let request = peer.next_request().await;
    assert_eq!(request.only_header("x-acs-security-token"), "sts+token/=");
    let authorization = request.only_header("authorization");
    assert!(authorization.contains(";x-acs-date;x-acs-security-token;x-acs-signature-nonce;"), "{authorization}");
    assert_eq!(authorization, expected_authorization(&request, ACCESS_KEY_SECRET));
}

#[tokio::test]
async fn new_credentials_are_picked_up_by_the_next_call() {
    let mut peer = peer().await;
    let source = Rotating::holding(credentials(None));
    let verifier = verifier(Config { credentials: Arc::clone(&source) as _, ..config(&peer.endpoint()) });
    verify(&verifier).await.unwrap();
    let renewed = Credentials::new(ACCESS_KEY_ID, SecretString::from("renewed-secret"), None).unwrap();
    *source.0.lock().unwrap() = Arc::new(renewed);
    verify(&verifier).await.unwrap();
    for secret in [ACCESS_KEY_SECRET, "renewed-secret"] {
        let request = peer.next_request().await;
        assert_eq!(request.only_header("authorization"), expected_authorization(&request, secret));
    }
}

#[tokio::test]
async fn every_call_has_a_nonce_of_its_own_and_the_clocks_date() {
    let mut peer = peer().await;
    let clock = clock();
    let verifier = AliyunVerifier::new(config(&peer.endpoint()), clock.clone()).unwrap();
    let mut nonces = HashSet::new();
    for second in 0..20 {
        verify(&verifier).await.unwrap();
        clock.advance(std::time::Duration::from_secs(1));
        let request = peer.next_request().await;
        assert_eq!(request.only_header("x-acs-date"), format!("2026-03-01T08:30:{second:02}Z"));
        nonces.insert(request.only_header("x-acs-signature-nonce").to_owned());
    }
    assert_eq!(nonces.len(), 20);
    assert_eq!(peer.connections(), 1, "calls one after the other share a connection");
}

#[tokio::test]
async fn a_configured_proxy_carries_the_call_as_it_was_signed() {
    let mut proxy = peer().await;
    let endpoint = "http://dypnsapi.test";
    let config = Config { proxy: Some(proxy.endpoint()), ..config(endpoint) };
    verify(&verifier(config)).await.unwrap();
    let request = proxy.next_request().await;
    assert!(request.request_line.starts_with("POST http://dypnsapi.test/?AccessToken="), "{}", request.request_line);
    assert_eq!(request.only_header("host"), "dypnsapi.test");
    assert_eq!(request.only_header("authorization"), expected_authorization(&request, ACCESS_KEY_SECRET));
}

/// A source whose credentials the test changes.
#[derive(Debug)]
struct Rotating(Mutex<Arc<Credentials>>);

impl Rotating {
    fn holding(credentials: Credentials) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Arc::new(credentials))))
    }
}

impl CredentialsSource for Rotating {
    fn current(&self) -> Result<Arc<Credentials>, NoCredentials> {
        Ok(Arc::clone(&self.0.lock().expect("no test panics while it holds the lock")))
    }
}
