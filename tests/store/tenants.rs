//! Tenant tokens: each lives as long as its time, its app and the secret it was made under.

use oneclick_login::ids::ClientId;
use oneclick_login::session_token::{TokenHash, sha256};
use oneclick_login::store::{App, AppKind, NewTenantToken, SecretHash};
use time::Duration;

use super::fixture::now;
use super::{Backend, Subject};

pub fn tenant() -> App {
    App {
        client_id: ClientId::parse("tenant").unwrap(),
        name: "A service".to_owned(),
        kind: AppKind::Tenant,
        enabled: true,
        auto_register: None,
        secret_hash: Some(SecretHash([1; 32])),
    }
}

pub fn token(name: &str) -> NewTenantToken {
    NewTenantToken {
        token_hash: TokenHash(sha256(name.as_bytes())),
        client_id: tenant().client_id,
        secret_hash: SecretHash([1; 32]),
        created_at: now(),
        expires_at: now() + Duration::minutes(30),
    }
}

async fn with_token<B: Backend>() -> Subject {
    let subject = B::migrated().await;
    assert!(subject.store.register_app(&tenant(), now()).await.unwrap());
    subject.store.add_tenant_token(&token("first")).await.unwrap();
    assert!(lives(&subject).await);
    subject
}

async fn lives(subject: &Subject) -> bool {
    let found = subject.store.find_tenant(&token("first").token_hash, now()).await.unwrap();
    assert!(found.as_ref().is_none_or(|client_id| *client_id == tenant().client_id));
    found.is_some()
}

pub async fn a_tenant_is_found_by_each_of_its_tokens_until_their_time<B: Backend>() {
    let subject = with_token::<B>().await;
    let store = &subject.store;
    let second = NewTenantToken { expires_at: now() + Duration::hours(1), ..token("second") };
    for _repetition in 0..2 {
        store.add_tenant_token(&second).await.unwrap();
    }
    for token in [token("first"), second] {
        let found = async |at| store.find_tenant(&token.token_hash, at).await.unwrap();
        assert_eq!(found(token.expires_at - Duration::MICROSECOND).await, Some(tenant().client_id));
        assert_eq!(found(token.expires_at).await, None);
    }
    assert_eq!(store.find_tenant(&TokenHash([0; 32]), now()).await.unwrap(), None);
}

pub async fn a_tenants_tokens_do_not_work_while_it_is_disabled<B: Backend>() {
    let subject = with_token::<B>().await;
    for enabled in [false, true] {
        subject.store.set_app_enabled(&tenant().client_id, enabled, now()).await.unwrap();
        assert_eq!(lives(&subject).await, enabled);
    }
}

pub async fn a_new_secret_ends_the_tokens_of_the_old_one<B: Backend>() {
    let subject = with_token::<B>().await;
    let renamed = App { name: "Another name".to_owned(), secret_hash: None, ..tenant() };
    subject.store.register_app(&renamed, now()).await.unwrap();
    assert!(lives(&subject).await, "the secret is the same");
    let renewed = App { secret_hash: Some(SecretHash([2; 32])), ..tenant() };
    subject.store.register_app(&renewed, now()).await.unwrap();
    assert!(!lives(&subject).await);
}

pub async fn an_app_that_is_no_tenant_any_more_has_no_tokens<B: Backend>() {
    let subject = with_token::<B>().await;
    let sdk = App { kind: AppKind::Sdk, secret_hash: None, ..tenant() };
    subject.store.register_app(&sdk, now()).await.unwrap();
    assert!(!lives(&subject).await);
}

pub async fn a_token_of_an_app_that_is_not_there_or_has_no_secret_is_nobodys<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    store.add_tenant_token(&token("first")).await.unwrap();
    assert!(!lives(&subject).await);
    store.register_app(&App { secret_hash: None, ..tenant() }, now()).await.unwrap();
    assert!(!lives(&subject).await);
}
