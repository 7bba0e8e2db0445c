//! A login through nginx, and what does not get through it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::nginx::Nginx;
use super::recorder::{Conduct, Recorder};
use crate::program::tls::with_tls;
use crate::support::app::{SEED_TOKEN, login};
use crate::support::postgres;
use crate::support::program::{Setup, eventually, read_to_end};
use crate::support::tls::{self, MadePair};

/// ASVS 12.3.3, 12.3.4.
#[tokio::test]
async fn nginx_speaks_tls_to_the_replicas_where_they_have_a_certificate() {
    let (setup, pair) = with_tls();
    let replica = setup.start().await;
    let nginx = Nginx::before_tls([replica.listen; 2], &pair);
    for _ in 0..3 {
        assert_eq!(nginx.log_in(SEED_TOKEN).await.status, 200);
    }
    let stranger = Nginx::before_tls([replica.listen; 2], &MadePair::new());
    let answer = stranger.log_in(SEED_TOKEN).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-access-token-state")), (500, Some("unspent")));
}

#[tokio::test]
async fn a_login_through_nginx_reaches_either_replica_under_nginxs_request_id() {
    let database = postgres::database().await;
    let setup = Setup::on(database.url()).patient();
    let replicas = [setup.start().await, setup.start().await];
    let nginx = Nginx::before([replicas[0].listen, replicas[1].listen]);

    let mut ids = Vec::new();
    for n in 0..6 {
        let call = login(&format!("sandbox:13900000001:{n}")).and("X-Request-Id", "made-by-the-client");
        let answer = nginx.send(call).await;
        assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (200, Some("SUCCESS")), "{answer:?}");
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        ids.push(id);
    }
    let logged = nginx.logged(6).await;
    assert_eq!(logged.iter().map(|line| line.request_id.as_str()).collect::<Vec<_>>(), ids);
    for replica in &replicas {
        let own = replica.listen.to_string();
        let passed: Vec<_> = logged.iter().filter(|line| line.tries[0].upstream == own).collect();
        assert_eq!(passed.len(), 3, "{logged:?}");
        for line in passed {
            eventually("in the replica's log", async || {
                replica.log_lines().iter().any(|said| said["request.id"] == line.request_id.as_str()).then_some(())
            })
            .await;
        }
    }

    let keys = nginx.get("/api/v1/oauth2/keys").await;
    assert_eq!((keys.status.as_u16(), &keys.body), (200, &replicas[0].get("/api/v1/oauth2/keys").await.body));
    // The service's own failures pass as they are.
    let answer = nginx.send(login("sandbox:13900000001:x").without("X-agent")).await;
    assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (400, "IDAAS.SDK.PARAM.0001"));
    // The management port's paths are no paths here.
    assert_eq!(nginx.get("/readyz").await.error_code(), "IDAAS.SDK.COM.0404");
}

#[tokio::test]
async fn what_a_client_claims_about_itself_ends_at_nginx() {
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([recorder.address; 2]);
    let call = login("token")
        .and("X-Forwarded-For", "203.0.113.9")
        .and("X-Forwarded-Proto", "http")
        .and("X-Forwarded-Host", "evil.example")
        .and("X-Real-IP", "203.0.113.9")
        .and("Forwarded", "for=203.0.113.9")
        .and("X-Request-Id", "made-by-the-client")
        .and("X_client_id", "another-app")
        .and("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .and("tracestate", "chosen=by-the-client")
        .and("Connection", "close, X-agent")
        .and("Expect", "100-continue");
    let answer = nginx.send(call.clone()).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let [request] = recorder.seen().try_into().unwrap();
    assert_eq!(request.line, format!("POST {} HTTP/1.1", call.path));
    assert_eq!(request.body, call.body);
    for name in ["X-operating-sys-version", "X-device-fingerprint", "X-device-ip", "X-agent", "X-client-id"] {
        let sent = call.headers.iter().find(|(header, _)| header == name).unwrap();
        assert_eq!(request.header(&name.to_ascii_lowercase()).map(str::as_bytes), Some(&*sent.1), "{name}");
    }
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert_ne!(request.header("x-request-id"), Some("made-by-the-client"));
    let ended =
        ["forwarded", "x-forwarded-host", "x-real-ip", "x_client_id", "traceparent", "tracestate", "connection"];
    for name in ended.into_iter().chain(["expect"]) {
        assert!(request.headers.iter().all(|(header, _)| header != name), "{name} got through: {request:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_choose_the_address_under_which_its_logins_are_counted() {
    let setup = Setup::new()
        .patient()
        .set("ONECLICK_SERVER__TRUSTED_PROXIES", "127.0.0.1")
        .set("ONECLICK_LIMITS__LOGINS_PER_ADDRESS_PER_MINUTE", "2");
    let program = setup.start().await;
    let nginx = Nginx::before([program.listen; 2]);
    let (one, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let log_in = async |from, n: u8| {
        let call = login(&format!("sandbox:13900000001:{from}-{n}")).and("X-Forwarded-For", format!("203.0.113.{n}"));
        nginx.send_from(from, call).await
    };
    assert_eq!(log_in(one, 1).await.status, 200);
    assert_eq!(log_in(one, 2).await.status, 200);
    assert_eq!(log_in(one, 3).await.error_code(), "IDAAS.SDK.COM.0429");
    assert_eq!(log_in(other, 1).await.status, 200);
}

#[tokio::test]
async fn a_request_of_two_lengths_or_with_a_bad_head_is_nobodys_request() {
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([recorder.address; 2]);
    let canary = "GET /canary HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4,4\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 4\r\n",
        "Transfer-Encoding\t: chunked\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Host: other\r\nContent-Length: 4\r\n",
        "X-a: b\0c\r\nContent-Length: 4\r\n",
    ] {
        let mut stream = connect(&nginx).await;
        let request = format!("POST /first HTTP/1.1\r\nHost: localhost\r\n{head}\r\n0\r\n\r\n{canary}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 501 "), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
        assert!(recorder.seen().is_empty(), "{head:?}: {:?}", recorder.seen());
    }
}

/// What looks like a second request is body, and reaches the replica as a body.
#[tokio::test]
async fn a_body_in_chunks_reaches_the_replica_with_one_length() {
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([recorder.address; 2]);
    let body = "GET /canary HTTP/1.1\r\n\r\n";
    let mut stream = connect(&nginx).await;
    let head = "POST /first HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes()).await.unwrap();
    let answer = read_to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let [request] = recorder.seen().try_into().unwrap();
    assert_eq!((request.header("content-length"), request.header("transfer-encoding")), (Some("24"), None));
    assert_eq!(request.body, body.as_bytes());
}

async fn connect(nginx: &Nginx) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(tls::certificate())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", nginx.port())).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}
