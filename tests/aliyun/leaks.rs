//! No error shows the token, a secret or a number, whatever the peer does and says.

use oneclick_login::verifier::VerifierError;

use super::peer::{Conduct, Peer, everything_printed, http};
use super::{ACCESS_KEY_SECRET, SUCCESS, TOKEN, config, impatient, verifier, verify};
use crate::support::log::Log;

const SECRETS: [&str; 4] = ["canary", "AccessToken=", "%2B%3D%3D", "13900001234"];

fn assert_nothing_leaks(result: Result<impl std::fmt::Debug, VerifierError>) {
    let error = result.expect_err("only failures are looked at here");
    let printed = everything_printed(&error);
    for secret in SECRETS {
        assert!(!printed.contains(secret), "{secret} in: {printed}");
    }
}

#[tokio::test]
async fn no_error_of_an_answer_shows_what_the_peer_echoes() {
    let echo = format!("POST\\n/\\nAccessToken={TOKEN} 13900001234 {ACCESS_KEY_SECRET}");
    let bodies = [
        format!(r#"{{"Code":"SignatureDoesNotMatch","Message":"server string to sign is: {echo}","RequestId":"r"}}"#),
        format!(r#"{{"Code":"isv.TOKEN_INVALID","Message":"{echo}","RequestId":"r"}}"#),
        format!(r#"{{"Code":"isv.NEVER_HEARD_OF","Message":"{echo}","Recommend":"{echo}","RequestId":["{echo}"]}}"#),
        format!(r#"{{"Code":"OK","GetMobileResultDTO":{{"Mobile":"{echo}"}}}}"#),
        r#"{"Code":"OK","GetMobileResultDTO":"13900001234"}"#.to_owned(),
        r#"{"Code":13900001234}"#.to_owned(),
        format!(r#"{{"Code":["{echo}"]}}"#),
        format!(r#""{echo}""#),
        echo.clone(),
        format!("<html>{echo}</html>"),
        " ".repeat(100_000) + &echo,
    ];
    for body in bodies {
        for status in ["200 OK", "400 Bad Request", "503 Service Unavailable"] {
            let peer = Peer::start(Conduct::Answer(http(status, &body))).await;
            assert_nothing_leaks(verify(&verifier(config(&peer.endpoint()))).await);
        }
    }
}

#[tokio::test]
async fn no_error_of_a_connection_shows_the_url() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec();
    for conduct in [
        Conduct::Deaf,
        Conduct::Reset,
        Conduct::ResetAtOnce,
        Conduct::Answer(half.clone()),
        Conduct::AnswerAndClose(half),
        Conduct::AnswerAndClose(Vec::new()),
        Conduct::AnswerAndClose(format!("canary {TOKEN}\r\n\r\n").into_bytes()),
        Conduct::AnswerAndClose(format!("HTTP/1.1 200 OK\r\n{TOKEN}\r\n\r\n").into_bytes()),
        Conduct::AnswerAndClose(format!("HTTP/1.1 302 Found\r\nLocation: /{TOKEN}\r\n\r\n").into_bytes()),
        Conduct::Babble(b"not TLS".to_vec()),
    ] {
        let peer = Peer::start(conduct).await;
        assert_nothing_leaks(verify(&impatient(&peer.endpoint())).await);
        assert_nothing_leaks(verify(&impatient(&format!("https://{}", peer.host))).await);
    }
    assert_nothing_leaks(verify(&impatient("http://127.0.0.1:1")).await);
    assert_nothing_leaks(verify(&impatient("https://no-such-host.invalid")).await);
}

#[tokio::test]
async fn no_log_line_of_any_level_shows_the_token_a_secret_or_the_number() {
    let log = Log::default();
    let _guard = log.listen();
    for conduct in [Conduct::Answer(http("200 OK", SUCCESS)), Conduct::Reset] {
        let peer = Peer::start(conduct).await;
        let _ = verify(&verifier(config(&peer.endpoint()))).await;
    }
    let lines = log.lines();
    for expected in ["aliyun.request_id=\"8906582E\"", "verifier.outcome=\"no_answer\"", "TRACE hyper_util"] {
        assert!(lines.contains(expected), "{expected} not in: {lines}");
    }
    for secret in SECRETS {
        assert!(!lines.contains(secret), "{secret} in: {lines}");
    }
}
