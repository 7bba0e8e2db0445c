//! What an operator does about sessions, users, tenants and keys while the server runs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::rows::subject;
use crate::support::app::{Answer, Call, SEED_TOKEN, login, with_session};
use crate::support::program::{Program, Ran, Setup, eventually};

const REFRESH: &str = "/api/v2/sdk/sso/session-token/id-token";

#[track_caller]
fn said(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    &ran.stdout
}

async fn refresh(server: &Program, login: &Answer) -> Answer {
    server.send(with_session(REFRESH, &login.text("session_token"))).await.unwrap()
}

async fn kids(server: &Program) -> Vec<String> {
    let keys = server.get("/api/v1/oauth2/keys").await.json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn sessions_are_listed_and_revoked_one_by_one_by_user_and_by_app() {
    let setup = Setup::new();
    let server = setup.start().await;
    let (one, two) = (server.log_in(SEED_TOKEN).await, server.log_in(SEED_TOKEN).await);
    let user = subject(&one).to_string();
    assert_eq!(refresh(&server, &one).await.status, 200);

    let list = setup.run(&["session", "list", "--user", &user]).await;
    let rows: Vec<_> = said(&list).lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(rows.iter().map(|row| row[1]).collect::<Vec<_>>(), ["unused", "used"], "{list:?}");

    let first = rows[1][0];
    assert_eq!(said(&setup.run(&["session", "revoke", "--id", first]).await), format!("revoked session {first}\n"));
    assert_eq!(refresh(&server, &one).await.error_code(), "IDAAS.SDK.PARAM.0023");
    assert_eq!(refresh(&server, &two).await.status, 200);

    let three = server.log_in(SEED_TOKEN).await;
    let client = crate::support::app::DEMO_CLIENT_ID;
    let revoked = setup.run(&["session", "revoke", "--all-of-client", client]).await;
    assert_eq!(said(&revoked), format!("revoked 2 sessions of app {client}\n"));
    assert_eq!(refresh(&server, &three).await.error_code(), "IDAAS.SDK.PARAM.0023");

    let four = server.log_in(SEED_TOKEN).await;
    said(&setup.run(&["session", "revoke", "--user", &user]).await);
    assert_eq!(refresh(&server, &four).await.error_code(), "IDAAS.SDK.PARAM.0023");

    for wrong in [&["session", "revoke"][..], &["session", "revoke", "--id", first, "--user", &user]] {
        assert_eq!(setup.run(wrong).await.code, Some(2), "{wrong:?}");
    }
    assert_eq!(setup.run(&["session", "revoke", "--id", &user]).await.code, Some(1));
}

#[tokio::test]
async fn an_erased_user_is_gone_and_the_number_registers_afresh() {
    let setup = Setup::new();
    let server = setup.start().await;
    let before = server.log_in(SEED_TOKEN).await;
    let id = subject(&before).to_string();
    assert_eq!(said(&setup.run(&["user", "erase", "--id", &id]).await), format!("erased user {id}\n"));
    assert_eq!(refresh(&server, &before).await.error_code(), "IDAAS.SDK.PARAM.0023");
    assert_eq!(setup.run(&["user", "find", "--mobile", "13800000001"]).await.code, Some(1));
    assert_eq!(setup.run(&["user", "erase", "--id", &id]).await.code, Some(1), "once");
    assert_ne!(subject(&server.log_in(SEED_TOKEN).await).to_string(), id);
}

#[tokio::test]
async fn a_tenants_secret_is_shown_once_and_a_new_one_replaces_it() {
    let setup = Setup::new();
    let server = setup.start().await;
    let register = ["app", "register", "--client-id", "service", "--name", "Ours", "--kind", "tenant"];
    let secret_in = |ran: &Ran| said(ran).lines().find_map(|line| Some(line.split_once(": ")?.1.to_owned()));
    let secret = secret_in(&setup.run(&register).await).unwrap();
    assert_eq!(secret_in(&setup.run(&register).await), None, "shown once");

    let token = async |secret: &str| {
        let basic = STANDARD.encode(format!("service:{secret}"));
        let call = Call {
            path: "/api/v2/tenant/token".to_owned(),
            headers: vec![("Authorization".to_owned(), format!("Basic {basic}").into_bytes())],
            ..login("")
        };
        let call = call.and("Content-Type", "application/x-www-form-urlencoded").body("grant_type=client_credentials");
        server.send(call).await.unwrap().status.as_u16()
    };
    assert_eq!(token(&secret).await, 200);
    let new_secret = setup.run(&[&register[..], &["--new-secret"]].concat()).await;
    let new_secret = secret_in(&new_secret).unwrap();
    assert_eq!((token(&secret).await, token(&new_secret).await), (401, 200));
    let sdk = ["app", "register", "--client-id", "x", "--name", "X", "--new-secret"];
    assert_eq!(setup.run(&sdk).await.code, Some(1));
}

#[tokio::test]
async fn keys_are_listed_and_rotated_and_the_running_server_follows() {
    let setup = Setup::new();
    let server = setup.start().await;
    let before = kids(&server).await;
    let login = server.log_in(SEED_TOKEN).await;

    said(&setup.run(&["key", "rotate"]).await);
    eventually("the next key is published", async || (kids(&server).await.len() == 2).then_some(())).await;
    let list = setup.run(&["key", "list"]).await;
    assert!(said(&list).contains("active") && said(&list).contains("next"), "{list:?}");
    assert_eq!(setup.run(&["key", "rotate"]).await.code, Some(1), "one is waiting");
    assert_eq!(setup.run(&["key", "remove", "--kid", &before[0]]).await.code, Some(1), "it signs");

    said(&setup.run(&["key", "rotate", "--compromised"]).await);
    eventually("the old keys are gone", async || {
        let now = kids(&server).await;
        (now.len() == 1 && now != before).then_some(())
    })
    .await;
    let renewed = refresh(&server, &login).await;
    let header = jsonwebtoken::decode_header(renewed.text("id_token")).unwrap();
    assert_eq!(header.kid.as_ref(), kids(&server).await.first(), "the session lives on under the new key");
    said(&setup.run(&["key", "rewrap"]).await);
}
