//! The master key is changed while two replicas run, step by step as the vault's own documentation says it.

use std::sync::Arc;

use oneclick_login::ids::UserId;
use oneclick_login::phone_number::PhoneNumber;
use oneclick_login::store::Store;
use oneclick_login::vault::{MasterKeys, Rewrapped, Vault, VaultError, rewrap};

use super::{at, on_both_stores};
use crate::support::log::Log;

on_both_stores! {
    the_documented_steps_leave_no_replica_behind,
    rewrapping_is_counted_and_may_be_repeated_and_overlap,
    a_key_that_is_still_needed_is_named_when_it_is_missing,
    that_a_rewrap_is_due_is_said_at_start,
}

const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
const ANOTHER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn keys(list: &[&str]) -> MasterKeys {
    MasterKeys::parse(&list.join(",")).unwrap()
}

async fn start(store: &Arc<dyn Store>, list: &[&str]) -> Result<Vault, VaultError> {
    Vault::open(&keys(list), &**store, at(0)).await
}

/// Each opens what the other sealed, and both find the same user by a number.
fn agree(one: &Vault, other: &Vault) {
    let number = PhoneNumber::from_national("13800000001").unwrap();
    let user = UserId::new(at(0));
    assert_eq!(one.open_phone(user, &other.seal_phone(user, &number)), Ok(number.clone()));
    assert_eq!(other.open_phone(user, &one.seal_phone(user, &number)), Ok(number.clone()));
    assert_eq!(other.unwrap_signing_key("kid", &one.wrap_signing_key("kid", b"private")), Ok(b"private".to_vec()));
    assert_eq!(one.phone_index(&number), other.phone_index(&number));
}

async fn the_documented_steps_leave_no_replica_behind(store: &Arc<dyn Store>) {
    let before = start(store, &[OLD]).await.unwrap();
    let number = PhoneNumber::from_national("13800000001").unwrap();
    let user = UserId::new(at(0));
    let sealed = before.seal_phone(user, &number);
    let (mut a, mut b) = (start(store, &[OLD]).await.unwrap(), start(store, &[OLD]).await.unwrap());
    agree(&a, &b);
    for (rewraps, list) in [(false, &[OLD, NEW][..]), (false, &[NEW, OLD]), (true, &[NEW])] {
        if rewraps {
            // Both replicas run under the settings of the step before.
            let done = rewrap(&keys(&[NEW, OLD]), &**store).await.unwrap();
            assert_eq!(done, Rewrapped { rewrapped: 4, untouched: 0 });
            agree(&a, &b);
        }
        a = start(store, list).await.unwrap();
        agree(&a, &b);
        b = start(store, list).await.unwrap();
        agree(&a, &b);
        assert_eq!(a.open_phone(user, &sealed), Ok(number.clone()), "what was sealed before opens after");
    }
    assert!(start(store, &[OLD]).await.is_err(), "the old key opens nothing any more");
}

#[tokio::test]
async fn at_each_step_a_first_start_of_either_replica_suits_the_other() {
    let steps = [&[OLD][..], &[OLD, NEW], &[NEW, OLD]];
    for pair in steps.windows(2) {
        for (first, second) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            for fresh in [crate::keys::on_sqlite().await, crate::keys::on_postgres().await] {
                let maker = start(&fresh.store, first).await.unwrap();
                agree(&maker, &start(&fresh.store, second).await.unwrap());
            }
        }
    }
}

async fn rewrapping_is_counted_and_may_be_repeated_and_overlap(store: &Arc<dyn Store>) {
    start(store, &[OLD]).await.unwrap();
    let list = keys(&[NEW, OLD]);
    let (one, other) = tokio::join!(rewrap(&list, &**store), rewrap(&list, &**store));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.rewrapped + other.rewrapped, 4, "{one:?} {other:?}");
    assert_eq!((one.rewrapped + one.untouched, other.rewrapped + other.untouched), (4, 4));
    assert_eq!(rewrap(&list, &**store).await.unwrap(), Rewrapped { rewrapped: 0, untouched: 4 });
    // And back again, if the new key should turn out to be a mistake.
    assert_eq!(rewrap(&keys(&[OLD, NEW]), &**store).await.unwrap().rewrapped, 4);
    assert!(start(store, &[OLD]).await.is_ok());
}

async fn a_key_that_is_still_needed_is_named_when_it_is_missing(store: &Arc<dyn Store>) {
    start(store, &[OLD]).await.unwrap();
    for list in [&[NEW][..], &[NEW, ANOTHER]] {
        let error = start(store, list).await.unwrap_err().to_string();
        let expected = "no master key opens the stored data key phone_index: \
            the key this database was set up with is not among them";
        assert_eq!(error, expected);
        assert!(rewrap(&keys(list), &**store).await.is_err());
    }
    assert!(start(store, &[OLD]).await.is_ok(), "nothing was changed");
}

async fn that_a_rewrap_is_due_is_said_at_start(store: &Arc<dyn Store>) {
    let log = Log::default();
    let _guard = log.listen();
    let times_said = || log.lines().matches("key rewrap is due").count();
    start(store, &[OLD, NEW]).await.unwrap();
    assert_eq!(times_said(), 0);
    start(store, &[NEW, OLD]).await.unwrap();
    assert_eq!(times_said(), 4);
}
