//! TLS on the API's listener, through the real program and its commands.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::wire::raw_login;
use crate::support::app::SEED_TOKEN;
use crate::support::program::{Setup, eventually, read_to_end};
use crate::support::tls::MadePair;

/// With a certificate for `localhost`.
pub fn with_tls() -> (Setup, MadePair) {
    let (setup, pair) = (Setup::new().patient(), MadePair::new());
    pair.write(setup.folder());
    let file = |name: &str| setup.folder().join(name).display().to_string();
    let (certificate, private_key) = (file("tls.crt"), file("tls.key"));
    let setup = setup.set("ONECLICK_SERVER__TLS__CERTIFICATE_FILE", certificate);
    (setup.set("ONECLICK_SERVER__TLS__PRIVATE_KEY_FILE", private_key), pair)
}

#[tokio::test]
async fn a_login_over_tls_is_a_login_and_the_certificate_can_be_changed() {
    let (setup, first) = with_tls();
    let program = setup.start().await;
    let mut stream = first.connect(program.connect().await).await.unwrap();
    let request = String::from_utf8(raw_login(SEED_TOKEN)).unwrap();
    let request = request.replacen("Host: a\r\n", "Host: a\r\nConnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("session_token"), "{answer}");
    let expires = async || program.scrape().await.value("oneclick_tls_certificate_expiry_timestamp_seconds", &[]);
    assert_eq!(expires().await, 4_922_899_200.0, "2126-01-01");

    let second = MadePair::until(2127);
    second.write(setup.folder());
    let trusts = async |pair: &MadePair| {
        let tcp = TcpStream::connect(program.listen).await.unwrap();
        pair.connect(tcp).await.ok().map(drop)
    };
    eventually("the second certificate", async || trusts(&second).await).await;
    eventually("its expiry", async || (expires().await == 4_954_435_200.0).then_some(())).await;

    std::fs::write(setup.folder().join("tls.key"), &first.private_key).unwrap();
    let complaint = async || program.log_lines().into_iter().find(|line| line["level"] == "ERROR");
    let line = eventually("an ERROR line", complaint).await;
    assert_eq!(line["message"], "the TLS certificate stays as it was");
    assert!(line["error"].as_str().unwrap().contains("is not the one of the first certificate in"), "{line}");
    assert!(trusts(&second).await.is_some());

    let plain = program.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("IDAAS.SDK.COMMON.1002"), "{plain}");
    let refused = program.scrape().await.value("oneclick_http_refused_total", &[("reason", "plain_http")]);
    assert_eq!(refused, 1.0);
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_said_by_the_start_the_check_and_the_doctor() {
    let (setup, pair) = with_tls();
    let checked = setup.run(&["config", "check"]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("issuer https://127.0.0.1:"), "{}", checked.stdout);
    let doctor = async || setup.run(&["doctor"]).await.stdout;
    assert!(doctor().await.contains("ok    tls           certificate and key belong together, until 2126-01-01"));

    let write = |name: &str, text: &str| std::fs::write(setup.folder().join(name), text).unwrap();
    let other = MadePair::new();
    for (certificate, private_key, complaint) in [
        (&*pair.certificate, &*other.private_key, "is not the one of the first certificate in"),
        (&*pair.private_key, &*pair.private_key, "tls.crt is not PEM, or holds none of CERTIFICATE"),
        (&*pair.certificate, "", "tls.key is not PEM, or holds none of PRIVATE KEY"),
    ] {
        write("tls.crt", certificate);
        write("tls.key", private_key);
        for command in [&["config", "check"][..], &["serve"]] {
            let ran = setup.run(command).await;
            assert_eq!(ran.code, Some(1));
            assert!(
                ran.stderr.contains("server.tls cannot be used") && ran.stderr.contains(complaint),
                "{}",
                ran.stderr
            );
        }
        let found = doctor().await;
        assert!(found.lines().any(|line| line.starts_with("FAIL  tls") && line.contains(complaint)), "{found}");
    }
    std::fs::remove_file(setup.folder().join("tls.key")).unwrap();
    let ran = setup.run(&["config", "check"]).await;
    assert!(ran.stderr.contains("tls.key cannot be read: No such file"), "{}", ran.stderr);

    MadePair::until(2001).write(setup.folder());
    assert!(doctor().await.contains("FAIL  tls           the certificate expired at 2001-01-01T00:00:00Z"));

    let ran = setup.unset("ONECLICK_SERVER__TLS__PRIVATE_KEY_FILE").run(&["config", "check"]).await;
    assert!(ran.stderr.contains("server.tls.private_key_file must be set where the other"), "{}", ran.stderr);
}
