//! The wire, through the real program: what its parts do on raw sockets is tested beside them, here that they are wired
//! together.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rows::claims;
use crate::support::app::{Call, SEED_TOKEN, login};
use crate::support::program::{PATIENCE, Program, Setup, eventually, read_to_end};

/// The head of a login up to the empty line, which is the caller's.
fn head(call: &Call, extra: &str) -> String {
    let mut head = format!("POST {} HTTP/1.1\r\nHost: a\r\n{extra}", call.path);
    for (name, value) in &call.headers {
        head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
    }
    head
}

/// A whole login on a connection that stays.
pub fn raw_login(access_token: &str) -> Vec<u8> {
    let call = login(access_token);
    let head = head(&call, &format!("Content-Length: {}\r\n", call.body.len()));
    [head.as_bytes(), b"\r\n", &call.body].concat()
}

fn last(request: Vec<u8>) -> Vec<u8> {
    String::from_utf8(request).unwrap().replacen("Host: a\r\n", "Host: a\r\nConnection: close\r\n", 1).into_bytes()
}

/// A failure in the contract's form, whole.
#[track_caller]
fn assert_failure(answer: &str, status: u16, code: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("content-type: application/json"), "{answer}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!((json["error_code"].as_str(), json.as_object().unwrap().len()), (Some(code), 2), "{answer}");
}

async fn start() -> Program {
    Setup::new().start().await
}

#[tokio::test]
async fn a_login_in_chunks_is_a_login() {
    let program = start().await;
    let call = login(SEED_TOKEN);
    let mut request = head(&call, "Transfer-Encoding: chunked\r\nConnection: close\r\n").into_bytes();
    request.extend(b"\r\n");
    for chunk in call.body.chunks(7) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let answer = program.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("session_token"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_readably_while_the_client_still_sends() {
    let program = start().await;
    let call = login(SEED_TOKEN);
    let mebibyte = vec![b' '; 1024 * 1024];

    let mut chunked = head(&call, "Transfer-Encoding: chunked\r\n").into_bytes();
    chunked.extend(b"\r\n100000\r\n");
    chunked.extend(&mebibyte);
    chunked.extend(b"\r\n0\r\n\r\n");
    let mut announced = head(&call, "Content-Length: 1048576\r\n").into_bytes();
    announced.extend(b"\r\n");
    announced.extend(&mebibyte);
    for request in [chunked, announced] {
        let stream = program.connect().await;
        let (mut reading, mut writing) = stream.into_split();
        let sending = tokio::spawn(async move {
            // The server may stop listening in the middle; that is the point.
            let _ = writing.write_all(&request).await;
            writing
        });
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, reading.read_to_end(&mut bytes)).await.expect("the connection ends");
        let answer = String::from_utf8(bytes).unwrap();
        assert_failure(&answer, 413, "IDAAS.SDK.COM.0413");
        assert!(answer.contains("connection: close\r\n") && answer.contains("x-access-token-state: unspent\r\n"));
        drop(sending.await);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_timed_out_in_the_contracts_form() {
    let program = Setup::new().set("ONECLICK_SERVER__BODY_TIMEOUT_MS", "300").start().await;
    let request = raw_login(SEED_TOKEN);
    let answer = program.raw(&request[..request.len() - 1]).await;
    assert_failure(&answer, 408, "IDAAS.SDK.COM.0408");
    assert!(answer.contains("connection: close\r\n") && answer.contains("x-access-token-state: unspent\r\n"));
}

#[tokio::test]
async fn a_request_without_a_host_is_refused_in_the_contracts_form() {
    let program = start().await;
    for host in ["", "Host: a\r\nHost: a\r\n", "Host: \r\n"] {
        let request = String::from_utf8(raw_login(SEED_TOKEN)).unwrap().replacen("Host: a\r\n", host, 1);
        let answer = program.raw(request.as_bytes()).await;
        assert_failure(&answer, 400, "IDAAS.SDK.COMMON.1002");
    }
}

/// ASVS 16.3.3.
#[tokio::test]
async fn what_the_parser_refuses_is_answered_in_the_contracts_form_counted_and_logged() {
    let program = start().await;
    let path = login(SEED_TOKEN).path;
    let post = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
    let long = format!("{post}X-Long: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many = format!("{post}{}\r\n", "X: y\r\n".repeat(64));
    let bare = format!("{post}X: y\n\r\n");
    for (bytes, status, code, reason) in [
        (long.as_bytes(), 431, "IDAAS.SDK.COM.0431", "head_too_large"),
        (many.as_bytes(), 431, "IDAAS.SDK.COM.0431", "head_too_large"),
        (bare.as_bytes(), 400, "IDAAS.SDK.COMMON.1002", "bare_line_feed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 400, "IDAAS.SDK.COMMON.1002", "proxy_protocol"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 400, "IDAAS.SDK.COMMON.1002", "http2"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "IDAAS.SDK.COMMON.1002", "tls"),
    ] {
        let refused = async || program.scrape().await.value("oneclick_http_refused_total", &[("reason", reason)]);
        let before = refused().await;
        let answer = program.raw(bytes).await;
        assert_failure(&answer, status, code);
        assert_eq!(bytes.starts_with(b"POST"), answer.contains("x-access-token-state: unspent\r\n"), "{answer}");
        assert_eq!(refused().await, before + 1.0, "{reason}");
    }
    let logged = async |reason: &str| {
        let find = async || program.log_lines().into_iter().find(|line| line["reason"] == reason);
        eventually("a line", find).await
    };
    logged("head_too_large").await;
    let line = logged("proxy_protocol").await;
    assert_eq!((&line["level"], &line["client.address"]), (&"WARN".into(), &"127.0.0.1".into()), "{line}");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("the gateway speaks the PROXY protocol to this port; switch it off"), "{message}");
    assert_eq!(program.log_in(SEED_TOKEN).await.status, 200);
}

#[tokio::test]
async fn logins_in_a_row_are_answered_in_their_order() {
    let program = start().await;
    let numbers: Vec<String> = (0..20).map(|n| format!("139000000{n:02}")).collect();
    let mut requests: Vec<u8> = Vec::new();
    for (n, number) in numbers.iter().enumerate() {
        // The later ones would be ready first.
        let token = format!("sandbox:slow:{}:{number}", 40 - 2 * n);
        let request = raw_login(&token);
        requests.extend(if n + 1 == numbers.len() { last(request) } else { request });
    }
    let answers = program.raw(&requests).await;
    let answered: Vec<String> = answers
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line[..=line.rfind('}')?]).ok())
        .map(|json| claims(json["id_token"].as_str().unwrap())["mobile"].as_str().unwrap()[4..].to_owned())
        .collect();
    assert_eq!(answered, numbers);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() {
    let program = start().await;
    let call = login(SEED_TOKEN);
    let extra = format!("Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n", call.body.len());
    let mut stream = program.connect().await;
    stream.write_all(format!("{}\r\n", head(&call, &extra)).as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&call.body).await.unwrap();
    let answer = read_to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    // One that would be refused anyway need not send it.
    let refused = call.without("X-agent");
    let answer = program.raw(format!("{}\r\n", head(&refused, &extra)).as_bytes()).await;
    assert_failure(&answer, 400, "IDAAS.SDK.PARAM.0001");
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.expect("an answer").expect("the connection stands"));
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn every_path_and_method_that_is_not_there_is_answered_in_the_contracts_form() {
    let program = start().await;
    let path = login(SEED_TOKEN).path;
    for (request_line, status, code) in [
        ("GET / HTTP/1.1", 404, "IDAAS.SDK.COM.0404"),
        (&*format!("GET {path} HTTP/1.1"), 405, "IDAAS.SDK.COM.0405"),
        (&*format!("BREW {path} HTTP/1.1"), 405, "IDAAS.SDK.COM.0405"),
        (&*format!("POST {path}/ HTTP/1.1"), 404, "IDAAS.SDK.COM.0404"),
        ("POST /readyz HTTP/1.1", 404, "IDAAS.SDK.COM.0404"),
        ("GET /livez HTTP/1.1", 404, "IDAAS.SDK.COM.0404"),
    ] {
        let answer = program.raw(format!("{request_line}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert_failure(&answer, status, code);
    }
}

#[tokio::test]
async fn a_login_is_answered_at_once_while_silent_connections_hold_all_places() {
    let program = Setup::new().set("ONECLICK_SERVER__MAX_CONNECTIONS", "100").start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(program.connect().await);
    }
    let answer = timeout(Duration::from_secs(5), program.raw(&last(raw_login(SEED_TOKEN)))).await;
    let answer = answer.expect("before the header time-out of 10 s");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let setup = Setup::new()
        .set("ONECLICK_SERVER__HEADER_TIMEOUT_SECONDS", "1")
        .set("ONECLICK_SERVER__IDLE_TIMEOUT_SECONDS", "2");
    let program = setup.start().await;
    for begun in ["", "POST / HT"] {
        let mut stream = program.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        let answer = timeout(Duration::from_secs(10), read_to_end(stream)).await.expect("closed");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}
