//! What TLS nginx speaks with the shipped configuration, as OpenSSL's own client sees it.

use std::process::{Command, Stdio};

use super::nginx::Nginx;
use super::program;
use super::recorder::{Conduct, Recorder};
use crate::support::app::login;

/// What a handshake with these options came to: the protocol and cipher, or `None`.
fn agreed(nginx: &Nginx, options: &[&str]) -> Option<String> {
    let openssl = program("openssl", &[], &["openssl"]);
    let address = format!("127.0.0.1:{}", nginx.port());
    let mut client = Command::new(openssl);
    client.args(["s_client", "-connect", &address, "-servername", "localhost"]).args(options);
    let output = client.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("New, ")).unwrap_or_else(|| panic!("{output:?}"));
    (line != "(NONE), Cipher is (NONE)").then(|| line.to_owned())
}

/// ASVS 12.1.1, 12.1.2.
#[tokio::test]
async fn a_handshake_has_forward_secrecy_and_an_authenticated_cipher_or_fails() {
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([recorder.address; 2]);
    // The client would take all that OpenSSL has ever had.
    for cipher in [
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-CAMELLIA128-SHA256",
        "ECDHE-ECDSA-AES128-CCM8",
    ] {
        let anything = format!("{cipher}:@SECLEVEL=0");
        assert_eq!(agreed(&nginx, &["-tls1_2", "-cipher", &anything]), None, "{cipher}");
    }
    assert_eq!(agreed(&nginx, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]), None);

    for cipher in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"] {
        let expected = format!("TLSv1.2, Cipher is {cipher}");
        assert_eq!(agreed(&nginx, &["-tls1_2", "-cipher", cipher]), Some(expected));
    }
    let newest = agreed(&nginx, &[]).unwrap();
    assert!(newest.starts_with("TLSv1.3, "), "{newest}");
}

/// ASVS 3.4.1.
#[tokio::test]
async fn browsers_are_told_to_come_by_tls_alone_whoever_answers() {
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([recorder.address; 2]);
    let passed_on = nginx.log_in("token").await;
    let its_own = nginx.send(login("").body(vec![b'x'; 16 * 1024 + 1])).await;
    assert_eq!((passed_on.status.as_u16(), its_own.status.as_u16()), (200, 413));
    for answer in [passed_on, its_own] {
        assert_eq!(
            answer.header("strict-transport-security"),
            Some("max-age=63072000; includeSubDomains"),
            "{answer:?}"
        );
    }
}
