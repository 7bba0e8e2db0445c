//! Data keys and signing keys: one winner among replicas that start together.

use std::sync::Arc;

use oneclick_login::store::{DataKey, KeyPurpose, NewDataKey, SigningKeyRow};
use time::Duration;
use tokio::task::JoinSet;

use super::Backend;
use super::fixture::now;

fn candidates(replica: u8, purposes: &[KeyPurpose]) -> Vec<NewDataKey> {
    let candidate =
        |purpose: &KeyPurpose| NewDataKey { purpose: *purpose, wrapped: vec![replica; 61], created_at: now() };
    purposes.iter().map(candidate).collect()
}

fn signing_key(kid: &str, generation: u32) -> SigningKeyRow {
    SigningKeyRow {
        kid: kid.to_owned(),
        generation,
        alg: "ES256".to_owned(),
        private_key_wrapped: vec![7; 150],
        public_jwk: r#"{"kty":"EC",  "crv":"P-256"}"#.to_owned(),
        created_at: now(),
        signs_from: now() + Duration::minutes(10),
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

pub async fn of_replicas_that_rotate_together_one_stores_its_key<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for generation in [1, 2] {
        let mut replicas = JoinSet::new();
        for replica in 0..8 {
            let (store, key) = (Arc::clone(store), signing_key(&format!("{replica}-{generation}"), generation));
            replicas.spawn(async move { store.add_signing_key(&key).await.unwrap() });
        }
        assert_eq!(replicas.join_all().await.into_iter().filter(|stored| *stored).count(), 1);
    }
    let kept = store.signing_keys().await.unwrap();
    assert_eq!(kept.iter().map(|key| key.generation).collect::<Vec<_>>(), [1, 2]);
    assert!(!store.add_signing_key(&signing_key(&kept[0].kid, 3)).await.unwrap(), "a key has one generation");
}

pub async fn signing_keys_come_back_as_they_were_stored_in_the_order_of_their_generation<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let stored = [signing_key("b", 1), signing_key("-a", 2), signing_key("Zz", 10), signing_key("_", u32::MAX)];
    for key in stored.iter().rev() {
        assert!(store.add_signing_key(key).await.unwrap());
    }
    assert_eq!(format!("{:?}", store.signing_keys().await.unwrap()), format!("{stored:?}"));
}

pub async fn a_signing_key_is_removed_once<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    store.add_signing_key(&signing_key("old", 1)).await.unwrap();
    store.add_signing_key(&signing_key("new", 2)).await.unwrap();
    assert!(store.remove_signing_key("old").await.unwrap());
    assert!(!store.remove_signing_key("old").await.unwrap());
    let kept: Vec<_> = store.signing_keys().await.unwrap().into_iter().map(|key| key.kid).collect();
    assert_eq!(kept, ["new"]);
}

pub async fn a_data_key_is_rewrapped_only_from_the_wrapping_that_was_read<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let kept = store.ensure_data_keys(&candidates(1, &KeyPurpose::ALL)).await.unwrap();
    let key = &kept[1];
    assert!(!store.rewrap_data_key(key.id, &[9; 61], &[2; 61]).await.unwrap());
    assert!(!store.rewrap_data_key(u32::MAX, &key.wrapped, &[2; 61]).await.unwrap());
    assert_eq!(contents(&store.data_keys().await.unwrap()), contents(&kept));

    let mut rewrapping = JoinSet::new();
    for replica in 2..10 {
        let (store, key) = (Arc::clone(store), key.clone());
        let to = vec![replica; 61];
        rewrapping.spawn(async move { (store.rewrap_data_key(key.id, &key.wrapped, &to).await.unwrap(), to) });
    }
    let winners: Vec<_> = rewrapping.join_all().await.into_iter().filter(|(won, _)| *won).collect();
    assert_eq!(winners.len(), 1);
    for (before, after) in kept.iter().zip(store.data_keys().await.unwrap()) {
        assert_eq!((before.id, before.purpose), (after.id, after.purpose));
        assert_eq!(after.wrapped, if after.id == key.id { &winners[0].1 } else { &before.wrapped }[..]);
    }
}
