//! Logins from one client address: whose word is taken for it, what counts as one, and that nobody is surprised.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;

use super::assert_over_limit;
use crate::support::app::{Answer, Call, SEED_TOKEN, TestApp, login};

const GATEWAY: &str = "10.0.0.1:40000";
const TWO: (&str, &str) = ("ONECLICK_LIMITS__LOGINS_PER_ADDRESS_PER_MINUTE", "2");

/// Two logins a minute from an address, behind a gateway.
async fn behind_a_gateway() -> TestApp {
    TestApp::with(&[("ONECLICK_SERVER__TRUSTED_PROXIES", "10.0.0.0/8"), TWO]).await
}

/// As the server hands it over from a connection.
pub async fn send(app: &TestApp, peer: &str, call: Call) -> Answer {
    let mut request = call.build();
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    app.send(request).await
}

async fn forwarded(app: &TestApp, forwarded_for: &str) -> Answer {
    send(app, GATEWAY, login(SEED_TOKEN).and("X-Forwarded-For", forwarded_for)).await
}

#[tokio::test]
async fn every_client_behind_a_gateway_has_a_limit_of_its_own() {
    let app = behind_a_gateway().await;
    for client in ["198.51.100.1", "198.51.100.2"] {
        for _ in 0..2 {
            assert_eq!(forwarded(&app, client).await.status, 200);
        }
        assert_over_limit(&forwarded(&app, client).await, "30");
    }
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(forwarded(&app, "198.51.100.1").await.status, 200);
}

/// ASVS 4.1.3.
#[tokio::test]
async fn ids_are_taken_from_gateways_alone() {
    let declared = behind_a_gateway().await;
    let undeclared = TestApp::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (app, peer, kept) in [
        (&declared, GATEWAY, true),
        (&declared, "127.0.0.1:7", false),
        (&declared, "198.51.100.1:7", false),
        (&undeclared, "127.0.0.1:7", true),
        (&undeclared, "[::ffff:127.0.0.1]:7", true),
        (&undeclared, "10.0.0.1:7", false),
    ] {
        let call = login(SEED_TOKEN).and("X-Request-Id", "forged").and("traceparent", trace);
        let answer = send(app, peer, call).await;
        assert_eq!(answer.header("x-request-id") == Some("forged"), kept, "{peer}");
    }
}

/// ASVS 15.3.4.
#[tokio::test]
async fn an_address_cannot_dodge_its_limit_by_what_it_sends_itself() {
    let app = behind_a_gateway().await;
    for _ in 0..2 {
        forwarded(&app, "198.51.100.1").await;
    }
    for spelling in [
        "198.51.100.1",
        "198.51.100.1:1234",
        "::ffff:198.51.100.1",
        "[::ffff:c633:6401]:1",
        "203.0.113.9, 198.51.100.1",
        "10.0.0.9, 198.51.100.1",
        "203.0.113.9,198.51.100.1 , 10.3.3.3",
        "nonsense, 198.51.100.1",
    ] {
        assert_over_limit(&forwarded(&app, spelling).await, "30");
    }
    let two_headers = login(SEED_TOKEN).and("X-FORWARDED-FOR", "203.0.113.9").and("x-forwarded-for", "198.51.100.1");
    assert_over_limit(&send(&app, GATEWAY, two_headers).await, "30");
    for header in ["X-device-ip", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP"] {
        let call = login(SEED_TOKEN).with(header, "203.0.113.9").and("X-Forwarded-For", "198.51.100.1");
        assert_over_limit(&send(&app, GATEWAY, call).await, "30");
    }
    assert_over_limit(&send(&app, "198.51.100.1:7", login(SEED_TOKEN)).await, "30");
    let straight = login(SEED_TOKEN).and("X-Forwarded-For", "203.0.113.9");
    assert_over_limit(&send(&app, "[::ffff:198.51.100.1]:7", straight).await, "30");
}

#[tokio::test]
async fn the_addresses_of_one_ipv6_customer_are_one() {
    let app = behind_a_gateway().await;
    assert_eq!(forwarded(&app, "2001:db8:1:2::1").await.status, 200);
    assert_eq!(forwarded(&app, "2001:db8:1:2:aaaa::").await.status, 200);
    for alias in ["2001:db8:1:2::2", "2001:DB8:1:2:0:0:0:1", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:443"] {
        assert_over_limit(&forwarded(&app, alias).await, "30");
    }
    assert_eq!(forwarded(&app, "2001:db8:1:3::1").await.status, 200);
}

#[tokio::test]
async fn without_declared_proxies_thousands_may_log_in_from_one_address() {
    let app = TestApp::with(&[TWO]).await;
    for n in 0..2_000 {
        let call = login(SEED_TOKEN).and("X-Forwarded-For", format!("203.0.113.{}", n % 7));
        assert_eq!(send(&app, GATEWAY, call).await.status, 200);
    }
}

#[tokio::test]
async fn behind_a_declared_gateway_that_names_nobody_thousands_may_log_in() {
    let app = behind_a_gateway().await;
    for unnamed in [login(SEED_TOKEN), login(SEED_TOKEN).and("X-Forwarded-For", "unknown")] {
        for _ in 0..1_000 {
            assert_eq!(send(&app, GATEWAY, unnamed.clone()).await.status, 200);
        }
    }
}

#[tokio::test]
async fn where_nobody_is_in_front_declaring_the_host_itself_counts_every_peer() {
    let app = TestApp::with(&[("ONECLICK_SERVER__TRUSTED_PROXIES", "127.0.0.1"), TWO]).await;
    for n in 0..3 {
        let peer = format!("198.51.100.1:{}", 1_000 + n);
        let answer = send(&app, &peer, login(SEED_TOKEN).and("X-Forwarded-For", format!("203.0.113.{n}"))).await;
        assert_eq!(answer.status.as_u16(), if n < 2 { 200 } else { 429 });
    }
}

#[tokio::test]
async fn the_limit_by_address_is_generous_unless_it_is_set() {
    let app = TestApp::with(&[("ONECLICK_SERVER__TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    for _ in 0..600 {
        assert_eq!(forwarded(&app, "198.51.100.1").await.status, 200);
    }
    assert_over_limit(&forwarded(&app, "198.51.100.1").await, "1");
}
