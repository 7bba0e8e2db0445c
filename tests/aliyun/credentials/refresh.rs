//! When credentials are asked for again, what is kept meanwhile, and what a login sees of it.

use std::sync::Arc;
use std::time::Duration;

use oneclick_login::clock::Clock;
use oneclick_login::verifier::aliyun::{AliyunVerifier, Config, CredentialsSource, RefreshedCredentials};
use oneclick_login::verifier::{TokenState, VerifierError};
use tempfile::NamedTempFile;
use tokio::time::timeout;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{EXPIRES_AT, OIDC_TOKEN, assert_has, keys, minutes, oidc, oidc_config, refusal, sts_answer, token_file};
use crate::aliyun::peer::{Conduct, Peer, http};
use crate::aliyun::wire::expected_authorization;
use crate::aliyun::{SUCCESS, clock, config, verify};
use crate::support::program::eventually;

/// An STS whose answer the test changes, and a source that asks it.
struct Fixture {
    sts: MockServer,
    clock: Clock,
    source: Arc<RefreshedCredentials>,
    _token: NamedTempFile,
}

impl Fixture {
    async fn start() -> Self {
        let (sts, clock, token) = (MockServer::start().await, clock(), token_file(OIDC_TOKEN));
        let source = Arc::new(oidc(oidc_config(&sts.uri(), &token), &clock));
        Self { sts, clock, source, _token: token }
    }

    async fn answers(&self, response: ResponseTemplate) {
        self.sts.reset().await;
        Mock::given(any()).respond_with(response).mount(&self.sts).await;
    }

    /// Since the answer was last changed.
    async fn times_asked(&self) -> usize {
        self.sts.received_requests().await.unwrap().len()
    }

    async fn after(&self, time: Duration) {
        self.clock.advance(time);
        self.source.refresh_if_due().await;
    }

    fn verifier(&self, peer: &Peer) -> AliyunVerifier {
        let config = Config { credentials: Arc::clone(&self.source) as _, ..config(&peer.endpoint()) };
        AliyunVerifier::new(config, self.clock.clone()).unwrap()
    }
}

async fn get_mobile() -> Peer {
    Peer::start(Conduct::Answer(http("200 OK", SUCCESS))).await
}

#[tokio::test]
async fn new_credentials_are_fetched_a_quarter_of_an_hour_before_the_old_ones_end() {
    let fixture = Fixture::start().await;
    fixture.answers(sts_answer(&keys("one", EXPIRES_AT))).await;
    fixture.after(Duration::ZERO).await;
    fixture.after(minutes(45) - Duration::from_secs(1)).await;
    assert_eq!(fixture.times_asked().await, 1);
    assert_has(&fixture.source, "one");

    fixture.answers(sts_answer(&keys("two", "2026-03-01T10:15:00Z"))).await;
    fixture.after(Duration::from_secs(1)).await;
    assert_eq!(fixture.times_asked().await, 1);
    assert_has(&fixture.source, "two");
    fixture.after(minutes(45) - Duration::from_secs(1)).await;
    assert_eq!(fixture.times_asked().await, 1);
    fixture.after(Duration::from_secs(1)).await;
    assert_eq!(fixture.times_asked().await, 2);
}

#[tokio::test]
async fn a_failed_refresh_keeps_the_old_credentials_and_is_tried_again_soon() {
    let fixture = Fixture::start().await;
    fixture.answers(sts_answer(&keys("one", EXPIRES_AT))).await;
    fixture.after(Duration::ZERO).await;
    fixture.clock.advance(minutes(45));
    for response in [refusal(503, "ServiceUnavailable"), refusal(403, "NoPermission"), ResponseTemplate::new(200)] {
        fixture.answers(response).await;
        fixture.after(Duration::ZERO).await;
        // At once it would be one more of many.
        fixture.after(Duration::from_millis(500)).await;
        assert_eq!(fixture.times_asked().await, 1);
        assert_has(&fixture.source, "one");
        fixture.clock.advance(minutes(1));
    }
    // Even beyond their end: then Alibaba Cloud says that it is so.
    fixture.after(minutes(60)).await;
    assert_has(&fixture.source, "one");

    fixture.answers(sts_answer(&keys("two", "2026-03-01T11:30:00Z"))).await;
    fixture.after(minutes(1)).await;
    assert_has(&fixture.source, "two");
    assert_eq!(fixture.times_asked().await, 1);
}

#[tokio::test]
async fn the_next_call_is_signed_with_the_new_credentials() {
    let (fixture, mut peer) = (Fixture::start().await, get_mobile().await);
    let verifier = fixture.verifier(&peer);
    for name in ["one", "two"] {
        fixture.answers(sts_answer(&keys(name, EXPIRES_AT))).await;
        fixture.after(if name == "one" { Duration::ZERO } else { minutes(45) }).await;
        verify(&verifier).await.unwrap();
        let request = peer.next_request().await;
        assert_eq!(request.only_header("x-acs-security-token"), format!("token+{name}/="));
        let authorization = request.only_header("authorization");
        assert!(authorization.contains(&format!("Credential=STS.id-{name},")), "{authorization}");
        let signature = |text: &str| text.split_once("SignedHeaders=").map(|(_, rest)| rest.to_owned());
        let expected = expected_authorization(&request, &format!("secret-{name}"));
        assert_eq!(signature(authorization), signature(&expected));
        assert!(authorization.contains(";x-acs-security-token;"), "{authorization}");
    }
}

#[tokio::test]
async fn before_the_first_credentials_a_login_is_turned_away_at_once_with_its_token_unspent() {
    let (fixture, mut peer) = (Fixture::start().await, get_mobile().await);
    let verifier = fixture.verifier(&peer);
    let busy = verify(&verifier).await.unwrap_err();
    assert!(matches!(&busy, VerifierError::Busy { reason } if reason.contains("nobody was asked")), "{busy:?}");

    fixture.answers(refusal(503, "ServiceUnavailable")).await;
    fixture.after(Duration::ZERO).await;
    let busy = verify(&verifier).await.unwrap_err();
    assert!(matches!(&busy, VerifierError::Busy { reason } if reason.contains("HTTP 503")), "{busy:?}");

    fixture.answers(refusal(403, "NoPermission")).await;
    fixture.after(minutes(1)).await;
    let wrong = verify(&verifier).await.unwrap_err();
    assert!(matches!(&wrong, VerifierError::Misconfigured { code } if code.contains("NoPermission")), "{wrong:?}");

    assert_eq!([busy.token_state(), wrong.token_state()], [TokenState::Unspent; 2]);
    assert!(peer.requests().is_empty() && peer.connections() == 0);

    fixture.answers(sts_answer(&keys("one", EXPIRES_AT))).await;
    fixture.after(minutes(1)).await;
    verify(&verifier).await.unwrap();
}

#[tokio::test]
async fn logins_do_not_wait_for_a_refresh_under_way() {
    let (fixture, mut peer) = (Fixture::start().await, get_mobile().await);
    let verifier = fixture.verifier(&peer);
    fixture.answers(sts_answer(&keys("one", EXPIRES_AT))).await;
    fixture.after(Duration::ZERO).await;

    fixture.answers(sts_answer(&keys("two", "2026-03-01T10:15:00Z")).set_delay(minutes(1))).await;
    fixture.clock.advance(minutes(45));
    let source = Arc::clone(&fixture.source);
    let refresh = tokio::spawn(async move { source.refresh_if_due().await });
    eventually("asked", async || (fixture.times_asked().await == 1).then_some(())).await;
    let logins = futures_util::future::join_all((0..8).map(|_| verify(&verifier)));
    for login in timeout(Duration::from_secs(5), logins).await.expect("no login waits") {
        login.unwrap();
        assert_eq!(peer.next_request().await.only_header("x-acs-security-token"), "token+one/=");
    }
    assert!(!refresh.is_finished());
    refresh.abort();
}

#[tokio::test]
async fn in_the_background_the_first_credentials_come_by_themselves_also_after_a_failure() {
    let fixture = Fixture::start().await;
    fixture.answers(refusal(503, "ServiceUnavailable")).await;
    let source = Arc::clone(&fixture.source);
    let background = tokio::spawn(async move { source.keep_fresh().await });
    eventually("asked", async || (fixture.times_asked().await == 1).then_some(())).await;
    fixture.answers(sts_answer(&keys("one", EXPIRES_AT))).await;
    fixture.clock.advance(Duration::from_secs(2));
    eventually("there", async || fixture.source.current().ok()).await;
    background.abort();
}
