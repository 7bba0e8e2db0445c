//! Signs of life.

use oneclick_login::clock::Clock;
use oneclick_login::store::StoreError;
use time::Duration;

use super::Backend;
use super::fixture::{login, now, number};

pub async fn the_databases_clock_is_near_ours<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let ahead = store.database_time().await.unwrap() - Clock::system().now();
    assert!(ahead.abs() < Duration::seconds(60), "{ahead}");
}

pub async fn a_write_can_be_probed_again_and_again<B: Backend>() {
    let subject = B::migrated().await;
    for seconds in 0..3 {
        subject.store.probe_sessions(now() + Duration::seconds(seconds)).await.unwrap();
    }
    assert_eq!(subject.sql.count("select count(*) from write_probe").await, 1);
}

pub async fn a_closed_store_refuses_every_call<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    store.database_time().await.unwrap();
    store.close().await;
    assert!(matches!(store.database_time().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.open_sessions(&[login(number(1))]).await, Err(StoreError::Unavailable(_))));
}
