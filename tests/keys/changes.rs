//! Each change of the keys by itself: by command, by age, by setting; and what a replica does when it cannot follow.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oneclick_login::clock::Clock;
use oneclick_login::keys::{Config, KeysError, SigningAlg, Timing};
use oneclick_login::store::{SigningKeyRow, Store};

use sqlx::Executor;

use super::replica::{Replica, config, timing};
use super::{at, on_both_stores};
use crate::support::postgres::{TestDatabase, database};

on_both_stores! {
    the_next_key_signs_after_two_max_ages_without_a_reading_in_between,
    a_clock_that_goes_back_signs_with_no_older_key,
    a_rotation_is_refused_while_one_is_pending,
    the_next_key_takes_over_when_the_lifetime_ends,
    a_changed_algorithm_is_a_rotation_once,
    a_compromised_key_is_gone_at_once_and_with_it_its_next,
    a_key_is_removed_only_when_its_last_token_has_died,
    a_key_whose_last_token_has_died_is_removed_by_whoever_comes_first,
    what_cannot_be_read_leaves_the_last_keys_in_use,
    a_key_that_the_vault_did_not_wrap_is_never_published,
    keys_are_changed_with_a_right_clock_only,
    left_to_itself_a_replica_rotates_what_is_due_unless_its_clock_is_wrong,
}

const LEAD: i64 = 600;
const AFTERLIFE: i64 = 300 + 300 + 60;

async fn the_next_key_signs_after_two_max_ages_without_a_reading_in_between(store: &Arc<dyn Store>) {
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    let first = replica.signer(0);
    let next = replica.keys.rotate(SigningAlg::EdDsa, at(1_000)).await.unwrap();
    assert_eq!(next.signs_from, at(1_000 + LEAD));
    assert_eq!(replica.kids(), BTreeSet::from([first.clone(), next.kid.clone()]));
    assert_eq!(replica.keys.snapshot().algorithms, ["ES256", "EdDSA"]);
    assert_eq!(replica.signer(1_000 + LEAD - 1), first);
    assert_eq!(replica.signer(1_000 + LEAD), next.kid);
    assert!(replica.publish().verifies(&replica.sign(1_000 + LEAD)));
}

async fn a_clock_that_goes_back_signs_with_no_older_key(store: &Arc<dyn Store>) {
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    let next = replica.keys.rotate(SigningAlg::Es256, at(0)).await.unwrap();
    replica.tend(LEAD).await;
    assert_eq!(replica.signer(LEAD - 3_600), next.kid);
}

async fn a_rotation_is_refused_while_one_is_pending(store: &Arc<dyn Store>) {
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    let next = replica.keys.rotate(SigningAlg::Es256, at(0)).await.unwrap();
    let error = replica.keys.rotate(SigningAlg::Es256, at(LEAD - 1)).await.unwrap_err();
    let expected = format!("a rotation is under way: the key {} signs from 2026-09-21T14:23:20Z on", next.kid);
    assert_eq!(error.to_string(), expected);
    assert!(replica.keys.rotate(SigningAlg::Es256, at(LEAD)).await.is_ok());
}

async fn the_next_key_takes_over_when_the_lifetime_ends(store: &Arc<dyn Store>) {
    const DAY: i64 = 86_400;
    let config = Config { key_lifetime: Some(Duration::from_secs(86_400)), ..config(timing()) };
    let replicas = [Replica::start(store, config, (0, 0)).await, Replica::start(store, config, (0, 0)).await];
    let first = replicas[0].signer(0);
    for (second, keys) in [(DAY - LEAD - 1, 1), (DAY - LEAD, 2), (DAY - 1, 2), (DAY, 2), (DAY + AFTERLIFE, 1)] {
        let (one, other) =
            tokio::join!(replicas[0].keys.tend(at(second)), replicas[1].keys.tend(replicas[1].now(second)));
        assert!(one.is_ok() && other.is_ok());
        replicas[0].tend(second).await;
        assert_eq!(store.signing_keys().await.unwrap().len(), keys, "at {second}");
        assert_eq!(replicas[0].signer(second) == first, second < DAY, "at {second}");
    }
}

async fn a_changed_algorithm_is_a_rotation_once(store: &Arc<dyn Store>) {
    let old = Replica::start(store, config(timing()), (0, 0)).await;
    old.tend(0).await;
    let changed = Config { signing_alg: SigningAlg::EdDsa, ..config(timing()) };
    let new = Replica::start(store, changed, (10, 0)).await;
    new.tend(10).await;
    let rows = store.signing_keys().await.unwrap();
    assert_eq!((rows.len(), rows[1].alg.as_str(), rows[1].signs_from), (2, "EdDSA", at(10 + LEAD)));
    // Another one restarts with the old setting, while the change is pending: it does not rotate back, now or later.
    let restarted = Replica::start(store, config(timing()), (20, 0)).await;
    for second in [20, 10 + LEAD, 20 + LEAD, 5_000] {
        for replica in [&old, &new, &restarted] {
            replica.tend(second).await;
        }
    }
    let rows = store.signing_keys().await.unwrap();
    assert_eq!((rows.len(), rows[0].alg.as_str()), (1, "EdDSA"));
    assert_eq!(old.signer(5_000), rows[0].kid);
}

async fn a_compromised_key_is_gone_at_once_and_with_it_its_next(store: &Arc<dyn Store>) {
    let (one, other) = (
        Replica::start(store, config(timing()), (0, 0)).await,
        Replica::start(store, config(timing()), (0, -30)).await,
    );
    let (stolen, token) = (one.signer(0), one.sign(0));
    let next = one.keys.rotate(SigningAlg::Es256, at(0)).await.unwrap().kid;
    let replaced = one.keys.rotate_compromised(SigningAlg::Es256, at(100)).await.unwrap();
    assert_eq!(replaced.removed, [stolen, next]);
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
    assert_eq!((one.signer(100), one.kids()), (replaced.kid.clone(), BTreeSet::from([replaced.kid.clone()])));
    assert!(!one.publish().verifies(&token));
    // The other one follows with its next reading, although its clock says that the new key is yet to sign.
    other.tend(100).await;
    assert_eq!(other.signer(100), replaced.kid);
    assert!(one.publish().verifies(&other.sign(100)));
}

async fn a_key_is_removed_only_when_its_last_token_has_died(store: &Arc<dyn Store>) {
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    let old = replica.signer(0);
    let next = replica.keys.rotate(SigningAlg::Es256, at(0)).await.unwrap().kid;
    let gone = LEAD + AFTERLIFE;
    for (kid, second) in [(&old, 0), (&next, 0), (&next, LEAD), (&next, gone)] {
        let error = replica.keys.remove(kid, at(second)).await.unwrap_err();
        assert!(matches!(error, KeysError::InUse { .. }), "{error}");
    }
    for second in [LEAD, gone - 1] {
        match replica.keys.remove(&old, at(second)).await.unwrap_err() {
            KeysError::StillNeeded { kid, until } => assert_eq!((kid, until), (old.clone(), at(gone))),
            error => panic!("{error}"),
        }
    }
    replica.keys.remove(&old, at(gone)).await.unwrap();
    assert_eq!(replica.kids(), BTreeSet::from([next]));
    assert!(matches!(replica.keys.remove(&old, at(gone)).await.unwrap_err(), KeysError::NoSuchKey { .. }));
}

async fn a_key_whose_last_token_has_died_is_removed_by_whoever_comes_first(store: &Arc<dyn Store>) {
    let (one, other) =
        (Replica::start(store, config(timing()), (0, 0)).await, Replica::start(store, config(timing()), (0, 0)).await);
    let old = one.signer(0);
    one.keys.rotate(SigningAlg::Es256, at(0)).await.unwrap();
    one.tend(LEAD + AFTERLIFE - 1).await;
    assert!(one.kids().contains(&old));
    let now = at(LEAD + AFTERLIFE);
    let (a, b) = tokio::join!(one.keys.tend(now), other.keys.tend(now));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
    assert!(!one.kids().contains(&old) && one.kids() == other.kids());
}

async fn what_cannot_be_read_leaves_the_last_keys_in_use(store: &Arc<dyn Store>) {
    let replica = Replica::start(store, config(Timing { stale_after: Duration::ZERO, ..timing() }), (0, 0)).await;
    let kids = replica.kids();
    store.close().await;
    assert!(replica.keys.refresh(at(5)).await.is_err());
    assert!(replica.publish().verifies(&replica.sign(5)));
    assert_eq!(replica.kids(), kids);
    assert!(replica.keys.is_stale());
}

async fn a_key_that_the_vault_did_not_wrap_is_never_published(store: &Arc<dyn Store>) {
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    let (kids, own) = (replica.kids(), store.signing_keys().await.unwrap().remove(0));
    let foreign = SigningKeyRow { kid: "foreign".to_owned(), generation: 2, ..own };
    assert!(store.add_signing_key(&foreign).await.unwrap());
    assert!(matches!(replica.keys.refresh(at(5)).await.unwrap_err(), KeysError::Wrapped { .. }));
    assert_eq!(replica.kids(), kids);
}

/// A schema that a newer program has migrated, for algorithms that this one does not know.
async fn newer_schema() -> (TestDatabase, Arc<dyn Store>) {
    let database = database().await;
    let allow = "alter table signing_keys drop constraint signing_keys_alg_check";
    database.connection().await.execute(allow).await.unwrap();
    let store = Arc::new(database.store());
    (database, store)
}

/// In a rolling upgrade the newer program may rotate to an algorithm that this one does not know.
#[tokio::test]
async fn a_key_of_a_newer_programs_algorithm_is_published_and_not_signed_with() {
    let (_database, store) = &newer_schema().await;
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    let own = store.signing_keys().await.unwrap().remove(0);
    let public_jwk = r#"{"kty":"AKP","alg":"ML-DSA-65","kid":"newer","use":"sig","pub":"AAAA"}"#.to_owned();
    let newer = SigningKeyRow {
        kid: "newer".to_owned(),
        generation: 2,
        alg: "ML-DSA-65".to_owned(),
        private_key_wrapped: vec![1, 2, 3],
        public_jwk,
        created_at: at(0),
        signs_from: at(LEAD),
    };
    assert!(store.add_signing_key(&newer).await.unwrap());
    // While it waits for its turn, and from then on.
    for now in [5, LEAD + 5] {
        replica.keys.refresh(at(now)).await.unwrap();
        assert_eq!(replica.kids(), BTreeSet::from([own.kid.clone(), "newer".to_owned()]));
        assert_eq!(replica.signer(now), own.kid, "at {now}");
        assert!(replica.publish().verifies(&replica.sign(now)));
        assert_eq!(replica.keys.snapshot().algorithms, ["ES256", "ML-DSA-65"]);
        let set: serde_json::Value = serde_json::from_slice(&replica.keys.snapshot().jwks.json).unwrap();
        let published = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == "newer").unwrap();
        assert_eq!(published, &serde_json::from_str::<serde_json::Value>(&newer.public_jwk).unwrap());
    }
    // One that starts then does so, too.
    let late = Replica::start(store, config(timing()), (LEAD + 6, 0)).await;
    assert_eq!(late.signer(LEAD + 6), own.kid);
}

#[tokio::test]
async fn a_foreign_row_that_is_no_public_key_spoils_nothing() {
    let (_database, store) = &newer_schema().await;
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    let (kids, own) = (replica.kids(), store.signing_keys().await.unwrap().remove(0));
    for (generation, public_jwk) in [
        "nonsense",
        "[]",
        r#"{"kid":"another","kty":"AKP"}"#,
        r#"{"kid":"k3","kty":"oct","k":"c2VjcmV0"}"#,
        r#"{"kid":"k4","kty":"EC","d":"c2VjcmV0"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let generation = u32::try_from(generation).unwrap();
        let row = SigningKeyRow {
            kid: format!("k{generation}"),
            generation: generation + 2,
            alg: "NEW".to_owned(),
            public_jwk: public_jwk.to_owned(),
            ..own.clone()
        };
        assert!(store.add_signing_key(&row).await.unwrap());
    }
    replica.keys.refresh(at(5)).await.unwrap();
    assert_eq!(replica.kids(), kids);
}

async fn keys_are_changed_with_a_right_clock_only(store: &Arc<dyn Store>) {
    let now = Clock::system().now();
    let replica = Replica::start(store, config(timing()), (0, 0)).await;
    assert!(replica.keys.check_clock(now).await.is_ok());
    for wrong in [now - Duration::from_secs(40), now + Duration::from_secs(40)] {
        assert!(matches!(replica.keys.check_clock(wrong).await.unwrap_err(), KeysError::Clock { .. }));
    }
}

async fn left_to_itself_a_replica_rotates_what_is_due_unless_its_clock_is_wrong(store: &Arc<dyn Store>) {
    const A_WHILE: Duration = Duration::from_millis(200);
    const PATIENCE: Duration = Duration::from_secs(20);
    let now = Clock::system().now();
    let ten_days_ago = (now - at(0)).whole_seconds() - 864_000;
    let timing = Timing { refresh_interval: Duration::from_millis(5), ..timing() };
    let config = Config { key_lifetime: Some(Duration::from_secs(86_400)), ..config(timing) };
    let replica = Replica::start(store, config, (ten_days_ago, 0)).await;

    let wrong = Clock::manual(now + Duration::from_secs(3_600));
    let _ = tokio::time::timeout(A_WHILE, replica.keys.keep_fresh(&wrong)).await;
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);

    let rotated = async {
        while replica.kids().len() == 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let clock = Clock::system();
    tokio::select! {
        () = replica.keys.keep_fresh(&clock) => {}
        rotated = tokio::time::timeout(PATIENCE, rotated) => rotated.unwrap(),
    }
    let rows = store.signing_keys().await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[1].signs_from >= now + Duration::from_secs(600));
}
