//! Registered applications.

use oneclick_login::ids::ClientId;
use oneclick_login::store::{App, AppKind, SecretHash};

use super::Backend;
use super::fixture::now;

fn app(client_id: &str) -> App {
    App {
        client_id: ClientId::parse(client_id).unwrap(),
        name: "Demo".to_owned(),
        kind: AppKind::Sdk,
        enabled: true,
        auto_register: None,
        secret_hash: None,
    }
}

pub async fn an_app_is_added_once_and_registered_again_with_other_words<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    assert_eq!(store.apps().await.unwrap(), []);
    assert!(store.add_app(&app("demo"), now()).await.unwrap());
    let other = App { name: "Other".to_owned(), kind: AppKind::Tenant, auto_register: Some(false), ..app("demo") };
    assert!(!store.add_app(&other, now()).await.unwrap());
    assert_eq!(store.apps().await.unwrap(), [app("demo")]);
    assert!(!store.register_app(&other, now()).await.unwrap());
    assert_eq!(store.apps().await.unwrap(), std::slice::from_ref(&other));
    assert!(store.register_app(&App { client_id: ClientId::parse("second").unwrap(), ..other }, now()).await.unwrap());
    assert_eq!(store.apps().await.unwrap().len(), 2);
}

pub async fn registering_again_leaves_enabled_as_it_is<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    store.add_app(&app("demo"), now()).await.unwrap();
    let client_id = ClientId::parse("demo").unwrap();
    for enabled in [false, false, true] {
        assert!(store.set_app_enabled(&client_id, enabled, now()).await.unwrap());
        assert!(!store.register_app(&App { enabled: !enabled, ..app("demo") }, now()).await.unwrap());
        assert_eq!(store.apps().await.unwrap(), [App { enabled, ..app("demo") }]);
    }
}

pub async fn an_app_that_is_not_there_cannot_be_enabled<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    assert!(!store.set_app_enabled(&ClientId::parse("nobody").unwrap(), true, now()).await.unwrap());
    assert_eq!(store.apps().await.unwrap(), []);
}

pub async fn apps_are_listed_by_client_id_byte_by_byte<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for client_id in ["b", "_a", "A", "a", "-z", "B", "1"] {
        store.add_app(&app(client_id), now()).await.unwrap();
    }
    let listed: Vec<_> = store.apps().await.unwrap().into_iter().map(|app| app.client_id.to_string()).collect();
    assert_eq!(listed, ["-z", "1", "A", "B", "_a", "a", "b"]);
}

pub async fn an_app_is_found_by_its_client_id<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for client_id in ["demo", "Demo"] {
        store.add_app(&app(client_id), now()).await.unwrap();
    }
    assert_eq!(store.find_app(&ClientId::parse("demo").unwrap()).await.unwrap(), Some(app("demo")));
    assert_eq!(store.find_app(&ClientId::parse("dem").unwrap()).await.unwrap(), None);
}

pub async fn a_secret_stays_until_another_one_is_registered<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let with_secret =
        |secret| App { kind: AppKind::Tenant, secret_hash: Some(SecretHash([secret; 32])), ..app("demo") };
    let bare = App { secret_hash: None, ..with_secret(1) };
    let client_id = ClientId::parse("demo").unwrap();
    let stored = async || store.find_app(&client_id).await.unwrap().unwrap();
    assert!(store.register_app(&bare, now()).await.unwrap());
    assert_eq!(stored().await, bare);
    for (registered, expected) in [(with_secret(1), 1), (bare, 1), (with_secret(2), 2), (with_secret(2), 2)] {
        assert!(!store.register_app(&registered, now()).await.unwrap());
        assert_eq!(stored().await, with_secret(expected));
    }
    assert!(!store.add_app(&with_secret(3), now()).await.unwrap());
    assert_eq!(store.apps().await.unwrap(), [with_secret(2)]);
}
