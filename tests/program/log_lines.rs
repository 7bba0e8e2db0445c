//! Standard output in production: one JSON object a line, whatever clients send.

use serde_json::Value;

use super::wire::raw_login;
use crate::support::app::login;
use crate::support::program::{Program, Setup, eventually};

/// What breaks lines, terminals and parsers.
const HOSTILE: [&str; 7] = [
    "\u{1b}[31mred\u{1b}[0m",
    "\" , \"level\":\"FATAL",
    "\\\" \\n \\u0000",
    "\u{2028}\u{2029}\u{85}",
    "\u{202e}desrever",
    "%0d%0aX-Injected: yes",
    "${jndi:ldap://a/b}{}{{}}%s%n",
];

/// In production, where nothing is said to a person; the verifier cannot be reached.
async fn production() -> Program {
    let setup = Setup::new();
    let setup = setup
        .clone()
        .set("DATABASE_URL", format!("sqlite://{}", setup.folder().join("logins.db").display()))
        .set("ONECLICK_ENVIRONMENT", "production")
        .set("ONECLICK_SECRETS__MASTER_KEY", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
        .set("ONECLICK_ID_TOKEN__ISSUER", "https://login.example.com/api/v1/oauth2")
        .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
        .set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "https://127.0.0.1:1")
        .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test")
        .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-test")
        .set("RUST_LOG", "trace");
    assert_eq!(setup.run(&["migrate"]).await.code, Some(0));
    assert_eq!(setup.run(&["app", "register", "--client-id", "shop", "--name", HOSTILE[0]]).await.code, Some(0));
    setup.start().await
}

/// Otherwise the log is silent, and nobody knows why.
#[tokio::test]
async fn a_log_level_that_there_is_not_is_said_in_the_log() {
    let mut program = Setup::new().set("RUST_LOG", "verbose").spawn();
    eventually("it is said", async || program.stdout().contains("RUST_LOG names no level").then_some(())).await;
    eventually("it starts", async || program.stdout().contains("is listening on").then_some(())).await;
    program.end().await;
    assert_eq!(program.log_lines().len(), 1, "{}", program.stdout());
}

/// ASVS 16.4.1.
#[tokio::test]
async fn every_line_is_one_json_object_whatever_the_headers_hold() {
    let mut program = production().await;
    let mut answered = 0;
    for text in HOSTILE {
        for name in ["X-operating-sys-version", "X-device-fingerprint", "X-agent", "X-device-ip", "X-L", "X-Request-Id"]
        {
            let call = login("token").with("X-client-id", "shop").with(name, text);
            // What the parser refuses is no request.
            answered += usize::from(!program.raw(&raw_call(&call)).await.contains("The head parameter"));
        }
        let bare = format!("GET /{text} HTTP/1.1\r\nHost: {text}\r\nConnection: close\r\n\r\n");
        program.raw(bare.as_bytes()).await;
        program.raw(format!("{text} / HTTP/1.1\r\n\r\n").as_bytes()).await;
    }
    let split =
        String::from_utf8(raw_login("token")).unwrap().replace("windows10", "a\r\n{\"level\":\"FATAL\"}\r\nb: c");
    program.raw(split.as_bytes()).await;
    program
        .raw(&[&b"GET / HTTP/1.1\r\nHost: a\r\nX-agent: \xff\xfe\x80\r\nConnection: close\r\n\r\n"[..]].concat())
        .await;
    program.end().await;

    let output = program.stdout();
    assert_eq!(program.stderr(), "");
    assert!(!output.contains('\u{1b}') && !output.contains('\u{2028}') && !output.contains('\u{202e}'));
    let lines: Vec<Value> = output
        .split_terminator('\n')
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
        .collect();
    let mut requests = 0;
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "no {key}: {line}");
        }
        assert_ne!(line["level"], "FATAL");
        requests += usize::from(line["http.status"].is_u64());
    }
    assert!(answered >= 30 && requests >= answered, "{requests} lines of {answered} requests");
}

fn raw_call(call: &crate::support::app::Call) -> Vec<u8> {
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n",
        call.path,
        call.body.len()
    )
    .into_bytes();
    for (name, value) in &call.headers {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    [&request[..], b"\r\n", &call.body].concat()
}
