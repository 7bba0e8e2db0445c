//! One-time tickets.

use std::sync::Arc;

use oneclick_login::ids::{ClientId, SessionId};
use oneclick_login::session_token::{TokenHash, sha256};
use oneclick_login::store::NewTicket;
use time::Duration;

use super::Backend;
use super::fixture::{client_id, concurrently, now, patiently};

const DEVICE: &str = "a fingerprint";

pub fn ticket(name: &str, session_id: SessionId) -> NewTicket {
    NewTicket {
        ticket_hash: TokenHash(sha256(name.as_bytes())),
        session_id,
        client_id: client_id(),
        device_fingerprint: DEVICE.to_owned(),
        redeemable_by: None,
        created_at: now(),
        expires_at: now() + Duration::minutes(5),
    }
}

pub async fn a_ticket_works_once<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (first, second) = (SessionId::new(now()), SessionId::new(now()));
    let tickets = [ticket("first", first), ticket("second", second)];
    for ticket in &tickets {
        store.add_ticket(ticket).await.unwrap();
    }
    for (ticket, session) in tickets.iter().zip([first, second]) {
        assert_eq!(store.use_ticket(&ticket.ticket_hash, DEVICE, &client_id(), now()).await.unwrap(), Some(session));
        assert_eq!(store.use_ticket(&ticket.ticket_hash, DEVICE, &client_id(), now()).await.unwrap(), None);
        // An insert that is repeated because its answer was lost does not make a used ticket new.
        store.add_ticket(ticket).await.unwrap();
        assert_eq!(store.use_ticket(&ticket.ticket_hash, DEVICE, &client_id(), now()).await.unwrap(), None);
    }
    assert_eq!(store.use_ticket(&TokenHash([0; 32]), DEVICE, &client_id(), now()).await.unwrap(), None);
}

pub async fn of_many_concurrent_uses_of_a_ticket_exactly_one_gets_the_session<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let session = SessionId::new(now());
    let ticket = ticket("raced", session);
    store.add_ticket(&ticket).await.unwrap();
    let uses = concurrently((0..100).map(|_| {
        let (store, tenant) = (Arc::clone(store), client_id());
        async move { patiently(|| store.use_ticket(&ticket.ticket_hash, DEVICE, &tenant, now())).await }
    }))
    .await;
    assert_eq!(uses.into_iter().flatten().collect::<Vec<_>>(), [session]);
}

pub async fn a_ticket_dies_at_its_time<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for (name, late, works) in [("on time", -Duration::MICROSECOND, true), ("late", Duration::ZERO, false)] {
        let ticket = ticket(name, SessionId::new(now()));
        store.add_ticket(&ticket).await.unwrap();
        let used = store.use_ticket(&ticket.ticket_hash, DEVICE, &client_id(), ticket.expires_at + late).await.unwrap();
        assert_eq!(used.is_some(), works, "{name}");
    }
}

pub async fn another_device_neither_gets_the_session_nor_uses_the_ticket_up<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let ticket = ticket("first", SessionId::new(now()));
    store.add_ticket(&ticket).await.unwrap();
    for other in ["", "A FINGERPRINT", "a fingerprint ", "another"] {
        assert_eq!(store.use_ticket(&ticket.ticket_hash, other, &client_id(), now()).await.unwrap(), None);
    }
    assert_eq!(
        store.use_ticket(&ticket.ticket_hash, DEVICE, &client_id(), now()).await.unwrap(),
        Some(ticket.session_id)
    );
}

pub async fn a_ticket_for_one_tenant_is_neither_found_nor_used_up_by_another<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (owner, other) = (client_id(), ClientId::parse("another").unwrap());
    let bound = NewTicket { redeemable_by: Some(owner.clone()), ..ticket("bound", SessionId::new(now())) };
    store.add_ticket(&bound).await.unwrap();
    for (tenant, session) in [(&other, None), (&owner, Some(bound.session_id))] {
        assert_eq!(store.find_ticket(&bound.ticket_hash, DEVICE, tenant, now()).await.unwrap(), session);
        assert_eq!(store.use_ticket(&bound.ticket_hash, DEVICE, tenant, now()).await.unwrap(), session);
    }
}
