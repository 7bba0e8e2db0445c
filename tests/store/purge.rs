//! Deleting what nobody can need any more, and nothing else.

use std::sync::Arc;

use oneclick_login::ids::SessionId;
use oneclick_login::store::{NewSession, NewTenantToken, NewTicket, Outcome, SessionKey};
use time::{Duration, OffsetDateTime};

use super::fixture::{SESSIONS, concurrently, find, login, now, number, open, opened, patiently};
use super::tenants::token;
use super::tickets::ticket;
use super::{Backend, Subject};

const TICKETS: &str = "select count(*) from tickets";
const TENANT_TOKENS: &str = "select count(*) from tenant_tokens";

async fn open_for(subject: &Subject, lifetime: Duration) -> NewSession {
    let session = NewSession { expires_at: now() + lifetime, ..login(number(1)) };
    opened(&open(&subject.store, &session).await);
    session
}

/// Purges at the last moment at which the row must be there still, and a microsecond later.
async fn goes_just_after(subject: &Subject, at: OffsetDateTime) {
    for (late, purged) in [(-Duration::HOUR, 0), (Duration::ZERO, 0), (Duration::MICROSECOND, 1)] {
        assert_eq!(subject.store.purge(at + late, 100).await.unwrap(), purged, "{late} after {at}");
    }
}

pub async fn a_session_is_kept_until_it_expires<B: Backend>() {
    let subject = B::migrated().await;
    let session = open_for(&subject, Duration::days(5)).await;
    goes_just_after(&subject, session.expires_at).await;
    assert_eq!(subject.sql.count(SESSIONS).await, 0);
}

pub async fn a_session_is_kept_for_two_hours_even_if_it_expires_sooner<B: Backend>() {
    let subject = B::migrated().await;
    let session = open_for(&subject, Duration::minutes(10)).await;
    goes_just_after(&subject, session.created_at + Duration::hours(2)).await;
    assert_eq!(subject.sql.count(SESSIONS).await, 0);
}

pub async fn as_long_as_a_dead_session_is_kept_its_access_token_opens_no_other<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let revoked = open_for(&subject, Duration::days(5)).await;
    let expired = open_for(&subject, Duration::minutes(10)).await;
    store.revoke_session(revoked.id, now()).await.unwrap();
    assert_eq!(store.purge(now() + Duration::hours(2), 100).await.unwrap(), 0);
    for session in [&revoked, &expired] {
        let replayed = NewSession { replay_key: session.replay_key, ..login(number(1)) };
        assert_eq!(open(store, &replayed).await, Outcome::TokenReplayed);
    }
}

pub async fn tickets_and_tenant_tokens_are_kept_while_they_work<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let used = ticket("used", SessionId::new(now()));
    store.add_ticket(&used).await.unwrap();
    store.use_ticket(&used.ticket_hash, &used.device_fingerprint, &used.client_id, now()).await.unwrap();
    store
        .add_ticket(&NewTicket { expires_at: now() + Duration::HOUR, ..ticket("unused", used.session_id) })
        .await
        .unwrap();
    let first = token("first");
    store.add_tenant_token(&first).await.unwrap();
    store.add_tenant_token(&NewTenantToken { expires_at: now() + Duration::HOUR, ..token("second") }).await.unwrap();
    for expires_at in [used.expires_at, first.expires_at, now() + Duration::HOUR] {
        assert_eq!(store.purge(expires_at - Duration::MICROSECOND, 100).await.unwrap(), 0);
        store.purge(expires_at, 100).await.unwrap();
    }
    assert_eq!((subject.sql.count(TICKETS).await, subject.sql.count(TENANT_TOKENS).await), (0, 0));
}

pub async fn a_purge_takes_so_many_rows_of_each_kind_and_says_how_many<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for n in 0..5 {
        open_for(&subject, Duration::days(1)).await;
        store.add_ticket(&ticket(&format!("{n}"), SessionId::new(now()))).await.unwrap();
    }
    store.add_tenant_token(&token("only")).await.unwrap();
    let kept = open_for(&subject, Duration::days(3)).await;
    let at = now() + Duration::days(2);
    for expected in [5, 4, 2, 0] {
        assert_eq!(store.purge(at, 2).await.unwrap(), expected);
    }
    assert!(find(store, SessionKey::Id(kept.id)).await.is_some());
}

pub async fn replicas_that_purge_at_once_share_the_work<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let batch: Vec<_> =
        (0..300).map(|n| NewSession { expires_at: now() + Duration::HOUR, ..login(number(n % 9)) }).collect();
    store.open_sessions(&batch).await.unwrap();
    open_for(&subject, Duration::days(5)).await;
    let counts = concurrently((0..6).map(|_| {
        let store = Arc::clone(store);
        async move {
            let mut purged = 0;
            // A row that another one is about to delete is passed over, so nothing left for one is not yet nothing left.
            for _ in 0..20 {
                purged += patiently(|| store.purge(now() + Duration::days(1), 20)).await;
            }
            purged
        }
    }))
    .await;
    assert_eq!(counts.iter().sum::<u64>(), 300);
    assert_eq!(subject.sql.count(SESSIONS).await, 1);
}
