//! The checks before anything is spent: each row, each boundary, and their order.

use axum::http::Method;

use crate::support::app::{Call, DEMO_CLIENT_ID, SEED_TOKEN, TestApp, login};

const INCOMPLETE: (u16, &str, &str) = (400, "IDAAS.SDK.PARAM.0001", "Device information is incomplete");
const NO_CLIENT: (u16, &str, &str) = (400, "IDAAS.SDK.PARAM.0002", "clientId cannot be empty");
const NO_APP: (u16, &str, &str) =
    (400, "IDAAS.SDK.PARAM.0003", "The app is not registered, please register the app first");

const REQUIRED: [(&str, usize); 3] =
    [("X-operating-sys-version", 128), ("X-device-fingerprint", 256), ("X-agent", 1024)];

fn call() -> Call {
    login(SEED_TOKEN)
}

async fn assert_refused(app: &TestApp, call: Call, (status, code, message): (u16, &str, &str)) {
    let answer = app.send(call.build()).await;
    answer.assert_error(status, code, message);
    assert_eq!(answer.header("x-access-token-state"), Some("unspent"));
}

async fn assert_malformed(app: &TestApp, call: Call, part: &str) {
    let message = format!("The {part} parameter format is incorrect");
    assert_refused(app, call, (400, "IDAAS.SDK.COMMON.1002", &message)).await;
}

#[tokio::test]
async fn a_required_device_header_that_is_missing_or_blank_is_refused() {
    let app = TestApp::start().await;
    for (header, _) in REQUIRED {
        assert_refused(&app, call().without(header), INCOMPLETE).await;
        for blank in ["", " ", "\t", " \t ", "\u{3000}"] {
            assert_refused(&app, call().with(header, blank), INCOMPLETE).await;
        }
    }
}

/// ASVS 2.2.1.
#[tokio::test]
async fn a_required_device_header_has_one_utf_8_value_within_its_length() {
    let app = TestApp::start().await;
    for (header, max) in REQUIRED {
        for long in ["x".repeat(max + 1), "é".repeat(max), "x".repeat(8_000)] {
            if header == "X-device-fingerprint" {
                assert_malformed(&app, call().with(header, long), header).await;
            } else {
                // Only recorded: it is cut, and the phone logs in.
                assert_eq!(app.send(call().with(header, &long).build()).await.status, 200, "{header}");
            }
        }
        assert_malformed(&app, call().and(header, "another"), header).await;
        for other in [&b"\xff\xfe"[..], b"\xc0\xaf", b"\xba\xec\xc3\xd7 Note 12"] {
            if header == "X-device-fingerprint" {
                assert_malformed(&app, call().with(header, other), header).await;
            } else {
                // Only recorded: old phones send the name of their model in GBK.
                assert_eq!(app.send(call().with(header, other).build()).await.status, 200, "{header}: {other:?}");
            }
        }
        for good in [&"x".repeat(max), "x", "系统", "😀"] {
            assert_eq!(app.send(call().with(header, good).build()).await.status, 200, "{header}: {good}");
        }
    }
}

#[tokio::test]
async fn an_optional_header_that_is_bad_or_repeated_counts_as_absent() {
    let app = TestApp::start().await;
    for ip in ["192.168.1.2", "::1", "garbage", "", "999.1.1.1", "1.2.3.4, 5.6.7.8"] {
        assert_eq!(app.send(call().with("X-device-ip", ip).build()).await.status, 200, "{ip}");
    }
    assert_eq!(app.send(call().and("X-device-ip", "10.0.0.1").build()).await.status, 200);
    assert_eq!(app.send(call().without("X-device-ip").build()).await.status, 200);
    assert_eq!(app.send(call().and("X-L", "zh").and("X-L", "en").build()).await.status, 200);
    assert_eq!(app.send(call().with("X-L", b"\xff").build()).await.status, 200);
}

#[tokio::test]
async fn the_client_id_is_there_once_well_formed_and_of_a_registered_app() {
    let app = TestApp::start().await;
    assert_refused(&app, call().without("X-client-id"), NO_CLIENT).await;
    for blank in ["", "  ", "\t"] {
        assert_refused(&app, call().with("X-client-id", blank), NO_CLIENT).await;
    }
    for bad in ["a b", "a.b", "ä", &"a".repeat(65), "a,b"] {
        assert_malformed(&app, call().with("X-client-id", bad), "X-client-id").await;
    }
    assert_malformed(&app, call().and("X-client-id", DEMO_CLIENT_ID), "X-client-id").await;
    assert_refused(&app, call().with("X-client-id", "a".repeat(64)), NO_APP).await;
    assert_refused(&app, call().with("X-client-id", DEMO_CLIENT_ID.to_lowercase()), NO_APP).await;
}

#[tokio::test]
async fn a_header_of_nearly_the_right_name_is_not_the_header() {
    let app = TestApp::start().await;
    assert_refused(&app, call().without("X-client-id").and("X_client_id", DEMO_CLIENT_ID), NO_CLIENT).await;
    let mut get = call().and("X-HTTP-Method-Override", "POST");
    get.method = Method::GET;
    assert_refused(&app, get, (405, "IDAAS.SDK.COM.0405", "Method not allowed")).await;
}

#[tokio::test]
async fn the_content_type_is_json_in_utf_8_and_not_compressed() {
    let app = TestApp::start().await;
    assert_malformed(&app, call().without("Content-Type"), "content-type").await;
    for bad in ["text/plain", "application/json; charset=gbk", "application/jsonx", "application/x-www-form-urlencoded"]
    {
        assert_malformed(&app, call().with("Content-Type", bad), "content-type").await;
    }
    assert_malformed(&app, call().and("Content-Type", "application/json"), "content-type").await;
    assert_malformed(&app, call().and("Content-Encoding", "gzip"), "content-encoding").await;
    for coding in ["gzip, chunked", "chunked, chunked", "identity"] {
        assert_malformed(&app, call().and("Transfer-Encoding", coding), "Transfer-Encoding").await;
    }
    for good in ["application/json; charset=utf-8", "application/json;charset=UTF8", "Application/JSON"] {
        assert_eq!(app.send(call().with("Content-Type", good).build()).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn the_body_is_one_json_object_of_at_most_16_kib() {
    let app = TestApp::start().await;
    for bad in ["", "null", "1", "[]", r#"["ad12sasdsfe3dfdg3sc"]"#, "{", r#"{"access_token":"x"}{}"#, "\u{feff}{}"] {
        assert_malformed(&app, call().body(bad), "body").await;
    }
    assert_malformed(&app, call().body(b"{\"access_token\":\"\xff\"}"), "body").await;

    let padded = |bytes: usize| {
        let mut body = format!(r#"{{"access_token":"{SEED_TOKEN}"}}"#);
        body.push_str(&" ".repeat(bytes - body.len()));
        call().body(body)
    };
    assert_eq!(app.send(padded(16 * 1024).build()).await.status, 200);
    let too_large = (413, "IDAAS.SDK.COM.0413", "Request body is too large");
    assert_refused(&app, padded(16 * 1024 + 1), too_large).await;
    let announced = app.send(call().with("Content-Length", "1000000").build()).await;
    announced.assert_error(413, too_large.1, too_large.2);
    assert_eq!(announced.header("connection"), Some("close"));
}

/// ASVS 2.2.1.
#[tokio::test]
async fn the_access_token_is_a_string_of_visible_ascii() {
    let app = TestApp::start().await;
    let blank = (400, "IDAAS.SDK.COMMON.1001", "Parameter access_token cannot be left blank");
    for body in [
        "{}",
        r#"{"access_token":null}"#,
        r#"{"access_token":""}"#,
        r#"{"access_token":"  "}"#,
        r#"{"Access_token":"x"}"#,
    ] {
        assert_refused(&app, call().body(body), blank).await;
    }
    let wrong_type = (400, "IDAAS.SDK.COMMON.1007", "The access_token parameter type error");
    for value in ["1", "true", "{}", "[]", r#"["x"]"#] {
        assert_refused(&app, call().body(format!(r#"{{"access_token":{value}}}"#)), wrong_type).await;
    }
    for bad in ["a b", "a\\u0000b", "a\\nb", "é", "\\u007f", &"x".repeat(4097)] {
        assert_malformed(&app, call().body(format!(r#"{{"access_token":"{bad}"}}"#)), "access_token").await;
    }
    assert_malformed(&app, call().body(r#"{"access_token":"a","access_token":"a"}"#), "access_token").await;
    let unknown_keys: String = (0..900).map(|n| format!(r#""k{n}":[{n}],"#)).collect();
    let body = format!(r#"{{{unknown_keys}"access_token":"{SEED_TOKEN}"}}"#);
    assert_eq!(app.send(call().body(body).build()).await.status, 200);
}

/// Each step repairs the first thing that was wrong, so each answer shows which check comes first.
#[tokio::test]
async fn the_checks_run_in_the_contracts_order() {
    let app = TestApp::start().await;
    let long = "x".repeat(2000);
    let mut worst =
        call().without("X-agent").with("X-device-fingerprint", &long).and("X-operating-sys-version", "another");
    worst = worst.without("X-client-id").with("Content-Type", "text/plain").body(vec![b'x'; 20_000]);

    assert_refused(&app, worst.clone(), INCOMPLETE).await;
    let worst = worst.and("X-agent", "1").and("X-agent", "2");
    assert_malformed(&app, worst.clone(), "X-operating-sys-version").await;
    let worst = worst.with("X-operating-sys-version", "1");
    assert_malformed(&app, worst.clone(), "X-device-fingerprint").await;
    let worst = worst.with("X-device-fingerprint", "1");
    assert_malformed(&app, worst.clone(), "X-agent").await;
    let worst = worst.with("X-agent", "1");
    assert_refused(&app, worst.clone(), NO_CLIENT).await;
    let worst = worst.with("X-client-id", "!");
    assert_malformed(&app, worst.clone(), "X-client-id").await;
    let worst = worst.with("X-client-id", "unknown");
    assert_refused(&app, worst.clone(), NO_APP).await;
    let worst = worst.with("X-client-id", DEMO_CLIENT_ID);
    assert_malformed(&app, worst.clone(), "content-type").await;
    let worst = worst.with("Content-Type", "application/json");
    assert_refused(&app, worst.clone(), (413, "IDAAS.SDK.COM.0413", "Request body is too large")).await;
    assert_malformed(&app, worst.clone().body("x"), "body").await;
    assert_eq!(app.send(worst.body(call().body).build()).await.status, 200);
}
