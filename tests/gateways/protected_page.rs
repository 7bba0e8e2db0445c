//! A page behind Apache: a good id_token gets in, a bad one stays out, and the application hears of the user's id alone.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::apache::Apache;
use super::nginx::Nginx;
use super::recorder::{Conduct, Recorder};
use crate::support::app::{DEMO_CLIENT_ID, ISSUER, login};
use crate::support::postgres::{self, TestDatabase};
use crate::support::program::{Program, Setup, eventually};

const OTHER_CLIENT_ID: &str = "another-app";

struct Stage {
    database: TestDatabase,
    program: Program,
    nginx: Nginx,
    application: Recorder,
    apache: Apache,
}

fn setup(database: &TestDatabase) -> Setup {
    Setup::on(database.url()).patient().set("ONECLICK_ID_TOKEN__ISSUER", ISSUER)
}

impl Stage {
    async fn set() -> Self {
        let database = postgres::database().await;
        let registering = setup(&database);
        let arguments = ["app", "register", "--client-id", OTHER_CLIENT_ID, "--name", "Another"];
        let registered = registering.run(&arguments).await;
        assert_eq!(registered.code, Some(0), "{registered:?}");
        let program = registering.start().await;
        let nginx = Nginx::before([program.listen; 2]);
        let application = Recorder::start(Conduct::Answers).await;
        let apache = Apache::before(application.address, &nginx);
        Self { database, program, nginx, application, apache }
    }

    async fn token(&self) -> String {
        id_token(&self.program, "sandbox:13900000001:good", DEMO_CLIENT_ID).await
    }
}

async fn id_token(program: &Program, access_token: &str, client_id: &str) -> String {
    let answer = program.send(login(access_token).with("X-client-id", client_id)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text("id_token")
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

#[tokio::test]
async fn a_good_id_token_gets_in_and_the_application_hears_of_the_users_id_alone() {
    let stage = Stage::set().await;
    let token = stage.token().await;
    let answer = stage
        .apache
        .get(
            "/page",
            &[
                ("Authorization", &format!("Bearer {token}")),
                ("X-User-Id", "forged"),
                ("X_User_Id", "forged"),
                ("OIDC_CLAIM_sub", "forged"),
                ("Remote-User", "forged"),
            ],
        )
        .await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"seen"[..]), "{answer:?}");

    let [request] = stage.application.seen().try_into().unwrap();
    assert_eq!(request.line, "GET /page HTTP/1.1");
    assert_eq!(request.header("x-user-id"), part(&token, 1)["sub"].as_str());
    let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!names.iter().any(|name| name.contains('_') || *name == "authorization"), "{names:?}");
    assert!(!format!("{request:?}").contains("13900000001"), "the number is nobody's business here: {request:?}");
}

#[tokio::test]
async fn a_bad_id_token_stays_out() {
    let stage = Stage::set().await;
    let good = stage.token().await;
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let [_, _, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();

    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[10] ^= 1;
    let body = format!("{}.{}", encoded(&header), encoded(&claims));
    let mut other_user = claims.clone();
    other_user["sub"] = json!("somebody-else");
    // With the public key, as published, for the secret: the oldest trick against a verifier that believes `alg`.
    let keys = stage.nginx.get("/api/v1/oauth2/keys").await.body;
    let confused =
        format!("{}.{}", encoded(&json!({"alg": "HS256", "typ": "JWT", "kid": header["kid"]})), encoded(&claims));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &keys), confused.as_bytes());

    let strangers_database = postgres::database().await;
    let stranger = setup(&strangers_database).start().await;
    let elsewhere = setup(&stage.database).set("ONECLICK_ID_TOKEN__ISSUER", "https://elsewhere.example/api/v1/oauth2");
    let elsewhere = elsewhere.start().await;

    let bad = [
        ("a changed signature", format!("{body}.{}", URL_SAFE_NO_PAD.encode(flipped))),
        ("changed claims", format!("{}.{}.{signature}", encoded(&header), encoded(&other_user))),
        ("no signature", format!("{}.{}.", encoded(&json!({"alg": "none", "typ": "JWT"})), encoded(&claims))),
        ("another algorithm", format!("{confused}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))),
        ("another service's key", id_token(&stranger, "sandbox:13900000001:1", DEMO_CLIENT_ID).await),
        ("another issuer", id_token(&elsewhere, "sandbox:13900000001:2", DEMO_CLIENT_ID).await),
        ("another application", id_token(&stage.program, "sandbox:13900000001:3", OTHER_CLIENT_ID).await),
        ("no token at all", "x".to_owned()),
    ];
    for (what, token) in bad {
        assert_eq!(stage.apache.page(&token).await.status, 401, "{what}");
    }
    assert_eq!(stage.apache.get("/page", &[]).await.status, 401, "nothing");
    let basic = [("Authorization", "Basic dXNlcjpwYXNzd29yZA==")];
    assert_eq!(stage.apache.get("/page", &basic).await.status, 401, "another scheme");
    let by_query = format!("/page?access_token={good}");
    assert_eq!(stage.apache.get(&by_query, &[]).await.status, 401, "a token where logs would keep it");
    assert!(stage.application.seen().is_empty(), "{:?}", stage.application.seen());

    assert_eq!(stage.apache.page(&good).await.status, 200, "and the good one still gets in");
}

#[tokio::test]
async fn an_id_token_that_has_expired_stays_out() {
    let stage = Stage::set().await;
    let short = setup(&stage.database).set("ONECLICK_ID_TOKEN__TTL_SECONDS", "1").start().await;
    let token = id_token(&short, "sandbox:13900000001:short", DEMO_CLIENT_ID).await;
    eventually("expired", async || (stage.apache.page(&token).await.status == 401).then_some(())).await;
    assert_eq!(stage.apache.page(&stage.token().await).await.status, 200);
}

#[tokio::test]
async fn a_new_signing_key_is_known_at_once() {
    let stage = Stage::set().await;
    let before = stage.token().await;
    assert_eq!(stage.apache.page(&before).await.status, 200);
    let rotated = setup(&stage.database).run(&["key", "rotate", "--compromised"]).await;
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    let mut n = 0;
    let after = eventually("rotated", async || {
        n += 1;
        let token = id_token(&stage.program, &format!("sandbox:13900000001:{n}"), DEMO_CLIENT_ID).await;
        (part(&token, 0)["kid"] != part(&before, 0)["kid"]).then_some(token)
    })
    .await;
    assert_eq!(stage.apache.page(&after).await.status, 200);
}
