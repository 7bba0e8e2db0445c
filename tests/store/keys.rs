//! Data keys and signing keys: one winner among replicas that start together.

use std::sync::Arc;

use oneclick_login::store::{DataKey, KeyPurpose, KeyState, NewDataKey, SigningKeyRow};
use time::Duration;
use tokio::task::JoinSet;

use super::Backend;
use super::fixture::now;

fn candidates(replica: u8, purposes: &[KeyPurpose]) -> Vec<NewDataKey> {
    let candidate =
        |purpose: &KeyPurpose| NewDataKey { purpose: *purpose, wrapped: vec![replica; 61], created_at: now() };
    purposes.iter().map(candidate).collect()
}

fn signing_key(kid: &str, state: KeyState) -> SigningKeyRow {
    SigningKeyRow {
        kid: kid.to_owned(),
        alg: "ES256".to_owned(),
        private_key_wrapped: vec![7; 150],
        public_jwk: r#"{"kty":"EC",  "crv":"P-256"}"#.to_owned(),
        state,
        created_at: now(),
        activated_at: Some(now() + Duration::seconds(1)),
        retired_at: None,
    }
}

fn contents(keys: &[DataKey]) -> Vec<(u32, KeyPurpose, Vec<u8>)> {
    keys.iter().map(|key| (key.id, key.purpose, key.wrapped.clone())).collect()
}

pub async fn concurrent_starts_agree_on_one_data_key_for_each_purpose<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let mut replicas = JoinSet::new();
    for replica in 0..8 {
        let store = Arc::clone(store);
        let mut purposes = KeyPurpose::ALL;
        purposes.rotate_left(usize::from(replica) % 4);
        replicas.spawn(async move { store.ensure_data_keys(&candidates(replica, &purposes)).await.unwrap() });
    }
    let seen = replicas.join_all().await;
    assert!(seen.iter().all(|keys| contents(keys) == contents(&seen[0])));
    assert_eq!(seen[0].len(), 4);
    assert!(KeyPurpose::ALL.iter().all(|purpose| seen[0].iter().any(|key| key.purpose == *purpose)));
    assert!(seen[0].iter().all(|key| key.id > 0));
    assert_eq!(contents(&store.data_keys().await.unwrap()), contents(&seen[0]));
}

pub async fn a_missing_purpose_is_added_and_the_others_stay<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let kept = store.ensure_data_keys(&candidates(1, &[KeyPurpose::PhoneSeal])).await.unwrap();
    let all = store.ensure_data_keys(&candidates(2, &KeyPurpose::ALL)).await.unwrap();
    assert_eq!(all.len(), 4);
    for key in &all {
        assert_eq!(key.wrapped[0], if key.purpose == KeyPurpose::PhoneSeal { 1 } else { 2 });
    }
    assert!(all.iter().any(|key| key.id == kept[0].id && key.purpose == KeyPurpose::PhoneSeal));
}

pub async fn reading_data_keys_makes_none<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    assert!(store.data_keys().await.unwrap().is_empty());
    assert!(store.ensure_data_keys(&[]).await.unwrap().is_empty());
}

pub async fn concurrent_starts_store_one_active_signing_key<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for state in [KeyState::Active, KeyState::Next] {
        let mut replicas = JoinSet::new();
        for replica in 0..8 {
            let (store, kid) = (Arc::clone(store), format!("{replica}-{}", state.as_str()));
            replicas.spawn(async move { store.add_signing_key(&signing_key(&kid, state)).await.unwrap() });
        }
        assert_eq!(replicas.join_all().await.into_iter().filter(|stored| *stored).count(), 1);
    }
    assert!(store.add_signing_key(&signing_key("old", KeyState::Retiring)).await.unwrap());
    assert!(store.add_signing_key(&signing_key("older", KeyState::Retiring)).await.unwrap());
    assert!(!store.add_signing_key(&signing_key("older", KeyState::Retiring)).await.unwrap());
    assert_eq!(store.signing_keys().await.unwrap().len(), 4);
}

pub async fn a_signing_key_comes_back_as_it_was_stored<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let retiring = SigningKeyRow {
        retired_at: Some(now() + Duration::hours(2)),
        activated_at: None,
        ..signing_key("Zz", KeyState::Retiring)
    };
    let stored = [signing_key("-b", KeyState::Active), retiring, signing_key("_a", KeyState::Next)];
    for key in stored.iter().rev() {
        assert!(store.add_signing_key(key).await.unwrap());
    }
    let read = store.signing_keys().await.unwrap();
    assert_eq!(format!("{read:?}"), format!("{stored:?}"));
}
